"""Teaches a prior or an upsampler: the next code, and the next character of lyrics, in bits."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from model.codec import Codec
from model.conditioning.labels import Labels, labels_of
from model.prior import Prior
from model.published.level import hear
from model.published.objective import prior_losses
from model.published.request import LevelSizes
from model.training.codec_pass import computing_in
from model.training.published.clips import Batch
from model.training.published.labelling import Labelling
from model.training.published.playing import Playing
from model.training.published.task import Lesson
from model.upsampler import Upsampler


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PriorTask:
    """A prior, and the codec that makes its codes."""

    module: Prior | Upsampler
    codec: Codec
    level: int
    sizes: LevelSizes
    labelling: Labelling
    lyric_fraction: float
    precision: torch.dtype
    playing: Playing | None = None
    """What it is told of notes and stems; None: it hears neither."""

    def lesson(self, step: int, batch: Batch) -> Lesson:
        """Return what a batch teaches."""
        del step
        device = self.codec.level(0).quantizer.codebook.device
        audio = batch.audio.to(device)
        codes = self._codes(audio, self.level)
        is_upsampler = isinstance(self.module, Upsampler)
        played = None
        if self.playing is not None:
            played = self.playing.inputs(batch, self.codec.level(self.level)).to(device)
        with computing_in(self.precision, device):
            upper = self._codes(audio, self.level + 1) if is_upsampler else None
            labels = self._labels(batch, device)
            losses = prior_losses(
                self.module,
                self.sizes,
                hear(self.module, self.sizes, labels, upper, played),
                labels.characters,
                codes,
                lyric_fraction=self.lyric_fraction,
            )
        figures = {"music_bits": float(losses.music.detach())}
        if self.sizes.labels().lyric_slots:
            figures["lyric_bits"] = float(losses.lyrics.detach())
        return Lesson(loss=losses.total, figures=figures, sounds={"true": audio[0]})

    @torch.no_grad()
    def _codes(self, audio: Tensor, level: int) -> Int[Tensor, "batch frames"]:
        with torch.autocast(audio.device.type, enabled=False):
            return self.codec.level(level).encode(audio)

    def _labels(self, batch: Batch, device: torch.device) -> Labels:
        pieces = [self.labelling.piece(clip) for clip in batch.clips]
        # Windows of lyrics are placed in double precision, as in the published training.
        labels, _ = labels_of(pieces, self.sizes.labels(), single=False)
        extents = replace(
            labels.extents,
            total_samples=labels.extents.total_samples.to(device),
            offset_samples=labels.extents.offset_samples.to(device),
            window_samples=labels.extents.window_samples.to(device),
        )
        return Labels(
            artist=labels.artist.to(device),
            genres=labels.genres.to(device),
            extents=extents,
            characters=labels.characters.to(device),
        )
