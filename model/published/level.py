"""One level's weights with what a window of it hears: labels, timing, lyrics, the codes above."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from model.conditioning.labels import Labels, labels_of
from model.prior import Prior
from model.published.linear import Precision
from model.published.prior import PackedPrior
from model.published.request import Codes, Item, SystemSizes
from model.upsampler import Upsampler
from model.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """What one window's positions are told, for each item of a group."""

    start: Float[Tensor, "batch width"]
    conditions: Float[Tensor, "batch positions width"]
    """Lyric positions of a joint sequence come first, and hear nothing."""
    encoded: Float[Tensor, "batch characters width"] | None
    """Lyrics through their own encoder (5b_lyrics)."""
    characters: Int[Tensor, "batch prefix"]
    """Lyrics that begin the sequence itself (1b_lyrics); else none."""


class PublishedLevel:
    """One level, packed; holds no session."""

    def __init__(
        self,
        module: Prior | Upsampler,
        sizes: SystemSizes,
        level: int,
        *,
        precision: Precision = Precision.HALF,
        release: bool = False,
    ) -> None:
        """Pack a level's module; with `release` its linear maps are emptied as they are packed."""
        self.level = level
        self.sizes = sizes
        self.module = module.requires_grad_(False).eval()
        self._module = module.prior if isinstance(module, Upsampler) else module
        self.prior = PackedPrior(self._module, precision, release=release)

    @property
    def prefix_frames(self) -> int:
        """Return how many lyric positions begin the sequence."""
        return self.prior.config.transformer.prefix_frames

    def labels(self, items: Sequence[Item], window: Window) -> Labels:
        """Return a window's labels as this level reads them."""
        start = window.start_frame * self.sizes.codec.hop(self.level)
        pieces = [item.piece for item in items]
        return labels_of(pieces, self.sizes.labels(self.level), start)[0]

    @torch.no_grad()
    def hear(self, items: Sequence[Item], window: Window, upper: Codes | None) -> Heard:
        """Return what a window is told; `upper` are the codes of its stretch one level up."""
        labels = self.labels(items, window)
        encoder = self._module.lyrics
        lyrics = labels.characters
        prefix = self.prefix_frames
        return Heard(
            start=self._start(items, labels),
            conditions=F.pad(self._conditions(labels, upper), (0, 0, prefix, 0)),
            encoded=None if encoder is None else encoder(lyrics),
            characters=lyrics[:, :prefix],
        )

    def _start(self, items: Sequence[Item], labels: Labels) -> Float[Tensor, "batch width"]:
        start = self._module.start_vector(labels.artist, labels.genres).clone()
        for row, item in enumerate(items):
            if item.blend:
                start[row] = sum(
                    (
                        voice.weight
                        * self._module.start_vector(
                            torch.tensor([voice.artist]), torch.tensor([voice.genres])
                        )[0]
                        for voice in item.blend
                    ),
                    torch.zeros_like(start[row]),
                )
        return start

    def _conditions(
        self, labels: Labels, upper: Codes | None
    ) -> Float[Tensor, "batch frames width"]:
        if isinstance(self.module, Upsampler):
            assert upper is not None
            return self.module.conditioner(upper)
        frames = self.sizes.context_frames(self.level)
        if self._module.timing is None:
            width = self.prior.config.transformer.width
            return torch.zeros(len(labels.artist), frames, width)
        return self._module.timing.window(labels.extents, frames)
