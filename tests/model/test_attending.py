"""What a timeline hears of its prime: the same however the audio arrives."""

import numpy as np
import pytest

from model.attending import GROUP_STEPS
from model.listening import FEATURES
from tests.model.tiny import CHUNK, fed, plan, sound, stepped, told

STEP = 2048


@pytest.mark.parametrize("samples", [CHUNK - 300, CHUNK + 144, 2 * CHUNK + 143, 5 * CHUNK + 5000])
def test_whole_settled_steps_are_heard_however_the_prime_comes(generator, samples):
    audio = sound(samples)
    ours, theirs = fed(generator, audio), fed(generator, audio, pieces=[777])
    steps = ours.settled_sample // STEP
    assert ours.spectra.shape == (steps, FEATURES)
    assert np.array_equal(ours.spectra, theirs.spectra)
    asked = generator._attending.noted(ours)
    assert len(asked.heard) == steps // GROUP_STEPS * GROUP_STEPS
    begun, other = (stepped(generator, state, plan(), 1) for state in (asked, theirs))
    assert len(begun.spectra) == len(begun.heard) == begun.settled_sample // STEP
    assert np.array_equal(begun.spectra[:steps], ours.spectra)
    assert np.array_equal(begun.heard, other.heard)
    assert np.array_equal(begun.heard[: len(asked.heard)], asked.heard)


def test_a_step_hears_what_came_before_it_and_nothing_after(generator):
    audio = sound(6 * CHUNK)
    other = audio.copy()
    other[3 * CHUNK + 100] += 0.5
    ours, theirs = (generator._attending.noted(fed(generator, one)) for one in (audio, other))
    differs = np.flatnonzero((ours.spectra != theirs.spectra).any(axis=1))
    # A step looks back over 6144 samples, its own included.
    assert differs.tolist() == [12, 13, 14]
    notes = np.flatnonzero((ours.heard != theirs.heard).any(axis=(1, 2)))
    assert notes.min() == 12


def test_nobody_listens_for_notes_before_they_are_asked_for(generator):
    state = fed(generator, sound(9 * CHUNK))
    assert len(state.heard) == 0
    assert len(generator._attending.noted(state).heard) == 2 * GROUP_STEPS


def test_where_notes_are_told_nobody_listens_for_them(generator):
    state = stepped(generator, fed(generator, sound(3 * CHUNK), told()), plan(), 1)
    assert len(state.heard) == 0
    assert len(state.spectra) == state.drawn_from * 128 // STEP
