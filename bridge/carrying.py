"""Whether the machine can carry one more live session, from what a little music was seen to cost.

Too many sessions ruin all of them: none would be there on its bar line. So one more is refused
while those that run go on. Knows neither threads nor wires; the clock is given.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic

import numpy as np

from bridge.errors import BusyError
from bridge.ports import Conditions, Generator, ModelInfo, Mono, Plan, S

RETRY_SECONDS: Final = 10.0
HEARD_AGAIN: Final = 1.3
"""A session hears more than what comes: for a while the next window hears beside the last one."""
MADE_BESIDE: Final = 1.5
"""It makes more than what sounds: a lead of 0.8 s and a reserve of 0.25 s to a bar of 2 s."""
HEARD_BLOCKS: Final = 12
MADE_STEPS: Final = 16
"""Hearing and making are cheaper in some calls than in others: so many are several rounds."""
SOUNDED_BLOCKS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Seconds of work for a second of music, on the model's side and on sound's."""

    model_s: float
    sound_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds that the model takes for a second of music: to hear, to make, to sound."""

    heard_s: float
    made_s: float
    sounded_s: float

    def of_session(self) -> Demand:
        """Return what hearing a recording without end takes."""
        return Demand(model_s=HEARD_AGAIN * self.heard_s)

    def of_loop(self) -> Demand:
        """Return what an endless answer to it takes beside that."""
        return Demand(model_s=MADE_BESIDE * self.made_s, sound_s=MADE_BESIDE * self.sounded_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What there is to carry sessions.

    Attributes:
        cores: Of the machine.
        lanes: Calls that the model answers beside each other, and sound likewise.
        share: Of a core and of a lane that may be taken.
    """

    cores: int
    lanes: int
    share: float

    def taken(self, demands: Iterable[Demand]) -> float:
        """Return the share that demands take of what is scarcest."""
        model_s = sound_s = 0.0
        for demand in demands:
            model_s += demand.model_s
            sound_s += demand.sound_s
        return max(model_s / self.lanes, sound_s / self.lanes, (model_s + sound_s) / self.cores)


class Carrying:
    """What runs live, and what it costs.

    Attributes:
        cost: As it was measured last; None before that.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._demands: dict[str, Demand] = {}
        self.cost: Cost | None = None

    @property
    def must_measure(self) -> bool:
        """Return whether to measure before the next session: as long as nobody is disturbed."""
        return not self._demands

    def admit(self, name: str, what: str, demand: Demand) -> None:
        """Count one more, under a name of its own.

        Raises:
            BusyError: The machine could not carry it beside what runs.
        """
        room, own = self._room, self._room.taken([demand])
        now = room.taken(self._demands.values())
        after = room.taken([*self._demands.values(), demand])
        if after > room.share:
            raise BusyError(
                f"{what} takes {own:.2f} of this machine's live music, as was measured "
                f"({room.cores} cores, {room.lanes} calls of the model at once); "
                f"{now:.2f} is taken, with it {after:.2f} would be, the limit is {room.share:.2f} "
                "(limits.live_share, 0: none)",
                retry_after_s=RETRY_SECONDS,
            )
        self._demands[name] = demand

    def leave(self, name: str) -> None:
        """Forget what was counted under a name, if it was."""
        self._demands.pop(name, None)


class Trial(Generic[S]):
    """A little noise that is heard, gone on with and sounded, a call at a time.

    Attributes:
        calls: Bounded pieces of work with the model, to be done in their order.
    """

    def __init__(self, info: ModelInfo, clock: Callable[[], float]) -> None:
        self._info = info
        self._clock = clock
        self._state: S | None = None
        self._spent_s = {"hear": 0.0, "make": 0.0, "sound": 0.0}
        # Never the same again: what a model keeps of sounds that it knows would be no measure.
        self._noise = np.random.default_rng()
        self.calls: tuple[Callable[[Generator[S]], None], ...] = (
            self._open,
            *[partial(self._timed, "hear")] * HEARD_BLOCKS,
            *[partial(self._timed, "make")] * MADE_STEPS,
            *[partial(self._timed, "sound")] * SOUNDED_BLOCKS,
        )

    def cost(self) -> Cost:
        """Return what a second of music takes, once all calls were made."""
        rate = self._info.sample_rate
        heard = HEARD_BLOCKS * self._info.feed_samples
        assert self._state is not None, "the calls come first"
        made = self._state.settled_sample - heard
        sounded = SOUNDED_BLOCKS * self._info.block_samples
        spent = self._spent_s
        return Cost(
            heard_s=spent["hear"] * rate / heard,
            made_s=spent["make"] * rate / max(1, made),
            sounded_s=spent["sound"] * rate / sounded,
        )

    def _open(self, model: Generator[S]) -> None:
        self._state = model.open(Conditions(), 0, None)

    def _timed(self, kind: str, model: Generator[S]) -> None:
        assert self._state is not None
        noise = 0.05 * self._noise.standard_normal(self._info.feed_samples)
        sound: Mono = noise.astype(np.float32)
        state, begun_s = self._state, self._clock()
        match kind:
            case "hear":
                self._state = model.feed(state, sound)
            case "make":
                self._state = model.step([state], Plan(seed=0))[0].state
            case _:
                model.decode(state, state.decodable_sample // self._info.block_samples - 1)
        self._spent_s[kind] += self._clock() - begun_s
