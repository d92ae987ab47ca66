"""One timeline of one client: its states as a table, and the way its events go out.

Knows neither model nor thread: the engine moves a session on, whoever asked
reads its events.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from bridge.request import Progress, RenderEvent, RenderRequest


class SessionState(StrEnum):
    """Where a session stands."""

    ADMITTED = "admitted"
    PRIMING = "priming"
    GENERATING = "generating"
    KEEPING = "keeping"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDS: Final = frozenset({SessionState.FAILED, SessionState.CANCELLED})
NEXT: Final = {
    SessionState.ADMITTED: _ENDS | {SessionState.PRIMING},
    SessionState.PRIMING: _ENDS | {SessionState.GENERATING},
    SessionState.GENERATING: _ENDS | {SessionState.KEEPING},
    SessionState.KEEPING: _ENDS | {SessionState.DONE},
    SessionState.DONE: frozenset[SessionState](),
    SessionState.FAILED: frozenset[SessionState](),
    SessionState.CANCELLED: frozenset[SessionState](),
}
"""Which state may follow which."""


class Session:
    """A request on its way."""

    def __init__(self, job: str, request: RenderRequest, max_events: int) -> None:
        self.job = job
        self.request = request
        self.events = Outbox(max_events)
        self.state = SessionState.ADMITTED

    def move(self, state: SessionState) -> None:
        """Go on to the next state.

        Raises:
            ValueError: The table forbids it.
        """
        if state not in NEXT[self.state]:
            raise ValueError(f"a session that is {self.state} cannot become {state}")
        self.state = state

    @property
    def ended(self) -> bool:
        """Return whether nothing can follow."""
        return not NEXT[self.state]


class Outbox:
    """Events in order, at most so many ahead of their one reader; without a reader dropped."""

    def __init__(self, max_events: int) -> None:
        self._events: deque[RenderEvent] = deque()
        self._max_events = max_events
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None
        self.read = True

    async def put(self, event: RenderEvent) -> None:
        """Hand an event over; wait while the reader is too far behind."""
        while self.read and len(self._events) >= self._max_events:
            self._room.clear()
            await self._room.wait()
        if self.read:
            self._events.append(event)
            self._news.set()

    async def get(self) -> RenderEvent | None:
        """Return the next event, or None after the last.

        Raises:
            BaseException: What the work failed with, after the events before it.
        """
        while not self._events and not self._ended:
            self._news.clear()
            await self._news.wait()
        if self._events:
            self._room.set()
            return self._events.popleft()
        if self._error is not None:
            raise self._error
        return None

    def end(self, error: BaseException | None = None) -> None:
        """State that nothing follows, because of an error or because all is done."""
        self._ended, self._error = True, error
        self._news.set()

    def leave(self) -> None:
        """Read no more."""
        self.read = False
        self._events.clear()
        self._room.set()


class ProgressMeter:
    """Steps done and the time that the rest will take, from the speed measured so far."""

    SMOOTHING: Final = 0.2

    def __init__(self, total_steps: int, clock: Callable[[], float]) -> None:
        """Start measuring.

        Args:
            total_steps: How many steps are expected; the count never passes it.
            clock: Seconds, monotone.
        """
        self._total_steps = max(1, total_steps)
        self._clock = clock
        self._step = 0
        self._last_s = clock()
        self._step_s: float | None = None

    def advance(self, phase: str) -> Progress:
        """Return where the work stands after one more step."""
        now = self._clock()
        taken, self._last_s = now - self._last_s, now
        past = self._step_s
        self._step_s = taken if past is None else past + self.SMOOTHING * (taken - past)
        self._step = min(self._step + 1, self._total_steps)
        return self._progress(phase)

    def finish(self, phase: str) -> Progress:
        """Return the last progress: all steps done, nothing left."""
        self._step = self._total_steps
        return self._progress(phase)

    def _progress(self, phase: str) -> Progress:
        left = self._total_steps - self._step
        eta_seconds = left * (self._step_s or 0.0)
        return Progress(
            phase=phase, step=self._step, total_steps=self._total_steps, eta_seconds=eta_seconds
        )
