"""When each sample of a result sounds, where it is played while it is made.

Lateness is data: the music goes on, and sample after sample keeps its time. Knows
neither threads nor audio; the clock is given.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bridge.request import RenderRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Punctuality:
    """How well live results kept their time.

    Attributes:
        live_blocks: Blocks that were to sound at a time.
        late_blocks: Those of them that were sent after it.
        thinned_chunks: Chunks that were given fewer passes than asked, to be there in time.
    """

    live_blocks: int = 0
    late_blocks: int = 0
    thinned_chunks: int = 0


class Timetable:
    """The deadlines of one live result.

    Attributes:
        sent_blocks: Blocks that were due at some time.
        late_blocks: Those of them that were sent later than that.
    """

    def __init__(
        self, request: RenderRequest, splice_sample: int, clock: Callable[[], float]
    ) -> None:
        """Prepare.

        Args:
            request: Which may say when it sounds; else playing begins with the first block.
            splice_sample: Session sample of the result's beginning.
            clock: Seconds, monotone.
        """
        self._clock = clock
        self._rate = request.sample_rate
        self._due_in_s = request.due_in_s
        heard = request.heard_sample
        self._heard_sample = splice_sample if heard is None else max(splice_sample, heard)
        self._begun_s = clock()
        self._origin_s: float | None = None
        self.sent_blocks = 0
        self.late_blocks = 0

    def begin(self) -> None:
        """State that the request's time counts from now on."""
        self._begun_s = self._clock()
        if self._due_in_s is not None:
            self._origin_s = self._begun_s + self._due_in_s

    def order_s(self, sample: int) -> float:
        """Return how urgent a session sample is, as a time on the clock."""
        due_s = self.due_s(sample)
        return self._begun_s if due_s is None else due_s

    def left_s(self, sample: int) -> float | None:
        """Return how long it is until a session sample sounds; None: it is not known yet."""
        due_s = self.due_s(sample)
        return None if due_s is None else due_s - self._clock()

    def due_s(self, sample: int) -> float | None:
        """Return when a session sample sounds, or the first that is heard after it."""
        if self._origin_s is None:
            return None
        return self._origin_s + max(0, sample - self._heard_sample) / self._rate

    def send(self, start_sample: int, num_samples: int) -> bool:
        """Return whether a block that goes out now is late; with the first one playing begins."""
        if start_sample + num_samples <= self._heard_sample:
            return False
        now = self._clock()
        if self._origin_s is None:
            self._origin_s = now
        late = now > self._origin_s + max(0, start_sample - self._heard_sample) / self._rate
        self.sent_blocks += 1
        self.late_blocks += late
        return late
