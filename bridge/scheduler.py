"""Whose step and whose job is next: pure, so that fairness can be read and tested without a clock.

Live work goes before offline work, the earliest deadline first; offline work is
shared evenly between clients, and a client's share between its jobs. Knows
neither threads nor models nor time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A job that has a step to run.

    Attributes:
        job: Its name.
        client: Whose job it is.
        served: How many steps it was given, raised by `entry_count`.
        client_served: Likewise, of all jobs of its client.
        deadline_s: When its next block is due, on the engine's clock; None is offline.
    """

    job: str
    client: str = ""
    served: int
    client_served: int = 0
    deadline_s: float | None = None


def choose(candidates: Sequence[Candidate]) -> str:
    """Return the job whose step is next; equal claims go in the order given.

    Raises:
        ValueError: Nobody waits.
    """
    if not candidates:
        raise ValueError("0 jobs wait for a step, at least 1 is needed")
    live = [(one.deadline_s, one) for one in candidates if one.deadline_s is not None]
    if live:
        return min(live, key=lambda due: due[0])[1].job
    client = min(candidates, key=lambda one: one.client_served).client
    own = [one for one in candidates if one.client == client]
    return min(own, key=lambda one: one.served).job


def entry_count(served: int, current: int) -> int:
    """Return the count with which a job or a client asks for its next step.

    It is at least `current`, that of the offline one served last: a newcomer,
    or one that its reader held up, would else hold all others up until it had
    caught up with them (start-time fair queueing, Goyal et al. 1996).
    """
    return max(served, current)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job that has not begun; `start` is its start tag in seconds of result."""

    job: str
    client: str
    live: bool
    cost: float
    start: float


class FairQueue:
    """Jobs that wait to begin, by start-time fair queueing between clients, live ones first.

    A client that asks for much waits behind its own jobs, not the others behind it.
    """

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._finish: dict[str, float] = {}
        self._now = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, job: str, client: str, cost: float, *, live: bool = False) -> None:
        """Let a job wait; its cost is the seconds of result that it asks for."""
        start = max(self._now, self._finish.get(client, 0.0))
        self._finish[client] = start + cost
        self._waiting.append(Waiting(job=job, client=client, live=live, cost=cost, start=start))

    def pop(self, *, live: bool) -> str | None:
        """Return the live or offline job that begins next, which waits no more; None if none."""
        mine = [one for one in self._waiting if one.live is live]
        if not mine:
            return None
        first = min(mine, key=lambda one: one.start)
        self._waiting.remove(first)
        self._now = max(self._now, first.start)
        if not self._waiting:
            self._finish.clear()
        return first.job

    def remove(self, job: str) -> None:
        """Forget a job; what its client asked for later moves up."""
        gone = next((one for one in self._waiting if one.job == job), None)
        if gone is None:
            return
        place = self._waiting.index(gone)
        later = [
            replace(one, start=one.start - gone.cost) if one.client == gone.client else one
            for one in self._waiting[place + 1 :]
        ]
        self._waiting[place:] = later
        self._finish[gone.client] -= gone.cost

    def order(self) -> tuple[Waiting, ...]:
        """Return who waits, in the order in which they begin."""
        return tuple(sorted(self._waiting, key=lambda one: (not one.live, one.start)))

    def count(self, client: str) -> int:
        """Return how many jobs of a client wait."""
        return sum(one.client == client for one in self._waiting)
