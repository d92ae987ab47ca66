"""A thread, or a few, that work for many jobs in turn, asked from the event loop.

A turn is one bounded piece of work (a step, a decoded block). Jobs wait here,
the scheduler says who is next, and a job that goes away takes its waiting turn
with it. Knows nothing of what the work is.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from bridge.scheduler import Candidate, choose, entry_count

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Turn:
    job: str
    work: Callable[[], Any]
    result: asyncio.Future[Any]


class Worker:
    """Runs one piece of work at a time, or so many; never on the event loop.

    While something runs that has a deadline, what has none takes no more than half of the places.
    """

    def __init__(self, name: str, at_once: int = 1) -> None:
        self._thread = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix=name)
        self._at_once = at_once
        self._client: dict[str, str] = {}
        self._served: dict[str, int] = {}
        self._current: dict[str, int] = {}
        self._client_served: dict[str, int] = {}
        self._current_client = 0
        self._deadline_s: dict[str, float] = {}
        self._waiting: list[_Turn] = []
        self._working = 0
        self._working_live = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.turns = 0

    def join(self, job: str, client: str) -> None:
        """State whose job this is; one that nobody claims is a client of its own."""
        self._client[job] = client

    def leave(self, job: str) -> None:
        """Forget a job; a turn in flight ends, its result is dropped."""
        client = self._client.pop(job, job)
        self._served.pop(job, None)
        self._deadline_s.pop(job, None)
        if client not in self._client.values():
            self._current.pop(client, None)
            self._client_served.pop(client, None)

    def set_deadline(self, job: str, deadline_s: float | None) -> None:
        """State when a job's next block is due; None makes it offline."""
        if deadline_s is None:
            self._deadline_s.pop(job, None)
        else:
            self._deadline_s[job] = deadline_s

    async def run(self, job: str, work: Callable[[], T]) -> T:
        """Return what the work returns, once the job's turn has come."""
        turn = _Turn(job=job, work=work, result=asyncio.get_running_loop().create_future())
        client = self._client_of(job)
        served, current = self._served.get(job, 0), self._current.get(client, 0)
        self._served[job] = entry_count(served, current)
        served = self._client_served.get(client, 0)
        self._client_served[client] = entry_count(served, self._current_client)
        self._waiting.append(turn)
        self._quiet.clear()
        self._begin()
        try:
            return await turn.result
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._settle()

    async def idle(self) -> None:
        """Return once no work runs and none waits."""
        await self._quiet.wait()

    async def close(self) -> None:
        """Let the work in flight end, then stop the thread."""
        await self.idle()
        self._thread.shutdown()

    def _begin(self) -> None:
        while self._waiting and self._working < self._at_once:
            name = choose([self._candidate(turn.job) for turn in self._waiting])
            if not self._may_begin(name):
                return
            self._begin_next(name)

    def _may_begin(self, job: str) -> bool:
        """Return whether a job's turn would slow none down that is due: they share the cores."""
        is_live = job in self._deadline_s
        return is_live or not self._working_live or 2 * self._working < self._at_once

    def _begin_next(self, name: str) -> None:
        turn = next(turn for turn in self._waiting if turn.job == name)
        self._waiting.remove(turn)
        self._count(name)
        is_live = name in self._deadline_s
        self._working += 1
        self._working_live += is_live
        self.turns += 1
        running = asyncio.get_running_loop().run_in_executor(self._thread, turn.work)
        running.add_done_callback(lambda done: self._end(turn, done, is_live=is_live))

    def _candidate(self, job: str) -> Candidate:
        client = self._client_of(job)
        return Candidate(
            job=job,
            client=client,
            served=self._served[job],
            client_served=self._client_served[client],
            deadline_s=self._deadline_s.get(job),
        )

    def _count(self, job: str) -> None:
        client = self._client_of(job)
        if job not in self._deadline_s:
            self._current[client] = self._served[job]
            self._current_client = self._client_served[client]
        self._served[job] += 1
        self._client_served[client] += 1

    def _client_of(self, job: str) -> str:
        return self._client.get(job, job)

    def _end(self, turn: _Turn, done: asyncio.Future[Any], *, is_live: bool) -> None:
        self._working -= 1
        self._working_live -= is_live
        error = done.exception()
        if turn.result.done():
            if error is not None:
                log.error("work that nobody awaits any more failed", exc_info=error)
        elif error is not None:
            turn.result.set_exception(error)
        else:
            turn.result.set_result(done.result())
        # After the job has woken: its next turn takes part in the choice.
        asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._begin()
        if not self._working and not self._waiting:
            self._quiet.set()
