"""The block-parallel student: trained as it is used, and what a chunk may see."""

import pytest
import torch

from model.shipped import TINY
from tests.model.tiny import randomised

STUDENT = TINY.student
FRAMES = STUDENT.chunk_frames()


def codes_of(chunks, seed=0):
    return torch.randint(32, (1, chunks * FRAMES), generator=torch.Generator().manual_seed(seed))


def shown_of(chunks, seed=1):
    return torch.rand(1, chunks * FRAMES, generator=torch.Generator().manual_seed(seed)) < 0.5


def conditions_of(chunks):
    groups = chunks * FRAMES // STUDENT.group_frames
    return torch.randn(1, groups, 16, generator=torch.Generator().manual_seed(3))


def streamed(student, codes, shown, conditions):
    """Return the scores as a server makes them: look at a chunk, remember the true one."""
    memory, made, groups = student.transformer.start(1), [], FRAMES // STUDENT.group_frames
    for chunk in range(codes.shape[1] // FRAMES):
        frames = slice(chunk * FRAMES, (chunk + 1) * FRAMES)
        span = conditions[:, chunk * groups : (chunk + 1) * groups]
        past = student.upon(memory)
        made.append(student.look(codes[:, frames], shown[:, frames], span, past))
        memory = student.remember(codes[:, frames], span, past)
    return torch.cat(made, dim=1)


@pytest.mark.parametrize("chunks", [1, 3, 7])
def test_training_sees_what_looking_and_remembering_see(bundle, chunks):
    given = codes_of(chunks), shown_of(chunks), conditions_of(chunks)
    made = streamed(bundle.student, *given)
    torch.testing.assert_close(bundle.student(*given), made, rtol=1e-4, atol=1e-4)
    assert float(made.std()) > 0.5


def test_hidden_frames_are_not_seen_and_shown_ones_are_by_the_whole_chunk(bundle):
    student, shown, conditions = bundle.student, shown_of(3), conditions_of(3)
    codes = codes_of(3)
    before = streamed(student, codes, shown, conditions)
    for seen in (False, True):
        changed = codes.clone()
        at = int((shown[0, 2 * FRAMES :] == seen).nonzero()[0]) + 2 * FRAMES
        changed[0, at] = (changed[0, at] + 7) % 32
        differs = (streamed(student, changed, shown, conditions) - before).abs().amax(-1)[0] > 1e-6
        assert not differs[: 2 * FRAMES].any()
        assert bool(differs[2 * FRAMES :].all()) == seen
        assert bool(differs[2 * FRAMES :].any()) == seen


def test_a_finished_chunk_is_seen_by_the_next_and_not_by_the_one_before(bundle):
    codes, shown, conditions = codes_of(3), shown_of(3), conditions_of(3)
    changed = codes.clone()
    changed[0, FRAMES : 2 * FRAMES] = (changed[0, FRAMES : 2 * FRAMES] + 7) % 32
    before = bundle.student(codes, shown, conditions)
    differs = (bundle.student(changed, shown, conditions) - before).abs().amax(-1)[0] > 1e-6
    assert not differs[:FRAMES].any()
    assert differs[2 * FRAMES :].all()


def test_scores_are_closeness_to_rows_of_the_codebook(bundle):
    student = bundle.student
    hidden = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(4))
    latents = student.leave(student.norm(hidden)).reshape(1, 20, -1)
    expected = student.sharpness * latents @ student.codebook.t() + student.bias
    torch.testing.assert_close(student.logits(hidden), expected)


def test_the_codebook_is_taken_centred_and_of_unit_variance(bundle):
    from model.student import Student

    student = randomised(Student(STUDENT))
    rows = 3 * torch.randn(32, 8, generator=torch.Generator().manual_seed(0)) + 5
    student.set_codebook(rows)
    torch.testing.assert_close(student.codebook.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(student.codebook.std(), torch.tensor(1.0))


@pytest.mark.parametrize("passes", [1, 2, 3, 4])
def test_every_pass_decides_frames_and_all_decide_each_once(passes):
    turns = [STUDENT.decided(turn, passes) for turn in range(passes)]
    assert all(turns)
    assert sorted(sum(turns, ())) == list(range(STUDENT.group_frames))
    assert sum(turns, ()) == STUDENT.order
