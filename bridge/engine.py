"""The render loop: admits requests, runs them beside each other, stops when nobody listens.

Two threads do all the work, one for the model and one for sound; no coroutine
waits on either. Knows no wire, no torch and no wall clock (it is given one).
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from itertools import count
from typing import Final, Generic

from bridge.errors import (
    BusyError,
    InvalidRequestError,
    NotFoundError,
    StoppingError,
    UnsupportedError,
)
from bridge.job import Job, Tools
from bridge.ports import Generator, ModelInfo, S
from bridge.render import ground_of
from bridge.request import (
    Nothing,
    Prime,
    RenderEvent,
    RenderRequest,
    StoredCodes,
    TakePoint,
)
from bridge.session import Session, SessionState
from bridge.store import TakeStore
from bridge.workers import Worker

log = logging.getLogger(__name__)

SETUP = "setup"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What one engine takes on at once.

    Attributes:
        max_jobs: Requests that run beside each other.
        max_events: Events of a request that wait for their reader.

    Raises:
        ValueError: A limit below 1.
    """

    max_jobs: int = 4
    max_events: int = 64

    def __post_init__(self) -> None:
        """Refuse an engine that could do nothing."""
        for name in ("max_jobs", "max_events"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, at least 1 is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """Counts since the start, and what runs now."""

    running_jobs: int
    done_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    model_turns: int
    sound_turns: int


class Engine(Generic[S]):
    """Renders requests with one generator."""

    def __init__(
        self,
        generator: Generator[S],
        *,
        store: TakeStore,
        clock: Callable[[], float],
        limits: EngineLimits,
    ) -> None:
        """Take hold of the generator; nobody else may step it.

        Args:
            generator: The door to the model.
            store: Where finished takes are kept.
            clock: Seconds, monotone.
            limits: What to take on at once.
        """
        self._tools = Tools(
            generator=generator,
            model=Worker("model"),
            sound=Worker("sound"),
            store=store,
            clock=clock,
        )
        self._limits = limits
        self._tasks: dict[asyncio.Task[None], Session] = {}
        self._numbers = count(1)
        self._ended = dict.fromkeys(SessionState, 0)
        self._warm = False
        self._stopping = False

    @property
    def info(self) -> ModelInfo:
        """Return what a caller may know of the model."""
        return self._tools.generator.info

    @property
    def ready(self) -> bool:
        """Return whether the first request will be as fast as the tenth."""
        return self._warm and not self._stopping

    async def warm_up(self) -> None:
        """Run every path of the model once."""
        await self._tools.model.run(SETUP, self._tools.generator.warm_up)
        self._warm = True

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Yield the request's events: Accepted, Progress and AudioBlock in turn, Done.

        Closing the iterator stops the work after the step in flight, unless the
        request is detached.

        Raises:
            StoppingError: The engine is closing.
            NotFoundError: Another model is asked for.
            UnsupportedError: A condition that the model cannot use, by name.
            BusyError: As many jobs run as may.
            InvalidRequestError: The anchor is not inside the prime, or a file would begin
                before sample 0.
        """
        task, session = self._admit(request)
        try:
            while (event := await session.events.get()) is not None:
                yield event
        finally:
            session.events.leave()
            if not request.detached:
                task.cancel()
                await asyncio.wait([task])

    def stats(self) -> EngineStats:
        """Return the counts since the start."""
        return EngineStats(
            running_jobs=len(self._tasks),
            done_jobs=self._ended[SessionState.DONE],
            failed_jobs=self._ended[SessionState.FAILED],
            cancelled_jobs=self._ended[SessionState.CANCELLED],
            model_turns=self._tools.model.turns,
            sound_turns=self._tools.sound.turns,
        )

    async def idle(self) -> None:
        """Return once no job runs and both threads rest."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self._tools.model.idle()
        await self._tools.sound.idle()

    async def close(self) -> None:
        """Stop all jobs, detached ones too, and end the threads."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await self.idle()
        await self._tools.model.close()
        await self._tools.sound.close()

    def _admit(self, request: RenderRequest) -> tuple[asyncio.Task[None], Session]:
        if self._stopping:
            raise StoppingError("the engine is closing and takes no more requests")
        self._check(request)
        session = Session(f"job-{next(self._numbers)}", request, self._limits.max_events)
        job = Job(session, self._tools)
        task = asyncio.create_task(job.run(), name=session.job)
        self._tasks[task] = session
        task.add_done_callback(self._end)
        return task, session

    def _check(self, request: RenderRequest) -> None:
        if request.model not in ("", self.info.name):
            raise NotFoundError(f"no model is named {request.model!r}; loaded: {self.info.name}")
        missing = [need for need in needs(request) if need not in self.info.supports]
        if missing:
            known = ", ".join(sorted(self.info.supports))
            raise UnsupportedError(
                f"the model {self.info.name} cannot use: {', '.join(missing)}; it can use: {known}"
            )
        if isinstance(request.source, TakePoint):
            raise UnsupportedError("a take cannot be gone on with by this version")
        splice = ground_of(request).splice_sample
        if request.write_file and splice < 0:
            raise InvalidRequestError(
                f"the file would begin at sample {splice}, "
                "a Broadcast Wave file begins at sample 0 or later"
            )
        if len(self._tasks) >= self._limits.max_jobs:
            raise BusyError(
                f"{len(self._tasks)} jobs are running, the limit is {self._limits.max_jobs} jobs"
            )

    def _end(self, task: asyncio.Task[None]) -> None:
        session = self._tasks.pop(task)
        for worker in (self._tools.model, self._tools.sound):
            worker.leave(session.job)
        error: BaseException | None
        if task.cancelled():
            error, state = self._cancellation(), SessionState.CANCELLED
        else:
            error = task.exception()
            state = SessionState.DONE if error is None else SessionState.FAILED
        session.move(state)
        self._ended[state] += 1
        if state is SessionState.FAILED and not session.events.read:
            log.error("%s failed and nobody listens", session.job, exc_info=error)
        session.events.end(error)

    def _cancellation(self) -> BaseException:
        if self._stopping:
            return StoppingError("the engine was closed before the result was complete")
        return asyncio.CancelledError()


_KINDS: Final = {
    Prime: "prime",
    Nothing: "nothing",
    TakePoint: "take",
    StoredCodes: "codes",
}


def needs(request: RenderRequest) -> tuple[str, ...]:
    """Return the names that `ModelInfo.supports` must hold for a request."""
    conditions, plan = request.conditions, request.plan
    asked = {
        "artist": conditions.labels.artist is not None,
        "genre": conditions.labels.genre is not None,
        "timing": conditions.timing is not None,
        "midi": conditions.midi is not None,
        "stems": bool(conditions.stems),
        f"target:{conditions.target}": True,
        "suffix": conditions.suffix is not None,
        "energy": bool(conditions.energy_per_bar),
        "density": bool(conditions.density_per_bar),
        "sections": bool(conditions.sections),
        "lyrics": conditions.lyrics is not None,
        "guidance": plan.guidance != 1.0,
        f"quality:{plan.quality}": True,
        f"source:{_KINDS[type(request.source)]}": True,
    }
    return tuple(name for name, wanted in asked.items() if wanted)
