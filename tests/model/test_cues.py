"""What the composer is told of each step: where the beat is, what is to come."""

import numpy as np
import pytest

from model.conditioning.cues import (
    CUES,
    GOAL_REACHES,
    HARMONICS,
    density_cues,
    energy_cues,
    goal_cues,
    metre_cues,
    nothing_told,
    onsets_of,
)
from model.values import Pulse, steady_pulse

STEP = 2048
WALTZ = steady_pulse(10.0 * STEP, 3.0)


def test_nothing_told_is_zeros():
    assert nothing_told(3).shape == (3, CUES)
    assert not nothing_told(3).any()


def test_lines_of_the_grid_are_told_of_the_steps_they_lie_in():
    told = metre_cues(WALTZ, np.arange(40))
    known, bar, beat, eighth, sixteenth, triplet = told[:, :6].T
    assert known.all()
    assert np.flatnonzero(bar).tolist() == [0, 30]
    assert np.flatnonzero(beat).tolist() == [0, 10, 20, 30]
    assert np.flatnonzero(eighth).tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    assert np.flatnonzero(sixteenth[:10]).tolist() == [0, 3, 5, 8]
    assert np.flatnonzero(triplet[:10]).tolist() == [0, 3, 7]


def test_phases_come_again_with_beat_and_bar():
    told = metre_cues(WALTZ, np.arange(70))[:, 6:]
    turns = len(HARMONICS)
    beat = np.r_[0:turns, 2 * turns : 3 * turns]
    assert np.allclose(told[10:, beat], told[:-10, beat], atol=1e-5)
    assert np.allclose(told[30:], told[:-30], atol=1e-5)
    assert not np.allclose(told[10:], told[:-10], atol=1e-2)


def test_a_pulse_follows_every_change_of_tempo_and_meter():
    pulse = Pulse(
        knots=np.array([[100.0, 0, 0, 50.0, 4], [500.0, 8, 2, 25.0, 4], [600.0, 12, 3, 25.0, 2]])
    )
    at = np.array([0, 100, 300, 500, 600, 650])
    assert pulse.beats(at).tolist() == [-2, 0, 4, 8, 12, 14]
    assert pulse.bars(at).tolist() == [-0.5, 0, 1, 2, 3, 4]
    assert pulse.samples(pulse.beats(at)).tolist() == at.tolist()


@pytest.mark.parametrize("offset", [0, 333, 1023])
def test_notes_are_put_on_the_line_that_is_near(offset):
    pulse = Pulse(knots=np.array([[float(offset), 0, 0, 10.0 * STEP, 4]]))
    onsets = onsets_of(pulse, np.arange(0, 11))
    assert onsets[[0, 5, 10]].tolist() == [offset, 5 * STEP + offset, 10 * STEP + offset]
    # No line lies in the step after a beat: its notes stay.
    assert onsets[1] == STEP


def test_what_nobody_said_is_told_as_unknown():
    values = np.array([np.nan, 0.0, 12.0])
    assert energy_cues(values).tolist() == [[0, 0], [1, 0], [1, 1]]
    assert density_cues(np.array([np.nan, 8.0, 2.0])).tolist() == [[0, 0], [1, 1], [1, 0.5]]


def test_a_suffix_is_told_of_until_it_begins_and_nearer_is_louder():
    sounds = np.zeros(128, np.float32)
    sounds[60] = 0.75
    goal, pitches = goal_cues(np.array([20, 1, 0, -3]), sounds)
    assert goal[:, 0].tolist() == [1, 1, 0, 0]
    assert goal[:2, 1:] == pytest.approx(np.exp(-np.outer([20, 1], 1 / np.array(GOAL_REACHES))))
    assert pitches[:, 60].tolist() == [0.75, 0.75, 0, 0]
    assert not goal[2:].any()
