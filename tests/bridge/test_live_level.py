"""The level of a recording against what the model plays of it."""

import numpy as np
import pytest

from bridge.live_level import NUM_STRETCHES, Loudness


def tone(level):
    return np.full(1_000, level, np.float32)


@pytest.mark.parametrize("gain_db", [-11.0, 0.0, 5.0])
def test_the_gain_brings_what_is_decoded_to_the_recording(gain_db):
    loudness = Loudness()
    loudness.add(tone(0.1), tone(0.1 * 10 ** (-gain_db / 20)))
    assert loudness.gain_db == pytest.approx(gain_db, abs=0.001)


def test_the_gain_is_limited_and_nothing_is_known_of_silence():
    loudness = Loudness()
    loudness.add(tone(0.0), tone(0.1))
    loudness.add(tone(0.1), tone(0.0))
    assert loudness.gain_db == 0.0
    loudness.add(tone(0.9), tone(0.01))
    assert loudness.gain_db == 12.0


def test_only_the_newest_stretches_count():
    loudness = Loudness()
    loudness.add(tone(0.9), tone(0.1))
    for _ in range(NUM_STRETCHES):
        loudness.add(tone(0.1), tone(0.2))
    assert loudness.gain_db == pytest.approx(-6.02, abs=0.01)
