import numpy as np
import pytest
import torch

from model.errors import ConditionError
from model.state import restored
from model.values import nothing_known
from tests.model.tiny import (
    CHUNK,
    decoded,
    fed,
    grown,
    plan,
    sound,
    stepped,
    tiny_bundle,
    tiny_generator,
    told,
)

FRAME = 128
PRIMES = {"torn": 2 * CHUNK + 777, "whole chunks": 2 * CHUNK, "short": 900}


@pytest.fixture(scope="module")
def generator():
    return tiny_generator(tiny_bundle())


@pytest.fixture(params=["composed", "told"])
def known(request):
    return nothing_known() if request.param == "composed" else told()


@pytest.mark.parametrize(("prime", "chunks"), [("torn", 3), ("whole chunks", 3), ("short", 4)])
def test_the_same_plan_makes_the_rest_again_bit_for_bit(generator, known, prime, chunks):
    made = grown(generator, fed(generator, sound(PRIMES[prime]), known), plan(), 6 * CHUNK)
    back = generator.rewind(restored(made.to_bytes()), chunks * CHUNK + 5)
    assert back.settled_sample == chunks * CHUNK
    again = grown(generator, back, plan(), 6 * CHUNK)
    np.testing.assert_array_equal(again.codes, made.codes)
    np.testing.assert_array_equal(again.known.notes, made.known.notes)
    assert again.known.composed_span == made.known.composed_span
    for one, other in zip(again.memory, made.memory, strict=True):
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.current, other.current)
    np.testing.assert_array_equal(decoded(generator, again), decoded(generator, made))


@pytest.mark.parametrize("frames", [1, 150, 320])
def test_another_plan_keeps_every_code_before_the_frame_and_makes_others_after(
    generator, known, frames
):
    made = grown(generator, fed(generator, sound(PRIMES["torn"]), known), plan(), 6 * CHUNK)
    back = generator.rewind(made, frames * FRAME + 127)
    other = grown(generator, back, plan(seed=99), 5 * CHUNK + 1)
    np.testing.assert_array_equal(other.codes[:frames], made.codes[:frames])
    assert not np.array_equal(other.codes[frames : len(made.codes)], made.codes[frames:])


def test_what_was_given_stays_and_what_was_composed_after_the_frame_goes(generator):
    notes = np.array([(0, 9000, 60, 100, 5, 0), (9000, 3 * CHUNK, 67, 90, 40, 0)], np.int64)
    given = told(notes=notes, notes_span=(0, 3 * CHUNK))
    made = grown(generator, fed(generator, sound(CHUNK + 99), given), plan(), 6 * CHUNK)
    assert made.known.composed_span is not None
    early = generator.rewind(made, 2 * CHUNK).known
    np.testing.assert_array_equal(early.notes, notes)
    assert (early.notes_span, early.composed_span) == ((0, 3 * CHUNK), None)
    late = generator.rewind(made, 5 * CHUNK).known
    # The composer is half a step ahead of the codes.
    assert late.composed_span[1] == 5 * CHUNK + 1024
    assert late.notes[:, 1].max() <= 5 * CHUNK + 1024
    np.testing.assert_array_equal(late.notes[0], notes[0])


def test_it_costs_a_step_a_chunk_and_all_kept_can_be_decoded_at_once(generator):
    made = grown(generator, fed(generator, sound(PRIMES["torn"]), told()), plan(), 6 * CHUNK)
    back = generator.rewind(made, 5 * CHUNK)
    assert back.decodable_sample == 5 * CHUNK - 5 * FRAME
    blocks = back.decodable_sample // generator.block_samples
    for block in range(blocks):
        np.testing.assert_array_equal(generator.decode(back, block), generator.decode(made, block))
    assert stepped(generator, back, plan(), 5).remembered_chunks == 5
    assert len(stepped(generator, back, plan(), 5).codes) == len(back.codes)


@pytest.mark.parametrize("sample", [-1, 0, 127, 100 * CHUNK])
def test_a_sample_that_is_not_settled_is_refused(generator, sample):
    made = grown(generator, fed(generator, sound(900), told()), plan(), 2 * CHUNK)
    with pytest.raises(ValueError, match=f"sample {sample} is not one of the 16384 settled"):
        generator.rewind(made, sample)


def test_a_teachers_timeline_is_refused(generator):
    made = stepped(generator, fed(generator, sound(900)), plan(teacher=True), 3)
    with pytest.raises(ConditionError, match="the teacher made"):
        generator.rewind(made, 128)
