"""Answer after answer, each handed over at a bar line: endless, or call and response.

An answer is made from what sounded up to a lead before its bar line, so the next
one is on its way while one still sounds. The tempo map may change at any time: what
has not begun follows it. The recording is the clock: bar lines come when it does.
Knows no wire.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import Any, Final, TypeAlias

from bridge.errors import BridgeError, InvalidRequestError
from bridge.live import LiveSession
from bridge.live_setup import Answer, Margins
from bridge.ports import Plan
from bridge.request import RenderEvent
from bridge.transport import TempoMap, nearest

MAX_BARS: Final = 64
MAX_WAITING: Final = 64
"""Events that wait for their reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPlan:
    """What a loop shall do.

    Attributes:
        request_id: Of the answers: this, a slash and their number.
        tempo_map: Where the bar lines are.
        first_sample: The first answer begins on a bar line from here on.
        bars: That an answer lasts.
        listen_bars: Between answers; 0 is endless.
        margins: How each answer joins what sounds.
        plan: Of the first answer; each is the next variation.
        keep_up: Give a chunk fewer passes rather than be late.

    Raises:
        InvalidRequestError: Bars outside their limits.
    """

    request_id: str
    tempo_map: TempoMap
    first_sample: int
    bars: Fraction
    listen_bars: Fraction
    margins: Margins
    plan: Plan
    keep_up: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no loop."""
        for name, value, least in (("bars", self.bars, 1), ("listen_bars", self.listen_bars, 0)):
            if not least <= value <= MAX_BARS or value.denominator != 1:
                raise InvalidRequestError(
                    f"{name} is {float(value):g}, allowed are whole bars, {least} to {MAX_BARS}",
                    field=name,
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An answer that sounds from one bar line to another."""

    request_id: str
    start_sample: int
    end_sample: int
    fade_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event of one of the answers."""

    request_id: str
    event: RenderEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An answer that could not be made; the loop goes on."""

    request_id: str
    error: BridgeError


LoopEvent: TypeAlias = Turn | Told | Failed


class LiveLoop:
    """One loop of a session."""

    def __init__(self, session: LiveSession[Any], asked: LoopPlan) -> None:
        """Find the first bar line; `events` does the work.

        Args:
            session: Whose recording is answered.
            asked: What the loop shall do.

        Raises:
            InvalidRequestError: A margin that is too long.
            BusyError: The machine could not make it beside what runs live.
        """
        asked.margins.check(session.setup.sample_rate)
        session.begin_loop(asked.plan)
        session.follow(asked.tempo_map)
        self._session = session
        self._asked = asked
        self._map = asked.tempo_map
        self._first = self._first_line()
        self._turn: Turn | None = None
        self._made_end = 0
        self._stop_sample: int | None = None
        self._answers: list[tuple[Turn, asyncio.Task[None]]] = []
        self._events: asyncio.Queue[LoopEvent | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(MAX_WAITING)
        self.num_turns = 0

    @property
    def end_sample(self) -> int:
        """Return where the last answer that was told of ends."""
        return self._session.received_sample if self._turn is None else self._turn.end_sample

    def follow(self, tempo_map: TempoMap) -> None:
        """Let all bar lines that have not passed be those of another tempo map."""
        self._map = tempo_map
        self._session.follow(tempo_map)
        self._first = self._first_line()
        self._session.news.ring()

    def stop_at_bar(self) -> None:
        """Let the loop end on the first bar line that the recording has not reached."""
        self._stop_sample = _line_from(self._map, self._session.received_sample)
        self._session.news.ring()

    async def events(self) -> AsyncGenerator[LoopEvent]:
        """Yield what happens until the loop was stopped or the recording is over."""
        driving = asyncio.create_task(self._drive(), name=self._asked.request_id)
        driving.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                self._room.release()
                yield event
            driving.result()
        finally:
            self._session.end_loop()
            tasks = [driving, *(task for _, task in self._answers)]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _drive(self) -> None:
        while not self._is_over():
            if not await self._advance():
                await self._session.news.heard()
        if self._stop_sample is None:
            await asyncio.gather(*(task for _, task in self._answers))

    async def _advance(self) -> bool:
        """Return whether an answer was begun, or the end of one was moved."""
        self._drop_past()
        turn, start = self._turn, self._next_start()
        if turn is not None and (end := self._end_of(turn)) != turn.end_sample:
            self._turn = replace(turn, end_sample=end)
            await self._tell(self._turn)
            return True
        is_due = self._session.received_sample >= start - self._asked.margins.lead
        if not is_due or (self._stop_sample is not None and start >= self._stop_sample):
            return False
        await self._begin(start)
        return True

    async def _begin(self, start_sample: int) -> None:
        asked, name = self._asked, f"{self._asked.request_id}/{self.num_turns}"
        end = _line_after(self._map, start_sample, asked.bars)
        self._made_end = end + asked.margins.reserve
        turn = Turn(
            request_id=name,
            start_sample=start_sample,
            end_sample=end,
            fade_samples=asked.margins.fade,
        )
        answer = Answer(
            request_id=name,
            splice_sample=start_sample,
            num_samples=end - start_sample,
            plan=replace(asked.plan, variation=asked.plan.variation + self.num_turns),
            margins=asked.margins,
            keep_source=False,
            keep_up=asked.keep_up,
        )
        self._turn = turn
        self.num_turns += 1
        await self._tell(turn)
        task = asyncio.create_task(self._answer(answer), name=name)
        task.add_done_callback(lambda _: self._session.news.ring())
        self._answers.append((turn, task))

    async def _answer(self, answer: Answer) -> None:
        try:
            async with aclosing(self._session.answer(answer)) as events:
                async for event in events:
                    await self._tell(Told(request_id=answer.request_id, event=event))
        except BridgeError as error:
            await self._tell(Failed(request_id=answer.request_id, error=error))

    def _is_over(self) -> bool:
        received, stop = self._session.received_sample, self._stop_sample
        return self._session.ended or (stop is not None and received >= stop)

    def _drop_past(self) -> None:
        """Compute no longer what nobody will hear."""
        received, kept = self._session.received_sample, list(self._answers)
        for turn, task in kept:
            if task.done():
                self._answers.remove((turn, task))
                task.result()
            elif received > turn.end_sample + self._asked.margins.reserve:
                task.cancel()
                self._answers.remove((turn, task))

    def _next_start(self) -> int:
        if self._turn is None:
            return self._first
        bars = self._asked.bars + self._asked.listen_bars
        start = _line_after(self._map, self._turn.start_sample, bars)
        # One that lasts shorter than its bars by now is taken over from where it ends.
        return start if self._asked.listen_bars else min(start, self._made_end)

    def _end_of(self, turn: Turn) -> int:
        end = min(_line_after(self._map, turn.start_sample, self._asked.bars), self._made_end)
        if self._stop_sample is None:
            return end
        return max(min(end, self._stop_sample), turn.start_sample)

    def _first_line(self) -> int:
        ready = self._session.received_sample + self._asked.margins.lead
        return _line_from(self._map, max(self._asked.first_sample, ready))

    async def _tell(self, event: LoopEvent) -> None:
        await self._room.acquire()
        self._events.put_nowait(event)


def _line_from(tempo_map: TempoMap, sample: int) -> int:
    """Return the first bar line at or after a sample."""
    bar = floor(tempo_map.bar_of_sample(sample))
    line = nearest(tempo_map.sample_of_bar(bar))
    return line if line >= sample else nearest(tempo_map.sample_of_bar(bar + 1))


@lru_cache(maxsize=256)
def _line_after(tempo_map: TempoMap, sample: int, bars: Fraction) -> int:
    """Return the bar line so many bars after the one that holds a sample, or is rounded to it."""
    bar = tempo_map.bar_of_sample(sample)
    line = nearest(bar)
    begun = line if nearest(tempo_map.sample_of_bar(line)) == sample else floor(bar)
    return nearest(tempo_map.sample_of_bar(begun + bars))
