"""What a training computes in: bfloat16 where the processor multiplies it, else single precision.

Without such instructions bfloat16 is emulated, and a step takes several times as long.
"""

import torch

from model.serving import compute_dtype


def autocast() -> torch.autocast:
    """Return the context of a training's forward pass on this processor."""
    half = compute_dtype() is torch.bfloat16
    return torch.autocast("cpu", torch.bfloat16, enabled=half)
