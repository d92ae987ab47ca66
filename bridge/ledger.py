"""Jobs on disk: what was asked, where it stands, and how far the computing had come.

A job is there from before its caller hears of it until long after its end.
Checkpoints are files beside the table, each replaced whole. Knows neither
engine nor audio.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from bridge import request_file
from bridge.database import Database, Row
from bridge.errors import ConflictError, NotFoundError, StorageError
from bridge.jobs import Checkpoint, EndedJob, JobInfo, JobState
from bridge.objects import Objects, write_whole
from bridge.ports import PlanChange
from bridge.presence import Presence
from bridge.request import RenderRequest, TakePoint

UNFINISHED: Final = f"state IN ('{JobState.QUEUED}', '{JobState.RUNNING}')"
REFERENCES: Final = (("takes", "codes"), ("takes", "inputs"), ("jobs", "inputs"))
"""Where a row may name an object."""


class JobLedger:
    """All jobs of the servers that share a folder."""

    def __init__(
        self, root: Path, database: Database, objects: Objects, now: Callable[[], float]
    ) -> None:
        """Open the ledger.

        Args:
            root: The folder of the store.
            database: With the tables of `bridge.schema`.
            objects: Where requests are kept.
            now: Unix seconds.
        """
        self._root = root
        self._database = database
        self._objects = objects
        self._presence: Presence | None = None
        self.now = now

    def add(self, info: JobInfo, request: RenderRequest, digest: str) -> None:
        """Return once a new job is on disk.

        Raises:
            ConflictError: Its key names another job by now.
            NotFoundError: The take that it departs from is gone.
            StorageError: The disk is full or refuses.
        """
        inputs = ""
        data = request_file.to_bytes(request) if request.keep_source else None
        parent = request.source.take_id if isinstance(request.source, TakePoint) else None
        with self._database.transaction() as connection:
            if data is not None:
                # No sweep lies between the object and the row that names it.
                inputs = self._objects.put(data)
            values = {
                "id": info.id,
                "server": self._server().name,
                "state": info.state,
                "info": json.dumps(asdict(info)),
                "inputs": inputs,
                "idempotency_key": request.idempotency_key,
                "digest": digest,
                "created_s": info.created_s,
                "parent": parent,
            }
            names = ", ".join(values)
            marks = ", ".join("?" * len(values))
            try:
                connection.execute(
                    f"INSERT INTO jobs ({names}) VALUES ({marks})",
                    tuple(values.values()),
                )
            except sqlite3.IntegrityError as error:
                raise _refusal(request, parent) from error

    def by_key(self, key: str) -> tuple[JobInfo, str] | None:
        """Return the job that a key names, and its request's digest; None if the key is free."""
        rows = self._database.rows(
            "SELECT * FROM jobs WHERE idempotency_key = ? AND idempotency_key <> '' "
            f"AND ({UNFINISHED} OR state = '{JobState.DONE}')",
            (key,),
        )
        return (_info_from(rows[0]), str(rows[0]["digest"])) if rows else None

    def takes_by_digest(self, digest: str) -> tuple[str, ...]:
        """Return the takes of the jobs that were asked the same, the newest job's first."""
        rows = self._database.rows(
            "SELECT take_id FROM jobs WHERE digest = ? AND take_id IS NOT NULL "
            f"AND state = '{JobState.DONE}' ORDER BY created_s DESC, rowid DESC",
            (digest,),
        )
        return tuple(str(row["take_id"]) for row in rows)

    def find(self, job_id: str) -> EndedJob:
        """Return a job and what was told of it.

        Raises:
            NotFoundError: No job has this name, or it was forgotten.
        """
        row = self._row(job_id)
        told = json.loads(row["told"])
        return EndedJob(
            info=_info_from(row), accepted=told.get("accepted", {}), done=told.get("done", {})
        )

    def newest(self, limit: int) -> tuple[JobInfo, ...]:
        """Return the jobs that came last, newest first."""
        rows = self._database.rows(
            "SELECT * FROM jobs ORDER BY created_s DESC, rowid DESC LIMIT ?", (limit,)
        )
        return tuple(_info_from(row) for row in rows)

    def request(self, job_id: str) -> RenderRequest:
        """Return what a job was asked.

        Raises:
            NotFoundError: No job has this name.
            StorageError: The request is damaged, gone, or was not to be kept.
        """
        inputs = self._row(job_id)["inputs"]
        if not inputs:
            raise StorageError(f"what the job {job_id} stood on was not kept: it ends here")
        return request_file.from_bytes(self._objects.get(inputs))

    def end(self, info: JobInfo) -> None:
        """Return once it is on disk that a job failed or was cancelled; its remains go away.

        Raises:
            StorageError: The disk refuses.
        """
        inputs = self._row(info.id)["inputs"]
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, info = ?, inputs = '', parent = NULL WHERE id = ?",
                (info.state, json.dumps(asdict(info)), info.id),
            )
        self.drop_checkpoint(info.id)
        self.sweep((inputs,))

    def mark_done(
        self, connection: sqlite3.Connection, info: JobInfo, told: Mapping[str, Any]
    ) -> None:
        """Write into an open transaction that a job has become a take."""
        connection.execute(
            "UPDATE jobs SET state = ?, info = ?, take_id = ?, parent = NULL, told = ? "
            "WHERE id = ?",
            (info.state, json.dumps(asdict(info)), info.take_id, json.dumps(told), info.id),
        )

    def adopt(self) -> tuple[JobInfo, ...]:
        """Return the unfinished jobs of servers that are dead, oldest first; they are ours now."""
        own = self._server()
        with self._database.transaction() as connection:
            found = connection.execute(
                f"SELECT * FROM jobs WHERE {UNFINISHED} ORDER BY created_s, rowid"
            ).fetchall()
            alive = {name: own.lives(name) for name in {str(row["server"]) for row in found}}
            rows = [dict(row) for row in found if not alive[row["server"]]]
            for row in rows:
                connection.execute("UPDATE jobs SET server = ? WHERE id = ?", (own.name, row["id"]))
        return tuple(_info_from(row) for row in rows)

    def save_checkpoint(self, job_id: str, checkpoint: Checkpoint) -> None:
        """Return once the checkpoint is on disk in the place of the one before.

        Raises:
            StorageError: The disk is full or refuses.
        """
        facts = {"fed_blocks": checkpoint.fed_blocks, "changes": checkpoint.changes}
        head = json.dumps(facts, default=asdict).encode()
        body = len(head).to_bytes(8, "little") + head + checkpoint.state
        write_whole(self._checkpoint_path(job_id), hashlib.sha256(body).digest() + body)

    def checkpoint(self, job_id: str) -> Checkpoint | None:
        """Return a job's last checkpoint; None if there is none, or it is damaged."""
        try:
            data = self._checkpoint_path(job_id).read_bytes()
        except OSError:
            return None
        body = data[32:]
        if hashlib.sha256(body).digest() != data[:32]:
            return None
        end = 8 + int.from_bytes(body[:8], "little")
        try:
            facts = json.loads(body[8:end])
            changes = tuple(PlanChange(**change) for change in facts["changes"])
            return Checkpoint(fed_blocks=facts["fed_blocks"], state=body[end:], changes=changes)
        except (ValueError, KeyError, TypeError):
            # Of an earlier version: the job begins anew.
            return None

    def drop_checkpoint(self, job_id: str) -> None:
        """Remove a job's checkpoint, if there is one."""
        self._checkpoint_path(job_id).unlink(missing_ok=True)

    def drop_stale_checkpoints(self) -> None:
        """Remove the checkpoints of jobs that are over."""
        rows = self._database.rows(f"SELECT id FROM jobs WHERE {UNFINISHED}")
        unfinished = {str(row["id"]) for row in rows}
        for path in (self._root / "checkpoints").glob("*.bin"):
            if path.stem not in unfinished:
                path.unlink(missing_ok=True)

    def sweep(self, names: tuple[str, ...]) -> None:
        """Remove those of the objects that no row names any more."""
        with self._database.transaction() as connection:
            for name in set(names):
                if name and not any(
                    connection.execute(
                        f"SELECT 1 FROM {table} WHERE {column} = ? LIMIT 1",
                        (name,),
                    ).fetchone()
                    for table, column in REFERENCES
                ):
                    self._objects.remove(name)

    def close(self) -> None:
        """Live no more: what is unfinished is for the next server."""
        if self._presence is not None:
            self._presence.close()
            self._presence = None

    def _server(self) -> Presence:
        if self._presence is None:
            self._presence = Presence(self._root / "servers")
        return self._presence

    def _row(self, job_id: str) -> Row:
        rows = self._database.rows("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if not rows:
            raise NotFoundError(f"no job is named {job_id[:80]!r}")
        return rows[0]

    def _checkpoint_path(self, job_id: str) -> Path:
        return self._root / "checkpoints" / f"{job_id}.bin"


def _info_from(row: Row) -> JobInfo:
    info = JobInfo(**json.loads(row["info"]))
    return replace(info, state=JobState(row["state"]))


def _refusal(request: RenderRequest, parent: str | None) -> ConflictError | NotFoundError:
    if parent is not None and not request.idempotency_key:
        return NotFoundError(f"no take is named {parent!r}")
    return ConflictError(f"the key {request.idempotency_key!r} names another job already")
