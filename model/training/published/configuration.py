"""The configuration file of a training: a preset, and every number by its name.

A key that is not known, a value of another type and a number out of range are
refused with the key's full name.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from model.errors import ConfigError, TrainingError
from model.training.published.presets import KINDS
from model.training.published.settings import Settings

Table = Mapping[str, Any]
Value = TypeVar("Value")

_OWN = {"codec": ("size",), "prior": ("size", "base"), "upsampler": ("size", "base", "level")}
"""Keys that stand before the sections, by what is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a configuration file asks for."""

    kind: str
    """One of `KINDS`."""
    size: str
    base: Path | None
    """The model whose codec makes the codes, and whose parts the result holds too; None for a
    codec."""
    level: int | None
    """Of an upsampler."""
    settings: Settings
    given: tuple[str, ...]
    """Full names of the keys that the file sets itself."""


def read_configuration(kind: str, path: Path) -> Asked:
    """Return what a file asks for; relative paths in it count from its folder.

    Raises:
        TrainingError: It cannot be read, or a key or a value is none of ours.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"{path} cannot be read as TOML: {error}") from error
    try:
        return asked(kind, table, path.parent)
    except ConfigError as error:
        raise TrainingError(f"{path}: {error}") from error


def asked(kind: str, table: Table, folder: Path) -> Asked:
    """Return what the tables of a file ask for.

    Raises:
        TrainingError: A key or a value is none of ours.
        ConfigError: A number is out of range.
    """
    sizes = KINDS[kind]
    sections = [entry.name for entry in fields(next(iter(sizes.values())))]
    _known(table, (*_OWN[kind], *sections), "")
    size = table.get("size", "small")
    if not isinstance(size, str) or size not in sizes:
        raise TrainingError(f"size is {size!r}, a {kind} has {', '.join(sizes)}")
    given = tuple(f"{section}.{key}" for section in sections for key in _section(table, section))
    return Asked(
        kind=kind,
        size=size,
        base=_base(kind, table, folder),
        level=_level(kind, table),
        settings=_merged(sizes[size], {name: _section(table, name) for name in sections}, ""),
        given=given,
    )


def _base(kind: str, table: Table, folder: Path) -> Path | None:
    if kind == "codec":
        return None
    given = table.get("base")
    if not isinstance(given, str):
        raise TrainingError(
            f'base is {given!r}, it must be the folder of a model, such as base = "codec/model"'
        )
    return folder / Path(given).expanduser()


def _level(kind: str, table: Table) -> int | None:
    if kind != "upsampler":
        return None
    level = table.get("level")
    if type(level) is not int or level < 0:
        raise TrainingError(f"level is {level!r}, an upsampler needs one, such as level = 0")
    return level


def _section(table: Table, name: str) -> Table:
    section = table.get(name, {})
    if not isinstance(section, dict):
        raise TrainingError(f"{name} is {section!r}, it must be a section [{name}]")
    return cast(Table, section)


def _merged(base: Value, given: Table, where: str) -> Value:
    """Return a frozen value with what is given in place of its own."""
    assert is_dataclass(base)
    assert not isinstance(base, type)
    hints = get_type_hints(type(base))
    _known(given, list(hints), where)
    changes: dict[str, Any] = {}
    for key, value in given.items():
        name, old = f"{where}{key}", getattr(base, key)
        if is_dataclass(old) and isinstance(value, dict):
            changes[key] = _merged(old, cast(Table, value), f"{name}.")
        else:
            changes[key] = _fit(value, hints[key], name)
    return cast(Value, replace(base, **changes))


def _known(given: Table, known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {where}{near[0]}?" if near else f"known are {', '.join(known)}"
            raise TrainingError(f"{where}{key} is unknown; {hint}")


def _fit(value: object, hint: Any, name: str) -> Any:  # noqa: ANN401 - of the type that the hint says
    """Return a value of TOML as the type that a field has."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _fit(value, next(kind for kind in inner if kind is not NoneType), name)
    if origin is Literal:
        if value not in inner:
            raise TrainingError(f"{name} is {value!r}, allowed are {', '.join(map(repr, inner))}")
        return value
    if origin is tuple and isinstance(value, list):
        return _fit_list(cast("list[object]", value), inner, name)
    if hint is float and type(value) is int:
        return float(value)
    if hint is tuple or origin is tuple or type(value) is not hint:
        wanted = "a list" if origin is tuple else hint.__name__
        raise TrainingError(f"{name} is {value!r}, it must be of type {wanted}")
    return value


def _fit_list(value: "list[object]", inner: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    endless = len(inner) == 2 and inner[1] is Ellipsis
    if not endless and len(value) != len(inner):
        raise TrainingError(f"{name} has {len(value)} entries, {len(inner)} are needed")
    hints = [inner[0]] * len(value) if endless else inner
    return tuple(
        _fit(item, hint, f"{name}[{index}]")
        for index, (item, hint) in enumerate(zip(value, hints, strict=True))
    )
