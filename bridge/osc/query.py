"""The namespace as OSCQuery tells it: the table of addresses as a tree of JSON.

After the OSCQuery proposal of Vidvox: CONTENTS, FULL_PATH, TYPE, ACCESS, VALUE,
RANGE, UNIT, DESCRIPTION and HOST_INFO. Of `session` it tells the values that a
new client has. Knows neither HTTP nor who asks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from bridge.osc.call import Access, Row
from bridge.osc.clients import Node
from bridge.osc.values import Kind, Parameter, write

ATTRIBUTES: Final = (
    "FULL_PATH",
    "CONTENTS",
    "TYPE",
    "ACCESS",
    "VALUE",
    "RANGE",
    "UNIT",
    "DESCRIPTION",
)
EXTENSIONS: Final = {
    "ACCESS": True,
    "VALUE": True,
    "RANGE": True,
    "UNIT": True,
    "DESCRIPTION": True,
    "TAGS": False,
    "EXTENDED_TYPE": False,
    "CRITICAL": False,
    "CLIPMODE": False,
    "LISTEN": True,
    "PATH_CHANGED": False,
}

Json: TypeAlias = dict[str, Any]
ValueOf: TypeAlias = Callable[[Node], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo:
    """Where a server is reached."""

    name: str
    host: str
    udp_port: int
    query_port: int


def host_info(info: HostInfo) -> Json:
    """Return HOST_INFO."""
    return {
        "NAME": info.name,
        "OSC_IP": info.host,
        "OSC_PORT": info.udp_port,
        "OSC_TRANSPORT": "UDP",
        "WS_IP": info.host,
        "WS_PORT": info.query_port,
        "EXTENSIONS": EXTENSIONS,
    }


def namespace(rows: Sequence[Row], path: str, value_of: ValueOf) -> Json | None:
    """Return the node at a path with all below it, or None if there is none."""
    below = path.rstrip("/") + "/"
    own = next((row for row in rows if row.address == path), None)
    names = dict.fromkeys(
        row.address.removeprefix(below).partition("/")[0]
        for row in rows
        if row.address.startswith(below)
    )
    if own is None and not names:
        return None
    found: Json = {"FULL_PATH": path, "ACCESS": 0}
    if own is not None:
        found |= _described(own, value_of)
    if names:
        inside = [row for row in rows if row.address.startswith(below)]
        found["CONTENTS"] = {name: namespace(inside, below + name, value_of) for name in names}
    return found


def _described(row: Row, value_of: ValueOf) -> Json:
    arguments = _arguments(row)
    found: Json = {
        "ACCESS": int(row.access),
        "TYPE": "".join(_tag(argument) for argument in arguments),
        "DESCRIPTION": _description(row),
        "RANGE": [_range(argument) for argument in arguments],
        "UNIT": [argument.unit for argument in arguments],
    }
    if row.node is not None and row.access is not Access.WRITE:
        found["VALUE"] = [write(row.node.known.parameter, value_of(row.node)).value]
    return found


def _arguments(row: Row) -> tuple[Parameter, ...]:
    if row.node is not None and row.access is not Access.WRITE:
        return (row.node.known.parameter,)
    return row.parameters


def _tag(parameter: Parameter) -> str:
    return parameter.tag


def _range(parameter: Parameter) -> Json | None:
    if parameter.words:
        return {"VALS": list(parameter.words)}
    if parameter.least is None or parameter.kind in (Kind.TEXT, Kind.LARGE):
        return None
    return {"MIN": parameter.least, "MAX": parameter.greatest}


def _description(row: Row) -> str:
    if row.node is not None and row.access is not Access.WRITE:
        return row.does
    names = " ".join(parameter.name for parameter in row.parameters)
    more = "".join(f" [{parameter.name}]" for parameter in row.optional)
    keys = ", ".join(option.name for option in row.options)
    text = f"{row.does}. Arguments: {(names + more).strip() or 'none'}"
    return f"{text}. Keys: {keys}" if keys else text
