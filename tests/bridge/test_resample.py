"""Sample k comes out at its own time, in pieces as in one."""

from math import ceil

import numpy as np
import pytest

from bridge.resample import REACH_SAMPLES, ToModel, ToSession, model_range, to_model
from bridge.transport import SampleMap

RATES = [44_100, 48_000, 88_200, 96_000]
MODEL_RATE = 44_100
SLIP_SAMPLES = 1e-3  # the measurement itself errs by 2e-4 at 110 Hz


def sine(rate, num_samples, hz=997.0, start_sample=0):
    return np.sin(2 * np.pi * hz / rate * np.arange(start_sample, start_sample + num_samples))


def noise(num_samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples).astype(np.float32)


def delay_in_samples(audio, rate, hz, start_sample=0):
    """Return by how many samples a sine in the middle of the audio is late."""
    middle = slice(audio.size // 4, audio.size // 4 * 3)
    times = (np.arange(audio.size) + start_sample)[middle] / rate
    wave = np.exp(-2j * np.pi * hz * times) * np.blackman(times.size)
    phase = np.angle(np.sum(audio[middle] * wave))
    return -(phase + np.pi / 2) / (2 * np.pi * hz) * rate


def rendered(sample_map, start, end, audio, blocks):
    stream, parts, at = ToSession(sample_map, start, end), [], 0
    sizes = iter(lambda: blocks[len(parts) % len(blocks)], None)
    while not stream.done:
        size = next(sizes)
        parts.append(stream.push(at, audio[at : at + size]))
        at += size
    return np.concatenate(parts)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("num_samples", [1, 2, 147, 161, 10_007])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_the_model_hears_every_sample_that_lies_within_the_audio(rate, num_samples, num_channels):
    audio = np.ones((num_channels, num_samples), dtype=np.float32)
    heard = to_model(audio, rate, MODEL_RATE)
    assert heard.shape == (num_channels, ceil(num_samples * MODEL_RATE / rate))
    assert heard.dtype == np.float32


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hz", [110.0, 997.0, 9_001.0])
def test_a_sine_is_neither_late_nor_early_for_the_model(rate, hz):
    audio = sine(rate, rate // 2, hz).astype(np.float32)[None]
    heard = to_model(audio, rate, MODEL_RATE)[0]
    assert abs(delay_in_samples(heard, MODEL_RATE, hz)) < SLIP_SAMPLES
    middle = slice(4_000, 16_000)
    assert np.max(np.abs(heard[middle] - sine(MODEL_RATE, heard.size, hz)[middle])) < 1e-4


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("block", [1, 37, 4_096])
def test_streamed_hearing_equals_the_whole(rate, block):
    audio = np.stack([noise(5_001), noise(5_001, seed=1)])
    stream = ToModel(rate, MODEL_RATE, num_channels=2)
    parts = [stream.push(audio[:, at : at + block]) for at in range(0, 5_001, block)]
    pieces = np.concatenate([*parts, stream.finish()], axis=1)
    np.testing.assert_array_equal(pieces, to_model(audio, rate, MODEL_RATE))
    assert stream.heard_samples == 5_001
    assert stream.given_samples == pieces.shape[1]
    with pytest.raises(ValueError, match="finished"):
        stream.push(audio)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("start", [1_000, 1_001, 20_011])
@pytest.mark.parametrize("num_samples", [1, 161, 30_011])
def test_a_stretch_of_the_session_is_exact_and_the_same_in_any_blocks(rate, start, num_samples):
    sample_map = SampleMap(anchor_sample=1_000, session_rate=rate, model_rate=MODEL_RATE)
    audio = noise(60_000)
    whole = rendered(sample_map, start, start + num_samples, audio, [60_000])
    assert whole.shape == (num_samples,)
    for blocks in ([1_378], [977, 13, 4_001]):
        pieces = rendered(sample_map, start, start + num_samples, audio, blocks)
        np.testing.assert_array_equal(pieces, whole)


def test_blocks_of_one_sample_give_the_same_bytes():
    sample_map = SampleMap(anchor_sample=0, session_rate=48_000, model_rate=MODEL_RATE)
    audio = noise(3_000)
    whole = rendered(sample_map, 501, 2_502, audio, [3_000])
    np.testing.assert_array_equal(rendered(sample_map, 501, 2_502, audio, [1]), whole)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("start", [0, 7_777, 48_001])
@pytest.mark.parametrize("hz", [110.0, 9_001.0])
def test_a_generated_sine_lies_where_the_anchor_says(rate, start, hz):
    anchor = 12_345
    sample_map = SampleMap(anchor_sample=anchor, session_rate=rate, model_rate=MODEL_RATE)
    audio = sine(MODEL_RATE, 100_000, hz).astype(np.float32)
    made = rendered(sample_map, anchor + start, anchor + start + 20_000, audio, [1_378])
    assert abs(delay_in_samples(made, rate, hz, start)) < SLIP_SAMPLES
    inside = slice(2_000, -2_000)
    error = made[inside] - sine(rate, 20_000, hz, start)[inside]
    assert np.max(np.abs(error)) < 1e-4


@pytest.mark.parametrize("rate", RATES)
def test_an_impulse_of_the_model_comes_out_at_its_session_sample(rate):
    sample_map = SampleMap(anchor_sample=99, session_rate=rate, model_rate=MODEL_RATE)
    audio = np.zeros(20_000, dtype=np.float32)
    audio[147 * 50] = 1.0
    made = rendered(sample_map, 3_000, 18_000, audio, [512])
    assert np.argmax(np.abs(made)) + 3_000 == sample_map.to_session(147 * 50)


@pytest.mark.parametrize("rate", RATES[1:])
def test_two_stretches_meet_without_a_step(rate):
    sample_map = SampleMap(anchor_sample=0, session_rate=rate, model_rate=MODEL_RATE)
    audio = noise(40_000)
    whole = rendered(sample_map, 1_000, 30_000, audio, [1_024])
    second = rendered(sample_map, 15_001, 30_000, audio, [1_024])
    np.testing.assert_allclose(second, whole[14_001:], atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_what_lies_beyond_the_range_is_not_missed(rate):
    sample_map = SampleMap(anchor_sample=0, session_rate=rate, model_rate=MODEL_RATE)
    first, end = model_range(sample_map, 9_001, 12_002)
    audio = noise(30_000)
    changed = audio.copy()
    changed[:first], changed[end:] = 1.0, -1.0
    made = rendered(sample_map, 9_001, 12_002, audio, [500])
    np.testing.assert_array_equal(rendered(sample_map, 9_001, 12_002, changed, [500]), made)
    longer = rendered(sample_map, 5_000, 14_000, audio, [500])
    np.testing.assert_allclose(made, longer[4_001:7_002], atol=1e-6)


def test_the_range_begins_where_both_grids_meet_and_leaves_the_filter_its_reach():
    sample_map = SampleMap(anchor_sample=160, session_rate=48_000, model_rate=MODEL_RATE)
    first, end = model_range(sample_map, 160 + 48_000, 160 + 48_001)
    assert first % 147 == 0
    assert 44_100 - REACH_SAMPLES - 147 < first <= 44_100 - REACH_SAMPLES
    assert end == 44_101 + REACH_SAMPLES
    assert model_range(sample_map, 160, 161)[0] == 0


def test_equal_rates_pass_untouched():
    audio = noise(5_000)
    sample_map = SampleMap(anchor_sample=10, session_rate=44_100, model_rate=MODEL_RATE)
    np.testing.assert_array_equal(to_model(audio[None], 44_100, MODEL_RATE)[0], audio)
    np.testing.assert_array_equal(rendered(sample_map, 20, 3_020, audio, [7]), audio[10:3_010])


def test_audio_that_is_missing_is_an_error_and_late_audio_is_not_wanted():
    sample_map = SampleMap(anchor_sample=0, session_rate=48_000, model_rate=MODEL_RATE)
    stream = ToSession(sample_map, 480, 960)
    with pytest.raises(ValueError, match="wanted next"):
        stream.push(stream.first_model_sample + 1, noise(10))
    made = [stream.push(0, noise(5_000)), stream.push(5_000, noise(100))]
    assert [part.size for part in made] == [480, 0]
    assert stream.next_model_sample == stream.end_model_sample


@pytest.mark.parametrize(("start", "end"), [(9, 20), (20, 20), (30, 20)])
def test_a_stretch_that_is_none_is_refused(start, end):
    sample_map = SampleMap(anchor_sample=10, session_rate=48_000, model_rate=MODEL_RATE)
    with pytest.raises(ValueError, match="no stretch"):
        model_range(sample_map, start, end)
