"""Spectra to notes: causal, the same for a pitch and its neighbour, drums in the lowest rows."""

import numpy as np
import pytest
import torch

from model.listener import HITS, PITCHES, Listener
from model.listening import (
    BEFORE_SAMPLES,
    BINS_A_PITCH,
    FEATURES,
    FINE_BINS,
    FIRST_PITCH,
    PITCH_BINS,
    SAMPLE_RATE,
    STEP_SAMPLES,
    step_spectra,
)
from model.shipped import TINY
from tests.model.tiny import randomised


@pytest.fixture(scope="module")
def listener():
    return randomised(Listener(TINY.listener)).eval().requires_grad_(False)


def spectra(steps=24, seed=0):
    return torch.randn(1, steps, FEATURES, generator=torch.Generator().manual_seed(seed))


def test_an_answer_depends_on_so_many_steps_before_and_on_none_after(listener):
    before = listener(spectra())
    other = spectra()
    other[0, 10] += 1
    differs = (listener(other) - before).abs().amax((0, 2, 3)) > 1e-6
    assert np.flatnonzero(differs).tolist() == list(range(10, 11 + listener.before_steps))


def test_rows_between_drums_and_pitches_are_never_heard(listener):
    likely = listener(spectra()).sigmoid()
    assert likely.shape == (1, 24, PITCHES, 2)
    assert float(likely[:, :, HITS:FIRST_PITCH].max()) < 1e-4
    assert float(likely[:, :, FIRST_PITCH + PITCH_BINS :].max()) < 1e-4
    assert float(likely[:, :, :HITS].min()) > 1e-4


@pytest.mark.parametrize("pitch", [40, 57, 69, 90])
def test_a_tone_is_loudest_in_its_own_bin(pitch):
    hz = 440 * 2 ** ((pitch - 69) / 12)
    samples = np.arange(BEFORE_SAMPLES + 2 * STEP_SAMPLES)
    tone = 0.3 * np.sin(2 * np.pi * hz * samples / SAMPLE_RATE)
    made = step_spectra(torch.as_tensor(tone, dtype=torch.float32)[None])
    assert made.shape == (1, 2, FEATURES)
    loudest = made[0, :, :FINE_BINS].argmax(1)
    # At the low end the transform tells a semitone from the next, not a third of one.
    assert ((loudest - (BINS_A_PITCH * (pitch - FIRST_PITCH) + 1)).abs() <= 1).all()


def test_silence_is_finite_and_the_same_everywhere():
    made = step_spectra(torch.zeros(2, BEFORE_SAMPLES + STEP_SAMPLES))
    assert torch.isfinite(made).all()
    assert float(made.std()) < 1e-5
