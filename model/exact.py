"""The teacher's next codes several at a time, in its own distribution.

The prior's draft guesses a few codes from left to right. The prior scores them in one
pass, in single precision, and `model.speculative` keeps or replaces them. How much that
wins depends on how well the draft guesses; the distribution does not. Knows one level at
a time, and nothing of timelines.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int16, Int64
from torch import Tensor

from model.prior import Prior
from model.speculative import Chances, Drafted, Draws, chances_of, drafted_by, verified
from model.streaming import StackState
from model.transformer import Running

Codes = Int16[np.ndarray, " frames"]
START = -1
"""Stands for the code before the first one."""
DRAFT_FRAMES = 3
"""Guessed in a round; more cost more than they win."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Frames of one row that are to be drawn.

    `codes` are all that are decided, `conditions` those of the frames to come, and
    `past` is how many frames the level has seen, and its memory of them.
    """

    prior: Prior
    start: Float[Tensor, "1 width"]
    codes: Codes
    conditions: Float[Tensor, "1 coming width"]
    past: tuple[int, StackState]

    def scored(
        self, previous: Int[Tensor, "1 scored"]
    ) -> tuple[Float[Tensor, "scored vocabulary"], Running]:
        """Return logits of the first frames, given the code before each, and the stack at work."""
        conditions = self.conditions[:, : previous.shape[1]]
        logits, under_way = self.prior.look(previous, self.start, conditions, self.past)
        return logits[0], under_way


def speculated(stretch: Stretch, draws: Draws) -> tuple[Codes, tuple[int, StackState]]:
    """Return all codes with those of one round, at least one more, and the past after them."""
    first, frames = stretch.past[0], stretch.conditions.shape[1]
    drafted, chances = _drafted(stretch, draws, min(DRAFT_FRAMES, frames))
    codes = np.concatenate([stretch.codes, drafted.astype(np.int16)])
    scored = min(DRAFT_FRAMES + 1, frames)
    logits, under_way = stretch.scored(previous_codes(codes, first, scored))
    made = verified(chances_of(logits, draws.plan), chances, drafted, draws, first).codes
    under_way.keep(len(made))
    codes = np.concatenate([stretch.codes, made.astype(np.int16)])
    return codes, (first + len(made), under_way.state())


def _drafted(stretch: Stretch, draws: Draws, frames: int) -> tuple[Drafted, Chances]:
    """Return a draft and the distributions that it was drawn from."""
    prior, first = stretch.prior, stretch.past[0]
    before = np.full(prior.draft_reach(), START, np.int64)
    known = stretch.codes[-len(before) :]
    before[len(before) - len(known) :] = known

    def next_chances(made: Int64[np.ndarray, " drafted"]) -> Chances:
        recent = torch.as_tensor(np.concatenate([before, made])[-len(before) :])
        conditions = stretch.conditions[:, len(made) : len(made) + 1]
        return chances_of(prior.draft_logits(recent[None, None], conditions)[0], draws.plan)

    return drafted_by(next_chances, draws, first, frames)


def previous_codes(codes: Codes, first: int, frames: int) -> Int[Tensor, "1 stretch"]:
    """Return the code before each of some frames; before frame 0 it is `START`."""
    before = codes[max(0, first - 1) : first + frames - 1].astype(np.int64)
    if first == 0:
        before = np.concatenate([[START], before])
    return torch.as_tensor(before)[None]
