"""What the tests of every host share: audio whose every sample is its own, and its file."""

from pathlib import Path

import numpy as np
import soundfile as sf

from bridge.ports import Audio

RATE = 48_000


def recording_of(num_samples: int) -> Audio:
    """Return stereo noise from a seed: any slip shows."""
    noise = np.random.default_rng(7).uniform(-0.5, 0.5, (num_samples, 2))
    return np.ascontiguousarray(noise.T.astype(np.float32))


def write_wav(path: Path, samples: Audio) -> Path:
    """Return where the samples lie as float32."""
    sf.write(path, samples.T, RATE, subtype="FLOAT")
    return path
