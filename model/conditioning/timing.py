"""Which row of each timing table every position of a window gets (paper section 4.2).

Published weights were trained with single-precision arithmetic, and near the
edges of bins double precision gives other rows: the order of operations below
is part of the model. Knows no weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.config import LabelConfig
from model.errors import WindowError

Items = Int[Tensor, " batch"]
Places = Float[Tensor, " batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where one window lies in its piece, in samples."""

    total_samples: int
    """How long the whole piece is said to be."""
    offset_samples: int
    """Where the window begins in it."""
    window_samples: int

    def moved(self, samples: int) -> "Extent":
        """Return a window that begins so much later."""
        return replace(self, offset_samples=self.offset_samples + samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extents:
    """The same, in samples, for each item of a batch."""

    total_samples: Items
    offset_samples: Items
    window_samples: Items


def stacked(extents: Sequence[Extent]) -> Extents:
    """Return single windows as one batch."""
    return Extents(
        total_samples=torch.tensor([extent.total_samples for extent in extents]),
        offset_samples=torch.tensor([extent.offset_samples for extent in extents]),
        window_samples=torch.tensor([extent.window_samples for extent in extents]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingRows:
    """Rows of the three tables; the total length has one for the whole window."""

    total: Int[Tensor, "batch 1"]
    absolute: Int[Tensor, "batch frames"]
    relative: Int[Tensor, "batch frames"]


def timing_rows(config: LabelConfig, extents: Extents, frames: int) -> TimingRows:
    """Return the rows of a window's frames.

    Raises:
        WindowError: A total, an offset or an end that the tables do not cover. One sample below
            the longest total is such: it rounds up to it. So is an offset that rounds to the total.
    """
    shortest, longest = (bound * config.sample_rate for bound in config.seconds)
    total = extents.total_samples.float()
    start = extents.offset_samples.float()
    end = (extents.offset_samples + extents.window_samples).float()
    _check(extents, total, (shortest, longest))
    rows = TimingRows(
        total=_rows(total[:, None], (shortest, longest), config.timing_bins),
        absolute=_rows(_line(start, end, frames), (0.0, longest), config.timing_bins),
        relative=_rows(
            _line(start / total, (end / total).clamp(0.0, 1.0), frames),
            (0.0, 1.0),
            config.timing_bins,
        ),
    )
    _check_rows(rows, extents, config.timing_bins)
    return rows


def _line(start: Places, end: Places, frames: int) -> Float[Tensor, "batch frames"]:
    share = torch.arange(frames, dtype=torch.float32, device=start.device) / frames
    return start[:, None] + (end - start)[:, None] * share


def _rows(
    place: Float[Tensor, "batch frames"], bounds: tuple[float, float], bins: int
) -> Int[Tensor, "batch frames"]:
    low, high = bounds
    return (bins * ((place - low) / (high - low))).floor().long()


def _check(extents: Extents, total: Places, bounds: tuple[float, float]) -> None:
    shortest, longest = bounds
    end = extents.offset_samples + extents.window_samples
    start = extents.offset_samples.float()
    faults = (
        (
            (total < shortest) | (total >= longest),
            extents.total_samples,
            f"the total is {{}} samples, this model knows totals from {shortest:.0f} "
            f"to below {longest:.0f} samples",
        ),
        (
            extents.offset_samples < 0,
            extents.offset_samples,
            "the window begins at sample {}, the least is 0",
        ),
        (
            end.float() > longest,
            end,
            f"the window ends at sample {{}}, this model knows places up to {longest:.0f}",
        ),
        (
            start / total >= 1,
            extents.offset_samples,
            "the window begins at sample {}, the piece ends before",
        ),
    )
    for wrong, values, text in faults:
        if bool(wrong.any()):
            raise WindowError(text.format(int(values[wrong][0])))


def _check_rows(rows: TimingRows, extents: Extents, bins: int) -> None:
    beyond = (rows.relative >= bins).any(1) | (rows.absolute >= bins).any(1)
    if bool(beyond.any()):
        offset, total = extents.offset_samples[beyond][0], extents.total_samples[beyond][0]
        raise WindowError(
            f"the window begins at sample {int(offset)}, too near to the end of the piece "
            f"at {int(total)} samples for single precision"
        )
