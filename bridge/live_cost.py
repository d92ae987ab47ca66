"""What live music costs: a trial of hearing, making and sounding a little of it.

Knows neither who plays nor what may be taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Generic, TypeAlias

import numpy as np

from bridge.model_info import ModelInfo
from bridge.ports import Conditions, Generator, Plan, S
from bridge.transport import pulse_of, steady

Calls: TypeAlias = tuple[Callable[[Generator[S]], None], ...]

HEARD_AGAIN: Final = 1.15
"""A session hears more than what comes: each answer hears the end of what was played. Counted in
loops of a bar of 2 s, which is 10.8 canonical blocks; two windows hear the same blocks, once."""
BESIDE_S: Final = 0.18
"""Of a core, for a second of a session: messages, resampling, its image and its journal (0.10 with
`benchmarks/live.py` on two cores at 2.8 GHz), and who plays at the other end (0.08)."""
BAR_SECONDS: Final = 2.0
"""Of a loop of a bar at 120 bpm: so often an answer begins."""
MADE_BESIDE: Final = 1.5
"""It makes more than what sounds: a lead of 0.8 s and a reserve of 0.25 s to a bar of 2 s."""
TRIAL_BPM: Final = 120
FIRST_BLOCKS: Final = 14
"""Enough of a recording for a model that puts its beats together."""
FIRST_STEPS: Final = 6
"""After so many the first block that was made can be sounded."""
HEARD_BLOCKS: Final = 8
MADE_STEPS: Final = 8
"""Hearing and making are cheaper in some calls than in others: so many are several rounds."""
SOUNDED_BLOCKS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Seconds of work for a second of music: on the model's side, on sound's, and beside both."""

    model_s: float
    sound_s: float = 0.0
    beside_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Seconds that the model takes to make a second of music, to sound it, and to begin."""

    made_s: float
    sounded_s: float
    begun_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds that the model takes for a second of music.

    Attributes:
        heard_s: To hear it.
        free: To make it where nothing is told of it.
        told: Where notes are, or a part is wanted.
    """

    heard_s: float
    free: Made
    told: Made

    def of_session(self) -> Demand:
        """Return what hearing a recording without end takes."""
        return Demand(model_s=HEARD_AGAIN * self.heard_s, beside_s=BESIDE_S)

    def of_loop(self, *, told: bool) -> Demand:
        """Return what an endless answer to it takes beside that."""
        made = self.told if told else self.free
        model_s = MADE_BESIDE * made.made_s + made.begun_s / BAR_SECONDS
        return Demand(model_s=model_s, sound_s=MADE_BESIDE * made.sounded_s)


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """Return what one takes of several that ran beside each other."""
    return Cost(
        heard_s=fmean(cost.heard_s for cost in costs),
        free=_mean_made([cost.free for cost in costs]),
        told=_mean_made([cost.told for cost in costs]),
    )


def _mean_made(parts: Sequence[Made]) -> Made:
    return Made(
        made_s=fmean(part.made_s for part in parts),
        sounded_s=fmean(part.sounded_s for part in parts),
        begun_s=fmean(part.begun_s for part in parts),
    )


class Trial(Generic[S]):
    """A little noise that is heard, gone on with and sounded beside that.

    Beside, since calls slow one another down: that is how they will run.

    Attributes:
        before: Calls that come first, in their order; they are not counted.
        model: Calls that come then, in their order.
        sound: Calls that come beside those.
    """

    def __init__(self, info: ModelInfo, clock: Callable[[], float]) -> None:
        self._info = info
        self._clock = clock
        # Never the same again: what a model keeps of sounds that it knows would be no measure.
        self._noise = np.random.default_rng()
        self._state: S | None = None
        self._heard_s = 0.0
        self._free: _Maker[S] = _Maker(info, clock, Plan(seed=0))
        self._told: _Maker[S] = _Maker(info, clock, Plan(seed=0, reprise=False))
        makers = (self._free, self._told)
        first = [
            call for maker in makers for call in (maker.first, *[maker.step] * (FIRST_STEPS - 1))
        ]
        feeds = [self._feed] * FIRST_BLOCKS
        self.before: Calls[S] = (self._open, *feeds, self._begin, *first, self._mark)
        steps = [maker.make for maker in makers for _ in range(MADE_STEPS)]
        self.model: Calls[S] = (*[self._hear] * HEARD_BLOCKS, *steps)
        self.sound: Calls[S] = tuple(one.sound for one in makers for _ in range(SOUNDED_BLOCKS))

    def cost(self) -> Cost:
        """Return what a second of music takes, once all calls were made."""
        heard = HEARD_BLOCKS * self._info.feed_samples / self._info.sample_rate
        return Cost(heard_s=self._heard_s / heard, free=self._free.cost(), told=self._told.cost())

    def _open(self, model: Generator[S]) -> None:
        pulse = pulse_of(steady(self._info.sample_rate, TRIAL_BPM))
        self._state = model.open(Conditions(pulse=pulse), 0, None)

    def _feed(self, model: Generator[S]) -> None:
        assert self._state is not None, "it is opened first"
        noise = 0.05 * self._noise.standard_normal(self._info.feed_samples)
        self._state = model.feed(self._state, noise.astype(np.float32))

    def _hear(self, model: Generator[S]) -> None:
        begun_s = self._clock()
        self._feed(model)
        self._heard_s += self._clock() - begun_s

    def _begin(self, model: Generator[S]) -> None:
        del model
        assert self._state is not None, "it is opened first"
        self._free.begin(self._state.fork())
        self._told.begin(self._state.fork())

    def _mark(self, model: Generator[S]) -> None:
        del model
        self._free.mark()
        self._told.mark()


class _Maker(Generic[S]):
    """One way to go on: what is made, and how long it takes."""

    def __init__(self, info: ModelInfo, clock: Callable[[], float], plan: Plan) -> None:
        self._info = info
        self._clock = clock
        self._plan = plan
        self._state: S | None = None
        self._marked: S | None = None
        self._made_s = self._sounded_s = self._begun_s = 0.0

    def begin(self, state: S) -> None:
        self._state = state

    def first(self, model: Generator[S]) -> None:
        begun_s = self._clock()
        self.step(model)
        self._begun_s = self._clock() - begun_s

    def step(self, model: Generator[S]) -> None:
        assert self._state is not None, "it is begun first"
        self._state = model.step([self._state], self._plan)[0].state

    def mark(self) -> None:
        """Let what was made be sounded, and count from here."""
        assert self._state is not None, "it is begun first"
        self._marked = self._state.fork()

    def make(self, model: Generator[S]) -> None:
        begun_s = self._clock()
        self.step(model)
        self._made_s += self._clock() - begun_s

    def sound(self, model: Generator[S]) -> None:
        marked = self._marked
        assert marked is not None, "it is marked first"
        begun_s = self._clock()
        model.decode(marked.fork(), marked.decodable_sample // self._info.block_samples - 1)
        self._sounded_s += self._clock() - begun_s

    def cost(self) -> Made:
        assert self._state is not None, "it is begun first"
        assert self._marked is not None, "it is marked first"
        made = max(1, self._state.settled_sample - self._marked.settled_sample)
        sounded = SOUNDED_BLOCKS * self._info.block_samples
        rate = self._info.sample_rate
        return Made(
            made_s=self._made_s * rate / made,
            sounded_s=self._sounded_s * rate / sounded,
            begun_s=self._begun_s,
        )
