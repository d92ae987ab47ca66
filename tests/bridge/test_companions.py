"""`doctor` on our scripts in hosts and the plugin: there or not, of this version or another."""

import shutil
from importlib.resources import files

import pytest

from bridge.commands import companions
from bridge.commands.companions import (
    COMPANIONS,
    companion_findings,
    plugin_finding,
    plugin_version,
    scripts_finding,
)
from bridge.commands.findings import Verdict
from bridge.hosts.install import install_ardour, install_live, install_reaper

INSTALL = {
    "ardour": (".config/ardour7", lambda folder: install_ardour(folder, folder / "mailbox")),
    "reaper": (".config/REAPER", lambda folder: install_reaper(folder, folder / "mailbox")),
    "live": ("Music/Ableton/User Library", install_live),
}


@pytest.mark.parametrize("companion", COMPANIONS, ids=lambda one: one.host)
def test_scripts_are_compared_with_those_of_this_version(companion, tmp_path):
    place, install = INSTALL[companion.host]
    assert scripts_finding(companion, tmp_path).found == "not installed"
    (tmp_path / place).mkdir(parents=True)
    written = install(tmp_path / place).files
    fresh = scripts_finding(companion, tmp_path)
    assert (fresh.verdict, fresh.found.endswith("of this version")) == (Verdict.OK, True)
    (old,) = [path for path in written if path.stem in ("companion", "edits")]
    old.write_text("-- of last year")
    stale = scripts_finding(companion, tmp_path)
    assert stale.verdict is Verdict.WARN
    assert stale.found.endswith(f"of another version: {old.name}")
    assert companion.host in stale.advice


def lv2(home, minor, micro):
    folder = home / ".lv2" / "jukebox_bridge.lv2"
    folder.mkdir(parents=True, exist_ok=True)
    text = f"    lv2:microVersion {micro} ;\n    lv2:minorVersion {minor} .\n"
    (folder / "jukebox_bridge_dsp.ttl").write_text(text)


def test_the_plugin_is_told_with_its_formats_and_its_version(tmp_path):
    assert plugin_finding(tmp_path).found == "not installed"
    (tmp_path / ".clap" / "jukebox_bridge.clap").mkdir(parents=True)
    assert "of LV2 alone" in plugin_finding(tmp_path).found
    minor, micro = plugin_version()
    lv2(tmp_path, minor, micro)
    same = plugin_finding(tmp_path)
    assert (same.verdict, same.found) == (Verdict.OK, f"clap, lv2: version {minor}.{micro}")
    lv2(tmp_path, minor, micro + 1)
    other = plugin_finding(tmp_path)
    assert other.verdict is Verdict.WARN
    assert "hosts install plugin" in other.advice


def test_a_plugin_that_was_built_says_the_version_of_its_sources(tmp_path):
    built = files("plugin_host").joinpath("native/build/bin/jukebox_bridge.lv2")
    if not built.is_dir():
        pytest.skip("the plugin is not built: make -C plugin_host/native")
    shutil.copytree(str(built), tmp_path / ".lv2" / "jukebox_bridge.lv2")
    assert plugin_finding(tmp_path).verdict is Verdict.OK


def test_an_empty_home_is_told_without_a_complaint(tmp_path):
    told = companion_findings(tmp_path)
    assert [one.name for one in told] == [*(f"{one.host} scripts" for one in COMPANIONS), "plugin"]
    assert {one.verdict for one in told} == {Verdict.OK}
    assert companions.PLUGIN in str(files("plugin_host").joinpath("native/Makefile").read_text())
