"""Which stretch of a recording is tried on the codec, to tell a musician how well it is known.

The same for a request and for a live session: half a second that is not silent, so that the trial
costs little and a rest at the end says nothing against the sound. Knows no model.
"""

from typing import Final

import numpy as np

from bridge.ports import Mono
from bridge.splice import SILENT_RMS

TRIED_SECONDS: Final = 0.5
REACH_SECONDS: Final = 3
"""How much of the recording's end is looked through."""


def tried_stretch(audio: Mono, sample_rate: int) -> Mono:
    """Return the loudest half second, by half seconds, of the last three; all of a shorter one."""
    size = round(TRIED_SECONDS * sample_rate)
    ends = range(audio.shape[0], max(0, audio.shape[0] - REACH_SECONDS * sample_rate), -size)
    stretches = [audio[max(0, end - size) : end] for end in ends]
    return max(stretches, key=_energy, default=audio)


def says_something(stretch: Mono) -> bool:
    """Return whether a stretch is not silent."""
    return _energy(stretch) >= SILENT_RMS**2 * max(1, stretch.shape[0])


def _energy(stretch: Mono) -> float:
    return float(np.sum(np.square(stretch, dtype=np.float64)))
