"""Speculative sampling: drafted codes are kept as often as the target would have drawn them.

A draft costs little and is scored by the target in one pass. A code x that the draft
q proposes is kept with probability min(1, p(x) / q(x)), else drawn from what p has
more than q; so each code has the distribution p of the target, whatever the draft
(Leviathan et al. 2023, "Fast inference from transformers via speculative decoding";
Chen et al. 2023, "Accelerating large language model decoding with speculative
sampling"). That holds if q at a frame depends on nothing that is drawn at that frame or
after it: a draft in one pass, or from left to right, but not one whose passes look right.

All draws are counter-based and depend on the frame alone. A frame's three draws decide it
once and are met by no other frame, so a frame that is drafted anew may use them again.
Knows arrays, and nothing of networks or timelines.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from model.noise import choose, uniform
from model.sampler import filtered
from model.values import SamplingPlan

Chances = Float64[np.ndarray, "frames codes"]
Scores = Float64[np.ndarray, "scored codes"]
Drafted = Int64[np.ndarray, " frames"]

DRAFT_TURN: Final = 240
ACCEPT_TURN: Final = 241
RESIDUAL_TURN: Final = 242
"""The streams of noise, beside those of the students' passes and of the teacher's draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Where random numbers come from: a plan's seed and variation, at one level."""

    plan: SamplingPlan
    level: int

    def of(self, turn: int, first_frame: int, frames: int) -> Float64[np.ndarray, " frames"]:
        """Return one number in [0, 1) for each frame from `first_frame` on."""
        return uniform(
            self.plan.seed,
            level=self.level,
            turn=turn,
            variation=self.plan.variation,
            first_frame=first_frame,
            frames=frames,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verified:
    """What became of a draft.

    `codes` are the frames that are decided now: `accepted` of the draft, then one of
    the target's own unless the draft was kept whole and nothing after it was scored.
    """

    codes: Drafted
    accepted: int


def chances_of(logits: Float[Tensor, "frames codes"], plan: SamplingPlan) -> Chances:
    """Return the distributions that a plan draws from, from single-precision scores."""
    scaled = logits.to(torch.float32) / plan.temperature
    kept = filtered(scaled, top_k=plan.top_k, top_p=plan.top_p)
    return kept.double().softmax(-1).numpy()


def verified(
    target: Scores, chances: Chances, drafted: Drafted, draws: Draws, first_frame: int
) -> Verified:
    """Return which codes of a draft stay, and the target's own code after them.

    Args:
        target: The target's distributions at the drafted frames, given the draft before each;
            and, where it was scored too, at the frame after the draft.
        chances: The draft's distributions, from which `drafted` was drawn.
        drafted: At least one code.
        draws: Of the request.
        first_frame: The absolute frame of the first code.

    Raises:
        ValueError: There are fewer distributions than codes, or two more.
    """
    frames = len(drafted)
    if len(chances) != frames or not frames <= len(target) <= frames + 1:
        raise ValueError(
            f"{frames} codes were drafted, from {len(chances)} distributions, and {len(target)} "
            f"scored; scored can be {frames} or {frames + 1} frames"
        )
    kept = acceptances(target[:frames], chances, drafted)
    stays = draws.of(ACCEPT_TURN, first_frame, frames) < kept
    accepted = frames if stays.all() else int(np.argmin(stays))
    codes = drafted[:accepted]
    if accepted == len(target):
        return Verified(codes=codes, accepted=accepted)
    left = target[accepted : accepted + 1]
    if accepted < frames:
        left = residual(left, chances[accepted : accepted + 1])
    own = choose(left, draws.of(RESIDUAL_TURN, first_frame + accepted, 1))
    return Verified(codes=np.concatenate([codes, own]), accepted=accepted)


def acceptances(
    target: Chances, chances: Chances, drafted: Drafted
) -> Float64[np.ndarray, " frames"]:
    """Return with which probability each drafted code is kept: min(1, p / q)."""
    at = np.arange(len(drafted)), drafted
    return np.minimum(1.0, target[at] / np.maximum(chances[at], np.finfo(np.float64).tiny))


def residual(target: Chances, chances: Chances) -> Chances:
    """Return what the target has more than the draft, as distributions.

    Where rounding leaves nothing the two are equal, and the target itself is right.
    """
    more = np.maximum(target - chances, 0.0)
    total = more.sum(axis=1, keepdims=True)
    nothing: Bool[np.ndarray, "frames one"] = total <= 0
    return np.where(nothing, target, more / np.where(nothing, 1.0, total))


def drafted_by(
    next_chances: Callable[[Drafted], Chances], draws: Draws, first_frame: int, frames: int
) -> tuple[Drafted, Chances]:
    """Return a draft from left to right, and the distributions that it was drawn from.

    Args:
        next_chances: A cheap model's distribution of the next frame, as one row, given the
            codes drafted so far.
        draws: Of the request.
        first_frame: The absolute frame of the first code.
        frames: How many to draft.
    """
    codes = np.zeros(0, np.int64)
    rows: list[Chances] = []
    for number in np.split(draws.of(DRAFT_TURN, first_frame, frames), frames):
        row = next_chances(codes)
        codes = np.concatenate([codes, choose(row, number)])
        rows.append(row)
    return codes, np.concatenate(rows)
