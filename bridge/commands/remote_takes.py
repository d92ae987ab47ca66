"""`jukebox-bridge takes` with `--server`: what a server that runs keeps, asked over gRPC."""

import argparse
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from bridge.client import Client
from bridge.commands.console import say
from bridge.commands.serving import access_of
from bridge.entries import Verdict
from bridge.errors import InvalidRequestError, NotReadyError
from bridge.job_messages import mark_of


def run_remote(arguments: argparse.Namespace) -> int:
    """Do what was asked at the server named; return 0.

    Raises:
        BridgeError: What the server refused, or a file that cannot be written.
    """
    for name in ("spool", "model"):
        if getattr(arguments, name, None) is not None:
            raise InvalidRequestError(f"--{name} is the server's own business: leave it out")
    with Client(arguments.server, access_of(arguments)) as client:
        _ACTIONS[arguments.action](client, arguments)
    return 0


def facts_of(take: Message) -> dict[str, Any]:
    """Return all that the server tells of a take, as JSON can hold it; int64 as text."""
    return MessageToDict(
        take, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def line_of(take: Message) -> str:
    """Return a take in one line."""
    facts = facts_of(take)
    seconds = int(facts["num_samples"]) / facts["format"]["sample_rate"]
    made = datetime.fromtimestamp(facts["created_seconds"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    origin = f"from {facts['parent_id']}" if facts["parent_id"] else facts["model"]
    said = f"{facts['mark'].removeprefix('MARK_').lower()} {facts['name']}".removeprefix("none ")
    words = f"{facts['take_id']}  {made}  {seconds:7.2f} s  seed {facts['plan']['seed']}"
    return f"{words}  {origin}  {said}".rstrip()


def _list(client: Client, arguments: argparse.Namespace) -> None:
    verdict = None if arguments.verdict is None else Verdict(arguments.verdict)
    takes = client.takes(mark_of(verdict), arguments.parent or "")
    found = list(islice(takes, arguments.limit))
    if arguments.json:
        say(json.dumps([facts_of(take) for take in found]))
        return
    for take in found:
        say(line_of(take))


def _show(client: Client, arguments: argparse.Namespace) -> None:
    _tell(client.take(arguments.take), arguments)


def _tag(client: Client, arguments: argparse.Namespace) -> None:
    verdict = None if arguments.verdict is None else Verdict(arguments.verdict)
    _tell(client.tag(arguments.take, mark_of(verdict), arguments.name), arguments)


def _export(client: Client, arguments: argparse.Namespace) -> None:
    out: Path | None = arguments.out
    if out is None:
        raise InvalidRequestError("a take of a server is written to a file: name it with --out")
    if out.exists():
        raise NotReadyError(f"{out} is there already and stays as it is; name another file")
    export = client.export_codes if arguments.codes else client.export
    path = export(arguments.take, out)
    say(json.dumps({"path": str(path)}) if arguments.json else str(path))


def _tell(take: Message, arguments: argparse.Namespace) -> None:
    facts = facts_of(take)
    if arguments.json:
        say(json.dumps(facts))
        return
    for name, value in facts.items():
        say(f"{name:16} {value if isinstance(value, str) else json.dumps(value)}")


_ACTIONS: Final[Mapping[str, Callable[[Client, argparse.Namespace], None]]] = {
    "list": _list,
    "show": _show,
    "tag": _tag,
    "export": _export,
}
