"""Where each lyric character is sung: one head's attention over finished codes of the top level.

Each window is read once more, from the last to the first; where windows
overlap the earlier one counts, as published.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

from model.errors import ConditionError
from model.published.level import Heard, PublishedLevel
from model.published.request import Codes, Item
from model.windows import window_starts

Alignment = Float32[np.ndarray, "frames characters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Which attention is read; of 5b_lyrics layer 68 head 2, of 1b_lyrics layer 63 head 0."""

    layer: int
    head: int


class Aligner:
    """Reads the windows of a batch, a chunk a step; rows of `maps` need not sum to 1."""

    def __init__(
        self,
        level: PublishedLevel,
        items: Sequence[Item],
        codes: Codes,
        head: Head,
        *,
        hop_frames: int,
        chunk_frames: int = 32,
    ) -> None:
        """Begin over finished codes.

        Raises:
            ConditionError: The layer or head does not exist or hears no lyrics.
            WindowError: The hop leaves gaps.
        """
        _check(level, head)
        self._level, self._items, self._head = level, items, head
        self._chunk_frames = chunk_frames
        context = level.sizes.context_frames
        self._frames = codes.shape[1]
        self._codes = F.pad(codes, (0, max(0, context - self._frames)))
        starts = window_starts(self._codes.shape[1], context, hop_frames)
        self._left = list(starts)
        lengths = [len(item.piece.lyrics) for item in items]
        self._maps = [
            np.zeros((self._codes.shape[1], length + 1), np.float32) for length in lengths
        ]

    @property
    def done(self) -> bool:
        """Return whether every window is read."""
        return not self._left

    def maps(self) -> tuple[Alignment, ...]:
        """Return how much each item's frames attend to each character of its whole text."""
        return tuple(made[: self._frames, :-1] for made in self._maps)

    def steps(self) -> Iterator[int]:
        """Read all windows; yields after each chunk how many windows are left."""
        while self._left:
            start = self._left[-1]
            parts: list[Float[Tensor, "batch frames characters"]] = []
            for part in self._window(start):
                parts.append(part)
                yield len(self._left)
            self._place(start, torch.cat(parts, dim=1).cpu().numpy())
            self._left.pop()

    @torch.no_grad()
    def _window(self, start: int) -> Iterator[Float[Tensor, "batch frames characters"]]:
        sizes, prior = self._level.sizes, self._level.prior
        heard = self._level.hear(self._items, start, None)
        window = self._codes[:, start : start + sizes.context_frames] + sizes.shift
        sequence = torch.cat([heard.characters, window], dim=1)
        previous = F.pad(sequence[:, :-1], (1, 0), value=-1)
        cache = prior.open(len(previous), heard.encoded)
        for first in range(0, previous.shape[1], self._chunk_frames):
            span = slice(first, first + self._chunk_frames)
            x = prior.inputs(previous[:, span], heard.start, heard.conditions[:, span], first)
            rows = prior.maps(x, cache, first, self._head.layer)
            heads = [_lyrics(made[:, self._head.head], heard) for made in rows]
            made = torch.cat(heads, dim=1)
            yield made[:, max(0, sizes.prefix_frames - first) :]

    def _place(self, start: int, made: Float32[np.ndarray, "batch frames characters"]) -> None:
        _, lyrics = self._level.labels(self._items, start)
        for row, window in enumerate(lyrics):
            # Padding has index -1: the last column, which is dropped.
            self._maps[row][start : start + made.shape[1], window.indices] = made[row]


def _lyrics(
    made: Float[Tensor, "batch frames seen"], heard: Heard
) -> Float[Tensor, "batch frames characters"]:
    characters = heard.characters.shape[1] or made.shape[2]
    return F.pad(made, (0, max(0, characters - made.shape[2])))[..., :characters]


def _check(level: PublishedLevel, head: Head) -> None:
    config = level.sizes.prior.transformer
    kinds = config.layer_kinds()
    if not (0 <= head.layer < len(kinds) and 0 <= head.head < config.heads):
        raise ConditionError(
            f"layer {head.layer} head {head.head} is asked for, there are {len(kinds)} layers "
            f"of {config.heads} heads"
        )
    hears = kinds[head.layer] == "encoder" or (
        config.prefix_frames and kinds[head.layer] in ("prefix", "dense")
    )
    if not hears:
        raise ConditionError(
            f"layer {head.layer} is of kind {kinds[head.layer]}, which hears no lyrics"
        )
