"""Factored attention: what a frame sees, whole or streamed, and what forks share."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from model.config import TransformerConfig
from model.errors import ConditionError
from model.transformer import Running, Transformer
from tests.model.tiny import randomised

ROW = 4
BASE = TransformerConfig(
    width=12, depth=3, heads=2, frames=3 * ROW, rows=3, attention_multiplier=0.5, relative=True
)
KINDS = ("row", "column", "previous")


def stack_of(**changes):
    return randomised(Transformer(replace(BASE, **changes))).eval().requires_grad_(False)


def streamed(stack, x, chunk):
    state, made = stack.start(len(x)), []
    for row in x.split(ROW, dim=1):
        for part in row.split(chunk, dim=1):
            out, state = stack.advance(part, state)
            made.append(out)
    return torch.cat(made, dim=1), state


def inputs(rows, seed=1, batch=2):
    return torch.randn(batch, rows * ROW, BASE.width, generator=torch.Generator().manual_seed(seed))


def assert_same_state(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.current, other.current)


@pytest.mark.parametrize("pattern", [*[(kind,) for kind in KINDS], KINDS], ids="+".join)
@pytest.mark.parametrize("chunk", [1, 3, 4])
@pytest.mark.parametrize(("relative", "rows"), [(False, 3), (True, 3), (True, 9)])
def test_streaming_equals_the_whole(pattern, chunk, relative, rows):
    stack = stack_of(pattern=pattern, relative=relative)
    x = inputs(rows)
    whole = stack(x)
    made, _ = streamed(stack, x, chunk)
    torch.testing.assert_close(made, whole, rtol=1e-4, atol=1e-5)
    assert whole.std() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_sees_its_own_kind_of_past_and_nothing_else(kind):
    stack = stack_of(pattern=(kind,), depth=1)
    rows = 6
    x = inputs(rows, batch=1)
    before = stack(x)
    for changed in range(rows * ROW):
        other = x.clone()
        other[0, changed] = -other[0, changed]
        differs = (stack(other) - before).abs().amax(-1)[0] > 1e-6
        expected = [_sees(kind, frame, changed) for frame in range(rows * ROW)]
        assert differs.tolist() == expected, f"frame {changed} changed"


def _sees(kind, frame, other):
    row, other_row = frame // ROW, other // ROW
    if frame == other:
        return True
    if kind == "row":
        return row == other_row and other < frame
    if kind == "column":
        return frame % ROW == other % ROW and 0 < row - other_row <= BASE.rows
    return row == other_row + 1


@pytest.mark.parametrize("frame", [0, 5, 11, 17])
def test_the_future_is_not_heard_and_the_past_is(frame):
    stack, x = stack_of(), inputs(6)
    changed = x.clone()
    changed[:, frame:] *= -1
    before, after = stack(x), stack(changed)
    torch.testing.assert_close(after[:, :frame], before[:, :frame], rtol=0, atol=0)
    assert (after[:, frame:] - before[:, frame:]).abs().amax(-1).min() > 1e-4


def test_three_layers_reach_the_first_frame_of_the_context_and_none_before():
    stack, rows = stack_of(), 10
    x = inputs(rows, batch=1).requires_grad_()
    stack(x)[0, -1].sum().backward()
    reached = x.grad[0].abs().amax(-1).nonzero().flatten()
    # Column reaches `rows` rows back, the previous-row layer after it one row more.
    first = (rows - 1 - BASE.rows - 1) * ROW
    assert int(reached[0]) == first


@pytest.mark.parametrize("keep_rows", [2, 3, 5])
def test_memory_stays_within_the_context_however_long_the_stream(keep_rows):
    stack = stack_of(frames=keep_rows * ROW, rows=keep_rows)
    _, state = streamed(stack, inputs(12), 2)
    kept = [layer.rows.shape[1] for layer in state]
    assert kept == [1, keep_rows, 1]
    assert all(layer.current.shape[1] == 0 for layer in state)
    assert state[1].nbytes == 2 * keep_rows * ROW * 12 * 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_past_laid_out_once_serves_many_calls_as_a_new_one_serves_each(kind):
    stack, x = stack_of(pattern=(kind,)), inputs(3)
    _, past = streamed(stack, x[:, : 2 * ROW], ROW)
    under_way, state = Running(stack, past, ROW), past
    for frame in x[:, 2 * ROW :].split(1, dim=1):
        under_way.look(frame + 1)
        made = under_way.go_on(frame)
        expected, state = stack.advance(frame, state)
        assert torch.equal(made, expected)
    assert_same_state(under_way.state(), state)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_only_remembered_is_remembered_as_what_is_gone_on_from(kind):
    stack, x = stack_of(pattern=(kind,)), inputs(3)
    _, past = streamed(stack, x[:, : 2 * ROW], ROW)
    under_way = Running(stack, past, ROW)
    under_way.remember(x[:, 2 * ROW :])
    assert_same_state(under_way.state(), stack.advance(x[:, 2 * ROW :], past)[1])


def test_a_student_s_rows_are_seen_whole_and_earlier_rows_as_finished():
    stack = stack_of(causal_rows=False)
    clean, masked = inputs(7, seed=1), inputs(7, seed=2)
    trained = stack.against(clean, masked)
    state, made = stack.start(2), []
    for row in range(7):
        span = slice(row * ROW, (row + 1) * ROW)
        looked, untouched = stack.advance(masked[:, span], state, keep=False)
        assert untouched is state or all(a is b for a, b in zip(untouched, state, strict=True))
        made.append(looked)
        _, state = stack.advance(clean[:, span], state)
    torch.testing.assert_close(torch.cat(made, dim=1), trained, rtol=1e-4, atol=1e-5)


def test_a_student_without_causal_rows_sees_the_end_of_its_own_row_but_no_later_row():
    stack, x = stack_of(causal_rows=False), inputs(4)
    changed = x.clone()
    changed[:, 2 * ROW - 1] *= -1
    differs = (stack(changed) - stack(x)).abs().amax((0, 2)) > 1e-6
    assert not differs[:ROW].any()
    assert differs[ROW:].all()


def test_forks_go_their_own_ways_and_interleaved_sessions_do_not_touch():
    stack = stack_of()
    past, ours, theirs = inputs(3), inputs(2, seed=5), inputs(2, seed=6)
    _, fork = streamed(stack, past, 3)
    pages = [layer.rows.clone() for layer in fork]
    alone = []
    for way in (ours, theirs):
        state, made = fork, []
        for part in way.split(2, dim=1):
            out, state = stack.advance(part, state)
            made.append(out)
        alone.append(torch.cat(made, dim=1))
    states, together = [fork, fork], ([], [])
    for pair in zip(ours.split(2, dim=1), theirs.split(2, dim=1), strict=True):
        for index, part in enumerate(pair):
            out, states[index] = stack.advance(part, states[index])
            together[index].append(out)
    for index in (0, 1):
        assert torch.equal(torch.cat(together[index], dim=1), alone[index])
    assert all(torch.equal(layer.rows, page) for layer, page in zip(fork, pages, strict=True))


def test_a_row_under_way_leaves_the_complete_rows_shared():
    stack = stack_of()
    _, state = streamed(stack, inputs(2), 4)
    _, later = stack.advance(inputs(1)[:, :2], state)
    assert all(a.rows is b.rows for a, b in zip(state, later, strict=True))


def test_distances_between_rows_have_a_weight_of_their_own():
    stack, x = stack_of(pattern=("column",), depth=1), inputs(3)
    before = stack(x)
    stack.stack()[0].attention.row_distance[:, 2] += 2.0
    differs = (stack(x) - before).abs().amax((0, 2)) > 1e-6
    assert not differs[: 2 * ROW].any()
    assert differs[2 * ROW :].all()


def test_more_frames_than_the_row_has_room_for_are_refused():
    stack = stack_of()
    _, state = stack.advance(inputs(1)[:, :3], stack.start(2))
    with pytest.raises(ValueError, match="2 frames were given, the row has room for 1 frames"):
        stack.advance(inputs(1)[:, :2], state)


@pytest.mark.parametrize("kind", ["dense", "prefix", "encoder"])
def test_published_kinds_that_cannot_stream_say_so(kind):
    stack = stack_of(pattern=(kind,), relative=False)
    with pytest.raises(ConditionError, match=kind):
        stack.start(1)


def test_an_encoder_layer_reads_lyrics_and_refuses_to_go_without():
    stack, x = stack_of(pattern=("encoder",), relative=False), inputs(2)
    lyrics = inputs(1, seed=9)
    assert not torch.equal(stack(x, lyrics), stack(x, -lyrics))
    with pytest.raises(ConditionError, match="none were given"):
        stack(x)


def test_dense_attention_sees_every_frame_before_it():
    stack = stack_of(pattern=("dense",), depth=1, relative=False)
    x = inputs(3, batch=1).requires_grad_()
    stack(x)[0, 7].sum().backward()
    assert (x.grad[0].abs().amax(-1) > 0).tolist() == [frame <= 7 for frame in range(12)]


def test_maps_held_in_half_precision_serve_single_precision_inputs():
    stack, x = stack_of(relative=False), inputs(2)
    rounded = deepcopy(stack)
    for name, parameter in rounded.named_parameters():
        if name.endswith(".w"):
            parameter.data = parameter.data.half()
    for name, parameter in stack.named_parameters():
        if name.endswith(".w"):
            parameter.copy_(parameter.half())
    assert torch.equal(rounded(x), stack(x))
