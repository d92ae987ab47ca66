"""Notes as features: on which frame, how loud, for how long, whatever the stretch."""

import numpy as np
import pytest

from model.conditioning.roll import (
    DRUM_PROGRAM,
    FAMILIES,
    FAMILY,
    FAST,
    HIT_FAST,
    HIT_SLOW,
    RELEASE,
    ROLL_FRAME_SAMPLES,
    ROLL_WIDTH,
    SLOW,
    SOUNDING,
    roll_of,
)

FRAME = ROLL_FRAME_SAMPLES
SECONDS = FRAME / 44_100


def note(start, end, pitch=60, velocity=127, program=0):
    return (start, end, pitch, velocity, program, 0)


def notes_of(*rows):
    return np.array(rows, np.int64).reshape(-1, 6)


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (0, FRAME, 0, 0),
        (1, FRAME, 0, 0),
        (FRAME - 1, FRAME + 1, 0, 1),
        (FRAME, 3 * FRAME, 1, 2),
        (FRAME, 3 * FRAME + 1, 1, 3),
        (2 * FRAME + 5, 2 * FRAME + 6, 2, 2),
        (2 * FRAME, 2 * FRAME, 2, 2),  # of no length: one frame
    ],
)
def test_a_note_sounds_from_the_frame_of_its_start_to_that_of_its_end(start, end, first, last):
    sounding = roll_of(notes_of(note(start, end, pitch=61)), 0, 8)[:, SOUNDING]
    assert np.flatnonzero(sounding[:, 61]).tolist() == list(range(first, last + 1))
    assert np.flatnonzero(sounding.any(0)).tolist() == [61]


@pytest.mark.parametrize("velocity", [1, 64, 127])
def test_velocity_scales_everything_that_sounds(velocity):
    roll = roll_of(notes_of(note(FRAME, 3 * FRAME, velocity=velocity)), 0, 8)
    loud = velocity / 127
    assert roll[1:3, SOUNDING][:, 60] == pytest.approx(loud)
    age = np.arange(2) * SECONDS
    assert roll[1:3, FAST][:, 60] == pytest.approx(loud * np.exp(-age / 0.06))
    assert roll[1:3, SLOW][:, 60] == pytest.approx(loud * np.exp(-age / 0.6))
    since = np.arange(5) * SECONDS
    assert roll[3:, RELEASE][:, 60] == pytest.approx(loud * np.exp(-since / 0.15))
    assert not roll[3:, SOUNDING].any()
    assert not roll[:3, RELEASE].any()


def test_a_release_ends_after_its_64_frames():
    release = roll_of(notes_of(note(0, FRAME)), 0, 80)[:, RELEASE][:, 60]
    assert np.flatnonzero(release).tolist() == list(range(1, 65))


@pytest.mark.parametrize(("program", "family"), [(0, 0), (7, 0), (8, 1), (40, 5), (127, 15)])
def test_a_note_names_its_family_while_it_sounds(program, family):
    roll = roll_of(notes_of(note(FRAME, 2 * FRAME, program=program)), 0, 4)[:, FAMILY]
    assert np.argwhere(roll).tolist() == [[1, family]]


def test_a_drum_is_struck_and_rings_but_does_not_sound():
    roll = roll_of(notes_of(note(FRAME, FRAME + 1, pitch=38, program=DRUM_PROGRAM)), 0, 120)
    age = np.arange(96) * SECONDS
    assert roll[1:97, HIT_FAST][:, 38] == pytest.approx(np.exp(-age / 0.05))
    assert roll[1:97, HIT_SLOW][:, 38] == pytest.approx(np.exp(-age / 0.3))
    assert not roll[97:].any()
    assert not roll[:, : HIT_FAST.start].any()
    assert np.argwhere(roll[:, FAMILY]).tolist() == [[at, FAMILIES - 1] for at in range(1, 9)]


@pytest.mark.parametrize("program", [0, 40, DRUM_PROGRAM])
@pytest.mark.parametrize("size", [1, 5, 16])
def test_any_cut_of_the_timeline_gives_the_same_features(program, size):
    random = np.random.default_rng(0)
    starts = random.integers(-100 * FRAME, 150 * FRAME, 60)
    rows = [
        note(start, start + random.integers(1, 30 * FRAME), pitch, random.integers(1, 128), program)
        for start, pitch in zip(starts, random.integers(20, 100, 60), strict=True)
    ]
    notes = notes_of(*rows)
    whole = roll_of(notes, -32 * FRAME, 160)
    cuts = [roll_of(notes, (at - 32) * FRAME, size) for at in range(0, 160, size)]
    assert np.array_equal(np.concatenate(cuts)[:160], whole)
    assert whole.any(0).sum() > 60


def test_notes_outside_the_stretch_leave_nothing():
    long_ago = note(-400 * FRAME, -300 * FRAME)
    later = note(16 * FRAME, 20 * FRAME)
    struck = note(-97 * FRAME, -96 * FRAME, program=DRUM_PROGRAM)
    assert not roll_of(notes_of(long_ago, later, struck), 0, 16).any()
    assert roll_of(notes_of(), 0, 16).shape == (16, ROLL_WIDTH)


def test_a_note_held_from_before_is_as_old_as_it_is():
    roll = roll_of(notes_of(note(-10 * FRAME, 5 * FRAME)), 0, 8)
    assert roll[0, SLOW][60] == pytest.approx(np.exp(-10 * SECONDS / 0.6))
    assert roll[5, RELEASE][60] == pytest.approx(1.0)


def test_of_two_hits_the_louder_is_felt():
    loud = note(0, 1, pitch=38, velocity=127, program=DRUM_PROGRAM)
    soft = note(FRAME, FRAME + 1, pitch=38, velocity=20, program=DRUM_PROGRAM)
    together = roll_of(notes_of(loud, soft), 0, 20)[:, HIT_SLOW]
    assert np.array_equal(together, roll_of(notes_of(loud), 0, 20)[:, HIT_SLOW])
