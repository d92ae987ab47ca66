"""Files named by the hash of what they hold: written whole or not at all, checked when read.

Temporary name, fsync, rename, fsync of the folder; so a file is there in full
even after `kill -9`. Knows nothing of what the bytes mean.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

from bridge.database import storage_errors
from bridge.errors import StorageError

UNFINISHED: Final = ".unfinished-"


class Objects:
    """All objects under one folder, by SHA-256."""

    def __init__(self, root: Path) -> None:
        """Open the folder, made if it is missing.

        Raises:
            OSError: It cannot be made.
        """
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Return the name of the bytes, which are on disk then.

        Raises:
            StorageError: The disk is full or refuses.
        """
        name = hashlib.sha256(data).hexdigest()
        path = self.path(name)
        if not path.exists():
            write_whole(path, data)
        return name

    def get(self, name: str) -> bytes:
        """Return the bytes of a name.

        Raises:
            StorageError: They are missing, or are not those that were put.
        """
        with storage_errors(f"read {name}"):
            data = self.path(name).read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != name:
            raise StorageError(f"{self.path(name)} is damaged: its SHA-256 is {found}")
        return data

    def path(self, name: str) -> Path:
        """Return where the bytes of a name lie."""
        return self._root / name[:2] / name[2:]

    def remove(self, name: str) -> None:
        """Forget the bytes of a name, if they are there."""
        self.path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Yield the names of all objects."""
        for path in self._root.glob("??/*"):
            if not path.name.startswith(UNFINISHED):
                yield path.parent.name + path.name

    def remove_unfinished(self, older_than_s: float) -> None:
        """Remove what killed writers left before a time in Unix seconds."""
        for path in self._root.glob(f"??/{UNFINISHED}*"):
            if path.stat().st_mtime < older_than_s:
                path.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place in full, on disk when this returns, or leave nothing.

    Raises:
        StorageError: The disk is full or refuses.
    """
    unfinished = path.parent / f"{UNFINISHED}{uuid4().hex}"
    with storage_errors(f"write {len(data)} bytes to {path}"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            sync_folder(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are on disk."""
    if os.name == "nt":
        return  # Windows opens no folders; its renames are journalled.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
