"""`jukebox-bridge models`: import, list, describe and verify models."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bridge.app import (
    MAP_TYPES,
    MODEL_NAMES,
    ModelFacts,
    PartFacts,
    import_released,
    installed_models,
    model_facts,
    models_folder,
    verify_installed,
)
from bridge.commands.console import progress_bar, say

NUMBERED = "by number (import with --ids to use names)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `models` takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    taken = actions.add_parser(
        "import", help="convert published files once", description=_IMPORT_DESCRIPTION
    )
    taken.add_argument("source", type=Path, metavar="DIR", help="the folder of .pth.tar files")
    taken.add_argument("--name", required=True, choices=MODEL_NAMES, help="which model they are")
    taken.add_argument("--ids", type=Path, metavar="DIR", help="lists of artist and genre ids")
    taken.add_argument(
        "--dtype",
        choices=MAP_TYPES,
        default="stored",
        help="type of the transformers' maps on disk; the rest is float32 (%(default)s)",
    )
    listed = actions.add_parser("list", help="show the models there are")
    info = actions.add_parser("info", help="show all about one model")
    verified = actions.add_parser("verify", help="compare every byte with its checksum")
    for one in (info, verified):
        one.add_argument("name", metavar="NAME", help="a name that `models list` shows")
    for one in (taken, listed, info, verified):
        one.add_argument(
            "--models",
            type=Path,
            metavar="DIR",
            default=models_folder(),
            help="where imported models live (%(default)s)",
        )
        one.add_argument("--json", action="store_true", help="report as JSON")


_IMPORT_DESCRIPTION = (
    "Converts vqvae.pth.tar, prior_level_0.pth.tar, prior_level_1.pth.tar and "
    "prior_level_2.pth.tar into checked shards. Nothing in them is executed."
)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked and say what came of it; return 0.

    Raises:
        BridgeError: A file that is missing, damaged or another, or a model that is not there.
    """
    say(ACTIONS[arguments.action](arguments))
    return 0


def _import(arguments: argparse.Namespace) -> str:
    with progress_bar(f"importing {arguments.name} from {arguments.source}") as bar:
        facts = import_released(
            arguments.source,
            arguments.name,
            models=arguments.models,
            ids=arguments.ids,
            maps=arguments.dtype,
            show=bar.show,
        )
    return _described(facts, arguments)


def _list(arguments: argparse.Namespace) -> str:
    models = installed_models(arguments.models)
    if arguments.json:
        return json.dumps([_as_json(facts) for facts in models], indent=1)
    rows = [("name", "size", "licence", "labels")]
    rows += [
        (
            facts.name,
            _size(facts.disk_bytes),
            facts.licence.partition(" (")[0],
            f"{facts.artists} artists, {facts.genres} genres"
            + ("" if facts.labels else ", by number"),
        )
        for facts in models
    ]
    return _table(rows)


def _info(arguments: argparse.Namespace) -> str:
    return _described(model_facts(arguments.name, arguments.models), arguments)


def _verify(arguments: argparse.Namespace) -> str:
    with progress_bar(f"verifying {arguments.name}") as bar:
        count = verify_installed(arguments.name, arguments.models, bar.show)
    if arguments.json:
        return json.dumps({"name": arguments.name, "verified_bytes": count})
    return f"{arguments.name}: {_size(count)} read, every file is as it was written"


ACTIONS: dict[str, Callable[[argparse.Namespace], str]] = {
    "import": _import,
    "list": _list,
    "info": _info,
    "verify": _verify,
}


def _described(facts: ModelFacts, arguments: argparse.Namespace) -> str:
    if arguments.json:
        return json.dumps(_as_json(facts), indent=1)
    lines = [
        f"{facts.name} in {facts.folder}",
        f"weights: {facts.licence}",
        f"results: {facts.output_licence}",
        f"labels: {facts.artists} artists, {facts.genres} genres",
        *(f"  {version}: {read}" for version, read in (facts.labels or {"ids": NUMBERED}).items()),
        _table([PART_COLUMNS, *(_part_row(part) for part in facts.parts)]),
    ]
    return "\n".join(lines)


PART_COLUMNS = ("part", "parameters", "on disk", "context", "loaded float32", "half", "cache")
"""Cache: what attention remembers of one sample in half precision, beside the weights."""


def _part_row(part: PartFacts) -> tuple[str, ...]:
    context = "" if part.context_seconds is None else f"{part.context_seconds:.1f} s"
    return (
        part.part,
        "" if part.parameters is None else f"{part.parameters / 1e6:.1f} M",
        _size(part.disk_bytes),
        context,
        *(
            _size(part.memory_bytes[kind]) if kind in part.memory_bytes else ""
            for kind in ("float32", "half")
        ),
        _size(part.cache_bytes) if part.cache_bytes else "",
    )


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _as_json(facts: ModelFacts) -> dict[str, Any]:
    return {**asdict(facts), "folder": str(facts.folder), "disk_bytes": facts.disk_bytes}
