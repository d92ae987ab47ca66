"""Doubles that count: a generator whose code is its position, and a clock that is told the time.

Sample k from the anchor decodes to `ramp(k)`, so that a slip, a gap or a repeat
anywhere between the model and the wire shows as a wrong number.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bridge.errors import UnsupportedError
from bridge.model_info import KeptAnswers, ModelInfo
from bridge.ports import Conditions, LevelCodes, Mono, Plan, StepResult, TimedWord

SCALE = 2.0**24
ALL_CONDITIONS = frozenset(
    {"artist", "genre", "timing", "midi", "stems", "suffix", "energy", "density", "sections"}
    | {"lyrics", "guidance", "target:mix", "target:drums", "target:bass", "target:vocals"}
    | {"target:other", "quality:fast", "quality:exact", "quality:teacher"}
    | {"source:prime", "source:nothing", "source:take", "rewind"}
)


def ramp(start_sample: int, num_samples: int, offset: int = 0) -> Mono:
    """Return the samples whose value is their position, over 2**24, exactly."""
    positions = np.arange(start_sample, start_sample + num_samples) + offset
    return (positions / SCALE).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingState:
    """What the counting generator remembers: how far it has come."""

    anchor_sample: int = 0
    fed_samples: int = 0
    settled_sample: int = 0
    decodable_sample: int = 0
    steps: int = 0
    made: tuple[tuple[int, int], ...] = ()
    """Where each plan began to generate, and what it adds to every position."""

    @property
    def nbytes(self) -> int:
        return 64

    def fork(self) -> "CountingState":
        return self

    def to_bytes(self) -> bytes:
        names = self.__dataclass_fields__
        return json.dumps({name: getattr(self, name) for name in names}).encode()


class CountingGenerator:
    """Its code is its position; it counts its calls and can be held or told to fail.

    Args:
        info: Stated model; `counting_info` makes one.
        follows_seed: Whether the seed is added to every generated position.
        on_step: Called in each step with the number of steps before it: may block or raise.
        on_decode: The same for each decoded block.
    """

    def __init__(
        self,
        info: ModelInfo | None = None,
        *,
        follows_seed: bool = False,
        on_step: Callable[[int], None] | None = None,
        on_decode: Callable[[int], None] | None = None,
    ) -> None:
        self._info = info or counting_info()
        self._follows_seed = follows_seed
        self._on_step = on_step
        self._on_decode = on_decode
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.threads: dict[str, set[str]] = {}
        self.order: list[int] = []
        """Seeds of the plans in the order of their steps: who was served when."""
        self.opened: list[tuple[Conditions, int]] = []
        self.steered: list[tuple[Conditions, int]] = []
        self.ends: list[int | None] = []
        self.fed: list[Mono] = []
        self.decoded: list[int] = []
        self.known = 1.0
        self.answers: dict[str, KeptAnswers] = {}
        self.sung: tuple[TimedWord, ...] = ()
        """What `words` tells, in model samples."""

    @property
    def info(self) -> ModelInfo:
        return self._info

    def open(
        self, conditions: Conditions, anchor_sample: int, end_sample: int | None
    ) -> CountingState:
        self._count("open")
        self.opened.append((conditions, anchor_sample))
        return CountingState(anchor_sample=anchor_sample)

    def begin(self, state: CountingState, plan: Plan, end_sample: int) -> CountingState:
        del plan
        self._count("begin")
        self.ends.append(end_sample)
        return state

    def feed(self, state: CountingState, audio: Mono) -> CountingState:
        self._count("feed")
        if not 0 < audio.shape[0] <= self.info.feed_samples:
            raise ValueError(f"fed {audio.shape[0]} samples, not 1 to {self.info.feed_samples}")
        if state.made:
            raise ValueError("fed after generation began")
        self.fed.append(audio)
        return self._moved(state, fed_samples=state.fed_samples + audio.shape[0])

    def steer(self, state: CountingState, conditions: Conditions) -> CountingState:
        self._count("steer")
        self.steered.append((conditions, state.fed_samples))
        return state

    def step(self, states: Sequence[CountingState], plan: Plan) -> list[StepResult[CountingState]]:
        before = self._count("step")
        if self._on_step is not None:
            self._on_step(before)
        self.order.append(plan.seed)
        return [self._stepped(state, plan) for state in states]

    def steps_per_second(self, plan: Plan) -> float:
        del plan
        return len(PHASES) * self.info.sample_rate / (FRAMES_PER_CHUNK * self.info.frame_samples)

    def decode(self, state: CountingState, block: int) -> Mono:
        before = self._count("decode")
        if self._on_decode is not None:
            self._on_decode(before)
        size = self.info.block_samples
        if (block + 1) * size > state.decodable_sample:
            raise ValueError(f"block {block} ends after sample {state.decodable_sample}")
        self.decoded.append(block)
        audio = ramp(block * size, size)
        for start, offset in state.made:
            before = max(0, start - block * size)
            audio[before:] = ramp(block * size, size, offset)[before:]
        return audio

    def fidelity(self, audio: Mono) -> float:
        self._count("fidelity")
        return self.known if audio.shape[0] else 0.0

    def kept_answers(self) -> dict[str, KeptAnswers]:
        return self.answers

    def restore(self, data: bytes) -> CountingState:
        self._count("restore")
        values = json.loads(data)
        values["made"] = tuple((start, offset) for start, offset in values["made"])
        return CountingState(**values)

    def rewind(self, state: CountingState, sample: int) -> CountingState:
        self._count("rewind")
        if not 0 < sample <= state.settled_sample:
            raise ValueError(f"sample {sample} is not within {state.settled_sample}")
        frame = self.info.frame_samples
        back = replace(
            state,
            settled_sample=0,
            decodable_sample=0,
            fed_samples=min(state.fed_samples, sample),
            steps=0,
            made=tuple(part for part in state.made if part[0] < sample),
        )
        return self._moved(back, settled_sample=sample // frame * frame)

    def adopt(
        self, state: CountingState, codes: Sequence[LevelCodes], finest_level: int
    ) -> CountingState:
        raise UnsupportedError("the counting model cannot upsample stored codes")

    def codes(self, state: CountingState) -> tuple[LevelCodes, ...]:
        frames = state.settled_sample // self.info.frame_samples
        return (LevelCodes(level=2, codes=np.arange(frames, dtype=np.int16)),)

    def words(self, state: CountingState) -> tuple[TimedWord, ...]:
        del state
        return self.sung

    def warm_up(self) -> None:
        self._count("warm_up")

    def _count(self, name: str) -> int:
        with self._lock:
            self.calls[name] += 1
            self.threads.setdefault(name, set()).add(threading.current_thread().name)
            return self.calls[name] - 1

    def _stepped(self, state: CountingState, plan: Plan) -> StepResult[CountingState]:
        phase = PHASES[state.steps % len(PHASES)]
        offset = plan.seed % 1000 if self._follows_seed else 0
        if not state.made or state.made[-1][1] != offset:
            state = replace(state, made=(*state.made, (state.settled_sample, offset)))
        state = replace(state, steps=state.steps + 1)
        if phase == PHASES[-1]:
            chunk = FRAMES_PER_CHUNK * self.info.frame_samples
            state = self._moved(state, settled_sample=state.settled_sample + chunk)
        return StepResult(state=state, phase=phase)

    def _moved(self, state: CountingState, **to: int) -> CountingState:
        state = replace(state, **to)
        frame = self.info.frame_samples
        settled = max(state.settled_sample, state.fed_samples // frame * frame)
        decodable = max(0, settled - self.info.lookahead_samples)
        return replace(state, settled_sample=settled, decodable_sample=decodable)


PHASES = ("top", "level1", "level0")
FRAMES_PER_CHUNK = 8


def counting_info(**changes) -> ModelInfo:
    """Return a small model's description, with changes."""
    info = ModelInfo(
        name="counting",
        fingerprint="counting-1",
        sample_rate=44_100,
        frame_samples=128,
        block_samples=1024,
        feed_samples=2048,
        lookahead_samples=200,
        context_samples=44_100,
        streams=True,
        supports=ALL_CONDITIONS,
        artists=("Bach",),
        genres=("Chorale",),
        licence="test",
        output_licence="public domain",
        hops=(8, 32, 128),
    )
    return replace(info, **changes)


class Clock:
    """Says the time it was told, and goes on by a fixed step at each question."""

    def __init__(self, step_s: float = 0.001) -> None:
        self.now_s = 0.0
        self._step_s = step_s

    def __call__(self) -> float:
        self.now_s += self._step_s
        return self.now_s
