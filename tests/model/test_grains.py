import numpy as np
import pytest

from model.grains import FADE_SAMPLES, STRAY_SAMPLES, alignment, no_rows, sounded


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def rows(*entries):
    return np.array(entries, np.int64)


def test_without_rows_all_is_another_s():
    made, other = sounded(no_rows(), noise(10), 0, (500, 700))
    np.testing.assert_array_equal(made, np.zeros(200, np.float32))
    np.testing.assert_array_equal(other, np.ones(200, np.float32))


def test_what_sounds_is_the_recording_from_the_source_on():
    audio, start = noise(20_000), 3000
    table = rows((9000, 5000, 1000, 0))
    made, other = sounded(table, audio, start, (9000 + FADE_SAMPLES, 12_000))
    np.testing.assert_array_equal(made, audio[5000 + FADE_SAMPLES - start : 8000 - start])
    assert not other.any()


@pytest.mark.parametrize("cut", [9000, 9001, 9500, 11_111, 12_999, 13_500])
def test_any_cut_gives_the_same_samples(cut):
    audio = noise(20_000)
    table = rows((9000, 500, 1000, 300), (11_000, 7000, 500, 0), (13_000, -1, 0, 0))
    whole = sounded(table, audio, 0, (8000, 15_000))
    parts = [sounded(table, audio, 0, span) for span in ((8000, cut), (cut, 15_000))]
    for index in range(2):
        np.testing.assert_array_equal(np.concatenate([p[index] for p in parts]), whole[index])


def test_like_sides_keep_their_amplitude_and_unlike_ones_their_power():
    ones = np.ones(20_000, np.float32)
    made, _ = sounded(rows((0, 0, 1000, 0), (5000, 100, 1000, 1000)), ones, 0, (2000, 8000))
    np.testing.assert_allclose(made, 1, atol=1e-6)
    powers = [
        sounded(rows((0, 0, 1000, 0), (5000, 9000, 1000, 0)), noise(20_000, seed), 0, (5000, 6024))
        for seed in range(200)
    ]
    power = np.mean([made**2 for made, _ in powers], axis=0).reshape(8, -1).mean(1)
    np.testing.assert_allclose(power, 1, atol=0.08)


def test_a_row_without_a_source_leaves_its_place_to_another():
    table = rows((0, 0, 1000, 0), (4000, -1, 0, 0), (9000, 100, 1000, 0))
    _, other = sounded(table, noise(20_000), 0, (2000, 12_000))
    assert not other[:2000].any()
    assert (other[2000 + FADE_SAMPLES : 7000] == 1).all()
    assert not other[7000 + FADE_SAMPLES :].any()


def test_the_gain_is_the_row_s():
    made, _ = sounded(rows((0, 0, 500, 0)), noise(9000), 0, (3000, 4000))
    np.testing.assert_allclose(made, noise(9000)[3000:4000] / 2)


@pytest.mark.parametrize("shift", [0, 1, -77, STRAY_SAMPLES, -STRAY_SAMPLES])
def test_a_source_is_moved_to_where_it_lies_best(shift):
    audio = noise(40_000)
    audio[30_000 + shift - 2000 : 30_000 + shift + 4000] = audio[8000:14_000]
    moved, likeness = alignment(audio, 10_000, 30_000)
    assert moved == shift
    assert likeness == pytest.approx(1, abs=1e-6)


def test_nothing_to_compare_moves_nothing():
    assert alignment(noise(0), 0, 5) == (0, 0.0)
    assert alignment(np.zeros(9000, np.float32), 3000, 6000)[1] == 0.0
