"""A published model in a folder of ours, loaded part by part.

A folder holds safetensors of bounded size under the published keys, the user's
label tables, and `manifest.json` with the SHA-256 of all; `model.importing`
writes it. Parts (codec, upsamplers, top prior) are loaded and dropped one at a
time, tensor by tensor.
"""

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from safetensors import (
    SafetensorError,
    safe_open,  # pyright: ignore[reportUnknownVariableType] - it has no types
)
from torch import Tensor

from model.checkpoint import Published, empty_module, load_published
from model.errors import CheckpointError
from model.folders import MANIFEST, Advance, read_table, sha256_of, uncounted
from model.released import FILES, MODELS, RELEASED

LABELS: Final = "labels.json"
KIND: Final = "released"
FORMAT: Final = 1
_DTYPES: Final = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far the work has come, in bytes of all that is read and written."""

    phase: str
    done_bytes: int
    total_bytes: int


Report = Callable[[Step], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """A converted model's folder and what its manifest says."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the published name."""
        return self.manifest["name"]

    def part(self, part: str) -> Mapping[str, Any]:
        """Return what the manifest says of a part: one of `FILES`."""
        return self.manifest["parts"][part]


def open_model(folder: Path) -> ImportedModel:
    """Return a converted model; its manifest is read, its weights are not.

    Raises:
        CheckpointError: There is none, or the manifest is damaged or of another format.
    """
    path, table = folder / MANIFEST, read_table(folder)
    if table.get("kind") != KIND or table.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no manifest of an imported model, format {FORMAT}")
    if table.get("name") not in MODELS or set(table.get("parts", ())) != set(FILES):
        raise CheckpointError(f"{path} does not describe one of {sorted(MODELS)}: import it again")
    return ImportedModel(folder=folder, manifest=table)


def imported_models(models: Path) -> list[ImportedModel]:
    """Return the converted models of a folder, by name."""
    return [open_model(models / name) for name in MODELS if (models / name / MANIFEST).is_file()]


def load_part(model: ImportedModel, part: str, maps: torch.dtype = torch.float32) -> Published:
    """Return one part, filled tensor by tensor: drop it before the next is loaded.

    Args:
        model: The converted model.
        part: `vqvae`, `level_0`, `level_1` (upsamplers) or `level_2` (the top prior).
        maps: The type that the transformers' maps shall have; the rest is in single precision.

    Raises:
        CheckpointError: The part is unknown, or a file of it is missing, damaged or misshapen.
    """
    if part not in FILES:
        raise CheckpointError(f"{part!r} is no part of a model, there are {sorted(FILES)}")
    module = empty_module(RELEASED[model.part(part)["of"]])
    load_published(module, Shards.of(model, part), maps)
    return module


def load_labels(model: ImportedModel) -> dict[str, dict[str, dict[str, int]]]:
    """Return names to ids by version and kind (`artist`, `genre`); none if none were imported.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    row = model.manifest["labels"]
    if row is None:
        return {}
    path = model.folder / LABELS
    _check_file(path, row, uncounted)
    return json.loads(path.read_text(encoding="utf-8"))


def verify_model(model: ImportedModel, report: Report = lambda _: None) -> int:
    """Pass if every file has the SHA-256 of the manifest; return how many bytes were read.

    Raises:
        CheckpointError: Names the first file that is missing or damaged.
    """
    parts = model.manifest["parts"].values()
    files = [row for part in parts for row in part["files"].items()]
    if model.manifest["labels"] is not None:
        files.append((LABELS, model.manifest["labels"]))
    meter = Meter(sum(row["bytes"] for _, row in files), report)
    for name, row in files:
        meter.phase = f"checking {name}"
        _check_file(model.folder / name, row, meter.add)
    return meter.total_bytes


class Meter:
    """Counts bytes and reports them."""

    def __init__(self, total_bytes: int, report: Report) -> None:
        self.total_bytes = total_bytes
        self._report, self._done = report, 0
        self.phase = ""

    def add(self, count: int) -> None:
        """Report so many bytes more."""
        self._done += count
        step = Step(phase=self.phase, done_bytes=self._done, total_bytes=self.total_bytes)
        self._report(step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """The safetensors of one part as a source of tensors."""

    folder: Path
    places: Mapping[str, str]
    ties: Mapping[str, str]

    @classmethod
    def of(cls, model: ImportedModel, part: str) -> "Shards":
        """Return a part's shards; their sizes are compared with the manifest's."""
        row = model.part(part)
        for name, file in row["files"].items():
            path = model.folder / name
            size = path.stat().st_size if path.is_file() else 0
            if size != file["bytes"]:
                raise CheckpointError(
                    f"{path} has {size} bytes, the manifest says {file['bytes']}: import it again"
                )
        places = {key: name for name, file in row["files"].items() for key in file["keys"]}
        return cls(folder=model.folder, places=places, ties=row["ties"])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each key's tensor."""
        found: dict[str, tuple[int, ...]] = {}
        for name in dict.fromkeys(self.places.values()):
            with self._open(name) as file:
                found |= {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        return found | {twin: found[key] for twin, key in self.ties.items() if key in found}

    def dtype(self, key: str) -> torch.dtype:
        """Return a tensor's type."""
        with self._open(self._place(key)) as file:
            found = file.get_slice(self._first(key)).get_dtype()
        if found not in _DTYPES:
            raise CheckpointError(f"{key} holds {found}, expected one of {sorted(_DTYPES)}")
        return _DTYPES[found]

    def same(self, key: str, twin: str) -> bool:
        """Return whether both keys are one stored tensor."""
        return self._first(key) == self._first(twin)

    def read(self, key: str) -> Tensor:
        """Return a copy of one tensor, so that the file may go."""
        with self._open(self._place(key)) as file:
            return file.get_tensor(self._first(key)).clone()

    def _first(self, key: str) -> str:
        return self.ties.get(key, key)

    def _place(self, key: str) -> str:
        return self.places[self._first(key)]

    @contextmanager
    def _open(self, name: str) -> Generator[Any]:
        path = self.folder / name
        try:
            with cast(Any, safe_open(path, framework="pt")) as file:
                yield file
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error


def _check_file(path: Path, row: Mapping[str, Any], advance: Advance) -> None:
    made = sha256_of(path, advance)
    if made != row["sha256"]:
        raise CheckpointError(
            f"{path} is damaged: SHA-256 {made}, the manifest says {row['sha256']}; import it again"
        )
