"""Conditions of a chunk as the networks read them, and what is refused at the door."""

from dataclasses import replace

import numpy as np
import pytest

from model.conditioning.roll import ROLL_FRAME_SAMPLES, roll_of
from model.errors import ConditionError, LabelError
from model.hearing import Hearing
from model.inputs import Inputs
from model.values import StemAudio, nothing_known
from tests.model.tiny import CHUNK, sound

GROUPS = CHUNK // ROLL_FRAME_SAMPLES
NOTE = (0, 9000, 60, 100, 5, 0)


@pytest.fixture(scope="module")
def hearing(bundle):
    return Hearing(bundle.codec.level(2), CHUNK, (36, 144))


@pytest.fixture(scope="module")
def inputs(generator, hearing):
    return Inputs(generator.bundle, generator.grid, hearing)


def known_of(**changes):
    return replace(nothing_known(), **changes)


def notes_of(*rows):
    return np.array(rows, np.int64).reshape(-1, 6)


def test_nothing_known_is_said_to_be_unknown(inputs):
    made = inputs.of_chunk(nothing_known(), 3)
    assert (int(made.artist), int(made.genre), int(made.target)) == (0, 0, 0)
    assert not made.total.any()
    assert not made.roll_known.any()
    assert not made.stems_given.any()


@pytest.mark.parametrize("chunk", [0, 1, 5])
def test_places_count_from_the_anchor_and_the_offset(inputs, chunk):
    made = inputs.of_chunk(known_of(total_samples=10**6, offset_samples=700), chunk)
    expected = 700 + chunk * CHUNK + np.arange(GROUPS) * ROLL_FRAME_SAMPLES
    assert made.position[0].tolist() == expected.tolist()
    assert set(made.total[0].tolist()) == {1e6}


@pytest.mark.parametrize("chunk", [0, 1])
def test_notes_are_those_of_the_chunk(inputs, chunk):
    notes = notes_of(NOTE, (CHUNK, 2 * CHUNK, 64, 50, 40, 0))
    made = inputs.of_chunk(known_of(notes=notes, notes_span=(0, 10 * CHUNK)), chunk)
    assert np.array_equal(made.roll[0].numpy(), roll_of(notes, chunk * CHUNK, GROUPS))
    assert made.roll_known.all()


@pytest.mark.parametrize(
    ("span", "first", "last"),
    [
        ((0, CHUNK), 0, GROUPS - 1),
        ((-100, 1), 0, 0),
        ((512, 1024), 1, 1),
        ((511, 1025), 0, 2),  # half-known frames have notes to tell
        ((CHUNK - 1, 10 * CHUNK), GROUPS - 1, GROUPS - 1),
    ],
)
def test_silence_means_silence_within_the_span_alone(inputs, span, first, last):
    made = inputs.of_chunk(known_of(notes=notes_of(), notes_span=span), 0)
    assert np.flatnonzero(made.roll_known[0]).tolist() == list(range(first, last + 1))


def test_composed_notes_are_known_where_they_were_written(inputs):
    known = known_of(notes=notes_of(NOTE), notes_span=(0, 512), composed_span=(1024, 2048))
    made = inputs.of_chunk(known, 0)
    assert np.flatnonzero(made.roll_known[0]).tolist() == [0, 2, 3]


def test_an_empty_span_tells_of_no_frame(inputs):
    made = inputs.of_chunk(known_of(notes=notes_of(NOTE), notes_span=(600, 600)), 0)
    assert int(made.roll_known.sum()) <= 1
    assert not inputs.of_chunk(known_of(notes=notes_of(NOTE)), 0).roll_known.any()


@pytest.mark.parametrize("chunk", [0, 1, 2])
@pytest.mark.parametrize("start", [-300, 0, 700, CHUNK + 5])
def test_a_stem_is_heard_as_the_mix_is(inputs, hearing, bundle, chunk, start):
    audio = sound(2 * CHUNK + 900, seed=4)
    stem = StemAudio(kind=2, start_sample=start, samples=audio)
    made = inputs.of_chunk(known_of(stems=(stem,)), chunk)
    codes = hearing.encode(audio, start, chunk)[::4].astype(np.int64)
    at = chunk * CHUNK + np.arange(len(codes)) * ROLL_FRAME_SAMPLES
    given = np.zeros((5, GROUPS), bool)
    given[2, : len(codes)] = at + ROLL_FRAME_SAMPLES > start
    assert np.array_equal(made.stems_given[0].numpy(), given)
    assert np.array_equal(made.stems[0, 2, : len(codes)], bundle.codebook[codes])


def test_a_stem_is_not_given_before_it_begins_nor_after_it_ends(inputs):
    stem = StemAudio(kind=1, start_sample=1024, samples=sound(CHUNK))
    known = known_of(stems=(stem,))
    first, second = (inputs.of_chunk(known, chunk).stems_given[0, 1] for chunk in (0, 1))
    assert first.tolist() == [False] * 2 + [True] * (GROUPS - 2)
    assert not second[3:].any()
    assert second[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"artist": 4}, LabelError, "artist's row is 4, the model has 4 rows"),
        ({"genre": -1}, LabelError, "genre's row is -1"),
        ({"target": 5}, ConditionError, "kind 5 is none of the 5"),
        ({"stems": (9,)}, ConditionError, "kind 9 is none"),
        ({"stems": (1, 2, 1)}, ConditionError, "2 stems are drums, 1 can be"),
        ({"notes": (0, 9, 128, 1, 0, 0)}, ConditionError, "pitch is 128, allowed are 0 to 127"),
        ({"notes": (0, 9, -1, 1, 0, 0)}, ConditionError, "pitch is -1"),
        ({"notes": (0, 9, 1, 200, 0, 0)}, ConditionError, "velocity is 200"),
        ({"notes": (0, 9, 1, 2, 129, 0)}, ConditionError, "program is 129, allowed are 0 to 128"),
    ],
    ids=str,
)
def test_what_no_table_has_a_row_for_is_refused(generator, change, error, message):
    change = dict(change)
    if "notes" in change:
        change["notes"] = notes_of(change["notes"])
    if "stems" in change:
        change["stems"] = tuple(
            StemAudio(kind=kind, start_sample=0, samples=sound(9)) for kind in change["stems"]
        )
    with pytest.raises(error, match=message):
        generator.open(known_of(**change), 0)
