"""Machine code for one step: the product of a few rows, and a whole stack in one call.

A step reads every weight once, so memory bounds it, and what PyTorch does between two
products (choosing an operator, making its output) shows at small widths. Here a step is
one call that reads its weights in the order in which they lie. Numba compiles it when it
is first used, which takes some seconds; nothing else than its package is needed for that.

Sums are single precision whatever weights and caches are held in. Half precision
travels as the bits of `uint16`, bfloat16 as those of `int16`, for lack of such types.
A row's numbers do not depend on the rows beside it: each is summed by the same code.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import numba
import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Shaped
from torch import Tensor

from model.published.vectors import BLOCK, block_of_four, block_of_one, narrow, widen

Held = Shaped[np.ndarray, " numbers"]
"""Single precision, or the bits of a shorter type."""
Rows = Float32[np.ndarray, "rows width"]
Function = TypeVar("Function", bound=Callable[..., Any])
BITS: Final = {torch.float16: torch.uint16, torch.bfloat16: torch.int16}


class Weights(NamedTuple):
    """All layers of a stack, one after the other, as they are used."""

    held: Held
    """Of each layer, in blocks: enter, leave, the mlp's enter and leave."""
    singles: Float32[np.ndarray, " numbers"]
    """Of each layer: gain and bias of a norm, biases of enter and leave; the same of the mlp."""
    layers: Int64[np.ndarray, "depth 6"]
    """Of each layer: where its four maps begin, and what attention and mlp have of `singles`."""
    heads: int
    inner: int
    hidden: int
    epsilon: float


class Work(NamedTuple):
    """Room for what one layer hands on, made once."""

    normal: Rows
    entered: Held
    mixed: Rows
    risen: Rows
    left: Rows
    scores: Held


class Memory(NamedTuple):
    """What a step sees of a cache."""

    held: Held
    layers: Int64[np.ndarray, "depth 3"]
    """Of each layer: its kind, where its keys begin, where its values begin."""
    places: Int64[np.ndarray, "kinds 3"]
    """Of each kind: the first slot seen, how many are, the slot to write; -1 where none is."""
    work: Work


def bits(x: Shaped[Tensor, "*axes"]) -> Shaped[np.ndarray, "*axes"]:
    """Return a tensor's memory as compiled code takes it."""
    return x.view(BITS.get(x.dtype, x.dtype)).numpy()


def room(batch: int, width: int, inner: int, hidden: int, seen: int) -> Work:
    """Return room for the steps of a batch, none of whose layers sees more than `seen` slots."""

    def empty(*shape: int) -> Float32[np.ndarray, "..."]:
        return torch.empty(shape).numpy()

    return Work(
        normal=empty(batch, width),
        entered=empty(batch * 3 * inner),
        mixed=empty(batch, inner),
        risen=empty(batch, hidden),
        left=empty(batch, width),
        scores=empty(seen),
    )


def product(
    x: Float[Tensor, "rows inputs"],
    weights: Float[Tensor, "blocks inputs block"],
    bias: Float[Tensor, " outputs"],
) -> Float[Tensor, "rows outputs"]:
    """Return x w + b; `weights` in blocks and any precision, all on the processor."""
    made = x.new_empty(len(x), len(bias))
    _multiply(x.contiguous().numpy(), bits(weights), bias.numpy(), made.numpy())
    return made


def step(x: Float[Tensor, "batch width"], weights: Weights, memory: Memory) -> Tensor:
    """Return a stack's output for one frame, (batch, width), and write its keys and values."""
    made = x.clone(memory_format=torch.contiguous_format)
    _step(made.numpy(), weights, memory)
    return made


def _compiled(function: Function) -> Function:
    """Compile what stands in the file, whatever was wrapped around it."""
    compiler: Any = getattr(numba, "njit")  # noqa: B009 - the package has no types
    loose = {"reassoc", "contract", "nsz", "arcp"}
    make = partial(compiler, nogil=True, error_model="numpy", fastmath=loose)
    try:
        return make(cache=True)(inspect.unwrap(function))
    except RuntimeError:
        # Neither beside the file nor in the user's cache can it be kept: compiled anew each time.
        return make()(inspect.unwrap(function))


@_compiled
def _multiply(x: Rows, weights: Held, bias: Held, made: Rows) -> None:
    """Write x w + b; `weights` is (blocks, inputs, BLOCK), the last block filled up with zeros."""
    rows, outputs = made.shape
    fours, sums = rows // 4 * 4, np.empty((4, BLOCK), np.float32)
    for block in range(weights.shape[0]):
        start = block * BLOCK
        kept = min(BLOCK, outputs - start)
        for row in range(0, fours, 4):
            block_of_four(weights[block], x, row, sums)
            for part in range(4):
                for each in range(kept):
                    made[row + part, start + each] = sums[part, each] + bias[start + each]
        for row in range(fours, rows):
            block_of_one(weights[block], x, row, sums)
            for each in range(kept):
                made[row, start + each] = sums[0, each] + bias[start + each]


@_compiled
def _normalise(x: Rows, gain: Held, bias: Held, epsilon: float, made: Rows) -> None:
    width = x.shape[1]
    for row in range(x.shape[0]):
        total = np.float32(0)
        for each in range(width):
            total += x[row, each]
        mean = total / np.float32(width)
        total = np.float32(0)
        for each in range(width):
            total += (x[row, each] - mean) * (x[row, each] - mean)
        scale = np.float32(1) / np.sqrt(total / np.float32(width) + np.float32(epsilon))
        for each in range(width):
            made[row, each] = (x[row, each] - mean) * scale * gain[each] + bias[each]


@_compiled
def _remember(entered: Held, slots: Held, slot: int, part: int) -> None:
    """Write a frame's keys (part 1) or values (part 2); axes end in batch, heads, head width."""
    for row in range(entered.shape[0]):
        for head in range(entered.shape[2]):
            for each in range(entered.shape[3]):
                number = entered[row, part, head, each]
                slots[slot, row, head, each] = narrow(number, slots[slot, row, head, each])


@_compiled
def _soften(scores: Held) -> None:
    """Turn scores into shares of one."""
    most = scores.max()
    total = np.float32(0)
    for each in range(len(scores)):
        scores[each] = np.exp(scores[each] - most)
        total += scores[each]
    for each in range(len(scores)):
        scores[each] /= total


@_compiled
def _attend(entered: Held, keys: Held, values: Held, scores: Held, mixed: Held) -> None:
    """Mix values for the queries (part 0) of a frame, all of the slots given being seen."""
    seen, width = keys.shape[0], entered.shape[3]
    scale = np.float32(1) / np.sqrt(np.float32(width))
    for row in range(entered.shape[0]):
        for head in range(entered.shape[2]):
            for slot in range(seen):
                total = np.float32(0)
                for each in range(width):
                    total += entered[row, 0, head, each] * widen(keys[slot, row, head, each])
                scores[slot] = total * scale
            _soften(scores[:seen])
            for each in range(width):
                mixed[row, head, each] = np.float32(0)
            for slot in range(seen):
                for each in range(width):
                    mixed[row, head, each] += scores[slot] * widen(values[slot, row, head, each])


@_compiled
def _look(entered: Held, memory: Memory, layer: int, scores: Held, mixed: Held) -> None:
    """Remember a frame in a layer and mix what it sees there."""
    batch, _, heads, width = entered.shape
    kind, keys_at, values_at = memory.layers[layer]
    first, seen, write = memory.places[kind]
    whole, size = max(first + seen, write + 1), batch * heads * width
    keys = memory.held[keys_at : keys_at + whole * size].reshape(whole, batch, heads, width)
    values = memory.held[values_at : values_at + whole * size].reshape(whole, batch, heads, width)
    if write >= 0:
        _remember(entered, keys, write, 1)
        _remember(entered, values, write, 2)
    _attend(entered, keys[first : first + seen], values[first : first + seen], scores, mixed)


@_compiled
def _gate(x: Rows) -> None:
    """Turn x into x sigmoid(1.702 x)."""
    for row in range(x.shape[0]):
        for each in range(x.shape[1]):
            x[row, each] /= np.float32(1) + np.exp(np.float32(-1.702) * x[row, each])


@_compiled
def _add(x: Rows, more: Rows) -> None:
    for row in range(x.shape[0]):
        for each in range(x.shape[1]):
            x[row, each] += more[row, each]


@_compiled
def _blocks(held: Held, at: int, inputs: int, outputs: int) -> Held:
    """Return a map's weights as `_multiply` takes them."""
    blocks = -(-outputs // BLOCK)
    return held[at : at + blocks * inputs * BLOCK].reshape(blocks, inputs, BLOCK)


@_compiled
def _mixing(x: Rows, weights: Weights, memory: Memory, layer: int) -> None:
    """Add a layer's attention."""
    work = memory.work
    batch, width = x.shape
    enter, leave, _, _, one, _ = weights.layers[layer]
    singles, inner = weights.singles, weights.inner
    parts = 3 if memory.places[memory.layers[layer, 0], 2] >= 0 else 1
    outputs, each = parts * inner, inner // weights.heads
    _normalise(x, singles[one:], singles[one + width :], weights.epsilon, work.normal)
    one += 2 * width
    entered = work.entered[: batch * outputs].reshape(batch, outputs)
    _multiply(work.normal, _blocks(weights.held, enter, width, outputs), singles[one:], entered)
    frame = entered.reshape(batch, parts, weights.heads, each)
    _look(frame, memory, layer, work.scores, work.mixed.reshape(batch, weights.heads, each))
    one += outputs
    _multiply(work.mixed, _blocks(weights.held, leave, inner, width), singles[one:], work.left)
    _add(x, work.left)


@_compiled
def _thinking(x: Rows, weights: Weights, layer: int, work: Work) -> None:
    """Add a layer's mlp."""
    width, hidden = x.shape[1], weights.hidden
    _, _, enter, leave, _, one = weights.layers[layer]
    singles, held = weights.singles, weights.held
    _normalise(x, singles[one:], singles[one + width :], weights.epsilon, work.normal)
    one += 2 * width
    _multiply(work.normal, _blocks(held, enter, width, hidden), singles[one:], work.risen)
    _gate(work.risen)
    one += hidden
    _multiply(work.risen, _blocks(held, leave, hidden, width), singles[one:], work.left)
    _add(x, work.left)


@_compiled
def _step(x: Rows, weights: Weights, memory: Memory) -> None:
    """Write a stack's output over its input."""
    for layer in range(len(memory.layers)):
        _mixing(x, weights, memory, layer)
        _thinking(x, weights, layer, memory.work)
