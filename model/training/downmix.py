"""Stereo to the mono that every published model hears."""

import torch
from jaxtyping import Float
from torch import Tensor


def downmix(
    stereo: Float[Tensor, "batch 2 samples"], left: Float[Tensor, " batch"] | float = 0.5
) -> Float[Tensor, "batch samples"]:
    """Return `left` of the left channel plus the rest of the right one."""
    share = torch.as_tensor(left, dtype=stereo.dtype, device=stereo.device).reshape(-1, 1)
    return share * stereo[:, 0] + (1 - share) * stereo[:, 1]


def random_downmix(
    stereo: Float[Tensor, "batch 2 samples"], random: torch.Generator
) -> Float[Tensor, "batch samples"]:
    """Return a mix with a share of its own for each item, uniform from 0 to 1."""
    return downmix(stereo, torch.rand(len(stereo), generator=random).to(stereo.device))
