"""The configuration file: TOML to a `ServerConfig`, the commented example, the documents' table.

Defaults, then the file, then the flags. A section or key that is not known is
refused with the nearest one that is. Knows no command and no environment.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final, cast

from bridge.config import ServerConfig, built, settings, value_of
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.settings import Raw, Setting

MAX_FILE_BYTES: Final = 256 * 1024
_NEAR: Final = 0.75

HEADER: Final = (
    "# Configuration of Jukebox Bridge. A line that begins with # is a comment; the values shown\n"
    "# are the defaults. Flags of the command line come before this file. Relative paths count\n"
    "# from this file's folder. `jukebox-bridge serve --check` says whether all is well.\n"
)


def read_config(file: Path | None, flags: Mapping[str, Raw], folder: Path) -> ServerConfig:
    """Return the configuration of a file and of flags, which come first.

    Args:
        file: The configuration file; None reads none.
        flags: What the command line gives, by the name of the field.
        folder: What relative paths of flags count from.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: No TOML, a key that is not known, or a value that is refused.
        UnsupportedError: A host that other machines can reach.
    """
    table = settings()
    values = {} if file is None else _values_of(file)
    for name, raw in flags.items():
        setting = table[name]
        values[name] = setting.kind.read(raw, setting.flag, folder)
    return built(values)


def parse_toml(file: Path) -> Mapping[str, Any]:
    """Return what a TOML file holds.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: It cannot be read, is too large, or is no TOML.
    """
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InvalidRequestError(
                f"{file} has {size} bytes, the limit is {MAX_FILE_BYTES} bytes"
            )
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {file}") from error
    except OSError as error:
        raise InvalidRequestError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequestError(f"{file} is no TOML: {error}") from error


def check_known(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that is not known, with the nearest one.

    Raises:
        InvalidRequestError: A name that is not known.
    """
    names = list(known)
    for name in given:
        if name not in names:
            raise InvalidRequestError(f"{what} {name!r} is unknown{_nearest(name, names)}")


def example() -> str:
    """Return a file in which every setting is explained and commented out."""
    parts = [HEADER]
    for section, group in groupby(settings().items(), key=lambda item: item[1].section):
        lines = [line for name, setting in group for line in _example_lines(name, setting)]
        parts.append("\n".join([f"[{section}]", *lines]))
    return "\n".join(parts)


def table_rows() -> tuple[str, ...]:
    """Return the rows of the documents' table of settings, as Markdown."""
    return tuple(
        f"| `{setting.name}` | {f'`{setting.flag}`' if setting.flag else ''} "
        f"| {setting.kind.allowed()} | {_shown_default(name, setting)} | {setting.does} |"
        for name, setting in settings().items()
    )


def _values_of(file: Path) -> dict[str, Any]:
    try:
        return _read_sections(parse_toml(file), file.absolute().parent)
    except InvalidRequestError as error:
        if str(file) in str(error):
            raise
        raise InvalidRequestError(f"{file}: {error}") from error


def _read_sections(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    known = {setting.name: (name, setting) for name, setting in settings().items()}
    sections = list(dict.fromkeys(setting.section for _, setting in known.values()))
    check_known("the section", table, sections)
    values: dict[str, Any] = {}
    for section, content in table.items():
        if not isinstance(content, dict):
            raise InvalidRequestError(f"{section} is {content!r}, it must be a section [{section}]")
        keys = cast(dict[str, Any], content)
        check_known("the setting", (f"{section}.{key}" for key in keys), known)
        for key, raw in keys.items():
            name, setting = known[f"{section}.{key}"]
            values[name] = setting.kind.read(raw, setting.name, folder)
    return values


def _nearest(name: str, known: list[str]) -> str:
    """Return a hint; the same key in another section is nearer than another key in this one."""
    last = name.rpartition(".")[2]
    near = [word for word in known if word.rpartition(".")[2] == last]
    near += difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
    return f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"


def _example_lines(name: str, setting: Setting) -> list[str]:
    value = setting.kind.written(value_of(ServerConfig(), name))
    return [f"# {setting.does}", f"# ({setting.kind.allowed()})", f"#{setting.key} = {value}", ""]


def _shown_default(name: str, setting: Setting) -> str:
    """Return the default; of a path in the user's folders the name of what it begins with."""
    value = value_of(ServerConfig(), name)
    places = {"spool": "XDG state folder", "midi_map": "XDG configuration folder"}
    if name in places:
        return f"`{'/'.join(value.parts[-2:])}` in the {places[name]}"
    return f"`{setting.kind.written(value)}`"
