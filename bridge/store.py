"""Takes on disk, a tree in SQLite with their codes in files; nothing acknowledged is ever lost.

What a transaction names is on disk before it ends. Retention removes the oldest
takes that nobody keeps and nothing departs from. Knows neither engine nor audio.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge import request_file
from bridge.database import Database, Row
from bridge.entries import TakeEntry, TakeQuery, Verdict
from bridge.errors import InvalidRequestError, NotFoundError, NotReadyError, StorageError
from bridge.jobs import JobInfo
from bridge.ledger import JobLedger
from bridge.legacy import take_over
from bridge.objects import Objects
from bridge.ports import Plan
from bridge.request import RenderRequest
from bridge.reserve import Reserve
from bridge.schema import MIGRATIONS
from bridge.takes import Take, from_record, to_record

log = logging.getLogger(__name__)

DATABASE: Final = "bridge.sqlite3"
RESERVE: Final = "reserve.bin"
MAX_NAME_CHARACTERS: Final = 200
ABANDONED_SECONDS: Final = 3600.0
FRESH_SECONDS: Final = 3600.0
"""A take this young is never removed unasked: who made it may not have looked at it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """How much is kept.

    Attributes:
        max_bytes: Of codes and requests; at the limit the oldest takes make room.
        max_takes: Likewise, in number.
        max_jobs: Ended jobs that are remembered.

    Raises:
        ValueError: A limit below 1.
    """

    max_bytes: int = 16 * 1024**3
    max_takes: int = 100_000
    max_jobs: int = 10_000

    def __post_init__(self) -> None:
        """Refuse a store that could keep nothing."""
        for name in ("max_bytes", "max_takes", "max_jobs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, at least 1 is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """What is kept."""

    num_takes: int
    kept_takes: int
    used_bytes: int
    limit_bytes: int


class TakeStore:
    """All takes and jobs under one folder."""

    def __init__(
        self,
        root: Path,
        limits: StoreLimits | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Open the store, made if it is missing; takes of the first version are taken over.

        Args:
            root: The folder of takes and results; the server's spool.
            limits: How much is kept.
            now: Unix seconds.

        Raises:
            NotReadyError: A later program wrote the store.
            OSError: The folder cannot be made.
            StorageError: The disk is full or refuses.
        """
        self._limits = limits or StoreLimits()
        self._results = root / "results"
        self._results.mkdir(parents=True, exist_ok=True)
        self._now = now
        self._objects = Objects(root / "objects")
        self._reserve = Reserve(root / RESERVE)
        self._reserve.hold()
        self._database = Database(root / DATABASE, MIGRATIONS)
        self.jobs = JobLedger(root, self._database, self._objects, now)
        self._objects.remove_unfinished(now() - ABANDONED_SECONDS)
        take_over(root / "takes", self._import)

    def __len__(self) -> int:
        return int(self._database.rows("SELECT count(*) AS n FROM takes")[0]["n"])

    def ids(self) -> tuple[str, ...]:
        """Return the names of all takes, sorted."""
        return tuple(row["id"] for row in self._database.rows("SELECT id FROM takes ORDER BY id"))

    def audio_path(self, take_id: str) -> Path:
        """Return where the audio of a take is written when a file was asked for."""
        return self._results / f"{take_id}.wav"

    def finish(self, info: JobInfo, take: Take, told: Mapping[str, Any]) -> None:
        """Return once a job's take is on disk; an equal one that is there already stays.

        Raises:
            StorageError: The disk is full or refuses; the take is not kept then.
        """
        with self._database.transaction() as connection:
            inputs = connection.execute(
                "SELECT inputs FROM jobs WHERE id = ?", (info.id,)
            ).fetchone()["inputs"]
            self._insert(connection, take, inputs)
            self.jobs.mark_done(connection, info, told)
        self.jobs.drop_checkpoint(info.id)

    def load(self, take_id: str) -> Take:
        """Return a take with its codes.

        Raises:
            NotFoundError: No take has this name.
            StorageError: The codes are damaged or gone.
        """
        row = self._row(take_id)
        return from_record(json.loads(row["record"]), self._objects.get(row["codes"]))

    def entry(self, take_id: str) -> TakeEntry:
        """Return a take without its codes.

        Raises:
            NotFoundError: No take has this name.
        """
        return _entry_from(self._row(take_id))

    def entries(self, query: TakeQuery | None = None) -> tuple[TakeEntry, ...]:
        """Return the takes asked for, newest first."""
        query = query or TakeQuery()
        asked = query.asked()
        where = f"WHERE {' AND '.join(asked)}" if asked else ""
        rows = self._database.rows(
            f"SELECT * FROM takes {where} ORDER BY created_s DESC, rowid DESC LIMIT ?",
            (*asked.values(), query.limit),
        )
        return tuple(_entry_from(row) for row in rows)

    def request(self, take_id: str) -> RenderRequest:
        """Return the request that made a take, audio and all.

        Raises:
            NotFoundError: No take has this name.
            NotReadyError: The version that made it kept no request.
            StorageError: The request is damaged or gone.
        """
        inputs = self._row(take_id)["inputs"]
        if not inputs:
            raise NotReadyError(f"the first version made the take {take_id} and kept no prime")
        return request_file.from_bytes(self._objects.get(inputs))

    def codes_for(self, digest: str, plan: Plan, fingerprint: str) -> bytes | None:
        """Return the codes of a take that the same request made, None if there is none.

        Codes that are damaged count as none: they can be made again.

        Args:
            digest: Of the request, whoever asks and under whatever name.
            plan: That the take must have been made with.
            fingerprint: Of the model that must have made the take.
        """
        for take_id in self.jobs.takes_by_digest(digest):
            try:
                take = self.load(take_id)
            except (NotFoundError, StorageError) as error:
                log.warning("the take %s cannot answer: %s", take_id, error)
                continue
            if (take.fingerprint, take.plan) == (fingerprint, plan):
                return take.codes
        return None

    def tag(
        self, take_id: str, verdict: Verdict | None = None, name: str | None = None
    ) -> TakeEntry:
        """Return a take after saying something of it; what is None stays as it is.

        Raises:
            InvalidRequestError: The name is too long.
            NotFoundError: No take has this name.
            StorageError: The disk refuses.
        """
        if name is not None and len(name) > MAX_NAME_CHARACTERS:
            raise InvalidRequestError(
                f"the name has {len(name)} characters, the limit is {MAX_NAME_CHARACTERS}"
            )
        self._row(take_id)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE takes SET verdict = coalesce(?, verdict), name = coalesce(?, name) "
                "WHERE id = ?",
                (verdict, name, take_id),
            )
        return self.entry(take_id)

    def delete(self, take_id: str) -> None:
        """Return once a take is gone.

        Raises:
            NotFoundError: No take has this name.
            NotReadyError: It is kept, or another take or job departs from it.
            StorageError: The disk refuses.
        """
        row = self._row(take_id)
        if row["verdict"] == Verdict.KEEP:
            raise NotReadyError(f"the take {take_id} is kept; take the tag away first")
        try:
            self._forget(take_id)
        except StorageError:
            self._reserve.release()
            self._forget(take_id)
        self.audio_path(take_id).unlink(missing_ok=True)
        self.jobs.sweep((row["codes"], row["inputs"]))
        self._reserve.hold()

    def _forget(self, take_id: str) -> None:
        try:
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM takes WHERE id = ?", (take_id,))
        except sqlite3.IntegrityError as error:
            raise NotReadyError(f"another take or job departs from the take {take_id}") from error

    def tidy(self) -> int:
        """Return how many takes were removed to come under the limits.

        Rejected ones go first, then the oldest; never one that is kept, that is
        younger than an hour, or that another take or job departs from.
        """
        removed = 0
        while self._over_limits() and (row := self._expendable()) is not None:
            self.delete(row["id"])
            removed += 1
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state IN "
                "('done', 'failed', 'cancelled') ORDER BY created_s DESC LIMIT -1 OFFSET ?)",
                (self._limits.max_jobs,),
            )
        self.jobs.drop_stale_checkpoints()
        self.jobs.sweep(tuple(self._objects.names()))
        return removed

    def check_room(self) -> None:
        """Refuse more work if the limits are reached and nothing may go.

        Raises:
            StorageError: All that is there is kept, or too young to go.
        """
        if not self._over_limits():
            return
        self.tidy()
        if self._over_limits():
            stats = self.stats()
            raise StorageError(
                f"{stats.num_takes} takes use {stats.used_bytes} bytes, the limits are "
                f"{self._limits.max_takes} takes and {stats.limit_bytes} bytes, and none may go: "
                "delete some, or raise the limit"
            )

    def check(self) -> tuple[str, ...]:
        """Return what is wrong: damage of the database, and takes whose files are not whole."""
        problems = list(self._database.check())
        for row in self._database.rows("SELECT id, codes, inputs FROM takes"):
            for name in filter(None, (row["codes"], row["inputs"])):
                try:
                    self._objects.get(name)
                except StorageError as error:
                    problems.append(f"take {row['id']}: {error}")
        return tuple(problems)

    def stats(self) -> StoreStats:
        """Return what is kept."""
        row = self._database.rows(
            "SELECT count(*) AS num, coalesce(sum(verdict = 'keep'), 0) AS kept, "
            "coalesce(sum(used_bytes), 0) AS bytes FROM takes"
        )[0]
        return StoreStats(
            num_takes=row["num"],
            kept_takes=row["kept"],
            used_bytes=row["bytes"],
            limit_bytes=self._limits.max_bytes,
        )

    def close(self) -> None:
        """Close the files; what is unfinished is for the next server."""
        self.jobs.close()
        self._database.close()

    def _insert(self, connection: sqlite3.Connection, take: Take, inputs: str) -> None:
        record = json.dumps(to_record(take), sort_keys=True)
        used = len(take.codes) + len(record)
        if inputs:
            used += self._objects.path(inputs).stat().st_size
        connection.execute(
            "INSERT INTO takes (id, parent, record, codes, inputs, used_bytes, created_s) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET codes = excluded.codes, "
            "inputs = excluded.inputs, created_s = excluded.created_s",
            (
                take.id,
                take.parent,
                record,
                self._objects.put(take.codes),
                inputs,
                used,
                self._now(),
            ),
        )

    def _import(self, take: Take) -> None:
        with self._database.transaction() as connection:
            self._insert(connection, take, "")

    def _row(self, take_id: str) -> Row:
        rows = self._database.rows("SELECT * FROM takes WHERE id = ?", (take_id,))
        if not rows:
            raise NotFoundError(f"no take is named {take_id[:80]!r}; {len(self)} takes are kept")
        return rows[0]

    def _over_limits(self) -> bool:
        stats = self.stats()
        return stats.used_bytes > stats.limit_bytes or stats.num_takes > self._limits.max_takes

    def _expendable(self) -> Row | None:
        rows = self._database.rows(
            "SELECT * FROM takes AS one WHERE verdict <> 'keep' AND created_s < ? "
            "AND NOT EXISTS (SELECT 1 FROM takes WHERE parent = one.id) "
            "AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.parent = one.id) "
            "ORDER BY verdict <> 'reject', created_s LIMIT 1",
            (self._now() - FRESH_SECONDS,),
        )
        return rows[0] if rows else None


def _entry_from(row: Row) -> TakeEntry:
    return TakeEntry(
        take=from_record(json.loads(row["record"]), b""),
        created_s=row["created_s"],
        verdict=Verdict(row["verdict"]),
        name=row["name"],
        used_bytes=row["used_bytes"],
    )
