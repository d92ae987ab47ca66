"""When bundles run: at their timetag, within a bound; what comes late runs at once.

Its own schedule, since servers and hosts either ignore timetags or sleep in
their handlers. Knows neither messages nor sockets.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from bridge.errors import BusyError, OutOfRangeError

MAX_AHEAD_SECONDS: Final = 60.0
LATE_SECONDS: Final = 0.01
"""A timetag this little in the past is on time: the network's own delay."""
MAX_WAITING: Final = 512
MAX_WAITING_PER_CLIENT: Final = 64


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """Work and the Unix time that it is due at; equal times run in the order they came."""

    due_seconds: float
    number: int
    client: str = field(compare=False)
    run: Callable[[], None] = field(compare=False)


class Schedule:
    """Work that waits for its time."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        """Prepare to wait.

        Args:
            wall_clock: Unix seconds, which timetags count in.
        """
        self._wall_clock = wall_clock
        self._waiting: list[Waiting] = []
        self._per_client: Counter[str] = Counter()
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def lateness_seconds(self, due_seconds: float) -> float:
        """Return how long ago the time was; below 0 if it is still to come."""
        return self._wall_clock() - due_seconds

    def check(self, client: str, due_seconds: float) -> None:
        """Refuse what would not be kept waiting.

        Raises:
            OutOfRangeError: Farther ahead than the bound.
            BusyError: As many bundles wait as may.
        """
        ahead = -self.lateness_seconds(due_seconds)
        if ahead > MAX_AHEAD_SECONDS:
            raise OutOfRangeError(
                f"the bundle is due in {ahead:.3f} s, the limit is {MAX_AHEAD_SECONDS:g} s ahead"
            )
        for waiting, limit in (
            (len(self._waiting), MAX_WAITING),
            (self._per_client[client], MAX_WAITING_PER_CLIENT),
        ):
            if waiting >= limit:
                raise BusyError(f"{waiting} bundles wait for their time, the limit is {limit}")

    def add(self, client: str, due_seconds: float, run: Callable[[], None]) -> None:
        """Run the work when its time has come."""
        heapq.heappush(self._waiting, Waiting(due_seconds, next(self._numbers), client, run))
        self._per_client[client] += 1
        self._wait()

    def forget(self, client: str) -> int:
        """Drop what a client left behind; return how many there were."""
        kept = [waiting for waiting in self._waiting if waiting.client != client]
        dropped = len(self._waiting) - len(kept)
        heapq.heapify(kept)
        self._waiting = kept
        del self._per_client[client]
        self._wait()
        return dropped

    def close(self) -> None:
        """Run nothing more."""
        self._waiting.clear()
        self._per_client.clear()
        self._wait()

    def run_due(self) -> None:
        """Run what is due now, in the order of the timetags."""
        while self._waiting and self.lateness_seconds(self._waiting[0].due_seconds) >= 0:
            due = heapq.heappop(self._waiting)
            self._per_client[due.client] -= 1
            if not self._per_client[due.client]:
                del self._per_client[due.client]
            due.run()
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            # At least a millisecond, since the wall clock may be set back between two looks.
            ahead = max(0.001, -self.lateness_seconds(self._waiting[0].due_seconds))
            self._timer = asyncio.get_running_loop().call_later(ahead, self.run_due)
