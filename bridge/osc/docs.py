"""`docs/osc.md` out of the table of addresses: `python -m bridge.osc.docs > docs/osc.md`.

A test compares the file with what this makes.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from bridge.osc import answers, budget, clients, schedule
from bridge.osc.call import Row
from bridge.osc.clients import PROPERTIES, Property, Scope
from bridge.osc.stream import MAX_PACKET_BYTES
from bridge.osc.table import VERB_ROWS
from bridge.osc.values import Kind, Parameter

_HEAD: Final = f"""# OSC

Made from the server's table of addresses by `python -m bridge.osc.docs > docs/osc.md`; the same
table drives dispatch, argument checks and OSCQuery.

## How to talk to it

- **Ports**: UDP, TCP and OSCQuery (HTTP and WebSocket), on loopback addresses alone, since OSC
  knows neither encryption nor tokens. TCP speaks SLIP (OSC 1.1) or length-prefixed packets (OSC
  1.0), whichever the client's first byte shows. A WebSocket takes OSC packets as binary frames. A
  packet of a stream has at most {MAX_PACKET_BYTES} bytes.
- **Answers** go to the address and port that asked, or to `reply_port` of the same machine. Every
  packet is answered: by its verb, then `/jukebox/done`, or by `/jukebox/fail` with a gRPC status
  name and a reason that holds the value, the limit and the unit. Packets that are no OSC fail with
  an empty address and id. Only what servers say (answers below, and `#reply`) is never answered.
- **Ids** are yours, and come first. UDP loses packets, so the same message may be sent again: while
  its job runs, or once it is done, the last answer is repeated and nothing is computed twice.
  `/jukebox/query id` repeats it too, after a restart of the server as well.
- **Types**: a number may come as int32, int64, float, double or text. A float means the shortest
  decimal that it stands for; where a whole number is needed it must be one, below 2^24 in a float
  and below 2^53 in a double. A flag may come as T, F, 1, 0, or text (on, off, true, false). Impulse
  and nil are no argument. Positions are samples of the session's timeline.
  Answers carry positions and lengths as int64 and counts as double: a library that
  knows the four types of OSC 1.0 alone (node-osc 11 is one) cannot read those answers.
- **Files** are named, never sent. They lie in the spool, or in a folder that `--allow-path` names;
  relative paths count from the spool.
- **Bundles are atomic**: if one message cannot be read, none runs, and each fails. A timetag in the
  future waits, at most {schedule.MAX_AHEAD_SECONDS:g} s, {schedule.MAX_WAITING_PER_CLIENT} bundles
  a client; one that is more than {1000 * schedule.LATE_SECONDS:g} ms late runs at once, after
  `/jukebox/late`.
- **Patterns** (`?`, `*`, `[a-f]`, `{{one,two}}`, `//`) name several addresses at once.
- **Properties**: `session` belongs to one client (its address and port, or its connection), is what
  a message leaves out, and is forgotten {clients.CLIENT_SECONDS / 60:g} minutes after its last
  message; `default` is what a session has until it sets its own; `server` only tells. Listening
  over UDP ends after {clients.LISTEN_SECONDS:g} s unless `start_listen` comes again. Changes are
  told at most twenty times a second, progress ten times.
- **Forged senders**: a host that is not this machine is sent at most {budget.BURST_BYTES} bytes at
  once and {budget.BYTES_PER_SECOND} bytes a second, and no port below {budget.FIRST_PORT} is
  answered.
- **OSCQuery** describes all of this; its `VALUE` of a `session` property is a new client's. Ask it
  through a loopback name: another Host, or a web page's Origin, is refused.
  `examples/osc_section.js` finds the server by zeroconf, reads the addresses and
  continues a section, with two libraries from npm that know nothing of this server.
"""


def document() -> str:
    """Return the whole of `docs/osc.md`."""
    parts = [
        _HEAD,
        "## Answers\n",
        _table(("address", "arguments"), _forms()),
        "## Verbs\n",
        *(_verb(row) for row in VERB_ROWS),
        "## Properties\n",
        *(_scope(scope) for scope in Scope),
    ]
    return "\n".join(parts)


def _forms() -> list[tuple[str, str]]:
    forms = [(f"`{address}`", f"`{form}`") for address, form in answers.FORMS.items()]
    return [*forms, (f"`{answers.DONE}` of a verb that makes music", f"`{answers.MUSIC_DONE}`")]


def _verb(row: Row) -> str:
    names = [parameter.name for parameter in row.parameters]
    names += [f"[{parameter.name}]" for parameter in row.optional]
    if row.options:
        names.append("[key value]...")
    form = " ".join([row.address, *names])
    lines = [f"### `{form}`\n", f"{_sentence(row.does)} Answers: {row.answers}.\n"]
    arguments = [*row.parameters, *row.optional]
    if arguments:
        lines.append(_arguments("argument", arguments))
    keys = [option for option in row.options if option not in arguments]
    if keys:
        lines.append(_arguments("key", keys))
    return "\n".join(lines)


def _scope(scope: Scope) -> str:
    methods = "get", "start_listen", "stop_listen"
    if scope is not Scope.SERVER:
        methods = "get", "set", *methods[1:]
    said = ", ".join(f"`/jukebox/{scope}/{method}/NAME`" for method in methods)
    lines = [
        f"### `/jukebox/{scope}/NAME`\n",
        f"Methods: {said}. The plain address tells the value"
        + (", or sets it without an answer if one follows.\n" if len(methods) > 3 else ".\n"),
    ]
    if scope is Scope.DEFAULT:
        return "\n".join([*lines, "The names are those of `session`.\n"])
    rows = [(*_cells(known.parameter), _default(known)) for known in PROPERTIES[scope]]
    return "\n".join([*lines, _table(("name", "type", "range", "meaning", "default"), rows)])


def _arguments(what: str, parameters: Sequence[Parameter]) -> str:
    return _table((what, "type", "range", "meaning"), [_cells(known) for known in parameters])


def _cells(parameter: Parameter) -> tuple[str, str, str, str]:
    return f"`{parameter.name}`", f"`{parameter.tag}`", _range(parameter), parameter.does


def _range(parameter: Parameter) -> str:
    if parameter.words:
        return ", ".join(parameter.words)
    if parameter.least is None or parameter.greatest is None:
        return ""
    unit = "characters" if parameter.kind is Kind.TEXT else parameter.unit
    least, greatest = _number(parameter.least), _number(parameter.greatest)
    return f"{least} to {greatest} {unit}".strip()


def _number(value: float) -> str:
    power = int(abs(value)).bit_length()
    if isinstance(value, int) and power > 31:
        exact = "" if abs(value) == 2 ** (power - 1) else " - 1"
        return f"{'-' if value < 0 else ''}2^{power - 1 if not exact else power}{exact}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _default(known: Property) -> str:
    if known.default is None:
        return ""
    return f"`{known.default}`" if known.default != "" else "empty"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
