"""Which servers live: a lock that each holds, and that the system lets go when it is killed.

So a server takes up the jobs of a dead one, never those of one that works
beside it on the same folder. The lock is SQLite's, for it works wherever
SQLite does. Knows no job.
"""

import sqlite3
from pathlib import Path
from typing import Final
from uuid import uuid4

SUFFIX: Final = ".alive"


class Presence:
    """This server's life, seen by others through the folder."""

    def __init__(self, folder: Path) -> None:
        """Begin to live.

        Raises:
            OSError: The folder cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.name = uuid4().hex
        self._lock = _locked(self._path(self.name))

    def lives(self, name: str) -> bool:
        """Return whether the server of this name lives; the remains of a dead one go away."""
        path = self._path(name)
        if name == self.name:
            return True
        if not path.exists():
            return False
        try:
            _locked(path).close()
        except sqlite3.OperationalError:
            return True
        path.unlink(missing_ok=True)
        return False

    def close(self) -> None:
        """Live no more."""
        self._lock.close()
        self._path(self.name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"


def _locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        connection.close()
        raise
    return connection
