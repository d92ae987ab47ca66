"""Who may begin, who waits and for how long, and who is refused.

Places are few and the queue is bounded; live jobs have places of their own.
Knows neither threads nor disk nor wires.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Generic
from uuid import uuid4

from bridge.errors import (
    BusyError,
    InvalidRequestError,
    NotFoundError,
    NotReadyError,
    UnsupportedError,
)
from bridge.job import Job
from bridge.jobs import JobInfo, JobState
from bridge.model_info import ModelInfo
from bridge.ports import Conditions, Quality, S
from bridge.request import Nothing, Prime, RenderRequest, Source, StoredCodes, TakePoint
from bridge.scheduler import FairQueue
from bridge.takes import Take, ground_for

KINDS: Final[dict[type[Any], str]] = {
    Prime: "prime",
    Nothing: "nothing",
    TakePoint: "take",
    StoredCodes: "codes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What one engine takes on at once.

    Attributes:
        max_jobs: Jobs that run beside each other.
        max_live: Live jobs that run beside those.
        max_queued: Jobs that wait to begin.
        max_client_jobs: Jobs of one client that run or wait.
        max_held_bytes: Of audio in the requests that run or wait.
        max_events: Events of a request that wait for their reader.
        checkpoint_seconds: A running job's state is written down so often.
        cache_bytes: Of the model's states kept of primes; 0 switches all caches off.
        calls_at_once: Which the model answers beside each other.

    Raises:
        ValueError: A limit that would let nothing through.
    """

    max_jobs: int = 4
    max_live: int = 4
    max_queued: int = 64
    max_client_jobs: int = 64
    max_held_bytes: int = 512 * 1024**2
    max_events: int = 64
    checkpoint_seconds: float = 2.0
    cache_bytes: int = 128 * 1024**2
    calls_at_once: int = 1

    def __post_init__(self) -> None:
        """Refuse an engine that could do nothing."""
        at_least_one = ("max_jobs", "max_live", "max_client_jobs", "max_held_bytes", "max_events")
        for name in (*at_least_one, "calls_at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, at least 1 is needed")
        for name in ("max_queued", "checkpoint_seconds", "cache_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, the least is 0")


class Admission(Generic[S]):
    """The jobs that run and those that wait."""

    def __init__(self, limits: EngineLimits) -> None:
        self._limits = limits
        self._queue = FairQueue()
        self._jobs: dict[str, Job[S]] = {}
        self._running: dict[str, Job[S]] = {}

    @property
    def num_waiting(self) -> int:
        """Return how many jobs wait."""
        return len(self._queue)

    def check_room(self, request: RenderRequest, retry_after_s: Callable[[], float]) -> None:
        """Refuse a request for which there is no room.

        Raises:
            BusyError: The queue, the client's share of it, or the memory for audio is full.
        """
        limits, held = self._limits, self._jobs.values()
        mine = sum(job.session.request.client_id == request.client_id for job in held)
        num_bytes = sum(nbytes(job.session.request) for job in held)
        if not self._places(live=request.live) and self.num_waiting >= limits.max_queued:
            text = (
                f"{len(self._running)} jobs are running and {self.num_waiting} are waiting, "
                f"the limit is {limits.max_queued} waiting jobs"
            )
        elif request.client_id and mine >= limits.max_client_jobs:
            text = f"{mine} jobs of this client are there, the limit is {limits.max_client_jobs}"
        elif held and num_bytes + nbytes(request) > limits.max_held_bytes:
            text = (
                f"the requests would hold {num_bytes + nbytes(request)} bytes of audio, "
                f"the limit is {limits.max_held_bytes} bytes"
            )
        else:
            return
        raise BusyError(text, retry_after_s=retry_after_s())

    def add(self, job: Job[S]) -> None:
        """Let a job wait."""
        request, name = job.session.request, job.session.job
        self._jobs[name] = job
        seconds = request.num_samples / request.sample_rate
        self._queue.add(name, request.client_id or name, seconds, live=request.live)

    def next(self) -> Job[S] | None:
        """Return the job that begins now; None if none waits or there is no place."""
        for live in (True, False):
            if self._places(live=live) and (name := self._queue.pop(live=live)) is not None:
                self._running[name] = self._jobs[name]
                return self._jobs[name]
        return None

    def leave(self, job: Job[S]) -> None:
        """Forget a job, whether it waits or runs."""
        name = job.session.job
        self._queue.remove(name)
        self._running.pop(name, None)
        self._jobs.pop(name, None)

    def running(self) -> tuple[Job[S], ...]:
        """Return the jobs that have begun."""
        return tuple(self._running.values())

    def expected(self) -> list[tuple[Job[S], float]]:
        """Return the jobs that wait, first to begin first, and in how many seconds they begin."""
        begins: dict[str, float] = {}
        for live in (True, False):
            free = [job.eta_seconds() for job in self.running() if _is_live(job) is live]
            free += [0.0] * self._places(live=live)
            heapq.heapify(free)
            for waiting in self._queue.order():
                if waiting.live is live:
                    at = heapq.heappop(free)
                    begins[waiting.job] = at
                    heapq.heappush(free, at + self._jobs[waiting.job].eta_seconds())
        return [(self._jobs[one.job], begins[one.job]) for one in self._queue.order()]

    def _places(self, *, live: bool) -> int:
        limit = self._limits.max_live if live else self._limits.max_jobs
        return limit - sum(_is_live(job) is live for job in self._running.values())


def check_request(request: RenderRequest, info: ModelInfo) -> None:
    """Refuse what the model cannot do, by name.

    Raises:
        NotFoundError: Another model is asked for.
        UnsupportedError: A condition, a quality or a source that it cannot use.
    """
    if request.model not in ("", info.name):
        raise NotFoundError(
            f"no model is named {request.model!r}; loaded: {info.name}", field="model"
        )
    missing = [need for need in needs(request) if need not in info.supports]
    if missing:
        known = ", ".join(sorted(info.supports))
        raise UnsupportedError(
            f"the model {info.name} cannot use: {', '.join(missing)}; it can use: {known}"
        )


def levelled(request: RenderRequest, info: ModelInfo) -> RenderRequest:
    """Return the request; where the model keeps the recording's level, none is to be matched."""
    fast = request.plan.quality is Quality.FAST
    if info.keeps_level and fast and isinstance(request.source, Prime):
        return replace(request, level_db=0.0)
    return request


def check_parent(request: RenderRequest, parent: Take, info: ModelInfo) -> None:
    """Refuse to go on with a take in a way that it does not allow.

    Raises:
        InvalidRequestError: Another rate or quality than the take's.
        NotReadyError: Another model made it.
        UnsupportedError: Conditions, or a departure before the end where the model cannot.
    """
    asked = parent.request
    check_maker(parent, info)
    if request.sample_rate != asked.sample_rate:
        raise InvalidRequestError(
            f"the rate is {request.sample_rate} Hz, the take {parent.id} has {asked.sample_rate} Hz"
        )
    if request.plan.quality != parent.plan.quality:
        raise InvalidRequestError(
            f"the quality is {request.plan.quality}, the take {parent.id} was made with "
            f"{parent.plan.quality} and goes on with the same",
            field="plan.quality",
        )
    if request.conditions != Conditions():
        raise UnsupportedError(
            "a take goes on with its own conditions; others cannot be given", field="conditions"
        )
    assert isinstance(request.source, TakePoint)
    if request.source.departure_sample is not None and "rewind" not in info.supports:
        raise UnsupportedError(
            f"the model {info.name} cannot leave a take at a sample, only go on where its codes end"
        )


def check_maker(take: Take, info: ModelInfo) -> None:
    """Refuse codes that the loaded model would read otherwise than they were meant.

    Raises:
        NotReadyError: Another model made the take.
    """
    if take.fingerprint != info.fingerprint:
        raise NotReadyError(
            f"the take {take.id} was made by the model {take.model} ({take.fingerprint}), "
            f"loaded is {info.name} ({info.fingerprint})"
        )


def new_info(request: RenderRequest, parent: Take | None, info: ModelInfo, now_s: float) -> JobInfo:
    """Return what is known of a job that begins at a Unix time; `parent` is its source's take.

    Raises:
        InvalidRequestError: The departure lies outside the take.
    """
    return JobInfo(
        id=f"job-{uuid4().hex[:20]}",
        request_id=request.request_id,
        client_id=request.client_id,
        state=JobState.QUEUED,
        detached=request.detached,
        live=request.live,
        seed=request.plan.seed,
        model=info.name,
        fingerprint=info.fingerprint,
        created_s=now_s,
        splice_sample=ground_for(request.source, parent).splice_sample + request.lead_samples,
        num_samples=request.num_samples,
        deadline_unix_s=None if request.deadline_s is None else now_s + request.deadline_s,
    )


def check_file(request: RenderRequest, splice_sample: int) -> None:
    """Refuse a file that no Broadcast Wave could be.

    Raises:
        InvalidRequestError: It would begin before sample 0.
    """
    if request.write_file and splice_sample < 0:
        raise InvalidRequestError(
            f"the file would begin at sample {splice_sample}, "
            "a Broadcast Wave file begins at sample 0 or later"
        )


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
        "blend": bool(conditions.blend),
        "finest_level": plan.finest_level != 0,
        "levels": bool(plan.levels),
        "changes": bool(plan.changes),
        "guidance": plan.guidance != 1.0,
        f"quality:{plan.quality}": True,
        f"source:{KINDS[type(request.source)]}": True,
    }
    return tuple(name for name, wanted in asked.items() if wanted)


def nbytes(request: RenderRequest) -> int:
    """Return the bytes of audio and codes that a request holds."""
    conditions = request.conditions
    arrays = [stem.samples for stem in conditions.stems]
    if conditions.suffix is not None:
        arrays.append(conditions.suffix.samples)
    return _source_nbytes(request.source) + sum(array.nbytes for array in arrays)


def _source_nbytes(source: Source) -> int:
    match source:
        case Prime():
            return source.samples.nbytes
        case StoredCodes():
            return sum(level.codes.nbytes for level in source.levels)
        case _:
            return 0


def _is_live(job: Job[Any]) -> bool:
    return job.session.request.live
