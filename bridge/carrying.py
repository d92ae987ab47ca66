"""Whether the machine can carry one more live session, from what a little music was seen to cost.

Too many sessions ruin all of them: none would be there on its bar line. So one more is refused
while those that run go on. Knows neither what is heard nor wires.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic

from bridge.errors import BusyError
from bridge.keeping import Tools
from bridge.live_cost import Calls, Cost, Demand, Trial, mean_cost
from bridge.ports import S
from bridge.workers import Worker

RETRY_SECONDS: Final = 10.0


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
        model_s = sound_s = beside_s = 0.0
        for demand in demands:
            model_s += demand.model_s
            sound_s += demand.sound_s
            beside_s += demand.beside_s
        all_s = model_s + sound_s + beside_s
        return max(model_s / self.lanes, sound_s / self.lanes, all_s / self.cores)


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
                self._cost = await self._measured(self._room, name)
            self._admit(self._room, name, "hearing a live session", self._cost.of_session())

    def loop(self, name: str, *, told: bool) -> None:
        """Count a loop of a session that is counted.

        Args:
            name: Of the loop.
            told: Whether notes or a part wanted say what it makes.

        Raises:
            BusyError: The machine could not make it beside what runs live.
        """
        if self._room is not None and self._cost is not None:
            what = "a live loop with notes or for a part" if told else "a live loop"
            self._admit(self._room, name, what, self._cost.of_loop(told=told))

    def is_told(self, name: str) -> None:
        """Count a loop that runs, if one of this name does, as one that notes steer now.

        It goes on whatever that takes; others find less room.
        """
        if name in self._demands and self._cost is not None:
            self._demands[name] = self._cost.of_loop(told=True)

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

    async def _measured(self, room: Room, name: str) -> Cost:
        """Return what trials cost, as many at once as leave a core to each of their threads."""
        num_trials = max(1, min(room.lanes, room.cores // 2))
        trials = (self._tried(f"{name}/{number}") for number in range(num_trials))
        return mean_cost(await asyncio.gather(*trials))

    async def _tried(self, name: str) -> Cost:
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
