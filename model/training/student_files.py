"""A folder that holds one student, such as a published teacher's: sizes, weights, where from."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] - types a bare PathLike
)
from torch import Tensor

from model.config import LabelConfig, StudentConfig, TransformerConfig
from model.errors import CheckpointError
from model.folders import read_table, sha256_of, write_shards, write_table
from model.student import Student

KIND: Final = "student"
FORMAT: Final = 1
SHARD_BYTES: Final = 256 * 2**20


def save_student(student: Student, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write a folder that `load_student` reads; facts stand in its manifest beside the sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    state = ((key, value.contiguous()) for key, value in student.state_dict().items())
    rows = write_shards(folder, KIND, state, SHARD_BYTES)
    own = {"kind": KIND, "format": FORMAT, "config": asdict(student.config), "files": rows}
    write_table(folder, {**facts, **own})


def load_student(folder: Path) -> Student:
    """Return the student of a published teacher, its file verified.

    Raises:
        CheckpointError: It is missing, damaged, or no student.
    """
    table = read_table(folder)
    if table.get("kind") != KIND or table.get("format") != FORMAT:
        raise CheckpointError(f"{folder} holds no student, format {FORMAT}")
    student = Student(_config_from(table["config"]))
    state: dict[str, Tensor] = {}
    for name, row in table["files"].items():
        if sha256_of(folder / name) != row["sha256"]:
            raise CheckpointError(f"{folder / name} is damaged: its SHA-256 is not the manifest's")
        state |= load_file(folder / name)
    student.load_state_dict(state)
    return student.eval().requires_grad_(False)


def _config_from(table: Mapping[str, Any]) -> StudentConfig:
    made: dict[str, Any] = json.loads(json.dumps(table))
    stack, labels = made.pop("transformer"), made.pop("labels")
    stack["pattern"] = tuple(stack["pattern"])
    labels["seconds"] = tuple(labels["seconds"])
    made["order"] = tuple(made["order"])
    return StudentConfig(
        transformer=TransformerConfig(**stack), labels=LabelConfig(**labels), **made
    )
