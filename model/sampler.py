"""From logits to codes: temperature, filters, and draws that depend on place alone."""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from model.noise import choose, uniform
from model.values import SamplingPlan


def sample(
    logits: Float[Tensor, "frames codes"],
    plan: SamplingPlan,
    *,
    level: int,
    turn: int,
    first_frame: int,
) -> Int64[np.ndarray, " frames"]:
    """Return one code a frame, frame `first_frame` on; `turn` names the pass."""
    draws = uniform(
        plan.seed,
        level=level,
        turn=turn,
        variation=plan.variation,
        first_frame=first_frame,
        frames=len(logits),
    )
    return choose(chances(logits, plan), draws)


def chances(
    logits: Float[Tensor, "frames codes"], plan: SamplingPlan
) -> Float64[np.ndarray, "frames codes"]:
    """Return how likely a plan makes each code."""
    kept = filtered(logits.float() / plan.temperature, top_k=plan.top_k, top_p=plan.top_p)
    return kept.double().softmax(-1).numpy()


def filtered(
    logits: Float[Tensor, "frames codes"], *, top_k: int = 0, top_p: float = 1.0
) -> Float[Tensor, "frames codes"]:
    """Return logits with the unlikely at minus infinity.

    Top-k keeps ties with the k-th; the nucleus keeps the code that crosses
    `top_p`. 0, respectively 1.0, switches a filter off.
    """
    if top_k:
        least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1.0:
        ordered, index = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        drop = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, index, before >= top_p)
        logits = logits.masked_fill(drop, float("-inf"))
    return logits
