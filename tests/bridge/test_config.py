"""Where a server may listen and what it may read."""

import pytest

from bridge.config import ServerConfig, default_spool
from bridge.errors import InvalidRequestError, UnsupportedError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_a_loopback_host_is_served(host):
    assert ServerConfig(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", ""])
def test_a_host_that_others_can_reach_is_refused(host):
    with pytest.raises(UnsupportedError, match=r"not a loopback address.*TLS"):
        ServerConfig(host=host)


@pytest.mark.parametrize("name", ["port", "osc_port"])
@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_outside_its_range_is_refused(name, port):
    with pytest.raises(InvalidRequestError, match=f"is {port}, allowed are 0 to 65535"):
        ServerConfig(**{name: port})


def test_the_spool_lies_in_the_state_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_spool().is_relative_to(tmp_path)
    assert not default_spool().exists()


def test_readable_folders_have_their_links_resolved(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    config = ServerConfig(spool=tmp_path / "link", allowed=(tmp_path / "other",))
    assert config.readable_folders() == (real, tmp_path / "other")
