"""The render loop: runs jobs beside each other, and tells of them while they run and after.

Threads for the model and threads for sound do all the work; no coroutine
waits on them. A job is on disk before its caller hears of it; it ends as a
take, with an error, or because nobody wants it any more. Knows no wire, no
torch and no wall clock (it is given one).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from bridge import codes_file
from bridge.admission import EngineLimits
from bridge.cache import Caches, Prefilled
from bridge.carrying import Carrying, Room
from bridge.endings import accepted_from, done_from, done_of, error_of
from bridge.errors import JobCancelledError, StoppingError
from bridge.job import Job
from bridge.jobs import JobInfo, JobState
from bridge.keeping import Tools, write_take
from bridge.lineup import Lineup, assumed_pace
from bridge.model_info import ModelInfo
from bridge.ports import Generator, LevelCodes, S
from bridge.reception import Reception
from bridge.replay import Listener
from bridge.request import AudioBlock, Done, RenderEvent, RenderRequest
from bridge.roster import EngineStats, Roster
from bridge.store import TakeStore
from bridge.takes import Take, codes_of_take
from bridge.workers import Worker

T = TypeVar("T")

SETUP = "setup"


class Engine(Generic[S]):
    """Renders requests with one generator, and with those that are added.

    Attributes:
        carrying: Where live sessions are counted, and refused.
    """

    def __init__(
        self,
        generator: Generator[S],
        *,
        store: TakeStore,
        clock: Callable[[], float],
        limits: EngineLimits,
        live_room: Room | None = None,
    ) -> None:
        """Take hold of the generator; nobody else may step it.

        Args:
            generator: The door to the model.
            store: Where jobs and takes are kept.
            clock: Seconds, monotone.
            limits: What to take on at once.
            live_room: For live sessions; None takes every one.
        """
        self._tools = Tools(
            generator=generator,
            model=Worker("model", limits.calls_at_once),
            sound=Worker("sound", limits.calls_at_once),
            store=store,
            clock=clock,
            pace=assumed_pace(generator.info),
            checkpoint_seconds=limits.checkpoint_seconds,
            caches=Caches(limits.cache_bytes, store.codes_for),
        )
        self._lineup = Lineup(self._tools)
        self._roster = Roster(self._tools, limits)
        self._reception = Reception(self._lineup, self._roster, limits)
        self.carrying = Carrying(live_room, self._tools)
        self._warm = False
        self._stopping = False

    @property
    def info(self) -> ModelInfo:
        """Return what a caller may know of the first model."""
        return self._tools.generator.info

    @property
    def infos(self) -> tuple[ModelInfo, ...]:
        """Return what a caller may know of all models, the first one first."""
        return self._lineup.infos

    @property
    def ready(self) -> bool:
        """Return whether the first request will be as fast as the tenth."""
        return self._warm and not self._stopping

    @property
    def store(self) -> TakeStore:
        """Return where jobs and takes are kept; its methods block."""
        return self._tools.store

    async def warm_up(self) -> None:
        """Run every path of every model once."""
        for info in self.infos:
            await self._warm_one(info.name)
        self._warm = True

    async def add(self, generator: Generator[S]) -> None:
        """Serve one more model, by its name; it is warm then if the engine is.

        Raises:
            ConflictError: A model of this name is there already.
        """
        self._lineup.add(generator)
        if self._warm:
            await self._warm_one(generator.info.name)

    async def remove(self, name: str) -> None:
        """Serve a model no more; returns once its jobs have ended.

        Raises:
            NotFoundError: None of this name was added.
        """
        fingerprint = self._lineup.named(name).generator.info.fingerprint
        self._lineup.remove(name)
        await self._roster.idle(fingerprint)

    async def render(
        self, request: RenderRequest, prefilled: Prefilled[S] | None = None
    ) -> AsyncGenerator[RenderEvent, None]:
        """Yield the request's events: Queued if it waits, Accepted, Progress and AudioBlock, Done.

        Closing the iterator stops the work after the step in flight, unless the
        request is detached or somebody else listens to the job. What of its prime
        was heard already need not be heard again: the bytes are the same.

        Raises:
            StoppingError: The engine is closing.
            NotFoundError: Another model is asked for, or a take that is not there.
            UnsupportedError: A condition or a source that the model cannot use, by name.
            BusyError: As many jobs run and wait as may; it says when to try again.
            ConflictError: The idempotency key named another request.
            InvalidRequestError: The anchor is not inside the prime, or a file would begin
                before sample 0.
            StorageError: The disk is full.
            DeadlineError: The request's deadline passed.
            JobCancelledError: Somebody else cancelled the job.
        """
        job, info = await self._taken(request, reads=True, prefilled=prefilled)
        if job is None:
            async with aclosing(self.watch(info.id)) as events:
                async for event in events:
                    yield event
            return
        session = job.session
        try:
            while (event := await session.events.get()) is not None:
                yield event
        finally:
            session.events.leave()
            await self._roster.leave(session)

    async def submit(self, request: RenderRequest) -> JobInfo:
        """Return the job once it is on disk; it begins when its turn comes and nobody need listen.

        Raises:
            BridgeError: As `render` does.
        """
        job, info = await self._taken(request, reads=False)
        if job is None:
            return info
        if job.session.kept is not None:
            await asyncio.shield(job.session.kept)
        return self._roster.info_of(job)

    async def watch(
        self, job_id: str, from_sample: int | None = None
    ) -> AsyncGenerator[RenderEvent, None]:
        """Yield a job's events, its audio from a session sample on, whether it runs or is done.

        Raises:
            NotFoundError: No job has this name.
            BridgeError: What the job failed with.
        """
        job = self._roster.find(job_id)
        if job is None:
            async with aclosing(self._watch_ended(job_id, from_sample)) as ended:
                async for event in ended:
                    yield event
            return
        tools = self._lineup.by_fingerprint(job.session.info.fingerprint)
        listener = Listener(tools, from_sample)
        job.session.listeners += 1
        try:
            async with aclosing(listener.follow(job)) as events:
                async for event in events:
                    yield event
        finally:
            listener.leave()
            await self._roster.leave(job.session)

    async def play(
        self, take_id: str, from_sample: int | None = None
    ) -> AsyncGenerator[AudioBlock | Done, None]:
        """Yield a take's audio from a session sample on, then Done.

        Raises:
            NotFoundError: No take has this name.
            NotReadyError: Another model made it.
        """
        take = await asyncio.to_thread(self.store.load, take_id)
        async with aclosing(
            self._play(take, from_sample, done_of(take, self.store.audio_path(take.id)))
        ) as events:
            async for event in events:
                yield event

    async def export(self, take_id: str) -> Path:
        """Return the Broadcast Wave file of a take in the spool, written if it is missing.

        Raises:
            NotFoundError: No take has this name.
            NotReadyError: Another model made it.
            StorageError: The disk is full.
        """
        path = self.store.audio_path(take_id)
        take = await asyncio.to_thread(self.store.load, take_id)
        if path.exists():
            return path
        async with aclosing(
            self._play(take, None, done_of(take, self.store.audio_path(take.id)))
        ) as events:
            audio = [event.samples async for event in events if isinstance(event, AudioBlock)]
        return await asyncio.to_thread(write_take, path, take, audio)

    async def export_codes(self, take_id: str) -> bytes:
        """Return the codes of a take as a file of safetensors (`bridge.codes_file`).

        Raises:
            NotFoundError: No take has this name.
            NotReadyError: Another model made it.
        """
        take = await asyncio.to_thread(self.store.load, take_id)
        generator = self._lineup.maker_of(take).generator

        def work() -> tuple[LevelCodes, ...]:
            return generator.codes(generator.restore(take.codes))

        try:
            levels = await self._tools.model.run(take_id, work)
        finally:
            self._tools.model.leave(take_id)
        return codes_file.to_bytes(codes_of_take(take, levels, generator.info))

    async def cancel(self, job_id: str) -> JobInfo:
        """Return a job once its computing has stopped; one that is over is returned as it is.

        Raises:
            NotFoundError: No job has this name.
        """
        job = self._roster.find(job_id)
        if job is not None:
            await self._roster.stop(
                job.session, JobCancelledError(f"the job {job_id} was cancelled")
            )
        return await self.job(job_id)

    async def job(self, job_id: str) -> JobInfo:
        """Return where a job stands.

        Raises:
            NotFoundError: No job has this name.
        """
        job = self._roster.find(job_id)
        if job is not None:
            return self._roster.info_of(job)
        return (await asyncio.to_thread(self.store.jobs.find, job_id)).info

    async def jobs(self, limit: int = 100) -> tuple[JobInfo, ...]:
        """Return the jobs that came last, newest first, ended ones included."""
        kept = await asyncio.to_thread(self.store.jobs.newest, limit)
        live = self._roster.infos()
        return tuple(live.get(info.id, info) for info in kept)

    async def on_model(
        self, name: str, work: Callable[[Generator[S]], T], patience_s: float = 0.0
    ) -> T:
        """Return what a piece of work with the model gives, once its turn has come.

        For what is no job, such as hearing a recording while it is made. Live
        work goes before jobs that are not.

        Args:
            name: For whom; `leave` forgets it.
            work: Bounded, as one step is.
            patience_s: Live work that is due within so long goes first.

        Raises:
            StoppingError: The engine is closing.
        """
        if self._stopping:
            raise StoppingError("the engine is closing and takes no more work")
        worker = self._tools.model
        worker.join(name, name)
        worker.set_deadline(name, self._tools.clock() + patience_s)
        return await worker.run(name, partial(work, self._tools.generator))

    def leave(self, name: str) -> None:
        """Forget for whom the model worked."""
        self._tools.model.leave(name)

    def stats(self) -> EngineStats:
        """Return the counts since the start."""
        return self._roster.stats()

    async def resume(self) -> int:
        """Return how many unfinished jobs of dead servers were taken up again.

        All of them are, also those whose callers are gone: what was accepted
        ends as it would have ended, and its key finds it.
        """
        infos = await asyncio.to_thread(self.store.jobs.adopt)
        resumed = [await self._reception.take_up(info) for info in infos]
        return sum(resumed)

    async def idle(self) -> None:
        """Return once no job runs or waits and all threads rest."""
        await self._roster.idle()
        await self._tools.model.idle()
        await self._tools.sound.idle()

    async def drain(self, grace_seconds: float) -> None:
        """Take no more requests, let jobs end for so long, then stop them.

        What is detached is written down and goes on when the next server
        starts; the rest is cancelled, for its callers go away with this one.
        """
        self._stopping = True
        await self._roster.drain(grace_seconds)
        await self.idle()

    async def close(self) -> None:
        """Stop all jobs, end the threads, and leave what is detached to the next server."""
        await self.drain(0)
        await self._tools.model.close()
        await self._tools.sound.close()
        await asyncio.to_thread(self.store.jobs.close)

    async def _taken(
        self, request: RenderRequest, *, reads: bool, prefilled: Prefilled[S] | None = None
    ) -> tuple[Job[S] | None, JobInfo]:
        if self._stopping:
            raise StoppingError("the engine is closing and takes no more requests")
        return await self._reception.admit(request, reads=reads, prefilled=prefilled)

    async def _warm_one(self, name: str) -> None:
        await self._tools.model.run(SETUP, self._lineup.named(name).generator.warm_up)

    async def _watch_ended(
        self, job_id: str, from_sample: int | None
    ) -> AsyncGenerator[RenderEvent, None]:
        found = await asyncio.to_thread(self.store.jobs.find, job_id)
        if found.info.state is not JobState.DONE:
            raise error_of(found.info)
        take = await asyncio.to_thread(self.store.load, found.info.take_id)
        yield accepted_from(found.accepted)
        async with aclosing(self._play(take, from_sample, done_from(found.done))) as events:
            async for event in events:
                yield event

    async def _play(
        self, take: Take, from_sample: int | None, done: Done
    ) -> AsyncGenerator[AudioBlock | Done, None]:
        listener = Listener(self._lineup.maker_of(take), from_sample)
        try:
            async with aclosing(listener.play(take, done)) as events:
                async for event in events:
                    yield event
        finally:
            listener.leave()
