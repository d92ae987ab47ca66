"""The teacher's next codes several at a time, in its own distribution.

One pass guesses: it sees no code after the last one that is decided, which stands in
for those to come. What is drawn from the guess is scored in a second pass, in single
precision, and kept or replaced by `model.speculative`. How much that wins depends on
how little a level looks at its own last codes; the distribution does not. Knows one
level at a time, and nothing of timelines.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor

from model.prior import Prior
from model.speculative import Draws, chances_of, proposed, verified
from model.streaming import StackState

Codes = Int16[np.ndarray, " frames"]
START = -1
"""Stands for the code before the first one."""


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
    ) -> tuple[Float[Tensor, "scored vocabulary"], tuple[int, StackState]]:
        """Return logits of the first frames, given the code before each, and the past after."""
        conditions = self.conditions[:, : previous.shape[1]]
        logits, past = self.prior.advance(previous, self.start, conditions, self.past)
        return logits[0], past


def speculated(stretch: Stretch, draws: Draws) -> tuple[Codes, tuple[int, StackState]]:
    """Return all codes with those of one round, at least one more, and the past after them."""
    first, frames = stretch.past[0], stretch.conditions.shape[1]
    last = int(stretch.codes[-1]) if first else START
    guess, _ = stretch.scored(torch.full((1, frames), last))
    chances = chances_of(guess, draws.plan)
    drafted = proposed(chances, draws, first)
    codes = np.concatenate([stretch.codes, drafted.astype(np.int16)])
    logits, past = stretch.scored(previous_codes(codes, first, frames))
    made = verified(chances_of(logits, draws.plan), chances, drafted, draws, first).codes
    codes = np.concatenate([stretch.codes, made.astype(np.int16)])
    if len(made) < frames:
        _, past = stretch.scored(previous_codes(codes, first, len(made)))
    return codes, past


def previous_codes(codes: Codes, first: int, frames: int) -> Int[Tensor, "1 stretch"]:
    """Return the code before each of some frames; before frame 0 it is `START`."""
    before = codes[max(0, first - 1) : first + frames - 1].astype(np.int64)
    if first == 0:
        before = np.concatenate([[START], before])
    return torch.as_tensor(before)[None]
