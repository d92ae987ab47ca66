"""Where a server may listen and what it may read."""

from pathlib import Path

import pytest

from bridge.config import ServerConfig, default_spool, private_config
from bridge.errors import InvalidRequestError
from bridge.security import Security


@pytest.mark.parametrize(
    ("host", "osc"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.8.9.1", "127.8.9.1"),
        ("::1", "::1"),
        ("localhost", "localhost"),
        ("unix:bridge.sock", "127.0.0.1"),
    ],
)
def test_this_machine_is_served_and_osc_stays_on_loopback(host, osc):
    assert ServerConfig(host=host).local_host() == osc


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_a_host_that_others_can_reach_is_refused(host):
    with pytest.raises(InvalidRequestError, match=r"other machines can reach.*TLS.*token"):
        ServerConfig(host=host)
    locks = {name: Path(name) for name in ("certificate", "private_key", "token_file")}
    config = ServerConfig(host=host, security=Security(**locks))
    assert config.local_host() == "127.0.0.1"


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


def test_a_private_server_serves_grpc_on_a_free_port_and_nothing_else(tmp_path):
    config = private_config(tmp_path)
    wires = (config.osc_port, config.http_port, config.plugin_port, config.midi_inputs)
    assert (config.port, *wires) == (0, None, None, None, ())
    assert config.spool == tmp_path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drain_seconds": -1.0}, r"drain_seconds is -1, allowed are 0 to 3600 s"),
        ({"max_jobs": 0}, r"limits\.jobs is 0, allowed are 1 to 256 jobs"),
        ({"midi_quirk": "cubase"}, r"midi\.quirk is 'cubase', allowed: none, ardour7"),
        ({"log_level": "loud"}, r"'loud', allowed: debug, info"),
        ({"midi_inputs": ("pads", "")}, r"midi\.inputs\[1\] is ''"),
        ({"midi_inputs": ("x",) * 17}, r"17 entries, the limit is 16 entries"),
    ],
)
def test_a_value_outside_its_limits_is_told_with_limit_and_unit(changes, words):
    with pytest.raises(InvalidRequestError, match=words):
        ServerConfig(**changes)
