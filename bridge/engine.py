"""The render loop: takes jobs in, runs them beside each other, keeps them over a crash.

Two threads do all the work, one for the model and one for sound; no coroutine
waits on either. A job is on disk before its caller hears of it; it ends as a
take, with an error, or because nobody wants it any more. Knows no wire, no
torch and no wall clock (it is given one).
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic
from uuid import uuid4

from bridge.admission import (
    Admission,
    EngineLimits,
    check_file,
    check_parent,
    check_request,
)
from bridge.endings import accepted_from, done_from, done_of, ended, error_of, outcome
from bridge.errors import (
    BridgeError,
    ConflictError,
    DeadlineError,
    JobCancelledError,
    NotReadyError,
    StoppingError,
    StorageError,
)
from bridge.job import Job, Tools, write_take
from bridge.jobs import JobInfo, JobState
from bridge.pace import Pace
from bridge.ports import Generator, ModelInfo, S
from bridge.replay import Listener
from bridge.request import AudioBlock, Done, Queued, RenderEvent, RenderRequest, TakePoint
from bridge.session import Session, SessionState
from bridge.store import TakeStore
from bridge.takes import Take, ground_for, request_digest
from bridge.workers import Worker

log = logging.getLogger(__name__)

SETUP = "setup"
ASSUMED_STEP_SECONDS = 0.05
"""Until it is measured; the prime is heard as fast as it plays until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """Counts since the start, and what runs now."""

    running_jobs: int
    queued_jobs: int
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
            store: Where jobs and takes are kept.
            clock: Seconds, monotone.
            limits: What to take on at once.
        """
        info = generator.info
        self._tools = Tools(
            generator=generator,
            model=Worker("model"),
            sound=Worker("sound"),
            store=store,
            clock=clock,
            pace=Pace(prime_s=info.feed_samples / info.sample_rate, made_s=ASSUMED_STEP_SECONDS),
            checkpoint_seconds=limits.checkpoint_seconds,
        )
        self._admission: Admission[S] = Admission(limits)
        self._limits = limits
        self._jobs: dict[str, Job[S]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._supervisors: set[asyncio.Task[None]] = set()
        self._keys = asyncio.Lock()
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

    @property
    def store(self) -> TakeStore:
        """Return where jobs and takes are kept; its methods block."""
        return self._tools.store

    async def warm_up(self) -> None:
        """Run every path of the model once."""
        await self._tools.model.run(SETUP, self._tools.generator.warm_up)
        self._warm = True

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Yield the request's events: Queued if it waits, Accepted, Progress and AudioBlock, Done.

        Closing the iterator stops the work after the step in flight, unless the
        request is detached or somebody else listens to the job.

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
        job, info = await self._admit(request, reads=True)
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
            await self._leave(session)

    async def submit(self, request: RenderRequest) -> JobInfo:
        """Return the job once it is on disk; it begins when its turn comes and nobody need listen.

        Raises:
            BridgeError: As `render` does.
        """
        job, info = await self._admit(request, reads=False)
        if job is None:
            return info
        if job.session.kept is not None:
            await asyncio.shield(job.session.kept)
        return self._info_of(job)

    async def watch(
        self, job_id: str, from_sample: int | None = None
    ) -> AsyncGenerator[RenderEvent, None]:
        """Yield a job's events, its audio from a session sample on, whether it runs or is done.

        Raises:
            NotFoundError: No job has this name.
            BridgeError: What the job failed with.
        """
        job = self._jobs.get(job_id)
        if job is None:
            async with aclosing(self._watch_ended(job_id, from_sample)) as ended:
                async for event in ended:
                    yield event
            return
        listener = Listener(self._tools, from_sample)
        job.session.listeners += 1
        try:
            async with aclosing(listener.follow(job)) as events:
                async for event in events:
                    yield event
        finally:
            listener.leave()
            await self._leave(job.session)

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

    async def cancel(self, job_id: str) -> JobInfo:
        """Return a job once its computing has stopped; one that is over is returned as it is.

        Raises:
            NotFoundError: No job has this name.
        """
        job = self._jobs.get(job_id)
        if job is not None:
            await self._stop(job.session, JobCancelledError(f"the job {job_id} was cancelled"))
        return await self.job(job_id)

    async def job(self, job_id: str) -> JobInfo:
        """Return where a job stands.

        Raises:
            NotFoundError: No job has this name.
        """
        if job_id in self._jobs:
            return self._info_of(self._jobs[job_id])
        return (await asyncio.to_thread(self.store.jobs.find, job_id)).info

    async def jobs(self, limit: int = 100) -> tuple[JobInfo, ...]:
        """Return the jobs that came last, newest first, ended ones included."""
        kept = await asyncio.to_thread(self.store.jobs.newest, limit)
        live = {name: self._info_of(job) for name, job in self._jobs.items()}
        return tuple(live.get(info.id, info) for info in kept)

    def stats(self) -> EngineStats:
        """Return the counts since the start."""
        return EngineStats(
            running_jobs=len(self._tasks),
            queued_jobs=self._admission.num_waiting,
            done_jobs=self._ended[SessionState.DONE],
            failed_jobs=self._ended[SessionState.FAILED],
            cancelled_jobs=self._ended[SessionState.CANCELLED],
            model_turns=self._tools.model.turns,
            sound_turns=self._tools.sound.turns,
        )

    async def resume(self) -> int:
        """Return how many unfinished jobs of dead servers were taken up again.

        All of them are, also those whose callers are gone: what was accepted
        ends as it would have ended, and its key finds it.
        """
        infos = await asyncio.to_thread(self.store.jobs.adopt)
        resumed = [await self._take_up(info) for info in infos]
        return sum(resumed)

    async def idle(self) -> None:
        """Return once no job runs or waits and both threads rest."""
        while self._supervisors:
            await asyncio.wait(list(self._supervisors))
        await self._tools.model.idle()
        await self._tools.sound.idle()

    async def drain(self, grace_seconds: float) -> None:
        """Take no more requests, let jobs end for so long, then stop them.

        What is detached is written down and goes on when the next server
        starts; the rest is cancelled, for its callers go away with this one.
        """
        self._stopping = True
        if self._supervisors and grace_seconds > 0:
            await asyncio.wait(list(self._supervisors), timeout=grace_seconds)
        for job in list(self._jobs.values()):
            session = job.session
            session.suspended = session.request.detached
            after = "; it goes on when the server starts again" if session.suspended else ""
            text = f"the engine was closed before the result was complete{after}"
            self._cut(session, StoppingError(text))
        await self.idle()

    async def close(self) -> None:
        """Stop all jobs, end the threads, and leave what is detached to the next server."""
        await self.drain(0)
        await self._tools.model.close()
        await self._tools.sound.close()
        await asyncio.to_thread(self.store.jobs.close)

    async def _admit(self, request: RenderRequest, *, reads: bool) -> tuple[Job[S] | None, JobInfo]:
        """Return the new job of a request, or None and what its key named before."""
        if self._stopping:
            raise StoppingError("the engine is closing and takes no more requests")
        check_request(request, self.info)
        if not request.idempotency_key:
            job = self._begin(request, await self._parent(request), reads=reads)
            return job, job.session.info
        async with self._keys:
            known = await self._known(request)
            if known is not None:
                return None, known
            job = self._begin(request, await self._parent(request), reads=reads)
            # The key is taken when the row is there.
            if job.session.kept is not None:
                await asyncio.wait([job.session.kept])
            return job, job.session.info

    async def _known(self, request: RenderRequest) -> JobInfo | None:
        key = request.idempotency_key
        found = await asyncio.to_thread(self.store.jobs.by_key, key)
        if found is None:
            return None
        info, digest = found
        if digest != await asyncio.to_thread(request_digest, request):
            raise ConflictError(
                f"the idempotency key {key[:80]!r} named another request, the job {info.id}; "
                "a new request needs a new key",
                field="idempotency_key",
            )
        return info

    async def _parent(self, request: RenderRequest) -> Take | None:
        if not isinstance(request.source, TakePoint):
            return None
        parent = await asyncio.to_thread(self.store.load, request.source.take_id)
        check_parent(request, parent, self.info)
        return parent

    def _begin(self, request: RenderRequest, parent: Take | None, *, reads: bool) -> Job[S]:
        """Return a job that runs or waits, and is being written down."""
        info = self._new_info(request, parent)
        check_file(request, info.splice_sample)
        self._admission.check_room(request, self._retry_after)
        session = Session(info, request, self._limits.max_events)
        job = Job(session, self._tools, parent)
        if reads:
            session.listeners = 1
        else:
            session.events.leave()
        keeping = asyncio.create_task(asyncio.to_thread(self._keep, session.info, request))
        session.kept = keeping
        self._enter(job)
        return job

    def _new_info(self, request: RenderRequest, parent: Take | None) -> JobInfo:
        now_s = self.store.jobs.now()
        deadline = None if request.deadline_s is None else now_s + request.deadline_s
        return JobInfo(
            id=f"job-{uuid4().hex[:20]}",
            request_id=request.request_id,
            client_id=request.client_id,
            state=JobState.QUEUED,
            detached=request.detached,
            live=request.live,
            seed=request.plan.seed,
            model=self.info.name,
            fingerprint=self.info.fingerprint,
            created_s=now_s,
            splice_sample=ground_for(request.source, parent).splice_sample,
            num_samples=request.num_samples,
            deadline_unix_s=deadline,
        )

    def _keep(self, info: JobInfo, request: RenderRequest) -> None:
        self.store.check_room()
        self.store.jobs.add(info, request, request_digest(request))

    def _enter(self, job: Job[S]) -> None:
        """Let a job run, or wait."""
        session = job.session
        self._jobs[session.job] = job
        client = session.request.client_id or session.job
        for worker in (self._tools.model, self._tools.sound):
            worker.join(session.job, client)
        self._set_deadline(session)
        self._admission.add(job)
        supervisor = asyncio.create_task(self._supervise(job), name=session.job)
        self._supervisors.add(supervisor)
        supervisor.add_done_callback(self._supervisors.discard)
        self._start_next()

    def _start_next(self) -> None:
        while not self._stopping and (job := self._admission.next()) is not None:
            name = job.session.job
            self._tasks[name] = asyncio.create_task(job.run(), name=f"{name} runs")
            job.session.begun.set()
        self._tell_places()

    def _tell_places(self) -> None:
        for position, (job, eta_seconds) in enumerate(self._admission.expected(), start=1):
            job.session.tell_place(
                Queued(
                    job_id=job.session.job,
                    request_id=job.session.request.request_id,
                    position=position,
                    eta_seconds=eta_seconds,
                )
            )

    async def _supervise(self, job: Job[S]) -> None:
        """Bring a job to its end, whatever that is, and write it down."""
        session = job.session
        await session.begun.wait()
        task = self._tasks.get(session.job)
        if task is not None:
            await asyncio.wait([task])
        if session.kept is not None:
            await asyncio.wait([session.kept])
        state, session.error = outcome(session, task)
        if session.error is not None:
            await self._write_down(job, session.error, cancelled=state is SessionState.CANCELLED)
        self._forget(job, state)

    async def _write_down(self, job: Job[S], error: BaseException, *, cancelled: bool) -> None:
        """Keep how a job ended, or how far it came."""
        session = job.session
        if session.kept is not None and session.kept.exception() is not None:
            return
        info = replace(session.info, made_samples=job.made_samples)
        try:
            if session.suspended:
                await job.save()
            else:
                await asyncio.to_thread(
                    self.store.jobs.end, ended(info, error, cancelled=cancelled)
                )
        except StorageError:
            # On disk it is unfinished then, and the next server takes it up.
            log.exception("the end of %s could not be written down", session.job)

    def _forget(self, job: Job[S], state: SessionState) -> None:
        session = job.session
        self._admission.leave(job)
        self._tasks.pop(session.job, None)
        del self._jobs[session.job]
        timer = self._deadlines.pop(session.job, None)
        if timer is not None:
            timer.cancel()
        for worker in (self._tools.model, self._tools.sound):
            worker.leave(session.job)
        session.move(state)
        self._ended[state] += 1
        if state is SessionState.FAILED and session.listeners == 0:
            log.error("%s failed and nobody listens", session.job, exc_info=session.error)
        session.events.end(session.error)
        session.over.set()
        session.news.ring()
        self._start_next()

    async def _leave(self, session: Session) -> None:
        """Stop the job of a listener who goes away, if it was the last one."""
        session.listeners -= 1
        if session.listeners == 0 and not session.request.detached:
            await self._stop(session, JobCancelledError("nobody listens to the job any more"))

    async def _stop(self, session: Session, reason: BridgeError) -> None:
        self._cut(session, reason)
        await session.over.wait()

    def _cut(self, session: Session, reason: BridgeError) -> None:
        """Stop a job; the supervisor does the rest."""
        if session.over.is_set():
            return
        session.reason = session.reason or reason
        task = self._tasks.get(session.job)
        if task is not None:
            task.cancel()
        else:
            self._admission.leave(self._jobs[session.job])
            session.begun.set()

    def _set_deadline(self, session: Session) -> None:
        due_s = session.info.deadline_unix_s
        if due_s is None:
            return
        given = session.request.deadline_s
        error = DeadlineError(f"the result was not done within the {given:g} s that were given")
        left_s = max(0.0, due_s - self.store.jobs.now())
        loop = asyncio.get_running_loop()
        self._deadlines[session.job] = loop.call_later(left_s, self._cut, session, error)

    def _retry_after(self) -> float:
        """Return in how many seconds a place will be free, by measured speed."""
        left = [job.eta_seconds() for job in self._admission.running()]
        return max(1.0, min(left, default=1.0))

    async def _take_up(self, info: JobInfo) -> bool:
        """Return whether a job of a dead server goes on here."""
        try:
            if info.fingerprint != self.info.fingerprint:
                raise NotReadyError(
                    f"the job was begun with the model {info.model} ({info.fingerprint}), loaded "
                    f"is {self.info.name} ({self.info.fingerprint}): its bytes would be others"
                )
            request = await asyncio.to_thread(self.store.jobs.request, info.id)
            parent = await self._parent(request)
        except BridgeError as error:
            log.warning("%s cannot go on: %s", info.id, error)
            failed = ended(info, error, cancelled=False)
            await asyncio.to_thread(self.store.jobs.end, failed)
            return False
        session = Session(info, request, self._limits.max_events)
        session.events.leave()
        self._enter(Job(session, self._tools, parent))
        return True

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
        if take.fingerprint != self.info.fingerprint:
            raise NotReadyError(
                f"the take {take.id} was made by the model {take.model} ({take.fingerprint}), "
                f"loaded is {self.info.name} ({self.info.fingerprint})"
            )
        listener = Listener(self._tools, from_sample)
        try:
            async with aclosing(listener.play(take, done)) as events:
                async for event in events:
                    yield event
        finally:
            listener.leave()

    def _info_of(self, job: Job[S]) -> JobInfo:
        session = job.session
        waits = session.state is SessionState.QUEUED
        progress = session.progress or job.meter.progress("")
        queued = session.queued if waits else None
        return replace(
            session.info,
            state=JobState.QUEUED if waits else JobState.RUNNING,
            position=0 if queued is None else queued.position,
            phase=progress.phase,
            step=progress.step,
            total_steps=progress.total_steps,
            eta_seconds=progress.eta_seconds + (0.0 if queued is None else queued.eta_seconds),
            made_samples=job.made_samples,
        )
