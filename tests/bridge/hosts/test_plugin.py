"""The plugin's one command: built, put where hosts look; what is missing is told."""

import pytest

from bridge.__main__ import main
from bridge.config import APPLICATION
from bridge.errors import NotReadyError
from bridge.hosts import plugin
from tests.plugin_host.conftest import make


@pytest.mark.slow
@pytest.mark.host
def test_one_command_builds_it_and_puts_it_where_hosts_look(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / APPLICATION).mkdir()
    (tmp_path / APPLICATION / "plugin").symlink_to(make("plugin"))  # built before, for speed
    home = tmp_path / "home"
    assert main(["hosts", "install", "plugin", "--folder", str(home)]) == 0
    told = capsys.readouterr().out.split()
    assert sorted(told) == sorted(str(path / place) for path, place in placed(home))
    assert all((path / place).exists() for path, place in placed(home))
    (library,) = home.glob(".vst3/*/Contents/*-linux/*.so")
    assert library.read_bytes().startswith(b"\x7fELF")
    assert (home / ".lv2/jukebox_bridge.lv2/manifest.ttl").exists()


def placed(home):
    return [
        (home / ".vst3", "jukebox_bridge.vst3"),
        (home / ".clap", "jukebox_bridge.clap"),
        (home / ".lv2", "jukebox_bridge.lv2"),
        (home / ".vst", "jukebox_bridge-vst.so"),
    ]


def test_what_is_missing_to_build_it_is_named_as_packages(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotReadyError, match=r"apt-get install g\+\+ make pkg-config") as told:
        plugin.build_plugin(tmp_path / "out", "plugin")
    assert "nanopb" in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.host
def test_a_build_that_fails_tells_what_make_said(tmp_path):
    if plugin.missing_packages():
        pytest.skip(f"missing: {plugin.missing_packages()}")
    with pytest.raises(NotReadyError, match="No rule to make target 'nonsense'"):
        plugin.build_plugin(tmp_path / "out", "nonsense")
