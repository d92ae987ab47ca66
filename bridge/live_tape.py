"""What was recorded, at the session's rate: it grows at its end and is forgotten at its beginning.

Knows samples and their numbers, nothing else.
"""

from typing import Final

import numpy as np

from bridge.ports import Audio

_LEAST_SAMPLES: Final = 1 << 21
"""Room for so many is asked for at once; what is not written yet takes no memory."""


class Tape:
    """Audio without end, of which the newest stretch is kept; what was given out never changes."""

    def __init__(self, num_channels: int, start_sample: int) -> None:
        self._room: Audio = np.empty((num_channels, _LEAST_SAMPLES), np.float32)
        self._first_sample = start_sample
        self.end_sample = start_sample
        """The sample at which the next block belongs."""

    def add(self, audio: Audio) -> None:
        """Append a block."""
        begin = self.end_sample - self._first_sample
        end = begin + audio.shape[1]
        if end > self._room.shape[1]:
            room = np.empty((self._room.shape[0], max(2 * end, _LEAST_SAMPLES)), np.float32)
            room[:, :begin] = self._room[:, :begin]
            self._room = room
        self._room[:, begin:end] = audio
        self.end_sample += audio.shape[1]

    def stretch(self, first_sample: int, end_sample: int) -> Audio:
        """Return samples from a first one up to an end, without a copy.

        Raises:
            ValueError: Some of them are forgotten, or have not come.
        """
        if not self._first_sample <= first_sample <= end_sample <= self.end_sample:
            raise ValueError(
                f"samples {first_sample} to {end_sample} are asked for, "
                f"{self._first_sample} to {self.end_sample} are kept"
            )
        first = first_sample - self._first_sample
        return self._room[:, first : first + end_sample - first_sample]

    def newest(self, num_samples: int) -> Audio:
        """Return the last samples.

        Raises:
            ValueError: Fewer are kept.
        """
        return self.stretch(self.end_sample - num_samples, self.end_sample)

    def forget_before(self, sample: int) -> None:
        """Let go of what lies before a sample; whoever holds a stretch of it keeps it."""
        kept = self.stretch(sample, self.end_sample)
        room = np.empty((kept.shape[0], max(2 * kept.shape[1], _LEAST_SAMPLES)), np.float32)
        room[:, : kept.shape[1]] = kept
        self._room, self._first_sample = room, sample
