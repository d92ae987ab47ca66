"""Cheap guesses of a prior's next codes, from left to right, for `exact`.

A small network reads the last few codes and the conditions of the frame, where the
prior reads all that came before. Codes and scores are in the prior's own tables.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import DraftConfig


class Draft(nn.Module):
    """The last codes' vectors, made narrow, beside the conditions, through one hidden layer."""

    def __init__(self, config: DraftConfig, width: int) -> None:
        super().__init__()
        self.reach = config.reach
        self.narrow = nn.Linear(width, config.narrow)
        self.enter = nn.Linear(width + config.reach * config.narrow, config.hidden)
        self.leave = nn.Linear(config.hidden, width)

    def forward(
        self,
        recent: Float[Tensor, "*axes reach width"],
        conditions: Float[Tensor, "*axes width"],
    ) -> Float[Tensor, "*axes width"]:
        """Return what the prior's head scores, from the vectors of the last `reach` codes."""
        seen = torch.cat([conditions, self.narrow(recent).flatten(-2)], dim=-1)
        return conditions + self.leave(F.gelu(self.enter(seen)))


def recent_codes(
    codes: Int[Tensor, "batch frames"], reach: int
) -> Int[Tensor, "batch frames reach"]:
    """Return for each frame the codes before it, the latest last; -1 where there was none."""
    return F.pad(codes, (reach, 0), value=-1)[:, :-1].unfold(1, reach, 1)
