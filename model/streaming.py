"""What attention remembers of a session, as immutable values.

A row, once complete, is never written again: forks share it. Knows tensors,
not what they mean.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LayerState:
    """Keys and values of one layer: complete rows, then the row under way."""

    rows: Float[Tensor, "batch rows row_frames pair"]
    current: Float[Tensor, "batch frames pair"]

    @property
    def nbytes(self) -> int:
        """Return the bytes held."""
        return self.rows.nbytes + self.current.nbytes

    def append(
        self, pairs: Float[Tensor, "batch frames pair"], *, row_frames: int, keep_rows: int
    ) -> "LayerState":
        """Return the state after more frames of the row under way, at most to its end.

        A complete row joins `rows`, of which the last `keep_rows` are kept.
        """
        # What is joined to nothing is not copied: rows are long, and never written again.
        begun = self.current.shape[1]
        current = torch.cat([self.current, pairs], dim=1) if begun else pairs.contiguous()
        if current.shape[1] < row_frames:
            return LayerState(self.rows, current)
        before = self.rows[:, max(0, self.rows.shape[1] + 1 - keep_rows) :]
        row = current.unsqueeze(1)
        rows = torch.cat([before, row], dim=1) if before.shape[1] else row
        return LayerState(rows, current[:, :0])


def empty_layer(
    like: Float[Tensor, "..."], *, batch: int, row_frames: int, pair: int
) -> LayerState:
    """Return the state of a layer that has seen nothing, of `like`'s type and device."""
    return LayerState(like.new_zeros(batch, 0, row_frames, pair), like.new_zeros(batch, 0, pair))


StackState = tuple[LayerState, ...]
