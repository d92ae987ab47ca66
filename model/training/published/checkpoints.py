"""Checkpoints of a training: sharded, checksummed, whole or not at all, the last few kept.

A folder holds safetensors of bounded size and a manifest with the SHA-256 of
each. The newest that is whole is gone on from; a damaged one is told of and
passed over.
"""

import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] - types a bare PathLike
)
from torch import Tensor

from model.errors import CheckpointError
from model.folders import (
    MANIFEST,
    place_folder,
    read_table,
    sha256_of,
    write_shards,
    write_table,
)

log = logging.getLogger(__name__)
FOLDER: Final = "checkpoints"
KIND: Final = "training"
FORMAT: Final = 1
_STEP: Final = "step-"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """A checkpoint: its numbers, and where its tensors are."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def numbers(self) -> dict[str, Any]:
        """Return what was kept beside tensors."""
        return self.manifest["numbers"]

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by its key.

        Raises:
            CheckpointError: A file cannot be read.
        """
        found: dict[str, Tensor] = {}
        for name in self.manifest["files"]:
            try:
                found |= load_file(self.folder / name)
            except (OSError, SafetensorError) as error:
                raise CheckpointError(f"{self.folder / name} cannot be read: {error}") from error
        return found


def keep(
    out: Path,
    step: int,
    numbers: Mapping[str, Any],
    tensors: Iterable[tuple[str, Tensor]],
    *,
    shard_bytes: int,
    most: int,
) -> Path:
    """Write a checkpoint and delete those before the last `most`; return its folder."""
    place = out / FOLDER / f"{_STEP}{step:09}"
    fresh = place.with_name(f".{place.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    files = write_shards(fresh, "part", tensors, shard_bytes)
    manifest = {"kind": KIND, "format": FORMAT, "numbers": dict(numbers), "files": files}
    write_table(fresh, manifest)
    place_folder(fresh, place)
    for old in _folders(out)[:-most]:
        shutil.rmtree(old)
    return place


def newest(out: Path) -> Kept | None:
    """Return the newest whole checkpoint of a training's folder; None if it has none.

    Raises:
        CheckpointError: There are checkpoints, and every one of them is damaged.
    """
    folders = _folders(out)
    for folder in reversed(folders):
        try:
            return _checked(folder)
        except CheckpointError as error:
            log.warning("%s is passed over: %s", folder.name, error)
    if folders:
        raise CheckpointError(f"all checkpoints in {out / FOLDER} are damaged: {len(folders)}")
    return None


def _folders(out: Path) -> list[Path]:
    return sorted((out / FOLDER).glob(f"{_STEP}*"))


def _checked(folder: Path) -> Kept:
    table = read_table(folder)
    if (table.get("kind"), table.get("format")) != (KIND, FORMAT):
        path = folder / MANIFEST
        raise CheckpointError(f"{path} is no manifest of a training, format {FORMAT}")
    for name, row in table["files"].items():
        made = sha256_of(folder / name)
        if made != row["sha256"]:
            raise CheckpointError(f"{name} has SHA-256 {made}, expected {row['sha256']}")
    return Kept(folder=folder, manifest=table)
