"""Notes on a grid of steps: read and written alike, and scored from the past alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from model.composer import (
    FEATURES,
    HELD,
    HIT_KEYS,
    OFF,
    PITCHES,
    STRUCK,
    Composer,
    Voice,
    heard,
    notes_of,
    score_of,
    sure,
)
from model.conditioning.cues import CUES
from model.conditioning.roll import DRUM_PROGRAM
from model.shipped import TINY
from tests.model.tiny import randomised

STEP = 2048
VOICE = Voice(step_samples=STEP, velocity=70, program=3)


def notes_from(*rows):
    """Return notes of (first step, last step, pitch)."""
    made = [(first * STEP, last * STEP, pitch, 70, 3, 0) for first, last, pitch in rows]
    return np.array(made, np.int64).reshape(-1, 6)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(0, 1, 60)],
        [(0, 3, 60), (3, 5, 60)],
        [(1, 4, 40), (1, 4, 47), (2, 9, 127), (6, 7, 12)],
    ],
    ids=len,
)
@pytest.mark.parametrize("start", [0, 5, 1000])
def test_a_score_is_written_as_it_was_read(rows, start):
    notes = notes_from(*rows)
    notes[:, :2] += start * STEP
    score = score_of(notes, start * STEP, 10, STEP)
    assert np.array_equal(notes_of(score, start * STEP, VOICE), notes)


def test_a_note_is_struck_once_and_then_held():
    score = score_of(notes_from((2, 5, 60)), 0, 8, STEP)
    assert score[:, 60].tolist() == [OFF, OFF, STRUCK, HELD, HELD, OFF, OFF, OFF]
    assert not np.delete(score, 60, axis=1).any()


@pytest.mark.parametrize(
    ("start", "end", "steps"), [(0.4, 0.6, [0]), (0.6, 0.7, [1]), (1.2, 2.8, [1, 2])]
)
def test_times_are_rounded_to_the_nearest_step_and_last_at_least_one(start, end, steps):
    note = np.array([(round(start * STEP), round(end * STEP), 60, 70, 3, 0)], np.int64)
    assert np.flatnonzero(score_of(note, 0, 5, STEP)[:, 60]).tolist() == steps


def test_what_sounds_on_from_before_is_held_and_written_from_the_start():
    score = score_of(notes_from((-3, 2, 60), (7, 30, 61), (-9, -2, 62)), 0, 10, STEP)
    assert score[:3, 60].tolist() == [HELD, HELD, OFF]
    assert score[7:, 61].tolist() == [STRUCK, HELD, HELD]
    assert not score[:, 62].any()
    assert np.array_equal(notes_of(score, 0, VOICE), notes_from((0, 2, 60), (7, 10, 61)))


def test_a_pitch_struck_again_is_another_note():
    score = np.zeros((4, PITCHES), np.int8)
    score[:, 50] = [STRUCK, STRUCK, HELD, STRUCK]
    assert np.array_equal(notes_of(score, 0, VOICE), notes_from((0, 1, 50), (1, 3, 50), (3, 4, 50)))


def test_drums_are_struck_in_their_kind_s_row_and_written_as_its_key():
    kick, snare, hat, crash = 35, 40, 44, 49
    notes = notes_from((1, 2, kick), (1, 2, hat), (3, 4, snare), (5, 6, crash))
    notes[:, 4] = DRUM_PROGRAM
    score = score_of(notes, 0, 8, STEP)
    assert [np.flatnonzero(score[:, row]).tolist() for row in range(5)] == [[1], [3], [1], [5], []]
    assert set(score.flatten().tolist()) == {OFF, STRUCK}
    written = notes_of(score, 0, VOICE)
    assert sorted(written[:, 2].tolist()) == sorted(HIT_KEYS)
    assert (written[:, 4] == DRUM_PROGRAM).all()
    assert np.array_equal(score_of(written, 0, 8, STEP), score)


def test_a_note_below_the_pitches_is_no_drum():
    assert not score_of(notes_from((1, 2, 3)), 0, 5, STEP).any()


def test_features_tell_what_is_sure_from_what_is_heard():
    score = score_of(notes_from((0, 2, 60)), 0, 3, STEP)
    told = sure(score)
    assert told.shape == (3, FEATURES)
    sounding, struck, held, flag = np.split(told, [PITCHES, 2 * PITCHES, 3 * PITCHES], axis=1)
    assert [sounding[:, 60].tolist(), struck[:, 60].tolist(), held[:, 60].tolist()] == [
        [1, 1, 0],
        [1, 0, 0],
        [0, 1, 0],
    ]
    assert flag.all()
    likely = np.full((3, PITCHES, 2), 0.25, np.float32)
    likely[..., 1] = 0.125
    doubtful = heard(likely)
    assert (doubtful[:, :PITCHES] == 0.25).all()
    assert (doubtful[:, PITCHES : 2 * PITCHES] == 0.125).all()
    assert not doubtful[:, 2 * PITCHES :].any()


@pytest.fixture(scope="module")
def composer():
    return randomised(Composer(TINY.composer)).eval().requires_grad_(False)


def steps_of(seed=0):
    window = TINY.composer.transformer.frames
    return torch.rand(1, window, FEATURES, generator=torch.Generator().manual_seed(seed))


def cues_of(seed=3):
    window = TINY.composer.transformer.frames
    return torch.rand(1, window, CUES, generator=torch.Generator().manual_seed(seed))


def test_scores_follow_the_past_and_never_the_future(composer):
    given = [steps_of(), cues_of()]
    before = composer(*given)
    assert before.shape == (1, given[0].shape[1], PITCHES, 3)
    for which in (0, 1):
        for changed in (0, 5, given[0].shape[1] - 1):
            other = [one.clone() for one in given]
            other[which][0, changed] = 1 - other[which][0, changed]
            differs = (composer(*other) - before).abs().amax((0, 2, 3)) > 1e-6
            assert differs.tolist() == [step >= changed for step in range(len(differs))]


@pytest.mark.parametrize("cuts", [(1, 2), (20, 21), (29, 31), ()], ids=str)
def test_a_step_read_alone_is_scored_as_in_the_whole_window(composer, cuts):
    window = TINY.composer.transformer.frames
    steps = torch.rand(1, window, FEATURES, generator=torch.Generator().manual_seed(2))
    cues = cues_of()
    whole, memory = composer(steps, cues), ()
    for first, last in pairwise((0, *cuts, window)):
        past = composer.upon(memory, batch=len(steps), steps=last - first)
        made = composer.go_on(steps[:, first:last], cues[:, first:last], past)
        memory = past.state()
        torch.testing.assert_close(made, whole[:, last - 1], atol=1e-5, rtol=1e-5)
