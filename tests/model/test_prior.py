"""Next-code logits: whole equals streamed, the start and the labels are heard, limits are told."""

from dataclasses import replace

import pytest
import torch

from model.config import LyricConfig, TransformerConfig
from model.errors import ConditionError
from model.prior import LyricEncoder, Prior
from model.shipped import TINY
from tests.model.tiny import randomised

TOP = TINY.priors[2]
ROW = TOP.transformer.row_frames()


def codes_of(frames, seed=0):
    return torch.randint(32, (2, frames), generator=torch.Generator().manual_seed(seed))


def conditions_of(frames):
    return torch.randn(2, frames, 16, generator=torch.Generator().manual_seed(5))


def prior_of(**changes):
    made = randomised(Prior(replace(TOP, frame_conditions=False, **changes)))
    return made.eval().requires_grad_(False)


def start_of(prior, artist=(1, 2)):
    return prior.start_vector(torch.tensor(artist), torch.tensor([[1], [3]]))


@pytest.mark.parametrize("chunk", [1, 13, 64])
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("rows", [2, 6])
def test_streaming_equals_the_whole(chunk, merged, rows):
    if chunk == 1 and rows == 6:
        rows = 3
    prior, frames = prior_of(merged=merged), rows * ROW
    codes, conditions, start = codes_of(frames), conditions_of(frames), None
    start = start_of(prior)
    whole = prior(codes, start, conditions)
    previous = torch.cat([torch.full((2, 1), -1), codes[:, :-1]], dim=1)
    state, made = (0, prior.transformer.start(2)), []
    for row in range(rows):
        for at in range(row * ROW, (row + 1) * ROW, chunk):
            span = slice(at, min(at + chunk, (row + 1) * ROW))
            logits, state = prior.advance(previous[:, span], start, conditions[:, span], state)
            made.append(logits)
    torch.testing.assert_close(torch.cat(made, dim=1), whole, rtol=1e-4, atol=1e-4)
    assert state[0] == frames


@pytest.mark.parametrize("frame", [0, 63, 64, 100])
def test_a_code_is_not_seen_by_the_frame_it_stands_in(frame):
    prior, codes, conditions = prior_of(), codes_of(128), conditions_of(128)
    changed = codes.clone()
    changed[:, frame] = (changed[:, frame] + 1) % 32
    before = prior(codes, start_of(prior), conditions)
    after = prior(changed, start_of(prior), conditions)
    assert torch.equal(after[:, : frame + 1], before[:, : frame + 1])
    assert not torch.equal(after[:, frame + 1], before[:, frame + 1])


def test_labels_stand_before_the_first_code():
    prior, codes, conditions = prior_of(), codes_of(64), conditions_of(64)
    ours = prior(codes, start_of(prior), conditions)
    theirs = prior(codes, start_of(prior, artist=(3, 2)), conditions)
    assert not torch.allclose(ours[0, 0], theirs[0, 0])
    assert torch.equal(ours[1], theirs[1])


def test_without_labels_there_is_one_learned_start():
    prior = prior_of(labels=None, timing=False)
    assert start_of(prior).shape == (2, 16)
    assert torch.equal(start_of(prior), start_of(prior, artist=(0, 0)))


@pytest.mark.parametrize("merged", [False, True])
def test_the_head_is_the_embedding_unless_merged(merged):
    prior = prior_of(merged=merged)
    assert (prior.head.weight is prior.codes.weight) != merged


def test_conditions_are_added_again_before_a_tied_head():
    hidden, conditions = conditions_of(4), conditions_of(4).flip(0)
    tied, own = prior_of(merged=False), prior_of(merged=True)
    assert torch.equal(tied.logits(hidden, conditions), tied.head(hidden + conditions))
    assert torch.equal(own.logits(hidden, conditions), own.head(hidden))


def test_absolute_positions_end_with_the_context_and_relative_ones_repeat_by_row():
    frames = TOP.transformer.frames
    relative = prior_of()
    index = torch.arange(frames - 1, frames + 3) % ROW
    zeros = torch.zeros(1, 4, 16)
    made = relative.inputs(torch.full((1, 4), -1), torch.zeros(1, 16), zeros, frames - 1)
    assert torch.equal(made[0], relative.positions[index])
    absolute = prior_of(transformer=replace(TOP.transformer, relative=False))
    assert len(absolute.positions) == frames
    with pytest.raises(ConditionError, match=f"ends at frame {frames + 3}, .* {frames} frames"):
        absolute.inputs(torch.full((1, 4), -1), torch.zeros(1, 16), zeros, frames - 1)


def test_lyrics_are_read_by_a_stack_of_their_own_and_heard_by_encoder_layers():
    shape = TransformerConfig(width=8, depth=2, heads=2, frames=12, rows=3)
    lyrics = LyricConfig(vocabulary=20, transformer=shape)
    stack = replace(TOP.transformer, pattern=("row", "encoder"), relative=False)
    prior = prior_of(lyrics=lyrics, transformer=stack)
    assert isinstance(prior.lyrics, LyricEncoder)
    words = torch.randint(20, (2, 12), generator=torch.Generator().manual_seed(1))
    codes, conditions = codes_of(ROW), conditions_of(ROW)
    encoded = prior.lyrics(words)
    assert encoded.shape == (2, 12, 16)
    other = words.clone()
    other[:, 5] = (other[:, 5] + 1) % 20
    changed = prior.lyrics(other)
    assert torch.equal(changed[:, :6], encoded[:, :6])
    ours = prior(codes, start_of(prior), conditions, encoded)
    assert not torch.equal(prior(codes, start_of(prior), conditions, changed), ours)
