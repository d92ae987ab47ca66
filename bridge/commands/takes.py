"""`jukebox-bridge takes`: list, show, judge, export and make again what was made before."""

import argparse
import asyncio
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bridge.app import Load, open_store, shipped_model
from bridge.app.workbench import engine_alone
from bridge.audio_file import write_whole
from bridge.commands.console import note, say
from bridge.commands.remote_takes import run_remote
from bridge.commands.serving import access_of, add_remote_arguments
from bridge.config import default_spool
from bridge.entries import TakeEntry, TakeQuery, Verdict
from bridge.errors import InvalidRequestError, NotReadyError
from bridge.request import Done
from bridge.store import TakeStore
from bridge.takes import to_record

DIFFERENT: Final = 1
REMOTE: Final = frozenset({"list", "show", "tag", "export"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `takes` takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="show the takes there are, newest first")
    listed.add_argument("--verdict", choices=[one.value for one in Verdict if one])
    listed.add_argument("--parent", metavar="ID", help="only those that depart from this take")
    listed.add_argument("--limit", type=int, default=100, help="at most so many (%(default)s)")
    shown = actions.add_parser("show", help="show all about one take")
    tagged = actions.add_parser("tag", help="keep, reject or name a take")
    tagged.add_argument("--verdict", choices=[one.value for one in Verdict], help="'' for none")
    tagged.add_argument("--name", help="what it is called from now on")
    deleted = actions.add_parser("delete", help="remove a take that nobody keeps")
    exported = actions.add_parser("export", help="write a take as a Broadcast Wave file")
    exported.add_argument("--out", type=Path, metavar="FILE", help="else into the spool")
    exported.add_argument(
        "--codes", action="store_true", help="its codes as safetensors instead; needs --out"
    )
    again = actions.add_parser("regenerate", help="make a take again and compare every bit")
    checked = actions.add_parser("check", help="look for damage: the database and every file")
    for one in (shown, tagged, deleted, exported, again):
        one.add_argument("take", metavar="ID", help="a name that `takes list` shows")
    for one in (exported, again):
        one.add_argument(
            "--model", type=Path, metavar="DIR", help="weights; the shipped ones if not given"
        )
    for one in (listed, shown, tagged, deleted, exported, again, checked):
        one.add_argument(
            "--spool",
            type=Path,
            metavar="DIR",
            help=f"where takes are kept ({default_spool()})",
        )
        one.add_argument("--json", action="store_true", help="report as JSON")
    for one in (listed, shown, tagged, exported):
        add_remote_arguments(one)


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Do what was asked; return 0, or 1 if a take came out differently or something is damaged.

    Raises:
        BridgeError: No such take, or a store, model or server that cannot be used.
    """
    if getattr(arguments, "server", None) is not None:
        return run_remote(arguments)
    if arguments.action in REMOTE:
        access_of(arguments)
    if arguments.action in ("export", "regenerate"):
        load = load or shipped_model(arguments.model)
        work = _export if arguments.action == "export" else _regenerate
        return asyncio.run(work(arguments, load))
    with closing(open_store(_spool_of(arguments))) as store:
        return _ACTIONS[arguments.action](store, arguments)


def facts_of(entry: TakeEntry) -> dict[str, Any]:
    """Return all that is known of a take but its codes, as JSON can hold it."""
    made = datetime.fromtimestamp(entry.created_s, UTC).isoformat(timespec="seconds")
    own = {"verdict": entry.verdict.value, "name": entry.name, "bytes": entry.used_bytes}
    return {"created": made, **own, **to_record(entry.take)}


def _spool_of(arguments: argparse.Namespace) -> Path:
    return arguments.spool or default_spool()


def _list(store: TakeStore, arguments: argparse.Namespace) -> int:
    verdict = None if arguments.verdict is None else Verdict(arguments.verdict)
    query = TakeQuery(verdict=verdict, parent=arguments.parent, limit=arguments.limit)
    entries = store.entries(query)
    if arguments.json:
        say(json.dumps([facts_of(entry) for entry in entries]))
        return 0
    for entry in entries:
        say(_line_of(entry))
    note(f"{len(entries)} of {len(store)} takes")
    return 0


def _line_of(entry: TakeEntry) -> str:
    take = entry.take
    seconds = take.num_samples / take.request.sample_rate
    made = datetime.fromtimestamp(entry.created_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    origin = take.request.source["kind"] if take.parent is None else f"from {take.parent}"
    said = f"{entry.verdict.value} {entry.name}".strip()
    return f"{take.id}  {made}  {seconds:7.2f} s  seed {take.seed}  {origin}  {said}".rstrip()


def _show(store: TakeStore, arguments: argparse.Namespace) -> int:
    return _told(store.entry(arguments.take), arguments)


def _tag(store: TakeStore, arguments: argparse.Namespace) -> int:
    verdict = None if arguments.verdict is None else Verdict(arguments.verdict)
    return _told(store.tag(arguments.take, verdict, arguments.name), arguments)


def _told(entry: TakeEntry, arguments: argparse.Namespace) -> int:
    facts = facts_of(entry)
    if arguments.json:
        say(json.dumps(facts))
        return 0
    for name, value in facts.items():
        say(f"{name:12} {json.dumps(value) if isinstance(value, dict) else value}")
    return 0


def _delete(store: TakeStore, arguments: argparse.Namespace) -> int:
    store.delete(arguments.take)
    _report(arguments, {"deleted": arguments.take}, f"{arguments.take} is gone")
    return 0


def _check(store: TakeStore, arguments: argparse.Namespace) -> int:
    problems = store.check()
    whole = f"{len(store)} takes are whole" if not problems else "\n".join(problems)
    _report(arguments, {"problems": problems, "takes": len(store)}, whole)
    return DIFFERENT if problems else 0


async def _export(arguments: argparse.Namespace, load: Load) -> int:
    async with engine_alone(_spool_of(arguments), load) as engine:
        if arguments.codes:
            if arguments.out is None:
                raise InvalidRequestError("--codes are written to a file: name it with --out")
            data = await engine.export_codes(arguments.take)
            path = await asyncio.to_thread(write_whole, arguments.out, (data,))
            _report(arguments, {"path": str(path)}, str(path))
            return 0
        path = await engine.export(arguments.take)
        if arguments.out is not None:
            path = await asyncio.to_thread(_copied, path, arguments.out)
    _report(arguments, {"path": str(path)}, str(path))
    return 0


def _copied(path: Path, out: Path) -> Path:
    if out.exists():
        raise NotReadyError(f"{out} is there already and stays as it is; name another file")
    try:
        shutil.copyfile(path, out)
    except OSError as error:
        raise NotReadyError(f"{out} cannot be written: {error.strerror}") from error
    return out


async def _regenerate(arguments: argparse.Namespace, load: Load) -> int:
    async with engine_alone(_spool_of(arguments), load) as engine:
        take = (await asyncio.to_thread(engine.store.entry, arguments.take)).take
        if take.fingerprint != engine.info.fingerprint:
            raise NotReadyError(
                f"the take {take.id} was made by the model {take.model} ({take.fingerprint}), "
                f"loaded is {engine.info.name} ({engine.info.fingerprint}): its bytes are others"
            )
        asked = await asyncio.to_thread(engine.store.request, take.id)
        # Computed anew, whatever key or deadline it had, with the plan that it was made with.
        asked = replace(asked, idempotency_key="", deadline_s=None, detached=False, model="")
        asked = replace(asked, plan=take.plan, keep_up=False, due_in_s=None)
        again = [event async for event in engine.render(asked) if isinstance(event, Done)][-1]
    same = again.sha256 == take.sha256
    facts = {"take": take.id, "sha256": take.sha256, "again": again.sha256, "same": same}
    words = "the same, bit for bit" if same else f"different: {again.sha256}, take {again.take_id}"
    _report(arguments, facts, f"{take.id}: {take.sha256} {words}")
    return 0 if same else DIFFERENT


def _report(arguments: argparse.Namespace, facts: Mapping[str, Any], words: str) -> None:
    say(json.dumps(facts) if arguments.json else words)


_ACTIONS: Final[Mapping[str, Callable[[TakeStore, argparse.Namespace], int]]] = {
    "list": _list,
    "show": _show,
    "tag": _tag,
    "delete": _delete,
    "check": _check,
}
