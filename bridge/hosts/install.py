"""Our companions, put where their hosts find them; what is there already stays.

Ardour keeps scripts in `ui_scripts` of its configuration folder: XML around base64
of Lua that rebuilds the table of actions, and one node for each hook (Ardour 7.3).
Ours are a few lines that load the files of the folder `jukebox-bridge` beside it.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as Xml

import platformdirs

from bridge.audio_file import write_whole
from bridge.config import APPLICATION
from bridge.errors import InvalidRequestError, NotReadyError
from bridge.hosts.actions import ACTIONS

FOLDER: Final = "jukebox-bridge"
HOOK_NAME: Final = "Jukebox Bridge"
HOOK_ID: Final = "771700"
TIMER_BIT: Final = 47
"""`LuaSignal.LuaTimerDS` of Ardour 7.3: ten times a second."""
TITLES: Final = {
    "continue": "Jukebox: Continue selection",
    "retry": "Jukebox: Retry",
    "accept": "Jukebox: Accept",
    "cancel": "Jukebox: Cancel",
}
MAX_ACTIONS: Final = 32
"""Ardour's number of script slots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What was written, and what the musician does next."""

    files: tuple[Path, ...]
    advice: str


def mailbox_folder(host: str) -> Path:
    """Return the folder through which a host's companion is asked."""
    return platformdirs.user_state_path(APPLICATION) / "hosts" / host


def install_ardour(config_folder: Path, mailbox: Path) -> Installed:
    """Return what was installed into Ardour's configuration folder, such as `~/.config/ardour7`.

    Raises:
        NotReadyError: The folder is not there, or cannot be written.
        InvalidRequestError: `ui_scripts` is no XML.
    """
    if not config_folder.is_dir():
        raise NotReadyError(
            f"there is no folder {config_folder}: start Ardour 7 once, then close it"
        )
    own = config_folder / FOLDER
    sources = {
        **_lua_files("ardour", ("companion", "hook", "action")),
        "place.txt": f"{mailbox}\n",
    }
    written = _write(own, sources)
    scripts = config_folder / "ui_scripts"
    before = scripts.read_bytes() if scripts.exists() else None
    _back_up(scripts, before)
    write_whole(scripts, [with_scripts(before)], overwrite=True)
    return Installed(
        files=(*written, scripts),
        advice="Start Ardour: the actions are under Edit, Lua Scripts. "
        "Run `jukebox-bridge hosts run ardour` beside it.",
    )


def install_reaper(resource_folder: Path, mailbox: Path) -> Installed:
    """Return what was installed into REAPER's resource folder, such as `~/.config/REAPER`.

    Raises:
        NotReadyError: The folder is not there, or cannot be written.
    """
    if not resource_folder.is_dir():
        raise NotReadyError(
            f"there is no folder {resource_folder}: start REAPER once, then close it"
        )
    names = ("companion", "action", "jukebox_companion", *(f"jukebox_{verb}" for verb in ACTIONS))
    sources = {
        **_lua_files("reaper", names),
        "place.txt": f"{mailbox}\n",
    }
    written = _write(resource_folder / "Scripts" / FOLDER, sources)
    return Installed(
        files=written,
        advice="In REAPER: Actions, Show action list, New action, Load ReaScript: load the five "
        "jukebox_*.lua, run jukebox_companion, and `jukebox-bridge hosts run reaper` beside it.",
    )


def install_live(user_library: Path) -> Installed:
    """Return what was installed into Live's User Library.

    Raises:
        NotReadyError: The folder is not there, or cannot be written.
    """
    if not user_library.is_dir():
        raise NotReadyError(f"there is no folder {user_library}: name Live's User Library")
    folder = user_library / "Remote Scripts" / "JukeboxBridge"
    sources = {
        name: _text("plugin_host", f"ableton/remote_script/{name}")
        for name in ("__init__.py", "edits.py", "errors.py")
    }
    return Installed(
        files=_write(folder, sources),
        advice="In Live: Preferences, Link/Tempo/MIDI, Control Surface: choose JukeboxBridge, and "
        "AbletonOSC beside it. Run `jukebox-bridge hosts run live`.",
    )


def install_live_extension(folder: Path) -> Installed:
    """Return the sources of Live's extension, written into a folder of their own.

    Raises:
        NotReadyError: The folder cannot be written.
    """
    names = ("manifest.json", "package.json", "extension.js", "companion.js", "mailbox.js")
    sources = {name: _text("plugin_host", f"ableton/extension/{name}") for name in names}
    return Installed(
        files=_write(folder, sources),
        advice="In that folder: npm install esbuild and the two packages (sdk, cli) of Ableton's "
        "Extensions SDK, npm run package; drag the .ablx into Live: Settings, Extensions.",
    )


def with_scripts(before: bytes | None) -> bytes:
    """Return Ardour's `ui_scripts` with our hook and actions beside what is there.

    Raises:
        InvalidRequestError: It is no XML.
    """
    try:
        root = Xml.Element("UIScripts") if before is None else Xml.fromstring(before)
    except Xml.ParseError as error:
        raise InvalidRequestError(f"ui_scripts is no XML: {error}") from error
    _add_actions(_child(root, "ActionScript"))
    _add_hook(_child(root, "ActionHooks"))
    return Xml.tostring(root, encoding="UTF-8", xml_declaration=True)


def _add_actions(node: Xml.Element) -> None:
    node.set("lua", node.get("lua", "Lua 5.3"))
    saved = b64decode(node.text or "").decode("utf-8", "surrogateescape") or "scripts = {} "
    taken = {int(number) for number in re.findall(r"scripts\[(\d+)\]", saved)}
    free = [number for number in range(1, MAX_ACTIONS + 1) if number not in taken]
    wanted = [verb for verb in ACTIONS if _quoted(TITLES[verb]) not in saved]
    if len(wanted) > len(free):
        raise NotReadyError(
            f"{len(free)} of Ardour's {MAX_ACTIONS} script slots are free, {len(wanted)} are needed"
        )
    for verb, number in zip(wanted, free, strict=False):
        factory = f'{_LOADER} return module("action")(module("mailbox"), folder, "{verb}")'
        saved += _table(f"scripts[{number}]", {"n": TITLES[verb], "s": "", "f": factory})
    node.text = b64encode(saved.encode("utf-8", "surrogateescape")).decode()


def _add_hook(node: Xml.Element) -> None:
    for old in [one for one in node if one.get("name") == HOOK_NAME]:
        node.remove(old)
    factory = f'{_LOADER} return module("hook")(module, folder)'
    saved = _table("s", {"n": HOOK_NAME, "s": "", "f": factory})
    signals = "1" + "0" * TIMER_BIT
    facts = {"lua": "Lua 5.3", "id": HOOK_ID, "name": HOOK_NAME, "signals": signals}
    Xml.SubElement(node, "LuaCallback", facts).text = b64encode(saved.encode()).decode()


# Ardour gives its scripts no `dofile`. What is loaded are our files in its configuration folder.
_LOADER: Final = " ".join(
    f"""
local home = ARDOUR.user_config_directory(-1) .. "/{FOLDER}/"
local function text(name)
  local file = assert(io.open(home .. name)) local all = file:read("a") file:close() return all
end
local function module(name) return assert(load(text(name .. ".lua"), "@" .. name, "t"))() end
local folder = text("place.txt"):gsub("\\n$", "")
""".split()
)


def _child(root: Xml.Element, name: str) -> Xml.Element:
    found = root.find(name)
    return Xml.SubElement(root, name) if found is None else found


def _table(name: str, fields: Mapping[str, str]) -> str:
    entries = "".join(f'{name}["{key}"] = {_quoted(text)} ' for key, text in fields.items())
    return f'{name} = {{}} {entries}{name}["a"] = {{}} '


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _lua_files(host: str, names: Iterable[str]) -> dict[str, str]:
    """Return a host's Lua files by name, and the mailbox's that all share."""
    own = {f"{name}.lua": _text("plugin_host", f"{host}/{name}.lua") for name in names}
    return {"mailbox.lua": _text("bridge", "hosts/lua/mailbox.lua"), **own}


def _text(package: str, path: str) -> str:
    return files(package).joinpath(path).read_text("utf-8")


def _write(folder: Path, sources: Mapping[str, str]) -> tuple[Path, ...]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotReadyError(f"{folder} cannot be made: {error.strerror}") from error
    return tuple(
        write_whole(folder / name, [text.encode()], overwrite=True)
        for name, text in sources.items()
    )


def _back_up(path: Path, content: bytes | None) -> None:
    copy = path.with_name(f"{path.name}.before-jukebox-bridge")
    if content is not None and not copy.exists():
        write_whole(copy, [content])
