"""Which characters of the lyrics a window hears: those around its share of the piece.

Labels are first built in double precision, but windows that move while
sampling are placed in single; the two may differ by one character, so both are
here. Knows no vocabulary.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from model.conditioning.text import PADDING, Characters
from model.conditioning.timing import Extent
from model.errors import WindowError

Slots = Int64[np.ndarray, " slots"]

NOWHERE = -1
"""The index of a slot that holds padding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LyricWindow:
    """Characters of one window, and where each stands in the whole text."""

    ids: Slots
    indices: Slots
    """Places in the whole text; `NOWHERE` for padding."""


def lyric_window(
    lyrics: Characters, slots: int, extent: Extent, *, single: bool = True
) -> LyricWindow:
    """Return the `slots` characters that a window hears.

    A text shorter than that is padded on the left. `single` places the window
    as the published sampler does, else as labels are first built.

    Raises:
        WindowError: The number of slots is odd, or the window begins outside of the piece.
    """
    if not slots:
        nothing = np.zeros(0, np.int64)
        return LyricWindow(ids=nothing, indices=nothing)
    if slots % 2:
        raise WindowError(f"a window of {slots} characters is odd, the published are even")
    if len(lyrics) < slots:
        before = slots - len(lyrics)
        return LyricWindow(
            ids=np.concatenate([np.full(before, PADDING, np.int64), lyrics]),
            indices=np.concatenate([np.full(before, NOWHERE, np.int64), np.arange(len(lyrics))]),
        )
    if not 0 <= extent.offset_samples < extent.total_samples:
        raise WindowError(
            f"the window begins at sample {extent.offset_samples}, "
            f"the piece goes from 0 to below {extent.total_samples} samples"
        )
    middle = (_single if single else _double)(len(lyrics), extent)
    first = min(max(middle, slots // 2), len(lyrics) - slots // 2) - slots // 2
    indices = np.arange(first, first + slots)
    return LyricWindow(ids=lyrics[indices], indices=indices)


def _double(length: int, extent: Extent) -> int:
    middle = extent.offset_samples + extent.window_samples / 2
    return int(length * middle / extent.total_samples)


def _single(length: int, extent: Extent) -> int:
    one = np.float32
    middle = one(extent.offset_samples) + one(extent.window_samples) / one(2)
    return int(one(length) * middle / one(extent.total_samples))
