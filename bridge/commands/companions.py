"""What `doctor` tells of our own things in hosts: their scripts and the plugin, and how old."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from bridge.commands.findings import Finding, Verdict, finding
from bridge.hosts.install import FOLDER

PLUGIN: Final = "jukebox_bridge"
FORMATS: Final = ("vst3", "clap", "lv2")


@dataclass(frozen=True, slots=True)
class Companion:
    """A host's scripts: where they are installed, and what they are copies of.

    Attributes:
        host: As `hosts install` calls it.
        folder: Below the home folder.
        sources: Packages and the folders in them that hold the originals.
    """

    host: str
    folder: str
    sources: tuple[tuple[str, str], ...]


_MAILBOX: Final = ("bridge", "hosts/lua")
COMPANIONS: Final = (
    Companion("ardour", f".config/ardour7/{FOLDER}", (("plugin_host", "ardour"), _MAILBOX)),
    Companion("reaper", f".config/REAPER/Scripts/{FOLDER}", (("plugin_host", "reaper"), _MAILBOX)),
    Companion(
        "live",
        "Music/Ableton/User Library/Remote Scripts/JukeboxBridge",
        (("plugin_host", "ableton/remote_script"),),
    ),
)


def companion_findings(home: Path) -> tuple[Finding, ...]:
    """Return what is installed of ours below a home folder, and whether it is this version's."""
    return (*(scripts_finding(one, home) for one in COMPANIONS), plugin_finding(home))


def scripts_finding(companion: Companion, home: Path) -> Finding:
    """Return whether a host's scripts are those of this version."""
    name, folder = f"{companion.host} scripts", home / companion.folder
    installed = [path for path in sorted(folder.glob("*")) if path.suffix in (".lua", ".py")]
    if not installed:
        return finding(name, "not installed")
    others = [path.name for path in installed if not _is_ours(path, companion.sources)]
    shown = f"{folder}: {len(installed)} files, "
    if not others:
        return finding(name, f"{shown}of this version")
    advice = f"jukebox-bridge hosts install {companion.host}"
    words = f"{shown}of another version: {', '.join(others)}"
    return finding(name, words, worst=Verdict.WARN, advice=advice)


def plugin_finding(home: Path) -> Finding:
    """Return in which formats the plugin is installed, and whether it is of this version."""
    found = [kind for kind in FORMATS if (home / f".{kind}" / f"{PLUGIN}.{kind}").exists()]
    if not found:
        return finding("plugin", "not installed")
    told = home / ".lv2" / f"{PLUGIN}.lv2" / f"{PLUGIN}_dsp.ttl"
    installed, ours = _lv2_version(told), plugin_version()
    if installed is None:
        return finding("plugin", f"{', '.join(found)}; of LV2 alone the version can be read")
    same = installed == ours
    return finding(
        "plugin",
        f"{', '.join(found)}: version {'.'.join(map(str, installed))}",
        worst=None if same else Verdict.WARN,
        advice=f"version {'.'.join(map(str, ours))} is here: jukebox-bridge hosts install plugin",
    )


def plugin_version() -> tuple[int, int]:
    """Return minor and micro version of the plugin's sources, as LV2 counts them.

    LV2 knows no major version; DPF adds 2 to the minor one where the major one is not 0.
    """
    text = files("plugin_host").joinpath("native/src/plugin.cpp").read_text("utf-8")
    found = re.search(r"d_version\((\d+), (\d+), (\d+)\)", text)
    assert found is not None, "the plugin's sources state their version"
    major, minor, micro = map(int, found.groups())
    return minor + (2 if major else 0), micro


def _lv2_version(path: Path) -> tuple[int, int] | None:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return None
    found = [re.search(rf"lv2:{part}Version (\d+)", text) for part in ("minor", "micro")]
    minor, micro = found
    return None if minor is None or micro is None else (int(minor[1]), int(micro[1]))


def _is_ours(path: Path, sources: Sequence[tuple[str, str]]) -> bool:
    """Return whether a file is a copy of the original of its name."""
    originals = [files(package).joinpath(folder, path.name) for package, folder in sources]
    content = path.read_bytes()
    return any(one.is_file() and one.read_bytes() == content for one in originals)
