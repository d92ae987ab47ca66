"""The jobs that OSC messages started: who is told, how often, and the last word again.

The engine keeps jobs on disk; this book only knows their names on this wire. A
job goes on when its client goes: it ends by itself or by `/jukebox/cancel`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from bridge.edge import failures_told
from bridge.engine import Engine
from bridge.errors import (
    BridgeError,
    BusyError,
    JobCancelledError,
    NotFoundError,
    StoppingError,
)
from bridge.jobs import JobInfo
from bridge.osc import answers
from bridge.osc.answers import Answer
from bridge.osc.call import Call
from bridge.osc.clients import Peer
from bridge.osc.packet import encode
from bridge.request import Accepted, Done, Progress, Queued, RenderEvent, RenderRequest

PROGRESS_SECONDS: Final = 0.1
"""At most ten progress messages a second and job; control surfaces choke on more."""
MAX_JOBS: Final = 64
MAX_REMEMBERED: Final = 256


@dataclass(slots=True)
class OscJob:
    """A job on its way, or ended."""

    id: str
    address: str
    given: Mapping[str, Any] | None
    """The message's values; None of a job that an earlier server took on."""
    peer: Peer
    port: int
    last: Answer
    engine_id: str = ""
    state: str = "queued"
    place: Progress = field(
        default_factory=lambda: Progress(phase="queued", step=0, total_steps=0, eta_seconds=0.0)
    )
    splice_sample: int = 0
    told_at: float = float("-inf")
    task: "asyncio.Task[None] | None" = None

    @property
    def running(self) -> bool:
        """Return whether its last word is still to come."""
        return self.state in ("queued", "running")

    def tell(self, answer: Answer) -> None:
        """Send an answer to whoever asked last, and remember it."""
        self.last = answer
        self.peer.send(encode(*answer), self.port)


class JobBook:
    """All jobs of this wire that run or ended lately, by the names that clients gave them."""

    def __init__(self, engine: Callable[[], Engine[Any]], clock: Callable[[], float]) -> None:
        """Start empty.

        Args:
            engine: Returns the engine, or raises `NotReadyError`.
            clock: Seconds, monotone, for the pace of progress.
        """
        self._engine = engine
        self._clock = clock
        self._jobs: dict[str, OscJob] = {}
        self._stopping = False

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def num_running(self) -> int:
        """Return how many have not ended."""
        return sum(job.running for job in self._jobs.values())

    def all(self) -> list[OscJob]:
        """Return the jobs, newest first."""
        return list(reversed(self._jobs.values()))

    def get(self, job_id: str) -> OscJob | None:
        """Return the job of this name, None if it is not known here."""
        return self._jobs.get(job_id)

    def check_room(self, num_more: int) -> None:
        """Refuse more jobs than may run.

        Raises:
            StoppingError: The server goes away.
            BusyError: As many run as may.
        """
        if self._stopping:
            raise StoppingError("the server is stopping and takes no more requests")
        if self.num_running + num_more > MAX_JOBS:
            raise BusyError(
                f"{self.num_running} requests are running and {num_more} more were asked for, "
                f"the limit is {MAX_JOBS} requests"
            )

    def start(self, job: OscJob, request: Callable[[], Awaitable[RenderRequest]]) -> None:
        """Carry a job out; `request` reads its files."""
        self._add(job, self._run(job, self._submitted(job, request)))

    def rejoin(self, job: OscJob, info: JobInfo) -> None:
        """Follow a job that an earlier server took on."""
        job.engine_id = info.id
        self._add(job, self._run(job, self._events(info)))

    async def cancel(self, job: OscJob) -> None:
        """Return once a job computes no more; its own failure is told to whoever asked for it.

        Raises:
            NotFoundError: It has ended.
        """
        if not job.running:
            raise NotFoundError(f"the request {job.id!r} runs no more")
        if job.engine_id:
            await self._engine().cancel(job.engine_id)
        elif job.task is not None:
            job.task.cancel()
            await asyncio.wait([job.task])

    async def stop(self, drain_seconds: float) -> None:
        """Start nothing more, let running jobs end for so long, then tell the rest and leave."""
        self._stopping = True
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=drain_seconds)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _add(self, job: OscJob, work: "Awaitable[None]") -> None:
        self._jobs.pop(job.id, None)
        self._jobs[job.id] = job
        job.task = asyncio.ensure_future(work)
        ended = [known.id for known in self._jobs.values() if not known.running]
        for job_id in ended[: max(0, len(ended) - MAX_REMEMBERED)]:
            del self._jobs[job_id]

    async def _submitted(
        self, job: OscJob, request: Callable[[], Awaitable[RenderRequest]]
    ) -> AsyncGenerator[RenderEvent, None]:
        asked = await request()
        submitting = asyncio.ensure_future(self._engine().submit(asked))
        try:
            info = await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # The engine computes already, before it has told the name.
            info = await submitting
            if not self._stopping:
                await self._engine().cancel(info.id)
            raise
        job.engine_id = info.id
        async with aclosing(self._events(info)) as events:
            async for event in events:
                yield event

    async def _events(self, info: JobInfo) -> AsyncGenerator[RenderEvent, None]:
        # Nobody wants the audio here: from its end on there is none.
        end_sample = info.splice_sample + info.num_samples
        async with aclosing(self._engine().watch(info.id, from_sample=end_sample)) as events:
            async for event in events:
                yield event

    async def _run(self, job: OscJob, events: AsyncGenerator[RenderEvent, None]) -> None:
        try:
            with failures_told(f"{job.address} {job.id}", partial(self._tell_failure, job)):
                async with aclosing(events):
                    async for event in events:
                        self._tell_event(job, event)
        except asyncio.CancelledError:
            self._tell_cut(job)
            raise

    def _tell_cut(self, job: OscJob) -> None:
        if self._stopping:
            text = "the server stops; the request goes on when it starts again"
            self._tell_failure(job, StoppingError(text))
        else:
            self._tell_failure(job, JobCancelledError("the request was cancelled"))

    def _tell_event(self, job: OscJob, event: RenderEvent) -> None:
        match event:
            case Queued():
                job.tell(answers.queued(job.id, event.position, event.eta_seconds))
            case Accepted():
                job.state, job.splice_sample = "running", event.splice_sample
                job.tell(answers.accepted(job.id, event))
            case Progress():
                self._tell_progress(job, event)
            case Done():
                job.state = "done"
                job.tell(answers.finished(job.address, job.id, event, job.splice_sample))
            case _:
                pass

    def _tell_progress(self, job: OscJob, event: Progress) -> None:
        job.place = event
        if self._clock() - job.told_at >= PROGRESS_SECONDS:
            job.told_at = self._clock()
            job.tell(answers.progress(job.id, event))

    def _tell_failure(self, job: OscJob, error: BridgeError) -> None:
        job.state = "cancelled" if isinstance(error, JobCancelledError) else "failed"
        job.tell(answers.failure(job.address, job.id, error))


def new_job(name: str, call: Call) -> OscJob:
    """Return a job that a message asks for."""
    return OscJob(
        id=name,
        address=call.row.address,
        given=call.values,
        peer=call.peer,
        port=call.reply_port,
        last=answers.queued(name, 0, 0.0),
    )


def found_job(info: JobInfo, call: Call) -> OscJob:
    """Return a job that the engine knows and this wire does not yet."""
    return OscJob(
        id=info.request_id,
        address=call.row.address,
        given=None,
        peer=call.peer,
        port=call.reply_port,
        last=answers.queued(info.request_id, info.position, info.eta_seconds),
    )
