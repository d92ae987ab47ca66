"""Which stretch of a recording is tried on the codec."""

import numpy as np
import pytest

from bridge.trial import REACH_SECONDS, says_something, tried_stretch

RATE = 1_000
SIZE = 500


def recording(seconds, loud_at):
    audio = np.full(seconds * RATE, 0.01, np.float32)
    audio[loud_at : loud_at + SIZE] = 0.5
    return audio


@pytest.mark.parametrize("loud_at", [5_500, 4_000, 3_000])
def test_the_loudest_half_second_near_the_end_is_tried(loud_at):
    tried = tried_stretch(recording(6, loud_at), RATE)
    assert tried.shape == (SIZE,)
    assert (tried == 0.5).all()


def test_what_lies_further_back_than_three_seconds_is_not_looked_at():
    before = 6 * RATE - REACH_SECONDS * RATE - SIZE
    assert tried_stretch(recording(6, before), RATE).max() == np.float32(0.01)


def test_a_short_recording_is_tried_whole_or_by_its_end():
    short = np.full(300, 0.2, np.float32)
    assert np.array_equal(tried_stretch(short, RATE), short)
    longer = np.concatenate([np.zeros(200, np.float32), np.full(SIZE, 0.2, np.float32)])
    assert np.array_equal(tried_stretch(longer, RATE), longer[200:])
    assert tried_stretch(short[:0], RATE).size == 0


def test_silence_says_nothing():
    assert says_something(np.full(SIZE, 0.002, np.float32))
    assert not says_something(np.full(SIZE, 0.0005, np.float32))
    assert not says_something(np.zeros(0, np.float32))
