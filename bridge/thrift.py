"""How many passes the next chunk is given, so that its audio is there in time: pure.

Full passes as long as they fit; fewer, down to one, where they would come late. What
a chunk costs is measured: passes that leave it open, the pass that closes it, and
steps beside them. Knows neither clock nor model; time is told.
"""

from typing import Final

from bridge.pace import Average

MARGIN: Final = 1.25
"""A chunk is expected to take so many times what the average says."""


class Thrift:
    """Chooses the passes of one result, chunk by chunk.

    Attributes:
        asked: Passes where time allows.
        thinned_chunks: So many chunks were given fewer.
    """

    def __init__(self, asked: int, step_s: float) -> None:
        """Begin.

        Args:
            asked: Passes where time allows.
            step_s: What a step is taken to last until it is measured.
        """
        self.asked = asked
        self._passes = asked
        self._open, self._closing = Average(step_s), Average(step_s)
        self._sound = Average(0.0)
        self.thinned_chunks = 0
        self._steps = 0
        self._beside = 0

    def passes(self, left_s: float | None) -> int:
        """Return the most passes whose audio comes in time, at least 1.

        Args:
            left_s: Until the chunk's first sample sounds; None if nobody knows yet.
        """
        self._passes = self.asked
        if left_s is not None:
            while self._passes > 1 and self._needed_s(self._passes) > left_s:
                self._passes -= 1
        return self._passes

    def stepped(self, seconds: float, *, closed: bool) -> None:
        """Take note of a step, and of whether it ended a chunk."""
        self._steps += 1
        if closed:
            self._closing.measure(seconds)
            self._beside, self._steps = max(0, self._steps - self._passes), 0
            self.thinned_chunks += self._passes < self.asked
        else:
            self._open.measure(seconds)

    def decoded(self, seconds: float) -> None:
        """Take note of how long a block took to become audio."""
        self._sound.measure(seconds)

    def _needed_s(self, passes: int) -> float:
        steps_s = (passes - 1 + self._beside) * self._open.seconds + self._closing.seconds
        return MARGIN * (steps_s + self._sound.seconds)
