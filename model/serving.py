"""A loaded model made ready to serve: every part in what its processor multiplies fastest.

Convolutions and long stretches of frames go through bfloat16 where the processor
has it. Maps that see few frames at a time are bound by the reading of weights:
these stay in half precision, as files hold them, and are packed once.
"""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.bundle import Bundle
from model.transformer import Linear

_PRODUCT = "fbgemm_linear_fp16_weight_fp32_activation"
_PACK = "fbgemm_pack_gemm_matrix_fp16"


class PackedLinear(nn.Module):
    """A linear map whose weights were packed for good: it can neither learn nor be stored."""

    def __init__(self, weights: Float[Tensor, "inputs outputs"], bias: Tensor) -> None:
        super().__init__()
        self._product = _packed(weights.detach(), bias.detach().float().contiguous())

    def forward(self, x: Float[Tensor, "*axes inputs"]) -> Float[Tensor, "*axes outputs"]:
        """Return the map of every row."""
        return self._product(x)


def made_ready(bundle: Bundle) -> Bundle:
    """Return the bundle, which serves from now on and neither learns nor is stored."""
    for index in range(len(bundle.config.codec.levels)):
        bundle.codec.level(index).compute_in(compute_dtype())
    bundle.finisher.compute_in(compute_dtype())
    if packs_half():
        for part in (bundle.student, bundle.composer, bundle.top, *bundle.upsamplers):
            _pack_maps(part)
    return bundle


def packs_half() -> bool:
    """Return whether this processor and this PyTorch multiply packed half-precision weights."""
    return "fbgemm" in torch.backends.quantized.supported_engines and hasattr(torch, _PRODUCT)


def served_in() -> str:
    """Return what decides the bits of results on this processor, for fingerprints."""
    return f"{compute_dtype()}, {'packed half' if packs_half() else 'single'}"


def compute_dtype() -> torch.dtype:
    """Return the precision of codec and finisher on this processor."""
    has_bfloat16 = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return torch.bfloat16 if has_bfloat16 else torch.float32


def _pack_maps(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, Linear):
            module.register_module(name, PackedLinear(child.w, child.b))
        elif isinstance(child, nn.Linear) and "bias" in dict(child.named_parameters()):
            module.register_module(name, PackedLinear(child.weight.t(), child.bias))
        else:
            _pack_maps(child)


def _packed(w: Float[Tensor, "inputs outputs"], bias: Tensor) -> Callable[[Tensor], Tensor]:
    """Pack, and multiply once: both operators warn once a process that they may go one day.

    The exact PyTorch is pinned; a later one without them falls back to plain products.
    """
    product: Callable[[Tensor, Tensor, Tensor], Tensor] = getattr(torch, _PRODUCT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed: Tensor = getattr(torch, _PACK)(w.float().t().contiguous())
        product(torch.zeros(1, len(w)), packed, bias)
    return lambda x: product(x, packed, bias)
