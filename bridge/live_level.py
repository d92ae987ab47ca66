"""How loud the model plays what it heard, measured meanwhile, so that no answer waits for it."""

from collections import deque
from typing import Final

import numpy as np

from bridge.ports import Mono
from bridge.splice import MAX_GAIN_DB, SILENT_RMS

NUM_STRETCHES: Final = 4
"""The newest stretches that count."""


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


def _power(audio: Mono) -> float:
    return float(np.mean(np.square(audio, dtype=np.float64))) if audio.size else 0.0
