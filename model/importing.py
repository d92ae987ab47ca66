"""Published files into a folder of ours: converted once, whole or not at all.

The folder is written beside its place and renamed when it is complete. What is
in memory is one shard and one tensor, however large the model.
"""

import json
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import torch
from torch import Tensor

from model.checkpoint import (
    MAP,
    Published,
    check_source,
    empty_module,
    published_names,
    published_state,
    published_ties,
    read_published,
    shapes,
)
from model.config import PriorConfig
from model.container import Checkpoint, open_checkpoint
from model.errors import CheckpointError
from model.folders import place_folder, sha256_of, write_shards, write_table
from model.imported import (
    FORMAT,
    KIND,
    LABELS,
    ImportedModel,
    Meter,
    Report,
    open_model,
)
from model.label_tables import LabelTable, check_ids, read_tables
from model.released import (
    FILES,
    LABEL_VERSIONS,
    LICENCE,
    MODELS,
    OUTPUT_LICENCE,
    RELEASED,
    SHARED_FOLDER,
    UPSAMPLER_LABELS,
)

SHARD_BYTES: Final = 256 * 2**20
MAPS: Final = {
    "stored": None,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}
"""In which type the transformers' maps are kept; everything else is in single precision."""

TELLING: Final = "prior.x_emb.weight"
"""A small tensor that no two trained models share."""

Tables = Mapping[str, Mapping[str, LabelTable]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part that is to be converted."""

    name: str
    of: str
    checkpoint: Checkpoint
    source_bytes: int
    made_bytes: int


def import_model(
    source: Path,
    models: Path,
    name: str,
    *,
    ids: Path | None = None,
    maps: str = "stored",
    report: Report = lambda _: None,
) -> ImportedModel:
    """Convert the published files of a folder into `models/name`, once; return the result.

    Everything that can be refused is refused before anything is written. What is in memory is a
    shard of `SHARD_BYTES` and one tensor.

    Args:
        source: The folder of the published files, or of `5b`, `5b_lyrics`, `1b_lyrics` with them.
        models: Where converted models live.
        name: One of `MODELS`.
        ids: The folder of the user's label lists; without them labels are given by number.
        maps: One of `MAPS`.
        report: Called after every few megabytes.

    Raises:
        CheckpointError: A file is missing, damaged, hostile or of another part; the name or type
            is unknown; the model is there already; the disk is too full.
    """
    if name not in MODELS or maps not in MAPS:
        raise CheckpointError(
            f"{name!r} with maps in {maps!r} is not known: models are {sorted(MODELS)}, types "
            f"{sorted(MAPS)}"
        )
    place = models / name
    if place.exists():
        raise CheckpointError(f"{place} is there already: delete the folder to import again")
    found = _locate(source, name)
    parts = [_opened(part, MODELS[name][part], path, MAPS[maps]) for part, path in found.items()]
    _check_upsamplers(*(part.checkpoint for part in parts[1:3]))
    tables = _tables(ids, name)
    _check_space(models, sum(part.made_bytes for part in parts))
    total = sum(2 * part.source_bytes + part.made_bytes for part in parts)
    with _atomic_folder(place) as folder:
        _write(folder, name, maps, parts, tables, Meter(total, report))
    return open_model(place)


def _locate(source: Path, name: str) -> dict[str, Path]:
    """Return the file of each part; all that are missing are named at once."""
    found: dict[str, Path] = {}
    for part, file in FILES.items():
        folder = name if part == "level_2" else SHARED_FOLDER
        places = [source / file, source / folder / file, source.parent / folder / file]
        existing = [path for path in places if path.exists()]
        if existing:
            found[part] = existing[0]
    missing = [FILES[part] for part in FILES if part not in found]
    if missing:
        raise CheckpointError(
            f"{source} lacks {', '.join(missing)}: {name} needs {', '.join(FILES.values())}, all "
            f"in one folder, or the last in {name} and the others in {SHARED_FOLDER}"
        )
    return found


def _opened(part: str, of: str, path: Path, maps: torch.dtype | None) -> _Part:
    checkpoint = open_checkpoint(path)
    module = empty_module(RELEASED[of])
    try:
        check_source(module, checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is not {of}: {_instead(checkpoint)}{error}") from error
    ties = published_ties(module)
    made = sum(
        tensor.numel() * _made_dtype(key, checkpoint.dtype(key), maps).itemsize
        for key, tensor in published_state(module).items()
        if key not in ties
    )
    return _Part(
        name=part,
        of=of,
        checkpoint=checkpoint,
        source_bytes=path.stat().st_size,
        made_bytes=made,
    )


def _check_upsamplers(level_0: Checkpoint, level_1: Checkpoint) -> None:
    """Pass if both are not the same file, which their shapes cannot tell."""
    if torch.equal(level_0.read(TELLING), level_1.read(TELLING)):
        raise CheckpointError(
            f"{level_0.path} and {level_1.path} hold the same weights: one was saved over the "
            "other, download both again"
        )


def _instead(checkpoint: Checkpoint) -> str:
    """Return what a file holds that is not what it should be, as far as shapes tell."""
    given = checkpoint.shapes()
    for name, config in RELEASED.items():
        if shapes(published_state(empty_module(config))) == given:
            return f"it holds {name}; "
    return ""


def _made_dtype(key: str, stored: torch.dtype, maps: torch.dtype | None) -> torch.dtype:
    return (maps or stored) if key.endswith(MAP) else torch.float32


def _tables(ids: Path | None, name: str) -> Tables:
    if ids is None:
        return {}
    version = LABEL_VERSIONS[name]
    tables = read_tables(ids, tuple(dict.fromkeys((version, UPSAMPLER_LABELS))))
    for read, part in ((version, "level_2"), (UPSAMPLER_LABELS, "level_1")):
        config = RELEASED[MODELS[name][part]]
        if isinstance(config, PriorConfig) and config.labels:
            check_ids(tables[read]["artist"], config.labels.artists)
            check_ids(tables[read]["genre"], config.labels.genres)
    return tables


def _check_space(models: Path, needed_bytes: int) -> None:
    models.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(models).free
    if free < needed_bytes:
        raise CheckpointError(
            f"{models} has {free / 2**30:.1f} GiB free, the model needs {needed_bytes / 2**30:.1f}"
        )


@contextmanager
def _atomic_folder(place: Path) -> Generator[Path]:
    """Yield a folder that takes its place when all went well, and is gone otherwise."""
    for old in place.parent.glob(f".{place.name}.*"):
        if not psutil.pid_exists(int(old.suffix[1:])):
            shutil.rmtree(old)
    folder = place.parent / f".{place.name}.{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
        place_folder(folder, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    folder: Path, name: str, maps: str, parts: Iterable[_Part], tables: Tables, meter: Meter
) -> None:
    rows = {part.name: _write_part(folder, part, MAPS[maps], meter) for part in parts}
    manifest = {
        "kind": KIND,
        "format": FORMAT,
        "name": name,
        "maps": maps,
        "licence": LICENCE,
        "output_licence": OUTPUT_LICENCE,
        "parts": rows,
        "labels": _write_labels(folder, tables),
    }
    write_table(folder, manifest)


def _write_part(
    folder: Path, part: _Part, maps: torch.dtype | None, meter: Meter
) -> dict[str, Any]:
    path = part.checkpoint.path
    meter.phase = f"checking {path.name}"
    digest = sha256_of(path, meter.add)
    meter.phase = f"converting {path.name}"
    module = empty_module(RELEASED[part.of])
    tensors = _tensors(module, part, maps, meter)
    files = write_shards(folder, part.name, tensors, SHARD_BYTES, meter.add)
    sizes = [tensor.numel() for tensor in module.parameters()]
    maps_held = [value.numel() for key, value in module.named_parameters() if key.endswith(MAP)]
    return {
        "of": part.of,
        "files": files,
        "ties": published_ties(module),
        "numbers": sum(sizes),
        "map_numbers": sum(maps_held),
        "step": part.checkpoint.step,
        "source": {"file": path.name, "sha256": digest, "bytes": part.source_bytes},
    }


def _tensors(
    module: Published, part: _Part, maps: torch.dtype | None, meter: Meter
) -> Iterator[tuple[str, Tensor]]:
    """Yield published keys with their tensors, and count what was read."""
    names = published_names(module.config)
    path = part.checkpoint.path
    try:
        for key, tensor in read_published(module, part.checkpoint, maps):
            name = names[key]
            meter.add(tensor.numel() * part.checkpoint.dtype(name).itemsize)
            yield name, tensor
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _write_labels(folder: Path, tables: Tables) -> dict[str, Any] | None:
    if not tables:
        return None
    names = {
        version: {kind: dict(table.names) for kind, table in kinds.items()}
        for version, kinds in tables.items()
    }
    path = folder / LABELS
    path.write_text(json.dumps(names, indent=0, sort_keys=True), encoding="utf-8")
    read = {
        version: {
            kind: {
                "file": table.path.name,
                "lines": table.lines,
                "names": len(table.names),
                "repeated": table.repeated,
                "skipped": list(table.skipped),
            }
            for kind, table in kinds.items()
        }
        for version, kinds in tables.items()
    }
    digest = sha256_of(path)
    return {"sha256": digest, "bytes": path.stat().st_size, "read": read}
