"""The level of a recording against what the model plays of it, and its stereo image."""

import asyncio

import numpy as np
import pytest

from bridge.live_level import NUM_STRETCHES, Loudness, Stage
from bridge.stereo import measured_image

RATE = 44_100


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


def panned(side, num_samples=RATE):
    mid = np.random.default_rng(3).standard_normal(num_samples) * 0.1
    return np.stack([mid * (1 + side), mid * (1 - side)]).astype(np.float32)


def test_an_answer_takes_the_image_that_was_seen_last_before_it():
    async def scenario():
        stage = Stage(RATE)
        assert await stage.image(10 * RATE) is None
        stage.look(RATE, 2 * RATE, panned(0.5))
        stage.look(5 * RATE, 6 * RATE, panned(-0.5))
        return [await stage.image(at * RATE) for at in (1, 2, 5, 6, 9)]

    before, *seen = asyncio.run(scenario())
    left, right = measured_image(panned(0.5), RATE), measured_image(panned(-0.5), RATE)
    assert before is None
    assert seen == [left, left, right, right]
    assert min(left.pans) > 0.2 > -0.2 > max(right.pans)


def test_one_looks_after_a_second_and_then_whenever_all_that_was_seen_has_passed():
    async def scenario():
        stage = Stage(RATE)
        due = [stage.is_due(RATE - 1), stage.is_due(RATE)]
        stage.look(RATE, RATE, panned(0.0))
        again = RATE + stage.reach_samples
        due += [stage.is_due(again - 1), stage.is_due(again)]
        await stage.image(RATE)
        stage.close()
        return due

    assert asyncio.run(scenario()) == [False, True, False, True]
