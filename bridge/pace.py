"""How long things take, from the speed measured by phase, and what is left of a job.

Knows neither jobs nor models; time is told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.request import Progress

PRIME: Final = "prime"
SMOOTHING: Final = 0.2
"""Share of the newest measurement in the moving average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How many steps a job takes, or has left: while it hears and while it makes."""

    prime: int
    made: int

    @property
    def total(self) -> int:
        """Return all of them."""
        return self.prime + self.made


class Average:
    """Seconds, smoothed; what is assumed holds until something is measured."""

    def __init__(self, assumed_s: float) -> None:
        self.seconds = assumed_s
        self._measured = False

    def measure(self, seconds: float) -> None:
        """Take note of how long it took once more."""
        share = SMOOTHING if self._measured else 1.0
        self._measured = True
        self.seconds += share * (seconds - self.seconds)


class Pace:
    """Seconds a step, one average for hearing and one for making."""

    def __init__(self, *, prime_s: float, made_s: float) -> None:
        """Begin with what is assumed until something is measured."""
        self._prime, self._made = Average(prime_s), Average(made_s)

    def measure(self, phase: str, seconds: float) -> None:
        """Take note of a step."""
        (self._prime if phase == PRIME else self._made).measure(seconds)

    def seconds(self, left: Steps) -> float:
        """Return how long these steps will take."""
        return left.prime * self._prime.seconds + left.made * self._made.seconds

    def like(self) -> "Pace":
        """Return a pace of its own that begins with what is known here."""
        return Pace(prime_s=self._prime.seconds, made_s=self._made.seconds)


class ProgressMeter:
    """Steps done and the time that the rest will take, from the speed measured so far."""

    def __init__(self, steps: Steps, clock: Callable[[], float], pace: Pace) -> None:
        """Start measuring.

        Args:
            steps: How many are expected; the count never passes them.
            clock: Seconds, monotone.
            pace: That of all jobs: what this one has not measured yet is taken from there, and
                what it measures is told there.
        """
        self._steps = steps
        self._clock = clock
        self._common = pace
        self._own = pace.like()
        self._prime = 0
        self._made = 0
        self._last_s = clock()

    def advance(self, phase: str, left: int | None = None) -> Progress:
        """Return where the work stands after one more step; `left` are still to come, if known."""
        now = self._clock()
        taken, self._last_s = now - self._last_s, now
        for pace in (self._own, self._common):
            pace.measure(phase, taken)
        if phase == PRIME:
            self._prime = min(self._prime + 1, self._steps.prime)
        else:
            # What is made after the prime: no step of it is left.
            self._prime = self._steps.prime
            if left is not None:
                self._steps = Steps(prime=self._steps.prime, made=self._made + 1 + left)
            self._made = min(self._made + 1, self._steps.made)
        return self.progress(phase)

    def finish(self, phase: str) -> Progress:
        """Return the last progress: all steps done, nothing left."""
        self._prime, self._made = self._steps.prime, self._steps.made
        return self.progress(phase)

    def left(self) -> Steps:
        """Return the steps that are not done."""
        return Steps(prime=self._steps.prime - self._prime, made=self._steps.made - self._made)

    def progress(self, phase: str) -> Progress:
        """Return where the work stands."""
        total = max(1, self._steps.total)
        left = self.left()
        eta_seconds = self._own.seconds(left)
        return Progress(
            phase=phase, step=total - left.total, total_steps=total, eta_seconds=eta_seconds
        )
