"""Notes for the chunk to come where nobody gave them, once and for good."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.composer import HELD, HIT_KEYS, PITCHES, STRUCK, Voice, notes_of
from model.composing import _counts, _held_from
from model.values import StemAudio, nothing_known
from tests.model.tiny import (
    CHUNK,
    fed,
    grown,
    plan,
    sound,
    stepped,
    tiny_bundle,
    tiny_generator,
    told,
)

PRIME = 2 * CHUNK + 3000
SETTLED = (PRIME - 144) // 128 * 128
STEP = 2048
GIVEN = np.array([(0, CHUNK, 60, 100, 5, 0), (5000, CHUNK + 500, 64, 90, 40, 0)], np.int64)


def begun(generator, known=None, steps=1, **changes):
    state = fed(generator, sound(PRIME), known)
    return stepped(generator, state, plan(**changes), steps)


def test_the_first_step_composes_to_the_end_of_the_chunk_and_every_chunk_once(generator):
    state = fed(generator, sound(PRIME))
    phases, spans = [], []
    while state.settled_sample < 5 * CHUNK or not state.generating:
        step = generator.step([state], plan())[0]
        state = step.state
        phases.append(step.phase)
        spans.append(state.known.composed_span)
    assert phases == ["notes", "top"] * 3
    assert spans == [(SETTLED, chunk * CHUNK) for chunk in (3, 4, 5) for _ in range(2)]
    assert state.known.notes_span is None


@pytest.mark.parametrize("forgotten", [2, 3, 4, 5, 6])
def test_notes_are_the_same_where_the_stack_is_built_again(generator, forgotten):
    state = again = fed(generator, sound(PRIME))
    while state.settled_sample < 8 * CHUNK or not state.generating:
        state = generator.step([state], plan())[0].state
        if again.settled_sample == forgotten * CHUNK:
            again = replace(again, composed=None)
        again = generator.step([again], plan())[0].state
    assert len(state.known.notes) > 8
    assert np.array_equal(again.known.notes, state.known.notes)
    assert torch.equal(again.composed.memory[0].current, state.composed.memory[0].current)


def test_composed_notes_lie_in_the_span_and_stay_once_written(generator):
    earlier = begun(generator)
    later = grown(generator, earlier, plan(), 4 * CHUNK)
    notes = later.known.notes
    first, last = later.known.composed_span
    assert len(notes) > 3
    assert notes[:, 0].min() >= first
    assert notes[:, 1].max() <= last
    # Only what was held to the seam may have grown longer.
    kept = later.known.notes[: len(earlier.known.notes)]
    seam = earlier.known.composed_span[1]
    assert np.array_equal(kept[:, [0, 2, 3, 4, 5]], earlier.known.notes[:, [0, 2, 3, 4, 5]])
    longer = kept[:, 1] != earlier.known.notes[:, 1]
    assert (earlier.known.notes[longer, 1] == seam).all()
    assert longer.any()


@pytest.mark.parametrize(
    "known",
    [
        told(),
        told(notes=GIVEN[:0]),
        replace(nothing_known(), target=2),
        replace(nothing_known(), stems=(StemAudio(kind=1, start_sample=0, samples=sound(PRIME)),)),
    ],
    ids=["notes are given", "silence is given", "a part is wanted", "stems are given"],
)
def test_nothing_is_composed_where(generator, known):
    state = fed(generator, sound(PRIME), known)
    step = generator.step([state], plan())[0]
    assert step.phase == "top"
    later = grown(generator, step.state, plan(), 4 * CHUNK).known
    assert later.composed_span is None
    assert np.array_equal(later.notes, known.notes)


def test_nothing_is_composed_where_the_listener_hears_nothing():
    bundle = tiny_bundle()
    torch.nn.init.constant_(bundle.listener.leave.bias, -20.0)
    torch.nn.init.constant_(bundle.listener.hits[-1].bias, -20.0)
    deaf = tiny_generator(bundle)
    assert grown(deaf, fed(deaf, sound(PRIME)), plan(), 4 * CHUNK).known.composed_span is None


@pytest.mark.parametrize("end", [CHUNK, CHUNK + 1000, SETTLED, SETTLED + 3000])
def test_given_notes_are_gone_on_with_and_the_gap_stays_unknown(generator, end):
    known = replace(nothing_known(), notes=GIVEN, notes_span=(0, end))
    state = grown(generator, begun(generator, known), plan(), 4 * CHUNK)
    first = max(end, SETTLED)
    assert state.known.spans() == ((0, end), (first, 4 * CHUNK))
    assert np.array_equal(state.known.notes[: len(GIVEN)], GIVEN)
    assert state.known.notes[len(GIVEN) :, 0].min() >= first


def test_what_was_heard_or_given_is_gone_on_with(generator):
    composed = set()
    for seed in (0, 1):
        state = grown(generator, fed(generator, sound(PRIME, seed=seed)), plan(), 5 * CHUNK)
        composed.add(state.known.notes.tobytes())
    for notes in (GIVEN, GIVEN + np.array([0, 0, 3, 0, 0, 0])):
        known = replace(nothing_known(), notes=notes, notes_span=(0, PRIME))
        composed.add(begun(generator, known).known.notes[len(GIVEN) :].tobytes())
    assert len(composed) == 4


@pytest.mark.parametrize("change", [{"seed": 8}, {"variation": 2}, {"temperature": 0.2}], ids=str)
def test_seed_variation_and_temperature_write_other_notes(generator, change):
    ours, again = (begun(generator).known.notes for _ in range(2))
    assert np.array_equal(ours, again)
    assert not np.array_equal(begun(generator, **change).known.notes, ours)


def test_a_teacher_s_timeline_is_composed_for_as_well(generator):
    step = generator.step([fed(generator, sound(PRIME))], plan(teacher=True))[0]
    assert step.phase == "notes"
    assert np.array_equal(step.state.known.notes, begun(generator).known.notes)
    assert generator.step([step.state], plan(teacher=True))[0].phase == "top"


def test_what_is_held_at_the_first_step_sounds_from_the_splice_on():
    """No hole between the prime's last note and the first step composed."""
    score = np.zeros((3, PITCHES), np.int8)
    score[:2, 60], score[0, 62], score[0, 1] = HELD, STRUCK, STRUCK
    made = notes_of(score, 10 * STEP, Voice(step_samples=STEP))
    moved = _held_from(made, score, 10 * STEP, 10 * STEP - 700)
    assert {row[2]: (row[0], row[1]) for row in moved.tolist()} == {
        60: (10 * STEP - 700, 12 * STEP),
        62: (10 * STEP, 11 * STEP),
        HIT_KEYS[1]: (10 * STEP, 11 * STEP),
    }


def test_so_many_are_struck_as_the_chances_say_together():
    chances = np.array([0.5, 0.0, 0.25, 1.0])
    assert _counts(chances)[:5] == pytest.approx([0, 0.375, 0.5, 0.125, 0])
    assert _counts(np.full(128, 0.5)).sum() == pytest.approx(1)
