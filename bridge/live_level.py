"""How a recording sounds, measured while it comes, so that no answer waits for it.

How loud the model plays what it heard, and how the recording lies in the stereo field.
"""

import asyncio
from collections import deque
from typing import Final

import numpy as np

from bridge.ports import Audio, Mono
from bridge.splice import MAX_GAIN_DB, SILENT_RMS
from bridge.stereo import MEASURE_SECONDS, StereoImage, measured_image

NUM_STRETCHES: Final = 4
"""The newest stretches that count."""
NUM_LOOKS: Final = 4


class Loudness:
    """The powers of recorded stretches and of the same ones decoded."""

    def __init__(self) -> None:
        self._powers: deque[tuple[float, float]] = deque(maxlen=NUM_STRETCHES)

    @property
    def gain_db(self) -> float:
        """Return the gain that brings decoded audio to the recording's level, within ±12 dB."""
        if not self._powers:
            return 0.0
        recorded, decoded = np.sum(self._powers, axis=0)
        gain_db = 10 * float(np.log10(recorded / decoded))
        return min(max(gain_db, -MAX_GAIN_DB), MAX_GAIN_DB)

    def add(self, recorded: Mono, decoded: Mono) -> None:
        """Take note of a stretch; one in which either is silent says nothing."""
        powers = _power(recorded), _power(decoded)
        if min(powers) >= SILENT_RMS**2:
            self._powers.append(powers)


class Stage:
    """Where a recording lies in the stereo field: looked at again each time it is so much longer.

    What an answer takes depends on how far the recording had come, not on how fast one looks.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._looks: deque[tuple[int, asyncio.Task[StereoImage]]] = deque(maxlen=NUM_LOOKS)
        self._next_samples = 0
        self.reach_samples: Final = round(MEASURE_SECONDS * sample_rate)
        """How much of the recording's end one looks at, and after how much more again."""

    def is_due(self, num_samples: int) -> bool:
        """Return whether to look again at a recording of which so much has come."""
        return num_samples >= max(self._next_samples, self._sample_rate)

    def look(self, num_samples: int, end_sample: int, newest: Audio) -> None:
        """Begin to measure the end of a recording; it goes on meanwhile."""
        self._next_samples = num_samples + self.reach_samples
        work = asyncio.to_thread(measured_image, newest, self._sample_rate)
        self._looks.append((end_sample, asyncio.create_task(work)))

    async def image(self, end_sample: int) -> StereoImage | None:
        """Return what was seen last before a sample; None if nobody has looked yet."""
        seen = [task for end, task in self._looks if end <= end_sample]
        return await seen[-1] if seen else None

    def close(self) -> None:
        """Look no more."""
        for _, task in self._looks:
            task.cancel()


def _power(audio: Mono) -> float:
    return float(np.mean(np.square(audio, dtype=np.float64))) if audio.size else 0.0
