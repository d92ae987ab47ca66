"""Packed stacks: equal to the whole pass, caches of fixed size, numbers that need no company."""

import pytest
import torch

from model.config import TransformerConfig
from model.errors import ConditionError
from model.published.cache import StackCache, new_cache
from model.published.linear import Precision, hold
from model.published.stack import PackedStack
from model.transformer import Linear, Transformer, prefix_length
from tests.model.tiny import randomised

ROW, ROWS = 4, 5
KINDS = ("row", "column", "previous", "dense", "prefix", "encoder")
CHARACTERS = 6


def config_of(*pattern: str) -> TransformerConfig:
    return TransformerConfig(
        width=16,
        depth=len(pattern),
        heads=2,
        frames=ROW * ROWS,
        rows=ROWS,
        pattern=pattern,
        attention_multiplier=0.5,
        prefix_frames=7,
    )


def stack_of(*pattern: str) -> Transformer:
    return randomised(Transformer(config_of(*pattern))).eval().requires_grad_(False)


def inputs(batch: int = 2, frames: int = ROW * ROWS, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, frames, 16, generator=torch.Generator().manual_seed(seed))


def lyrics(batch: int = 2) -> torch.Tensor:
    return inputs(batch, CHARACTERS, seed=2)


def cached(packed: PackedStack, x: torch.Tensor, chunk: int, **options) -> torch.Tensor:
    """Return the output of all positions, `chunk` at a time as far as a row goes."""
    batch = len(x)
    heard = "encoder" in packed.config.layer_kinds()
    cache = new_cache(packed.config, batch=batch, characters=CHARACTERS if heard else 0, **options)
    if heard:
        packed.hear(lyrics(batch), cache)
    made, first = [], 0
    while first < x.shape[1]:
        frames = min(chunk, cache.room(first))
        rows = x[:, first : first + frames].transpose(0, 1).flatten(0, 1)
        made.append(packed.advance(rows, cache, first).view(frames, batch, -1))
        first += frames
    return torch.cat(made).transpose(0, 1)


@pytest.mark.parametrize("pattern", [*[(kind,) for kind in KINDS], KINDS], ids="+".join)
@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_through_the_cache_equals_the_whole(pattern, chunk):
    stack, x = stack_of(*pattern), inputs()
    whole = stack(x, lyrics())
    made = cached(PackedStack(stack, Precision.FLOAT32), x, chunk)
    torch.testing.assert_close(made, whole, rtol=1e-4, atol=1e-5)
    assert whole.std() > 0.5


@pytest.mark.parametrize("chunk", [1, 4])
def test_in_half_precision_only_the_maps_are_rounded(chunk):
    stack, x = stack_of(*KINDS), inputs()
    made = cached(PackedStack(stack, Precision.HALF), x, chunk)
    for name, parameter in stack.named_parameters():
        if name.endswith(".w"):
            parameter.copy_(parameter.half())
    torch.testing.assert_close(made, stack(x, lyrics()), rtol=1e-4, atol=1e-4)


def test_in_bfloat16_the_numbers_are_near():
    stack, x = stack_of(*KINDS), inputs()
    whole, made = stack(x, lyrics()), cached(PackedStack(stack, Precision.BFLOAT16), x, 1)
    assert 1e-3 < (made - whole).abs().max() < 0.1 * whole.std() * len(KINDS)


def test_an_item_s_numbers_do_not_depend_on_its_company():
    packed = PackedStack(stack_of(*KINDS[:5]), Precision.HALF)
    x = inputs(5)
    together = cached(packed, x, 1)
    for item in range(5):
        assert torch.equal(cached(packed, x[item : item + 1], 1)[0], together[item])


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_reads_what_its_kind_sees_and_nothing_else(kind):
    config = config_of(kind)
    cache = new_cache(config, batch=1, characters=CHARACTERS)
    frame = 2 * 8 * 4
    seen = {
        "row": lambda position: position % ROW + 1,
        "column": lambda position: position // ROW + 1,
        "previous": lambda position: ROW,
        "dense": lambda position: position + 1,
        "prefix": lambda position: min(position + 1, prefix_length(config)),
        "encoder": lambda position: CHARACTERS,
    }[kind]
    for position in range(config.frames):
        assert cache.read_nbytes(position) == seen(position) * frame


@pytest.mark.parametrize(
    ("kind", "slots"), [("row", ROW), ("previous", 2 * ROW), ("column", ROW * ROWS)]
)
def test_a_cache_has_its_size_from_the_start(kind, slots):
    packed = PackedStack(stack_of(kind), Precision.FLOAT32)
    cache = new_cache(packed.config, batch=3)
    assert cache.nbytes == slots * 3 * 2 * 8 * 4
    places = [buffer.data_ptr() for buffer in cache.buffers.values()]
    for position in range(packed.config.frames):
        packed.advance(inputs(3, 1)[:, 0], cache, position)
    assert [buffer.data_ptr() for buffer in cache.buffers.values()] == places


def test_a_half_cache_is_half_as_large_and_nearly_the_same():
    stack, x = stack_of(*KINDS), inputs()
    packed = PackedStack(stack, Precision.FLOAT32)
    whole = new_cache(packed.config, batch=2, characters=CHARACTERS)
    half = new_cache(packed.config, batch=2, characters=CHARACTERS, dtype=torch.float16)
    assert half.nbytes * 2 == whole.nbytes
    for chunk in (1, 4):
        made = cached(packed, x, chunk, dtype=torch.float16)
        difference = (made - stack(x, lyrics())).abs().max()
        assert 0 < difference < 0.02


@pytest.mark.parametrize(("position", "frames"), [(3, 2), (ROW * ROWS, 1), (0, ROW + 1)])
def test_frames_that_leave_their_row_or_the_context_are_refused(position, frames):
    packed = PackedStack(stack_of("row"), Precision.FLOAT32)
    cache: StackCache = new_cache(packed.config, batch=1)
    with pytest.raises(ConditionError, match=f"from {position}"):
        packed.advance(inputs(1, frames)[0], cache, position)


def test_only_kinds_in_the_sequence_s_order_have_maps():
    packed = PackedStack(stack_of("row", "dense"), Precision.FLOAT32)
    x = inputs(1, ROW)[0]
    made = packed.maps(x, new_cache(packed.config, batch=1), 0, 1)
    torch.testing.assert_close(made.sum(-1), torch.ones(1, 2, ROW))
    assert not made[0, 0].triu(1).any()
    with pytest.raises(ConditionError, match="layer 0 is of kind row"):
        packed.maps(x, new_cache(packed.config, batch=1), 0, 0)


def test_released_weights_leave_the_module_empty():
    stack, x = stack_of("row", "column"), inputs()
    whole = stack(x)
    packed = PackedStack(stack, Precision.FLOAT32, release=True)
    maps = [name for name, made in stack.named_parameters() if name.endswith(".w")]
    assert len(maps) == 8
    assert all(dict(stack.named_parameters())[name].numel() == 0 for name in maps)
    torch.testing.assert_close(cached(packed, x, 1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", Precision)
def test_a_map_holds_its_weights_in_the_precision_asked_for(precision):
    linear = Linear(8, 64)
    linear.w.data.normal_(generator=torch.Generator().manual_seed(0))
    linear.b.data.fill_(0.5)
    (made,) = hold([linear], precision).maps
    size = 4 if precision is Precision.FLOAT32 else 2
    assert made.nbytes == 8 * 64 * size + 64 * 4
    kept = linear.w.detach().to(made.weights.dtype).float()
    assert torch.equal(made(torch.eye(8)), kept + 0.5)


def test_maps_held_together_lie_in_the_order_of_their_use():
    linears = [Linear(8, 64), Linear(64, 2)]
    held = hold(linears, Precision.HALF, release=True)
    assert held.memory.numel() == 8 * 64 + 64 * 64
    assert held.maps[1].weights.data_ptr() == held.memory[8 * 64 :].data_ptr()
    assert [linear.w.numel() for linear in linears] == [0, 0]
