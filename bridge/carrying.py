"""Whether the machine can carry one more live session, from what a little music was seen to cost.

Too many sessions ruin all of them: none would be there on its bar line. So one more is refused
while those that run go on. Knows neither what is heard nor wires.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeAlias

import numpy as np

from bridge.errors import BusyError
from bridge.keeping import Tools
from bridge.model_info import ModelInfo
from bridge.ports import Conditions, Generator, Plan, S
from bridge.workers import Worker

Calls: TypeAlias = tuple[Callable[[Generator[S]], None], ...]

RETRY_SECONDS: Final = 10.0
HEARD_AGAIN: Final = 1.3
"""A session hears more than what comes: for a while the next window hears beside the last one."""
MADE_BESIDE: Final = 1.5
"""It makes more than what sounds: a lead of 0.8 s and a reserve of 0.25 s to a bar of 2 s."""
FIRST_BLOCKS: Final = 4
"""After so many the first ones can be sounded."""
HEARD_BLOCKS: Final = 8
MADE_STEPS: Final = 16
"""Hearing and making are cheaper in some calls than in others: so many are several rounds."""
SOUNDED_BLOCKS: Final = 12
"""About as long as those take."""


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


class Carrying(Generic[S]):
    """What runs live on one engine, and what it costs."""

    def __init__(self, room: Room | None, tools: Tools[S]) -> None:
        """Begin with nothing.

        Args:
            room: What there is; None takes whatever is asked.
            tools: With which the cost is measured.
        """
        self._room = room
        self._tools = tools
        self._demands: dict[str, Demand] = {}
        self._cost: Cost | None = None
        self._measuring = asyncio.Lock()

    async def session(self, name: str) -> None:
        """Return once a live session is counted; before the first one the cost is measured.

        Raises:
            BusyError: The machine could not hear it beside what runs live.
        """
        if self._room is None:
            return
        async with self._measuring:
            # Measured again whenever it disturbs nobody.
            if self._cost is None or not self._demands:
                self._cost = await self._measured(name)
            self._admit(self._room, name, "hearing a live session", self._cost.of_session())

    def loop(self, name: str) -> None:
        """Count a loop of a session that is counted.

        Raises:
            BusyError: The machine could not make it beside what runs live.
        """
        if self._room is not None and self._cost is not None:
            self._admit(self._room, name, "a live loop", self._cost.of_loop())

    def leave(self, name: str) -> None:
        """Forget a session or a loop, counted or not."""
        self._demands.pop(name, None)

    def _admit(self, room: Room, name: str, what: str, demand: Demand) -> None:
        own, now = room.taken([demand]), room.taken(self._demands.values())
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

    async def _measured(self, name: str) -> Cost:
        tools = self._tools
        trial: Trial[S] = Trial(tools.generator.info, tools.clock)
        try:
            await self._turns(tools.model, name, trial.before)
            await asyncio.gather(
                self._turns(tools.model, name, trial.model),
                self._turns(tools.sound, name, trial.sound),
            )
        finally:
            tools.model.leave(name)
            tools.sound.leave(name)
        return trial.cost()

    async def _turns(self, worker: Worker, name: str, calls: Calls[S]) -> None:
        worker.set_deadline(name, self._tools.clock())
        for call in calls:
            await worker.run(name, partial(call, self._tools.generator))


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
        self._spent_s: dict[str, list[float]] = {"hear": [], "make": [], "sound": []}
        # Never the same again: what a model keeps of sounds that it knows would be no measure.
        self._noise = np.random.default_rng()
        self._state: S | None = None
        self._heard: S | None = None
        self._made_from = 0
        hear = partial(self._timed, "hear", self._hear)
        make = partial(self._timed, "make", self._make)
        sound = partial(self._timed, "sound", self._sound)
        self.before: Calls[S] = (self._open, *[self._hear] * FIRST_BLOCKS, self._mark)
        self.model: Calls[S] = (*[hear] * HEARD_BLOCKS, *[make] * MADE_STEPS)
        self.sound: Calls[S] = (sound,) * SOUNDED_BLOCKS

    def cost(self) -> Cost:
        """Return what a second of music takes, once all calls were made."""
        info, spent = self._info, self._spent_s
        assert self._state is not None, "the calls come first"
        made = max(1, self._state.settled_sample - self._made_from)
        return Cost(
            heard_s=sum(spent["hear"]) * info.sample_rate / (HEARD_BLOCKS * info.feed_samples),
            made_s=sum(spent["make"]) * info.sample_rate / made,
            sounded_s=sum(spent["sound"])
            * info.sample_rate
            / (SOUNDED_BLOCKS * info.block_samples),
        )

    def _timed(self, kind: str, work: Callable[[Generator[S]], None], model: Generator[S]) -> None:
        begun_s = self._clock()
        work(model)
        self._spent_s[kind].append(self._clock() - begun_s)

    def _open(self, model: Generator[S]) -> None:
        self._state = model.open(Conditions(), 0, None)

    def _hear(self, model: Generator[S]) -> None:
        assert self._state is not None
        noise = 0.05 * self._noise.standard_normal(self._info.feed_samples)
        self._state = model.feed(self._state, noise.astype(np.float32))
        self._made_from = self._state.settled_sample

    def _mark(self, model: Generator[S]) -> None:
        del model
        assert self._state is not None
        self._heard = self._state.fork()

    def _make(self, model: Generator[S]) -> None:
        assert self._state is not None
        self._state = model.step([self._state], Plan(seed=0))[0].state

    def _sound(self, model: Generator[S]) -> None:
        assert self._heard is not None
        model.decode(self._heard, self._heard.decodable_sample // self._info.block_samples - 1)
