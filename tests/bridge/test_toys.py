"""The toys: exact lengths, the right notes, the level of the prime, the same bytes again."""

import numpy as np
import pytest

from bridge import toys
from bridge.figures import FIGURES, Heard
from bridge.ports import Note

LIKE = np.full((2, 1_000), 0.2, np.float32)


def note(pitch, start, end, **changes):
    return Note(start_sample=start, end_sample=end, pitch=pitch, velocity=100, **changes)


def synth(notes, rate=48_000, start=0, num_samples=48_000, like=LIKE):
    return toys.synthesised(
        tuple(notes), rate, start_sample=start, num_samples=num_samples, like=like
    )


@pytest.mark.parametrize("num_samples", [1, 99, 100, 101, 12_345])
def test_the_loop_repeats_the_last_bar_to_the_sample(num_samples):
    prime = np.arange(2_000, dtype=np.float32).reshape(2, 1_000)
    looped = toys.looped(prime, num_samples, 100)
    expected = prime[:, 900 + np.arange(num_samples) % 100]
    np.testing.assert_array_equal(looped, expected)


def test_a_prime_shorter_than_a_bar_is_repeated_as_it_is():
    prime = np.arange(10, dtype=np.float32)[None]
    np.testing.assert_array_equal(toys.looped(prime, 25, 100)[0], np.arange(25) % 10)


@pytest.mark.parametrize("bar_samples", [0, -3])
def test_an_empty_bar_is_refused(bar_samples):
    with pytest.raises(ValueError, match=f"{bar_samples} samples"):
        toys.looped(LIKE, 10, bar_samples)


@pytest.mark.parametrize("rate", [44_100, 48_000, 88_200, 96_000])
def test_the_synth_plays_the_written_notes_at_any_rate(rate):
    notes = (note(60, 0, rate), note(67, rate // 2, rate), note(48, rate, 2 * rate))
    audio = synth(notes, rate, num_samples=2 * rate)
    heard = Heard(audio, rate, notes=notes)
    assert audio.shape == (2, 2 * rate)
    assert FIGURES["note_f1"].measure(heard, heard) > 0.85


def test_notes_are_cut_at_both_ends_and_keep_their_place():
    notes = (note(60, 0, 48_000),)
    whole = synth(notes)
    part = synth(notes, start=10_000, num_samples=5_000)
    scale = whole[0, 12_000] / part[0, 2_000]
    np.testing.assert_allclose(part * scale, whole[:, 10_000:15_000], rtol=1e-3, atol=1e-5)
    assert not synth(notes, start=100_000).any()


def test_drums_are_noise_and_short():
    audio = synth((note(38, 4_800, 40_000, is_drum=True),))
    assert not audio[:, :4_800].any()
    assert audio[:, 4_800:9_600].any()
    assert not audio[:, 4_800 + 7_200 :].any()
    heard = Heard(audio[:, 4_800:9_600], 48_000)
    assert FIGURES["noisiness"].measure(heard, heard) > 0.8


def test_the_level_is_that_of_the_audio_beside_it():
    audio = synth((note(60, 0, 48_000), note(38, 0, 10, is_drum=True)))
    assert np.sqrt(np.mean(np.square(audio))) == pytest.approx(0.2, rel=0.01)


def test_full_scale_is_never_passed():
    audio = synth((note(60, 0, 480),), like=np.ones((1, 10), np.float32))
    assert 0.9 < np.abs(audio).max() <= 1
    assert audio.shape == (1, 48_000)


def test_the_same_notes_give_the_same_bytes():
    notes = (note(60, 0, 9_000), note(38, 0, 10, is_drum=True))
    assert synth(notes).tobytes() == synth(notes).tobytes()
    assert synth(notes).tobytes() != synth(notes[:1]).tobytes()
