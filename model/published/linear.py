"""Linear maps of a sampling step, in the precision that the weights are held in.

The released files hold their linear maps in half precision. On a processor they
stay so, while activations and sums are single precision: half the bytes a step
reads, no rounding beyond the released one, and a row's product does not depend
on the rows beside it. On other devices PyTorch's own product does the work in
the weights' type. Whoever loads weights lets them lie on large pages
(`model.pages`), without which a step takes a third longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from model.published.kernels import product
from model.published.vectors import BLOCK
from model.transformer import Linear

Inputs = Float[Tensor, "rows inputs"]
Outputs = Float[Tensor, "rows outputs"]
Weights = Float[Tensor, "inputs outputs"]


class Precision(StrEnum):
    """What linear maps are held in; activations between them are single precision always."""

    FLOAT32 = "float32"
    """For parity with the published numbers."""
    HALF = "half"
    """As the released files hold them; the fastest on a processor."""
    BFLOAT16 = "bfloat16"
    """For devices without fast half precision; rounds weights to 8 bits."""


HELD_IN: Final = {
    Precision.FLOAT32: torch.float32,
    Precision.HALF: torch.float16,
    Precision.BFLOAT16: torch.bfloat16,
}


@dataclass(frozen=True, slots=True, eq=False)
class LinearMap:
    """x w + b for a few rows."""

    weights: Float[Tensor, "..."]
    """As held: on a processor (blocks, inputs, `BLOCK`), elsewhere (1, inputs, outputs)."""
    bias: Float[Tensor, " outputs"]
    """In single precision."""

    def __call__(self, x: Inputs) -> Outputs:
        """Return the product."""
        if x.device.type == "cpu":
            return product(x, self.weights, self.bias)
        dtype = self.weights.dtype
        return torch.addmm(self.bias.to(dtype), x.to(dtype), self.weights[0]).to(x.dtype)

    @property
    def inputs(self) -> int:
        """Return how many numbers a row has that goes in."""
        return self.weights.shape[1]

    @property
    def nbytes(self) -> int:
        """Return what one product reads, in bytes."""
        return self.weights.nbytes + self.bias.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class HeldMaps:
    """Linear maps that lie one after the other."""

    maps: tuple[LinearMap, ...]
    memory: Float[Tensor, " numbers"]
    """All weights."""


def hold(linears: Sequence[Linear], precision: Precision, *, release: bool = False) -> HeldMaps:
    """Return maps with their weights held in a precision, in one stretch of memory.

    With `release` each module is emptied as its weights were taken.
    """
    first = linears[0].w
    count = sum(_room(linear.w) for linear in linears)
    memory = torch.zeros(count, dtype=HELD_IN[precision], device=first.device)
    maps: list[LinearMap] = []
    at = 0
    for linear in linears:
        room = _room(linear.w)
        maps.append(_lay_out(linear.w.detach(), linear.b.detach(), memory[at : at + room]))
        at += room
        if release:
            linear.w.data = linear.w.data.new_empty(0)
    return HeldMaps(tuple(maps), memory)


def hold_single(w: Weights) -> LinearMap:
    """Return a map without a bias that stays single precision whatever the others are held in."""
    return _lay_out(w, w.new_zeros(w.shape[1]), w.new_zeros(_room(w), dtype=torch.float32))


def _room(w: Weights) -> int:
    """Return how many numbers a map takes, its last block filled up."""
    inputs, outputs = w.shape
    return inputs * (-(-outputs // BLOCK) * BLOCK if w.device.type == "cpu" else outputs)


def _lay_out(w: Weights, bias: Float[Tensor, " outputs"], room: Tensor) -> LinearMap:
    inputs, outputs = w.shape
    block = BLOCK if w.device.type == "cpu" else outputs
    laid, whole = room.view(-1, inputs, block), outputs // block
    laid[:whole] = w[:, : whole * block].reshape(inputs, whole, block).transpose(0, 1)
    if whole < len(laid):
        laid[whole, :, : outputs - whole * block] = w[:, whole * block :]
    return LinearMap(laid, bias.float())
