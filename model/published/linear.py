"""Linear maps of one sampling step, in the precision that the weights are held in.

The released files hold their linear maps in half precision. On a processor
that FBGEMM knows they stay so, packed, while activations and sums are single
precision: half the bytes a step reads, no rounding beyond the released one.
Elsewhere PyTorch's own product does the work in the weights' type.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Rows = Float[Tensor, "rows features"]
Weights = Float[Tensor, "inputs outputs"]
Bias = Float[Tensor, " outputs"]
Product = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Precision(StrEnum):
    """What linear maps are held in; activations between them are single precision always."""

    FLOAT32 = "float32"
    """For parity with the published numbers."""
    HALF = "half"
    """As the released files hold them; the fastest on a processor."""
    BFLOAT16 = "bfloat16"
    """For processors and devices without fast half precision; rounds weights to 8 bits."""


class LinearMap(Protocol):
    """x w + b for a few rows."""

    def __call__(self, x: Rows, out: Rows | None = None) -> Rows:
        """Return the product, in `out` where one is given."""
        ...

    @property
    def nbytes(self) -> int:
        """Return the bytes that one product reads."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PackedHalf:
    """Half-precision weights in FBGEMM's order, single-precision everything else."""

    packed: Tensor
    bias: Bias
    inputs: int
    product: Product

    def __call__(self, x: Rows, out: Rows | None = None) -> Rows:
        """Return x w + b, in `out` where one is given."""
        if out is None:
            out = x.new_empty(len(x), len(self.bias))
        return self.product(x, self.packed, self.bias, out)

    @property
    def nbytes(self) -> int:
        """Return the bytes that one product reads."""
        return 2 * self.inputs * len(self.bias) + self.bias.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class PlainLinear:
    """Weights (in, out) of any floating type; inputs are cast to it, results back."""

    w: Weights
    bias: Bias

    def __call__(self, x: Rows, out: Rows | None = None) -> Rows:
        """Return x w + b, in `out` where one is given."""
        if self.w.dtype == x.dtype:
            return torch.addmm(self.bias, x, self.w, out=out)
        made = F.linear(x.to(self.w.dtype), self.w.t(), self.bias)
        return made.to(x.dtype) if out is None else out.copy_(made)

    @property
    def nbytes(self) -> int:
        """Return the bytes that one product reads."""
        return self.w.nbytes + self.bias.nbytes


def pack(w: Weights, bias: Bias, precision: Precision) -> LinearMap:
    """Return the map with its weights held in a precision; a bias stays single where it can."""
    if precision is Precision.FLOAT32:
        return PlainLinear(w.detach().float(), bias.detach().float())
    if precision is Precision.HALF and w.device.type == "cpu" and packs_half():
        return _packed_half(w, bias)
    dtype = torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float16
    return PlainLinear(_column_major(w.detach().to(dtype)), bias.detach().to(dtype))


def packs_half() -> bool:
    """Return whether this processor and this PyTorch multiply packed half-precision weights."""
    return "fbgemm" in torch.backends.quantized.supported_engines and hasattr(torch, _PRODUCT)


_PRODUCT = "fbgemm_linear_fp16_weight_fp32_activation"
_PACK = "fbgemm_pack_gemm_matrix_fp16"


def _packed_half(w: Weights, bias: Bias) -> PackedHalf:
    """Pack, and multiply once: both operators warn once a process that they may go one day.

    The exact PyTorch is pinned; a later one without them falls back to plain products.
    """
    product: Product = getattr(torch, _PRODUCT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed: Tensor = getattr(torch, _PACK)(w.detach().float().t().contiguous())
        made = PackedHalf(packed, bias.detach().float().contiguous(), len(w), product)
        made(w.new_zeros(1, len(w), dtype=torch.float32))
    return made


def _column_major(w: Weights) -> Weights:
    return w.t().contiguous().t()
