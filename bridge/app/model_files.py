"""The files of a model, verified without being loaded."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bridge.app.rows import translated_errors
from bridge.errors import NotReadyError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A folder of weights whose files are as its manifest says."""

    name: str
    folder: Path
    num_files: int
    num_bytes: int


def verify_model(folder: Path | None = None) -> ModelFiles:
    """Return what a folder of weights, or the model in the box, holds; every byte was hashed.

    Raises:
        NotReadyError: No model, or a file is missing or damaged.
    """
    from model.store import SHIPPED, read_manifest

    place = folder or SHIPPED
    with translated_errors():
        manifest = read_manifest(place)
    paths = {place / f"{name}.safetensors": row for name, row in manifest["files"].items()}
    for path, row in paths.items():
        made = _sha256(path)
        if made != row["sha256"]:
            raise NotReadyError(
                f"{path} is damaged: SHA-256 {made}, the manifest says {row['sha256']}"
            )
    return ModelFiles(
        name=manifest["name"],
        folder=place,
        num_files=len(paths),
        num_bytes=sum(path.stat().st_size for path in paths),
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NotReadyError(f"{path} cannot be read: {error.strerror}") from error
