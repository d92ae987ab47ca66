"""Same level, no step, never clipped, and untouched where it should be."""

import numpy as np
import pytest

from bridge.resample import ToSession
from bridge.splice import (
    KNEE,
    MAX_GAIN_DB,
    amplified,
    crossfaded,
    joined,
    led_out,
    level_gain_db,
    softened,
)
from bridge.stereo import measured_image, start, widened
from bridge.transport import SampleMap, parse_meter, steady

RATE = 48_000


def noise(num_channels, num_samples, rms=0.1, seed=0):
    audio = np.random.default_rng(seed).standard_normal((num_channels, num_samples))
    return (audio * rms).astype(np.float32)


def level_db(audio):
    return 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)))


@pytest.mark.parametrize("gain_db", [-11.9, -3.0, 0.0, 6.0, 11.9])
def test_the_gain_brings_decoded_audio_to_the_recordings_level(gain_db):
    decoded = noise(1, RATE)[0]
    recorded = amplified(decoded, gain_db)
    assert level_gain_db(recorded, decoded) == pytest.approx(gain_db, abs=1e-4)
    matched = amplified(decoded, level_gain_db(recorded, decoded))
    assert level_db(matched) == pytest.approx(level_db(recorded), abs=1e-4)


@pytest.mark.parametrize(("factor", "limit_db"), [(100, MAX_GAIN_DB), (0.05, -MAX_GAIN_DB)])
def test_the_gain_is_limited(factor, limit_db):
    decoded = noise(1, RATE, rms=0.05)[0]
    assert level_gain_db(decoded * np.float32(factor), decoded) == limit_db


@pytest.mark.parametrize("size", [0, 1, RATE])
def test_silence_asks_for_no_gain(size):
    loud, silent = noise(1, RATE)[0], np.zeros(size, dtype=np.float32)
    assert level_gain_db(loud, silent) == 0.0
    assert level_gain_db(silent, loud) == 0.0
    assert level_gain_db(silent, silent) == 0.0


def test_quiet_audio_passes_untouched():
    audio = np.clip(noise(2, 5_000), -KNEE, KNEE)
    soft, reduction_db = softened(audio)
    np.testing.assert_array_equal(soft, audio)
    assert reduction_db == 0.0


@pytest.mark.parametrize("peak", [0.95, 1.0, 4.0, 1e6])
def test_loud_audio_stays_under_full_scale_and_keeps_its_order(peak):
    audio = np.linspace(-peak, peak, 10_001, dtype=np.float32)[None]
    soft, reduction_db = softened(audio)
    assert soft.dtype == np.float32
    assert np.max(np.abs(soft)) <= 1.0
    assert np.all(np.diff(soft[0]) >= 0)
    quiet = np.abs(audio) <= KNEE
    np.testing.assert_array_equal(soft[quiet], audio[quiet])
    assert reduction_db == pytest.approx(20 * np.log10(np.max(soft) / peak))


def test_the_curve_has_no_corner_at_the_knee():
    around = KNEE + np.array([[-2e-3, -1e-3, 0.0, 1e-3, 2e-3]], dtype=np.float32)
    slopes = np.diff(softened(around)[0][0]) / np.diff(around[0])
    np.testing.assert_allclose(slopes, 1.0, atol=1e-3)


@pytest.mark.parametrize("block", [1, 7, 512])
def test_softening_in_pieces_equals_the_whole(block):
    audio = noise(2, 3_001, rms=0.7)
    whole, reduction_db = softened(audio)
    parts = [softened(audio[:, at : at + block]) for at in range(0, 3_001, block)]
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts], axis=1), whole)
    loudest = max(np.max(np.abs(part)) for part, _ in parts)
    assert loudest == np.max(np.abs(whole))
    assert reduction_db < 0


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("num_samples", [1, 959, 960, 10_007])
@pytest.mark.parametrize("lead_samples", [0, 500, 48_000])
def test_all_but_the_fade_is_untouched(num_channels, num_samples, lead_samples):
    prime = noise(num_channels, num_samples)
    lead_in = noise(num_channels, lead_samples, seed=1)
    result = noise(num_channels, 777, seed=2)
    whole = joined(prime, lead_in, result, 960)
    kept = num_samples - min(960, num_samples, lead_samples)
    assert whole.shape == (num_channels, num_samples + 777)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole[:, :kept], prime[:, :kept])
    np.testing.assert_array_equal(whole[:, num_samples:], result)
    if kept < num_samples - 1:
        assert not np.array_equal(whole[:, kept:num_samples], prime[:, kept:])


@pytest.mark.parametrize("likeness", [0.0, 0.5, 1.0])
def test_the_crossfade_keeps_the_power_however_alike_both_are(likeness):
    old = noise(1, 20_000)
    new = likeness * old + np.sqrt(1 - likeness**2) * noise(1, 20_000, seed=1)
    mixed = crossfaded(old, new.astype(np.float32))
    for part in np.array_split(mixed[0], 10):
        assert level_db(part) == pytest.approx(-20, abs=0.4)


def test_equal_sounds_pass_through_the_crossfade_unchanged():
    sound = (0.5 * np.sin(np.arange(960) / 20)).astype(np.float32)[None]
    np.testing.assert_allclose(crossfaded(sound, sound), sound, atol=1e-6)


def test_there_is_no_step_at_either_end_of_the_fade():
    time = np.arange(RATE) / RATE
    recorded = (0.5 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)[None]
    generated = (0.5 * np.sin(2 * np.pi * 220 * time + 2.0)).astype(np.float32)[None]
    splice = 30_001
    whole = joined(recorded[:, :splice], generated[:, :splice], generated[:, splice:], 960)
    cut = np.concatenate([recorded[:, :splice], generated[:, splice:]], axis=1)
    steepest = np.max(np.abs(np.diff(recorded)))
    assert np.max(np.abs(np.diff(cut))) > 5 * steepest
    assert np.max(np.abs(np.diff(whole))) < 1.5 * steepest


def test_a_loud_prime_is_not_bent_and_no_mix_goes_over_full_scale():
    prime = np.full((1, 2_000), 0.99, dtype=np.float32)
    prime[0, ::2] = -0.99
    lead_in = np.roll(prime, 1, axis=1).copy()
    lead_in[0, ::3] = prime[0, ::3]
    whole = joined(prime, lead_in, lead_in[:, :10], 960)
    assert np.max(np.abs(whole)) <= 1.0
    assert abs(whole[0, 1_040] - prime[0, 1_040]) < 0.02


def test_a_fade_of_no_samples_is_a_cut():
    prime, result = noise(2, 100), noise(2, 50, seed=1)
    whole = joined(prime, noise(2, 30, seed=2), result, 0)
    np.testing.assert_array_equal(whole, np.concatenate([prime, result], axis=1))


def test_unlike_channel_counts_and_negative_fades_are_refused():
    with pytest.raises(ValueError, match="channels"):
        joined(noise(1, 10), noise(2, 10), noise(2, 10), 5)
    with pytest.raises(ValueError, match="-1 samples"):
        joined(noise(1, 10), noise(1, 10), noise(1, 10), -1)


@pytest.mark.parametrize("rate", [44_100, 48_000, 88_200, 96_000])
@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("prime_samples", [30_001, 95_179])
@pytest.mark.parametrize("bars", [1, 4])
def test_prime_and_result_join_exactly_from_bars_to_samples(
    rate, num_channels, prime_samples, bars
):
    prime, anchor = noise(num_channels, prime_samples), 777
    splice = anchor + prime_samples
    num_samples = steady(rate, 97.3, parse_meter("7/8")).num_samples_of_bars(bars, splice)
    assert abs(num_samples - bars * 3.5 * 60 / 97.3 * rate) <= 0.5

    sample_map = SampleMap(anchor_sample=anchor, session_rate=rate, model_rate=44_100)
    stream = ToSession(sample_map, splice - 960, splice + num_samples)
    decoded = noise(1, stream.end_model_sample + 1_378, seed=1)[0]
    image = measured_image(prime, rate)
    state, parts = start(image), []
    for at in range(0, decoded.size, 1_378):
        part, state = widened(image, state, stream.push(at, decoded[at : at + 1_378]))
        parts.append(softened(part)[0])
    made = np.concatenate(parts, axis=1)

    lead_in, result = made[:, :960], made[:, 960:]
    assert result.shape == (num_channels, num_samples)
    whole = joined(prime, lead_in, result, 960)
    assert whole.shape == (num_channels, prime_samples + num_samples)
    np.testing.assert_array_equal(whole[:, : prime_samples - 960], prime[:, :-960])
    np.testing.assert_array_equal(whole[:, prime_samples:], result)


def test_a_result_is_led_out_into_what_follows_at_equal_power():
    result, suffix, fade = noise(2, 9_000, seed=1), noise(2, 5_000, seed=2), 2_000
    led = led_out(result, suffix, fade)
    assert led.shape == result.shape
    np.testing.assert_array_equal(led[:, :7_000], result[:, :7_000])
    np.testing.assert_allclose(led[:, -1], suffix[:, fade - 1], atol=1e-3)
    assert level_db(led[:, 7_500:8_500]) == pytest.approx(-20, abs=0.5)
    np.testing.assert_array_equal(led_out(result, suffix, 0), result)
    for wrong in (-1, 5_001):
        with pytest.raises(ValueError, match="allowed are 0 to 5000 samples"):
            led_out(result, suffix, wrong)
    with pytest.raises(ValueError, match="2 and 1 channels"):
        led_out(result, suffix[:1], fade)
