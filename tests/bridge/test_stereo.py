"""The prime's image comes back over what the model made, and folds down to it."""

import numpy as np
import pytest

from bridge.stereo import NUM_BANDS, StereoImage, measured_image, mid_of, start, widened

RATES = [44_100, 48_000, 88_200, 96_000]


def music(num_samples, seed=0):
    """Return noise with as much power in every octave."""
    random = np.random.default_rng(seed)
    spectrum = np.fft.rfft(random.standard_normal(num_samples))
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.size), 1_000))
    audio = np.fft.irfft(spectrum, num_samples)
    return audio / np.std(audio) * 0.1


def stereo(mid, side):
    return np.stack([mid + side, mid - side]).astype(np.float32)


def side_of(audio):
    return (audio[0].astype(np.float64) - audio[1]) / 2


def through(image, mid, block=None):
    state, parts = start(image), []
    for at in range(0, mid.size, block or mid.size):
        part, state = widened(image, state, mid[at : at + (block or mid.size)])
        parts.append(part)
    return np.concatenate(parts, axis=1)


def part_of_band(audio, rate, low_hz, high_hz):
    spectrum = np.fft.rfft(audio)
    hz = np.fft.rfftfreq(audio.size, 1 / rate)
    return np.fft.irfft(np.where((hz >= low_hz) & (hz < high_hz), spectrum, 0), audio.size)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    ("pan", "width"), [(0, 0.5), (0.7, 0), (-0.4, 0.3), (0.2, 0.6), (1, 0), (0, 0.01)]
)
def test_pan_and_width_of_the_prime_are_those_of_the_result(rate, pan, width):
    mid = music(3 * rate)
    prime = stereo(mid, pan * mid + width * music(3 * rate, seed=1))
    result = music(2 * rate, seed=2).astype(np.float32)
    made = through(measured_image(prime, rate), result)[:, rate // 4 :]
    mid, side = mid_of(made).astype(np.float64), side_of(made)
    assert np.std(side) / np.std(mid) == pytest.approx(np.hypot(pan, width), rel=0.05)
    assert np.mean(mid * side) / np.mean(mid * mid) == pytest.approx(pan, abs=0.03)


def test_each_band_keeps_its_own_place():
    rate, num_samples = 48_000, 150_000
    mid = music(num_samples)
    low, high = part_of_band(mid, rate, 0, 300), part_of_band(mid, rate, 3_000, 24_000)
    prime = stereo(mid, 0.8 * low - 0.6 * high)
    made = through(measured_image(prime, rate), music(num_samples, seed=2).astype(np.float32))
    for low_hz, high_hz, pan in [(30, 120, 0.8), (8_000, 20_000, -0.6)]:
        mid = part_of_band(mid_of(made), rate, low_hz, high_hz)
        side = part_of_band(side_of(made), rate, low_hz, high_hz)
        assert np.sum(mid * side) / np.sum(mid * mid) == pytest.approx(pan, abs=0.1)


@pytest.mark.parametrize("rate", RATES)
def test_the_fold_down_is_what_the_model_made(rate):
    prime = stereo(music(rate), 0.9 * music(rate, seed=1))
    result = music(rate, seed=2).astype(np.float32)
    made = through(measured_image(prime, rate), result)
    assert np.max(np.abs(made[0] - made[1])) > 0.05
    np.testing.assert_allclose(mid_of(made), result, atol=1e-6)


@pytest.mark.parametrize("rate", [44_100, 96_000])
@pytest.mark.parametrize("block", [1, 37, 512, 5_000])
def test_widening_in_pieces_equals_the_whole(rate, block):
    image = StereoImage(
        sample_rate=rate,
        num_channels=2,
        pans=(0.1, -0.5, 0.3, 0.2, -0.9),
        widths=(0.0, 0.2, 0.4, 0.6, 1.0),
    )
    mid = music(600 if block == 1 else 20_001).astype(np.float32)
    np.testing.assert_array_equal(through(image, mid, block), through(image, mid))


def test_an_onset_is_heard_at_once_and_nothing_before_it():
    prime = stereo(music(48_000), 0.5 * music(48_000, seed=1))
    click = np.zeros(10_000, dtype=np.float32)
    click[5_000] = 1.0
    made = through(measured_image(prime, 48_000), click)
    assert not np.any(made[:, :5_000])
    assert np.all(np.abs(made[:, 5_000]) > 0.3)


def test_a_state_is_a_value_that_forks():
    prime = stereo(music(48_000), 0.5 * music(48_000, seed=1))
    image, mid = measured_image(prime, 48_000), music(9_000).astype(np.float32)
    _, state = widened(image, start(image), mid[:4_000])
    kept = state.past.copy()
    first, _ = widened(image, state, mid[4_000:])
    second, _ = widened(image, state, mid[4_000:])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(state.past, kept)


def test_a_mono_prime_gives_a_mono_result():
    image = measured_image(music(48_000).astype(np.float32)[None], 48_000)
    result = music(5_000, seed=2).astype(np.float32)
    np.testing.assert_array_equal(through(image, result, 333), result[None])


def test_two_equal_channels_give_two_equal_channels():
    mid = music(48_000).astype(np.float32)
    image = measured_image(np.stack([mid, mid]), 48_000)
    assert not any(image.pans + image.widths)
    result = music(5_000, seed=2).astype(np.float32)
    np.testing.assert_array_equal(through(image, result), np.stack([result, result]))


@pytest.mark.parametrize("num_samples", [1, 2, 161, 1_001])
@pytest.mark.parametrize("kind", ["noise", "silent left", "silent", "opposite", "bass"])
def test_odd_primes_give_an_image_within_bounds(num_samples, kind):
    left, right = music(num_samples + 1_000)[:num_samples], music(num_samples + 1_000, seed=1)
    right = right[:num_samples]
    prime = {
        "noise": (left, right),
        "silent left": (0 * left, right),
        "silent": (0 * left, 0 * right),
        "opposite": (left, -left),
        "bass": (np.sin(np.arange(num_samples) / 150), 0.5 * np.sin(np.arange(num_samples) / 150)),
    }[kind]
    image = measured_image(np.stack(prime).astype(np.float32), 48_000)
    assert len(image.pans) == len(image.widths) == NUM_BANDS
    assert np.all(np.abs(image.pans) <= 1)
    assert np.all(np.abs(np.subtract(image.widths, 0.5)) <= 0.5)
    made = through(image, music(2_000, seed=3).astype(np.float32))
    assert np.all(np.isfinite(made))


def test_bands_that_the_prime_leaves_empty_follow_the_others():
    time = np.arange(96_000) / 48_000
    bass = np.sin(2 * np.pi * 80 * time) * np.hanning(96_000)
    image = measured_image(stereo(0.3 * bass, 0.15 * bass), 48_000)
    assert image.pans[0] == pytest.approx(0.5, abs=0.02)
    assert image.pans[-1] == pytest.approx(0.5, abs=0.2)
    assert max(image.widths) < 0.05
