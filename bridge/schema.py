"""The tables of takes and jobs, and how older stores become newer ones."""

import sqlite3
from typing import Final

from bridge.database import Migration

_FIRST: Final = (
    """
    CREATE TABLE takes (
        id TEXT PRIMARY KEY,
        parent TEXT REFERENCES takes(id),
        record TEXT NOT NULL,
        codes TEXT NOT NULL,
        inputs TEXT NOT NULL,
        used_bytes INTEGER NOT NULL,
        created_s REAL NOT NULL,
        verdict TEXT NOT NULL DEFAULT '' CHECK (verdict IN ('', 'keep', 'reject')),
        name TEXT NOT NULL DEFAULT ''
    ) STRICT
    """,
    "CREATE INDEX takes_by_parent ON takes(parent)",
    "CREATE INDEX takes_by_age ON takes(created_s)",
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        server TEXT NOT NULL,
        state TEXT NOT NULL,
        info TEXT NOT NULL,
        inputs TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        digest TEXT NOT NULL,
        created_s REAL NOT NULL,
        take_id TEXT REFERENCES takes(id) ON DELETE CASCADE,
        parent TEXT REFERENCES takes(id),
        told TEXT NOT NULL DEFAULT '{}'
    ) STRICT
    """,
    "CREATE INDEX jobs_by_age ON jobs(created_s)",
    "CREATE INDEX jobs_by_take ON jobs(take_id)",
    """
    CREATE UNIQUE INDEX jobs_by_key ON jobs(idempotency_key)
    WHERE idempotency_key <> '' AND state IN ('queued', 'running', 'done')
    """,
)


def _first(connection: sqlite3.Connection) -> None:
    for statement in _FIRST:
        connection.execute(statement)


def _second(connection: sqlite3.Connection) -> None:
    """Let a job be found by what it was asked."""
    connection.execute("CREATE INDEX jobs_by_digest ON jobs(digest)")


MIGRATIONS: Final[tuple[Migration, ...]] = (_first, _second)
"""Number n brings a schema of version n to version n + 1."""
