"""One SQLite file: transactions that are on disk when they end, and its schema's versions.

Write-ahead log, full synchronisation, foreign keys. Knows no table.
"""

import errno
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from bridge.errors import NotReadyError, StorageError

Migration: TypeAlias = Callable[[sqlite3.Connection], None]
Row: TypeAlias = dict[str, Any]

BUSY_SECONDS: Final = 30.0
"""How long a transaction waits for one of another process."""
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Database:
    """Two connections that threads share: one transaction at a time, and queries beside it.

    A query sees what was committed before it; it waits for no disk.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        """Open the file, made if it is missing, and bring its schema up to date.

        Args:
            path: Of the file; two more lie beside it while it is open.
            migrations: Number n brings a schema of version n to version n + 1.

        Raises:
            NotReadyError: A later program wrote the file.
            StorageError: The disk is full or refuses.
        """
        self._path = path
        self._lock, self._reading = threading.RLock(), threading.Lock()
        with storage_errors(f"open {path.name}"):
            self._connection = _connected(path)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                self._connection.execute(f"PRAGMA {pragma}")
        self._migrate(migrations)
        with storage_errors(f"open {path.name}"):
            self._reader = _connected(path)

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Yield the connection; all is on disk after the block, or nothing if it raises.

        Raises:
            StorageError: The disk is full or refuses.
        """
        with self._lock, storage_errors(f"write {self._path.name}"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._roll_back()
                raise
            self._commit()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return what a query finds.

        Raises:
            StorageError: The disk refuses.
        """
        with self._reading, storage_errors(f"read {self._path.name}"):
            return [dict(row) for row in self._reader.execute(sql, values)]

    def check(self) -> tuple[str, ...]:
        """Return what is wrong with the file: damage, and references to nothing."""
        damage = [row["integrity_check"] for row in self.rows("PRAGMA integrity_check")]
        dangling = self.rows("PRAGMA foreign_key_check")
        found = [f"{self._path.name}: {text}" for text in damage if text != "ok"]
        found += [
            f"{self._path.name}: row {row['rowid']} of {row['table']} refers to no {row['parent']}"
            for row in dangling
        ]
        return tuple(found)

    def close(self) -> None:
        """Close the file; a second time changes nothing."""
        with self._lock, self._reading:
            self._reader.close()
            self._connection.close()

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        with self.transaction() as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > len(migrations):
                raise NotReadyError(
                    f"{self._path} has version {version}, this program knows versions up to "
                    f"{len(migrations)}: a later one wrote it"
                )
            for migration in migrations[version:]:
                migration(connection)
            connection.execute(f"PRAGMA user_version = {len(migrations)}")


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def storage_errors(what: str) -> Generator[None]:
    """Raise what the disk refuses as `StorageError`."""
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno in FULL else str(error.strerror or error)
        raise StorageError(f"cannot {what}: {why}") from error
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        raise StorageError(f"cannot {what}: {error}") from error
