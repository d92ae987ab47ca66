"""Linear maps of one sampling step, in the precision that the weights are held in.

The released files hold their linear maps in half precision. On a processor
that FBGEMM knows they stay so, packed, while activations and sums are single
precision: half the bytes a step reads, no rounding beyond the released one, and
a row's product does not depend on the rows beside it. Elsewhere PyTorch's own
product does the work in the weights' type. Whoever loads weights lets them lie
on large pages (`model.pages`), without which a step takes a third longer.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Inputs = Float[Tensor, "rows inputs"]
Outputs = Float[Tensor, "rows outputs"]
Weights = Float[Tensor, "inputs outputs"]
Bias = Float[Tensor, " outputs"]
Product = Callable[[Tensor, Tensor, Tensor], Tensor]


class Precision(StrEnum):
    """What linear maps are held in; activations between them are single precision always."""

    FLOAT32 = "float32"
    """For parity with the published numbers."""
    HALF = "half"
    """As the released files hold them; the fastest on a processor."""
    BFLOAT16 = "bfloat16"
    """For processors and devices without fast half precision; rounds weights to 8 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearMap:
    """x w + b for a few rows."""

    of: Callable[[Tensor], Tensor]
    """The product with (rows, inputs), as one operation where it can be."""
    nbytes: int
    """What one product reads."""

    def __call__(self, x: Inputs) -> Outputs:
        """Return the product."""
        return self.of(x)


def pack(w: Weights, bias: Bias, precision: Precision) -> LinearMap:
    """Return the map with its weights held in a precision; a bias stays single where it can."""
    if precision is Precision.FLOAT32:
        return _single(w.detach().float(), bias.detach().float())
    if precision is Precision.HALF and w.device.type == "cpu" and packs_half():
        return _packed_half(w.detach(), bias.detach().float().contiguous())
    dtype = torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float16
    return _cast(w.detach().to(dtype), bias.detach().to(dtype))


def pack_single(w: Weights, bias: Bias, precision: Precision) -> LinearMap:
    """Return a map that stays single precision whatever the others are held in.

    Where half-precision products are the fast ones it is the sum of two: of the rounded
    weights, and of what rounding left, which together hold 22 bits.
    """
    if precision is Precision.HALF and w.device.type == "cpu" and packs_half():
        rounded = w.detach().half().float()
        whole = _packed_half(rounded, bias.detach().float().contiguous())
        rest = _packed_half((w.detach().float() - rounded) * _REST, torch.zeros_like(bias))
        return LinearMap(
            lambda x: whole.of(x).add_(rest.of(x), alpha=1 / _REST), whole.nbytes + rest.nbytes
        )
    return _single(w.detach().float(), bias.detach().float())


def packs_half() -> bool:
    """Return whether this processor and this PyTorch multiply packed half-precision weights."""
    return "fbgemm" in torch.backends.quantized.supported_engines and hasattr(torch, _PRODUCT)


_PRODUCT = "fbgemm_linear_fp16_weight_fp32_activation"
_PACK = "fbgemm_pack_gemm_matrix_fp16"
_REST = 2.0**11
"""Brings what rounding to half precision leaves back to the weights' own size."""


def _single(w: Weights, bias: Bias) -> LinearMap:
    return LinearMap(lambda x: torch.addmm(bias, x, w), w.nbytes + bias.nbytes)


def _packed_half(w: Weights, bias: Bias) -> LinearMap:
    """Pack, and multiply once: both operators warn once a process that they may go one day.

    The exact PyTorch is pinned; a later one without them falls back to plain products.
    """
    product: Product = getattr(torch, _PRODUCT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed: Tensor = getattr(torch, _PACK)(w.float().t().contiguous())
        product(torch.zeros(1, len(w)), packed, bias)
    return LinearMap(lambda x: product(x, packed, bias), 2 * w.numel() + bias.nbytes)


def _cast(w: Weights, bias: Bias) -> LinearMap:
    rows = w.t().contiguous()
    return LinearMap(
        lambda x: F.linear(x.to(rows.dtype), rows, bias).to(x.dtype), rows.nbytes + bias.nbytes
    )
