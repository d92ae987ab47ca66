"""Folders of weights on disk: a manifest, safetensors of bounded size, digests, whole or not there.

Knows neither whose weights they are nor what a manifest says.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, cast

from safetensors.torch import (
    save_file,  # pyright: ignore[reportUnknownVariableType] - types a bare PathLike
)
from torch import Tensor

from model.errors import CheckpointError

MANIFEST: Final = "manifest.json"
READABLE: Final = 0o644
"""safetensors writes for the owner alone; a model may serve everybody."""
PIECE_BYTES: Final = 4 * 2**20
Advance = Callable[[int], None]
"""Hears how many bytes more are done."""


def uncounted(count: int) -> None:
    """Hear of progress that nobody follows."""
    del count


def read_table(folder: Path) -> dict[str, Any]:
    """Return what a folder's manifest says.

    Raises:
        CheckpointError: There is none, or it is no JSON object.
    """
    path = folder / MANIFEST
    try:
        table: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist: the folder holds no model") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise CheckpointError(f"{path} holds a {type(table).__name__}, expected an object")
    return cast(dict[str, Any], table)


def write_table(folder: Path, table: dict[str, Any]) -> None:
    """Write a folder's manifest."""
    text = json.dumps(table, indent=1, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def write_shards(
    folder: Path,
    stem: str,
    tensors: Iterable[tuple[str, Tensor]],
    shard_bytes: int,
    advance: Advance = uncounted,
) -> dict[str, dict[str, Any]]:
    """Write tensors as files of bounded size; return rows of the manifest by file's name.

    One tensor alone may be larger. Only one file's tensors are held. `advance` hears of what is
    read back for the digests.
    """
    rows: dict[str, dict[str, Any]] = {}
    for number, held in enumerate(_batches(tensors, shard_bytes), 1):
        path = folder / f"{stem}-{number:05}.safetensors"
        save_file(held, path)
        path.chmod(READABLE)
        rows[path.name] = {
            "sha256": sha256_of(path, advance),
            "bytes": path.stat().st_size,
            "keys": list(held),
        }
    return rows


def _batches(
    tensors: Iterable[tuple[str, Tensor]], shard_bytes: int
) -> Iterator[dict[str, Tensor]]:
    held: dict[str, Tensor] = {}
    for key, tensor in tensors:
        if held and sum(one.nbytes for one in held.values()) + tensor.nbytes > shard_bytes:
            yield held
            held = {}
        held[key] = tensor.detach().cpu().contiguous()
    if held:
        yield held


def sha256_of(path: Path, advance: Advance = uncounted) -> str:
    """Return the digest of a file, read in pieces.

    Raises:
        CheckpointError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                advance(len(piece))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return digest.hexdigest()


def place_folder(fresh: Path, place: Path) -> None:
    """Let a complete folder take a place, where an older one may be; both are on one disk."""
    for path in [*fresh.iterdir(), fresh]:
        _sync(path)
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    _sync(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
