"""One level's weights with what a window of it hears: labels, timing, lyrics, the codes above."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from model.conditioning.embeddings import PlayedInputs
from model.conditioning.labels import Labels, labels_of
from model.conditioning.lyrics import LyricWindow
from model.prior import Prior
from model.published.linear import Precision
from model.published.played import played_inputs
from model.published.prior import PackedPrior
from model.published.request import Codes, Item, LevelSizes, Voice
from model.upsampler import Upsampler

LyricWindows = tuple[LyricWindow, ...]


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
        sizes: LevelSizes,
        *,
        precision: Precision = Precision.HALF,
        release: bool = False,
    ) -> None:
        """Pack a level's module; with `release` its linear maps are emptied as they are packed."""
        self.sizes = sizes
        self.module = module.requires_grad_(False).eval()
        self.prior = PackedPrior(_prior(module), precision, release=release)

    def labels(self, items: Sequence[Item], start_frame: int) -> tuple[Labels, LyricWindows]:
        """Return the labels of a window as this level reads them, and its lyrics."""
        start = start_frame * self.sizes.hop_samples
        return labels_of([item.piece for item in items], self.sizes.labels(), start)

    @torch.no_grad()
    def hear(self, items: Sequence[Item], start_frame: int, upper: Codes | None) -> Heard:
        """Return what a window is told; `upper` are the codes of its stretch one level up."""
        labels, _ = self.labels(items, start_frame)
        prior, frames = _prior(self.module), self.sizes.context_frames
        played = None
        if prior.played is not None:
            told = [item.played for item in items]
            inputs = played_inputs(told, prior.played.config, start_frame, frames)
            played = inputs.to(prior.codes.weight.device)
        heard = hear(self.module, self.sizes, labels, upper, played)
        start = heard.start.clone()
        for row, item in enumerate(items):
            if item.blend:
                start[row] = self._blended(item.blend)
        return replace(heard, start=start)

    def _blended(self, blend: Sequence[Voice]) -> Float[Tensor, " width"]:
        prior = _prior(self.module)
        device = prior.codes.weight.device
        voices = [
            voice.weight
            * prior.start_vector(
                torch.tensor([voice.artist], device=device),
                torch.tensor([voice.genres], device=device, dtype=torch.long),
            )[0]
            for voice in blend
        ]
        return torch.stack(voices).sum(0)


def hear(
    module: Prior | Upsampler,
    sizes: LevelSizes,
    labels: Labels,
    upper: Codes | None,
    played: PlayedInputs | None = None,
) -> Heard:
    """Return what the window of these labels is told; gradients flow.

    `upper` is for an upsampler, `played` for a prior that hears notes and stems.
    """
    prior, lyrics = _prior(module), labels.characters
    prefix = sizes.prefix_frames
    conditions = _conditions(module, sizes, labels, upper)
    if prior.played is not None:
        assert played is not None
        conditions = conditions + prior.played(played)
    return Heard(
        start=prior.start_vector(labels.artist, labels.genres),
        conditions=F.pad(conditions, (0, 0, prefix, 0)),
        encoded=None if prior.lyrics is None else prior.lyrics(lyrics),
        characters=lyrics[:, :prefix],
    )


def _conditions(
    module: Prior | Upsampler, sizes: LevelSizes, labels: Labels, upper: Codes | None
) -> Float[Tensor, "batch frames width"]:
    if isinstance(module, Upsampler):
        assert upper is not None
        return module.conditioner(upper)
    if module.timing is None:
        shape = (len(labels.artist), sizes.context_frames, sizes.prior.transformer.width)
        return module.positions.new_zeros(shape)
    return module.timing.window(labels.extents, sizes.context_frames)


def _prior(module: Prior | Upsampler) -> Prior:
    return module.prior if isinstance(module, Upsampler) else module
