"""The jobs that run and wait: each is brought to its end, whatever that is, and written down.

One supervisor a job; it alone removes the job. Knows neither requests' checks
nor audio nor wires.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Generic

from bridge import logs
from bridge.admission import Admission, EngineLimits
from bridge.cache import CacheStats
from bridge.endings import ended, outcome
from bridge.errors import BridgeError, DeadlineError, JobCancelledError, StoppingError, StorageError
from bridge.job import Job
from bridge.jobs import JobInfo, JobState
from bridge.keeping import Tools
from bridge.model_info import KeptAnswers
from bridge.ports import S
from bridge.request import Queued, RenderRequest
from bridge.session import Session, SessionState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats(CacheStats):
    """Counts since the start, and what runs now."""

    running_jobs: int
    queued_jobs: int
    done_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    model_turns: int
    sound_turns: int
    live_blocks: int = 0
    """Of ended jobs, as in `Punctuality`."""
    late_blocks: int = 0
    thinned_chunks: int = 0
    kept_answers: Mapping[str, KeptAnswers] = field(default_factory=dict[str, KeptAnswers])
    """What the model keeps of its networks' answers, by kind."""


class Roster(Generic[S]):
    """All jobs of one engine, from their admission to their end."""

    def __init__(self, tools: Tools[S], limits: EngineLimits) -> None:
        self._tools = tools
        self._admission: Admission[S] = Admission(limits)
        self._jobs: dict[str, Job[S]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._supervisors: set[asyncio.Task[None]] = set()
        self._ended = dict.fromkeys(SessionState, 0)
        self._kept_time: Counter[str] = Counter()
        self._stopping = False

    def find(self, job_id: str) -> Job[S] | None:
        """Return a job that runs or waits."""
        return self._jobs.get(job_id)

    def infos(self) -> dict[str, JobInfo]:
        """Return where all jobs stand that run or wait."""
        return {name: self.info_of(job) for name, job in self._jobs.items()}

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
            **self._kept_time,
            **asdict(self._tools.caches.stats()),
            kept_answers=self._tools.generator.kept_answers(),
        )

    def check_room(self, request: RenderRequest) -> None:
        """Refuse a request for which there is no room.

        Raises:
            BusyError: It says when to try again, by measured speed.
        """
        self._admission.check_room(request, self._retry_after)

    def enter(self, job: Job[S]) -> None:
        """Let a job run, or wait."""
        session = job.session
        self._jobs[session.job] = job
        client = session.request.client_id or session.job
        for worker in (self._tools.model, self._tools.sound):
            worker.join(session.job, client)
        self._set_deadline(session)
        self._admission.add(job)
        with logs.working_for(session.request.request_id or session.job):
            supervisor = asyncio.create_task(self._supervise(job), name=session.job)
        self._supervisors.add(supervisor)
        supervisor.add_done_callback(self._supervisors.discard)
        self._start_next()

    async def leave(self, session: Session) -> None:
        """Stop the job of a listener who goes away, if it was the last one."""
        session.listeners -= 1
        if session.listeners == 0 and not session.request.detached:
            await self.stop(session, JobCancelledError("nobody listens to the job any more"))

    async def stop(self, session: Session, reason: BridgeError) -> None:
        """Return once a job's computing has stopped and its end is written down."""
        self._cut(session, reason)
        await session.over.wait()

    async def idle(self, fingerprint: str | None = None) -> None:
        """Return once no job runs or waits; no job of one model, where one is named."""
        if fingerprint is not None:
            for session in [job.session for job in self._jobs.values()]:
                if session.info.fingerprint == fingerprint:
                    await session.over.wait()
            return
        while self._supervisors:
            await asyncio.wait(list(self._supervisors))

    async def drain(self, grace_seconds: float) -> None:
        """Begin nothing more, let jobs end for so long, then stop them; detached ones go on later.

        What waits has no caller to wait for it or is detached, so it does not
        begin any more.
        """
        if self._supervisors and grace_seconds > 0:
            await asyncio.wait(list(self._supervisors), timeout=grace_seconds)
        self._stopping = True
        for job in list(self._jobs.values()):
            session = job.session
            session.suspended = session.request.detached
            after = "; it goes on when the server starts again" if session.suspended else ""
            text = f"the engine was closed before the result was complete{after}"
            self._cut(session, StoppingError(text))
        await self.idle()

    def info_of(self, job: Job[S]) -> JobInfo:
        """Return where a job stands."""
        session = job.session
        waits = session.state is SessionState.QUEUED
        progress = job.progress()
        queued = session.queued if waits else None
        return replace(
            session.info,
            state=JobState.QUEUED if waits else JobState.RUNNING,
            position=0 if queued is None else queued.position,
            phase=progress.phase,
            step=progress.step,
            total_steps=progress.total_steps,
            eta_seconds=job.eta_seconds() + (0.0 if queued is None else queued.eta_seconds),
            made_samples=job.made_samples,
        )

    def _start_next(self) -> None:
        while not self._stopping and (job := self._admission.next()) is not None:
            name = job.session.job
            with logs.working_for(job.session.request.request_id or name):
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
            if session.suspended and cancelled:
                await job.save()
            else:
                end = ended(info, error, cancelled=cancelled)
                await asyncio.to_thread(self._tools.store.jobs.end, end)
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
        self._kept_time.update(asdict(job.punctuality()))
        if state is SessionState.FAILED and session.listeners == 0:
            log.error("%s failed and nobody listens", session.job, exc_info=session.error)
        session.events.end(session.error)
        session.over.set()
        session.news.ring()
        self._start_next()

    def _cut(self, session: Session, reason: BridgeError) -> None:
        """Stop a job; its supervisor does the rest."""
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
        left_s = max(0.0, due_s - self._tools.store.jobs.now())
        loop = asyncio.get_running_loop()
        self._deadlines[session.job] = loop.call_later(left_s, self._cut, session, error)

    def _retry_after(self) -> float:
        """Return in how many seconds a place will be free."""
        left = [job.eta_seconds() for job in self._admission.running()]
        return max(1.0, min(left, default=1.0))
