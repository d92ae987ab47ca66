"""Takes on disk: one folder each, there in full or not at all, also after `kill -9`.

A folder is written under a temporary name, synced, then renamed. The index of
what is there lives in memory and is read from disk at the start. Knows neither
engine nor audio.
"""

import json
import logging
import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

from bridge.errors import NotFoundError
from bridge.takes import Take, from_record, to_record

log = logging.getLogger(__name__)

RECORD = "take.json"
CODES = "codes.bin"
UNFINISHED = ".unfinished-"
ABANDONED_SECONDS = 3600.0


class TakeStore:
    """All takes under one folder."""

    def __init__(self, root: Path) -> None:
        """Open the store, and make its folders if they are missing.

        Args:
            root: The folder of takes and results; the server's spool.
        """
        self._takes = root / "takes"
        self._results = root / "results"
        self._takes.mkdir(parents=True, exist_ok=True)
        self._results.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
        self._ids = {folder.parent.name for folder in self._takes.glob(f"[!.]*/{RECORD}")}

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self) -> tuple[str, ...]:
        """Return the names of all takes, sorted."""
        return tuple(sorted(self._ids))

    def audio_path(self, take_id: str) -> Path:
        """Return where the audio of a take is written when a file was asked for."""
        return self._results / f"{take_id}.wav"

    def save(self, take: Take) -> None:
        """Return once the take is on disk; an equal one that is there already stays."""
        final = self._takes / take.id
        if not final.exists():
            unfinished = self._takes / f"{UNFINISHED}{uuid4().hex}"
            unfinished.mkdir()
            record = json.dumps(to_record(take), indent=1, sort_keys=True)
            _write_synced(unfinished / RECORD, record.encode())
            _write_synced(unfinished / CODES, take.codes)
            _sync_folder(unfinished)
            _rename(unfinished, final)
            _sync_folder(self._takes)
        self._ids.add(take.id)

    def load(self, take_id: str) -> Take:
        """Return a take with its codes.

        Raises:
            NotFoundError: No take has this name.
        """
        if take_id not in self._ids:
            raise NotFoundError(f"no take is named {take_id!r}; {len(self._ids)} takes are kept")
        folder = self._takes / take_id
        return from_record(json.loads((folder / RECORD).read_text()), (folder / CODES).read_bytes())

    def _remove_abandoned(self) -> None:
        for folder in self._takes.glob(f"{UNFINISHED}*"):
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                log.warning("removing a take that was never finished: %s", folder.name)
                shutil.rmtree(folder)


def _rename(unfinished: Path, final: Path) -> None:
    try:
        unfinished.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        # Two equal requests ended at once; the other folder holds the same bytes.
        shutil.rmtree(unfinished)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
