"""One job of one client: its states as a table, and the way its events go out.

Knows neither model nor thread: the engine moves a session on, whoever asked
reads its events.
"""

import asyncio
from collections import deque
from enum import StrEnum
from typing import Final

from bridge.errors import BridgeError
from bridge.jobs import JobInfo
from bridge.request import Accepted, Done, Progress, Queued, RenderEvent, RenderRequest


class SessionState(StrEnum):
    """Where a session stands."""

    QUEUED = "queued"
    PRIMING = "priming"
    GENERATING = "generating"
    KEEPING = "keeping"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDS: Final = frozenset({SessionState.FAILED, SessionState.CANCELLED})
NEXT: Final = {
    SessionState.QUEUED: _ENDS | {SessionState.PRIMING},
    SessionState.PRIMING: _ENDS | {SessionState.GENERATING},
    SessionState.GENERATING: _ENDS | {SessionState.KEEPING},
    SessionState.KEEPING: _ENDS | {SessionState.DONE},
    SessionState.DONE: frozenset[SessionState](),
    SessionState.FAILED: frozenset[SessionState](),
    SessionState.CANCELLED: frozenset[SessionState](),
}
"""Which state may follow which."""


class Bell:
    """Wakes all who wait for news."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake them; who waits from now on waits for the next time."""
        self._event.set()
        self._event = asyncio.Event()

    async def heard(self) -> None:
        """Return at the next ring."""
        await self._event.wait()


class Session:
    """A job on its way: what was asked, where it stands, and who listens.

    Attributes:
        info: What was known of the job when it was taken.
        request: What was asked.
        digest: Of all that decides the result; empty where nothing shall find it again.
        events: For its one first reader, which holds the job up if it is slow.
        news: Rung at every change, for all others.
        listeners: How many hear it, the first reader among them.
        reason: Why it was stopped, if it was.
        suspended: Whether it shall go on when the server starts again.
        kept: Done once the job is on disk, before which nobody hears of it; None if it was there.
        begun: Set once the job runs, or never will.
        over: Set once all is written down.
    """

    def __init__(
        self, info: JobInfo, request: RenderRequest, max_events: int, digest: str = ""
    ) -> None:
        self.info = info
        self.request = request
        self.digest = digest
        self.events = Outbox(max_events)
        self.state = SessionState.QUEUED
        self.news = Bell()
        self.listeners = 0
        self.reason: BridgeError | None = None
        self.suspended = False
        self.kept: asyncio.Future[None] | None = None
        self.begun = asyncio.Event()
        self.over = asyncio.Event()
        self.error: BaseException | None = None
        self.queued: Queued | None = None
        self.accepted: Accepted | None = None
        self.progress: Progress | None = None
        self.done: Done | None = None

    @property
    def job(self) -> str:
        """Return the job's name."""
        return self.info.id

    def move(self, state: SessionState) -> None:
        """Go on to the next state.

        Raises:
            ValueError: The table forbids it.
        """
        if state not in NEXT[self.state]:
            raise ValueError(f"a session that is {self.state} cannot become {state}")
        self.state = state
        self.news.ring()

    @property
    def ended(self) -> bool:
        """Return whether nothing can follow."""
        return not NEXT[self.state]

    async def tell(self, event: RenderEvent) -> None:
        """Hand an event to the first reader, and leave word for the others."""
        self._note(event)
        await self.events.put(event)

    def conclude(self, done: Done) -> None:
        """Hand over the last event at once: a reader who is far behind cannot hold up the end."""
        self._note(done)
        self.events.append(done)

    def tell_place(self, queued: Queued) -> None:
        """Tell the place in the queue if it has changed; what nobody reads in time is dropped."""
        if self.queued is None or self.queued.position != queued.position:
            self._note(queued)
            self.events.offer(queued)

    def _note(self, event: RenderEvent) -> None:
        match event:
            case Queued():
                self.queued = event
            case Accepted():
                self.accepted = event
            case Progress():
                self.progress = event
            case Done():
                self.done = event
            case _:
                pass
        self.news.ring()


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
        self.append(event)

    def append(self, event: RenderEvent) -> None:
        """Hand an event over, however far behind the reader is."""
        if self.read:
            self._events.append(event)
            self._news.set()

    def offer(self, event: RenderEvent) -> None:
        """Hand an event over if there is room."""
        if self.read and len(self._events) < self._max_events:
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
