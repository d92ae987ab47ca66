"""Teaches a codec: reconstruction, spectra and commitment by gradients, codebooks by means."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.codec import Codec
from model.quantizer import Tally, start_codebook
from model.training.codec_pass import (
    CodebookConfig,
    CodecPass,
    codec_pass,
    latents_of,
    learn_codebooks,
)
from model.training.loop import Figures
from model.training.losses import snr_db
from model.training.published.clips import Batch
from model.training.published.crowd import Crowd
from model.training.published.task import Lesson
from model.training.published_losses import Bandwidth, CodecLossConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodecTask:
    """A codec, and how it is judged."""

    module: Codec
    bandwidth: Bandwidth
    loss: CodecLossConfig
    codebook: CodebookConfig
    precision: torch.dtype
    crowd: Crowd
    seed: int

    def lesson(self, step: int, batch: Batch) -> Lesson:
        """Return what a batch teaches; the first one fills codebooks that hold nothing yet."""
        audio = batch.audio.to(self.module.level(0).quantizer.codebook.device)
        if not bool(self.module.level(0).quantizer.counts.any()):
            self._start(step, audio)
        passed = codec_pass(self.module, audio, self.bandwidth, self.loss, self.precision)
        return Lesson(
            loss=passed.loss,
            figures=_figures(passed, audio),
            settle=lambda: self._settle(step, passed),
            sounds={"true": audio[0]}
            | {f"level_{level}": made[0].detach() for level, made in enumerate(passed.made)},
        )

    @torch.no_grad()
    def _start(self, step: int, audio: Tensor) -> None:
        random = self._random(step, turn=0)
        for index in range(len(self.module.levels)):
            level = self.module.level(index)
            latents = latents_of(level, audio, self.precision)
            rows = self.crowd.chosen(latents, len(level.quantizer.codebook), random)
            start_codebook(level.quantizer, rows.t()[None], random)

    def _settle(self, step: int, passed: CodecPass) -> Figures:
        shared = self._random(step, turn=1)

        def share(index: int, used: Tally) -> Tally:
            return self.crowd.tallied(used, passed.latents[index], shared)

        used = learn_codebooks(
            self.module, passed, self._random(step, turn=2), self.codebook, share
        )
        figures: dict[str, float] = {}
        for level, one in enumerate(used):
            figures[f"entropy_{level}_nats"] = one.entropy
            figures[f"alive_{level}_rows"] = float(one.alive)
            figures[f"used_{level}_rows"] = float(one.used)
        return figures

    def _random(self, step: int, turn: int) -> torch.Generator:
        """Return numbers that all processes draw alike, of a step and a purpose alone."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + step) * 4 + turn)


def _figures(passed: CodecPass, audio: Tensor) -> Figures:
    figures: dict[str, float] = {}
    for level, (losses, made) in enumerate(zip(passed.levels, passed.made, strict=True)):
        figures[f"reconstruction_{level}"] = float(losses.reconstruction.detach())
        figures[f"spectral_{level}"] = float(losses.spectral.detach())
        figures[f"multispectral_{level}"] = float(losses.multispectral.detach())
        figures[f"commitment_{level}"] = float(losses.commitment.detach())
        figures[f"snr_{level}_db"] = snr_db(made.detach(), audio)
    return figures
