"""How many passes the next chunk is given, so that its audio is there in time: pure.

All passes as long as they fit; fewer, down to one, where they would come late. What
a chunk costs is measured, its passes and what is done beside them. Knows neither
clock nor model; time is told.
"""

from typing import Final

from bridge.pace import Average

MARGIN: Final = 1.25
"""A chunk is expected to take so many times what the average says."""
BESIDE: Final = 1
"""What a chunk costs beside its passes, in passes: at least remembering it is another look."""


class Thrift:
    """Chooses the passes of one result, chunk by chunk.

    Attributes:
        asked: Passes where time allows.
        thinned_chunks: So many chunks were given fewer.
    """

    def __init__(self, asked: int, chunk_s: float) -> None:
        """Begin.

        Args:
            asked: Passes where time allows.
            chunk_s: What a chunk with all of them is taken to last until it is measured.
        """
        self.asked = asked
        self.thinned_chunks = 0
        self._passes = asked
        self._pass = Average(chunk_s / (asked + BESIDE))
        self._sound = Average(0.0)
        self._spent_s = 0.0

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
        self._spent_s += seconds
        if closed:
            self._pass.measure(self._spent_s / (self._passes + BESIDE))
            self._spent_s = 0.0
            self.thinned_chunks += self._passes < self.asked

    def sounded(self, seconds: float) -> None:
        """Take note of how long a block took to become audio."""
        self._sound.measure(seconds)

    def _needed_s(self, passes: int) -> float:
        return MARGIN * ((passes + BESIDE) * self._pass.seconds + self._sound.seconds)
