"""One batch through the published codec: losses first, then what its codebooks learn from it.

The order is that of the published training: codes and losses are those of the
codebooks as they were, which move afterwards. Knows no optimizer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.codec import Codec, Level
from model.errors import ConditionError
from model.quantizer import (
    CodebookFigures,
    Quantizer,
    Tally,
    move_codebook,
    start_codebook,
    tally,
)
from model.training.losses import MonoBatch
from model.training.published_losses import (
    Bandwidth,
    CodecLossConfig,
    LevelLosses,
    Scalar,
    WaveFigures,
    level_losses,
    total_loss,
    wave_figures,
)

Latents = Float[Tensor, "batch width _"]
Codes = Int[Tensor, "batch _"]
"""Levels have different numbers of frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodebookConfig:
    """How codebooks learn, as published."""

    decay: float = 0.99
    threshold: float = 1.0
    """Rows with a lower running count restart; small batches need less than 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentFigures:
    """How one level's latents lie, for reports."""

    distance: Scalar
    """Mean over frames of the squared distance from a latent to its row."""
    spread: Scalar
    """Root mean square of the latents about their common mean."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodecPass:
    """What one batch made; everything by level, but for the loss and the waveform's figures."""

    loss: Scalar
    levels: tuple[LevelLosses, ...]
    latents: tuple[Latents, ...]
    codes: tuple[Codes, ...]
    made: tuple[MonoBatch, ...]
    latent_figures: tuple[LatentFigures, ...]
    wave_figures: WaveFigures
    """Of level 0."""


def codec_pass(
    codec: Codec,
    audio: MonoBatch,
    bandwidth: Bandwidth,
    config: CodecLossConfig,
    precision: torch.dtype = torch.float32,
) -> CodecPass:
    """Return the losses of a batch; gradients reach encoders straight through the codes.

    Convolutions compute in `precision`; codes and losses are in single precision.

    Raises:
        ConditionError: A level's hop does not divide the clips' length.
    """
    _check(codec, audio)
    levels: list[LevelLosses] = []
    latents: list[Latents] = []
    codes: list[Codes] = []
    made: list[MonoBatch] = []
    for index in range(len(codec.levels)):
        level = codec.level(index)
        latent = latents_of(level, audio, precision)
        quantised, commitment, chosen = level.quantizer.straight_through(latent)
        with computing_in(precision, audio.device):
            wave = level.render(quantised)
        wave = wave.float()
        levels.append(level_losses(wave, audio, commitment, bandwidth, config))
        latents.append(latent.detach())
        codes.append(chosen)
        made.append(wave)
    return CodecPass(
        loss=total_loss(levels, config),
        levels=tuple(levels),
        latents=tuple(latents),
        codes=tuple(codes),
        made=tuple(made),
        latent_figures=tuple(
            _latent_figures(codec.level(index).quantizer, latents[index], codes[index])
            for index in range(len(levels))
        ),
        wave_figures=wave_figures(made[0].detach(), audio, bandwidth, config),
    )


def latents_of(level: Level, audio: MonoBatch, precision: torch.dtype) -> Latents:
    """Return a level's latents in single precision, computed in another."""
    with computing_in(precision, audio.device):
        made = level.latents(audio)
    return made.float()


def computing_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """Return the context in which products are computed in a type; weights stay as they are."""
    half = precision is not torch.float32
    return torch.autocast(device.type, precision if half else None, enabled=half)


@torch.no_grad()
def start_codebooks(codec: Codec, audio: MonoBatch, random: torch.Generator) -> None:
    """Fill every codebook with latents of the first batch, before its pass."""
    for index in range(len(codec.levels)):
        level = codec.level(index)
        start_codebook(level.quantizer, level.latents(audio), random)


def learn_codebooks(
    codec: Codec,
    passed: CodecPass,
    random: torch.Generator,
    config: CodebookConfig,
    share: Callable[[int, Tally], Tally] | None = None,
) -> tuple[CodebookFigures, ...]:
    """Move every codebook by a batch; return how each is used.

    `share` adds up a level's tallies of several processes, and gives all the
    same `fresh` rows.
    """
    figures: list[CodebookFigures] = []
    for index, (latents, codes) in enumerate(zip(passed.latents, passed.codes, strict=True)):
        quantizer = codec.level(index).quantizer
        used = tally(quantizer, latents, codes, random)
        used = share(index, used) if share else used
        figures.append(move_codebook(quantizer, used, config.decay, config.threshold))
    return tuple(figures)


def _check(codec: Codec, audio: MonoBatch) -> None:
    hop = max(codec.level(index).hop for index in range(len(codec.levels)))
    if audio.shape[1] % hop or not audio.shape[1]:
        raise ConditionError(
            f"clips are {audio.shape[1]} samples long, a multiple of {hop} samples is needed"
        )


@torch.no_grad()
def _latent_figures(quantizer: Quantizer, latents: Latents, codes: Codes) -> LatentFigures:
    return LatentFigures(
        distance=(latents - quantizer.decode(codes)).square().sum(1).mean(),
        spread=(latents - latents.mean()).square().mean().sqrt(),
    )
