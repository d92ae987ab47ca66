import numpy as np
import pytest

from model.beating import found_pulse

RATE = 44_100


def clicks(seconds_a_beat, first_seconds, seconds=8, seed=0):
    random = np.random.default_rng(seed)
    audio = 0.001 * random.standard_normal(seconds * RATE)
    hit = random.standard_normal(2000) * np.exp(-np.arange(2000) / 300)
    for number, at in enumerate(np.arange(first_seconds, seconds - 0.1, seconds_a_beat)):
        start = round(at * RATE)
        audio[start : start + 2000] += (0.5 if number % 2 else 1) * hit
    return audio.astype(np.float32)


@pytest.mark.parametrize("beat", [0.35, 0.43, 0.5, 0.61, 0.8])
@pytest.mark.parametrize("first", [0.0, 0.21])
def test_the_beat_of_clicks_is_found_or_a_half_or_the_double_of_it(beat, first):
    pulse = found_pulse(clicks(beat, first))
    found = pulse.knots[0, 3] / RATE
    ratio = found / beat
    nearest = min((0.5, 1.0, 2.0), key=lambda octave: abs(np.log2(ratio / octave)))
    assert ratio == pytest.approx(nearest, rel=0.01)
    apart = (pulse.knots[0, 0] / RATE - first) / min(found, beat) % 1
    assert min(apart, 1 - apart) * min(found, beat) < 0.02


def test_silence_and_what_is_too_short_have_no_beat():
    assert found_pulse(np.zeros(5 * RATE, np.float32)) is None
    assert found_pulse(clicks(0.5, 0)[:RATE]) is None
