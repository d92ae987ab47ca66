"""Whose step is next: pure, so that fairness can be read and tested without a clock.

Live work goes before offline work, the earliest deadline first; among offline
jobs the one that was served least. Knows neither threads nor models nor time.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A job that has a step to run.

    Attributes:
        job: Its name.
        served: How many steps it was given, raised by `entry_count`.
        deadline_s: When its next block is due, on the engine's clock; None is offline.
    """

    job: str
    served: int
    deadline_s: float | None = None


def choose(candidates: Sequence[Candidate]) -> str:
    """Return the job whose step is next; equal claims go in the order given.

    Raises:
        ValueError: Nobody waits.
    """
    if not candidates:
        raise ValueError("0 jobs wait for a step, at least 1 is needed")
    return min(candidates, key=_claim).job


def entry_count(served: int, current: int) -> int:
    """Return the count with which a job asks for its next step.

    It is at least `current`, that of the offline job served last: a newcomer,
    or one that its reader held up, would else hold all others up until it had
    caught up with them (start-time fair queueing, Goyal et al. 1996).
    """
    return max(served, current)


def _claim(candidate: Candidate) -> tuple[bool, float, int]:
    deadline = candidate.deadline_s
    return deadline is None, deadline or 0.0, candidate.served
