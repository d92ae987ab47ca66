"""A clock that is advanced instead of waited for, and a model that takes recorded times.

On `VirtualLoop` an hour of music passes as fast as it can be simulated: what a thread
would do is done at once, and its result is handed over as much later as it was recorded
to take. `Recorder` records those times around a real model; `Replayer` draws from them,
around a real model or around none.
"""

import asyncio
import random
import selectors
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import numpy as np

from bridge.model_info import KeptAnswers, ModelInfo
from bridge.ports import Conditions, Generator, Mono, Plan, StepResult

METHODS: Final = ("open", "begin", "feed", "steer", "decode", "fidelity", "restore", "rewind")
Times = dict[str, list[float]]
T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Never waits: time goes on instead."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return what is ready now, after the time has passed."""
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits and nothing is due")
            self._jump(max(0.0, timeout))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own, and work that takes as long as it is said to."""

    def __init__(self, spent: Callable[[], tuple[float, float]]) -> None:
        """Begin at 0 s.

        Args:
            spent: Returns the recorded seconds of the model's calls since it was asked last, and
                how long they really took in this thread.
        """
        self._now_s = 0.0
        self._spent = spent
        self._took_s = 0.0
        self._thread = ThreadPoolExecutor(max_workers=1)
        super().__init__(_Jumping(self._advance))

    def time(self) -> float:
        """Return the virtual seconds."""
        return self._now_s

    def run_in_executor(
        self, executor: object, func: Callable[..., T], *args: object
    ) -> asyncio.Future[T]:
        """Do the work now; its result comes when its time has passed."""
        del executor
        future: asyncio.Future[T] = self.create_future()
        self._spent()

        def work() -> T:
            begun_s = time.thread_time()
            try:
                return func(*args)
            finally:
                self._took_s = time.thread_time() - begun_s

        done = self._thread.submit(work)
        wait([done])
        recorded_s, really_s = self._spent()
        beside_s = max(0.0, self._took_s - really_s)
        self.call_at(self._now_s + recorded_s + beside_s, _settle, future, done)
        return future

    def close(self) -> None:
        """End the thread and the loop."""
        self._thread.shutdown()
        super().close()

    def _advance(self, seconds: float) -> None:
        self._now_s += seconds


def _settle(future: asyncio.Future[Any], done: Future[Any]) -> None:
    if future.done():
        return
    if (error := done.exception()) is None:
        future.set_result(done.result())
    else:
        future.set_exception(error)


class Recorder:
    """A generator whose calls are timed, by kind."""

    def __init__(self, generator: Generator[Any]) -> None:
        self._generator = generator
        self._lock = threading.Lock()
        self.times: Times = defaultdict(list)

    @property
    def info(self) -> ModelInfo:
        """Return the model's own."""
        return self._generator.info

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the model's own method, timed if it computes."""
        method = getattr(self._generator, name)
        if name not in METHODS:
            return method

        def timed(*args: object) -> object:
            begun_s = time.perf_counter()
            result = method(*args)
            self._note(name, time.perf_counter() - begun_s)
            return result

        return timed

    def step(self, states: Sequence[Any], plan: Plan) -> list[StepResult[Any]]:
        """Return one step, noted by what it was."""
        before = states[0].settled_sample
        begun_s = time.perf_counter()
        results = self._generator.step(states, plan)
        self._note(step_kind(before, results[0]), time.perf_counter() - begun_s)
        return results

    def _note(self, name: str, seconds: float) -> None:
        with self._lock:
            self.times[name].append(seconds)


def step_kind(before_sample: int, result: StepResult[Any]) -> str:
    """Return what a step was: `notes`, a `pass`, or the one `closing` a chunk."""
    if result.phase == "notes":
        return "notes"
    return "closing" if result.state.settled_sample > before_sample else "pass"


class Replayer:
    """A generator that takes recorded times; the virtual loop asks what was spent."""

    def __init__(self, generator: Generator[Any], times: Times, seed: int) -> None:
        self._generator = generator
        self._times = times
        self._random = random.Random(seed)
        self._recorded_s = self._really_s = 0.0

    @property
    def info(self) -> ModelInfo:
        """Return the model's own."""
        return self._generator.info

    def spent(self) -> tuple[float, float]:
        """Return the recorded and the real seconds since the last time, and forget them."""
        spent = self._recorded_s, self._really_s
        self._recorded_s = self._really_s = 0.0
        return spent

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the model's own method, which takes a recorded time."""
        method = getattr(self._generator, name)
        if name not in METHODS:
            return method

        def replayed(*args: object) -> object:
            begun_s = time.thread_time()
            result = method(*args)
            self._take(name, time.thread_time() - begun_s)
            return result

        return replayed

    def step(self, states: Sequence[Any], plan: Plan) -> list[StepResult[Any]]:
        """Return one step, which takes the time of one of its kind."""
        before, begun_s = states[0].settled_sample, time.thread_time()
        results = self._generator.step(states, plan)
        self._take(step_kind(before, results[0]), time.thread_time() - begun_s)
        return results

    def _take(self, kind: str, really_s: float) -> None:
        known = self._times.get(kind)
        self._recorded_s += self._random.choice(known) if known else really_s
        self._really_s += really_s


@dataclass(frozen=True, slots=True, kw_only=True)
class HollowState:
    """How far a timeline without sound has come."""

    fed_samples: int = 0
    settled_sample: int = 0
    decodable_sample: int = 0
    passes: int = 0
    composed: bool = False

    @property
    def nbytes(self) -> int:
        """Return a little."""
        return 64

    def fork(self) -> "HollowState":
        """Return the same."""
        return self

    def to_bytes(self) -> bytes:
        """Return a name."""
        return repr(self).encode()


class HollowGenerator:
    """A model of the shipped one's shape that computes nothing: its steps, chunks and blocks."""

    def __init__(self, info: ModelInfo, passes: int, *, composes: bool) -> None:
        self.info = info
        self._passes = passes
        self._composes = composes

    def open(
        self, conditions: Conditions, anchor_sample: int, end_sample: int | None
    ) -> HollowState:
        """Return an empty timeline."""
        del conditions, anchor_sample, end_sample
        return HollowState()

    def begin(self, state: HollowState, plan: Plan, end_sample: int) -> HollowState:
        """Return the state as it is."""
        del plan, end_sample
        return state

    def feed(self, state: HollowState, audio: Mono) -> HollowState:
        """Return the state that has heard more; all but the last chunk can be decoded."""
        fed = state.fed_samples + audio.shape[0]
        frame, chunk = self.info.frame_samples, self.info.feed_samples
        decodable = max(0, fed // chunk * chunk - chunk - self.info.lookahead_samples)
        return replace(
            state, fed_samples=fed, settled_sample=fed // frame * frame, decodable_sample=decodable
        )

    def steer(self, state: HollowState, conditions: Conditions) -> HollowState:
        """Return the state as it is."""
        del conditions
        return state

    def step(self, states: Sequence[HollowState], plan: Plan) -> list[StepResult[HollowState]]:
        """Return the states a pass further."""
        return [self._step(state, plan.passes or self._passes) for state in states]

    def steps_per_second(self, plan: Plan) -> float:
        """Return how many passes a second takes."""
        passes = plan.passes or self._passes
        return passes * self.info.sample_rate / self.info.feed_samples

    def decode(self, state: HollowState, block: int) -> Mono:
        """Return quiet noise."""
        del state
        noise = np.random.default_rng(block).standard_normal(self.info.block_samples)
        return (0.01 * noise).astype(np.float32)

    def fidelity(self, audio: Mono) -> float:
        """Return that all is known."""
        del audio
        return 1.0

    def kept_answers(self) -> dict[str, KeptAnswers]:
        """Return nothing: it has no networks."""
        return {}

    def words(self, state: HollowState) -> tuple[()]:
        """Return nothing."""
        del state
        return ()

    def warm_up(self) -> None:
        """Do nothing."""

    def _step(self, state: HollowState, passes: int) -> StepResult[HollowState]:
        if self._composes and not state.composed:
            return StepResult(state=replace(state, composed=True), phase="notes")
        if state.passes + 1 < passes:
            return StepResult(state=replace(state, passes=state.passes + 1), phase="top")
        chunk = self.info.feed_samples
        settled = (state.settled_sample // chunk + 1) * chunk
        decodable = max(state.decodable_sample, settled - self.info.lookahead_samples)
        made = replace(
            state, settled_sample=settled, decodable_sample=decodable, passes=0, composed=False
        )
        return StepResult(state=made, phase="top")
