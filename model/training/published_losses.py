"""What the published codec is trained on: waveform, spectra at two kinds of resolution, commitment.

Each term is summed over levels (paper section 3, appendix A). Absolute spectral
terms, and the waveform's, are divided by how wide the data is. Knows one batch;
codebooks are moved elsewhere (`model.training.codec_pass`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from model.training.losses import RESOLUTIONS, MonoBatch

Scalar = Float[Tensor, ""]
Each = Float[Tensor, " batch"]
Resolution = tuple[int, int, int]
Wave = Literal["l1", "l2", "linf", "lmix"]

QUIETEST = 2e-3
"""Norm of a true spectrum up to which its relative error counts as none."""
SPECTRAL: Resolution = (2048, 256, 1536)
"""Transform size, hop and window in samples of the single-resolution term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """How wide the data is: what errors are measured against."""

    l1: float
    l2: float
    spectrum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecLossConfig:
    """What the published codec's loss is made of."""

    wave: Wave = "lmix"
    mix: tuple[float, float, float] = (0.0, 1.0, 0.02)
    """What `lmix` takes of l1, l2 and linf."""
    largest: int = 2048
    """How many of an item's largest squared errors `linf` averages."""
    spectral: float = 0.0
    multispectral: float = 1.0
    commitment: float = 0.02
    relative: bool = False
    """The single-resolution term relative to each item's own spectrum, not to the data's."""
    resolutions: tuple[Resolution, ...] = RESOLUTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelLosses:
    """One level's terms, unweighted."""

    reconstruction: Scalar
    spectral: Scalar
    multispectral: Scalar
    commitment: Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveFigures:
    """Distances of one waveform, for reports."""

    l1: Scalar
    l2: Scalar
    linf: Scalar
    convergence: Scalar
    """Relative error of the spectrum."""


@torch.no_grad()
def bandwidth_of(clips: Iterable[MonoBatch]) -> Bandwidth:
    """Return how wide data is, from clips of the length that will be trained on.

    Means over all samples of the magnitude and of the square about the mean; the mean over clips of
    the norm of the spectrum. All are 0 where everything is silent, and nothing can be trained on.
    """
    samples, total, magnitude, square = 0, 0.0, 0.0, 0.0
    norms: list[Tensor] = []
    for audio in clips:
        wide = audio.double()
        samples += audio.numel()
        total += float(wide.sum())
        magnitude += float(wide.abs().sum())
        square += float(wide.square().sum())
        norms.append(_norm(_spectrum(audio, SPECTRAL)))
    return Bandwidth(
        l1=magnitude / samples,
        l2=square / samples - (total / samples) ** 2,
        spectrum=float(torch.cat(norms).double().mean()),
    )


def level_losses(
    made: MonoBatch,
    true: MonoBatch,
    commitment: Scalar,
    bandwidth: Bandwidth,
    config: CodecLossConfig,
) -> LevelLosses:
    """Return the terms of one level's reconstruction."""
    ours, theirs = _spectrum(made, SPECTRAL), _spectrum(true, SPECTRAL)
    spectral = (
        _relative(ours, theirs) if config.relative else _norm(ours - theirs) / bandwidth.spectrum
    )
    multi = [
        _norm(_spectrum(made, resolution) - _spectrum(true, resolution)) / bandwidth.spectrum
        for resolution in config.resolutions
    ]
    return LevelLosses(
        reconstruction=wave_loss(made, true, config.wave, bandwidth, config),
        spectral=spectral.mean(),
        multispectral=torch.stack(multi).mean(),
        commitment=commitment,
    )


def total_loss(levels: Sequence[LevelLosses], config: CodecLossConfig) -> Scalar:
    """Return what training minimises."""
    return torch.stack(
        [
            level.reconstruction
            + config.spectral * level.spectral
            + config.multispectral * level.multispectral
            + config.commitment * level.commitment
            for level in levels
        ]
    ).sum()


def wave_loss(
    made: MonoBatch,
    true: MonoBatch,
    kind: Wave,
    bandwidth: Bandwidth,
    config: CodecLossConfig,
) -> Scalar:
    """Return one distance between waveforms, relative to the data's width."""
    if kind == "l1":
        return (made - true).abs().mean() / bandwidth.l1
    if kind == "l2":
        return (made - true).square().mean() / bandwidth.l2
    if kind == "linf":
        squares = (made - true).square()
        largest = squares.topk(min(config.largest, squares.shape[1]), dim=1).values
        return largest.mean() / bandwidth.l2
    parts: tuple[Wave, ...] = ("l1", "l2", "linf")
    weighed = [
        weight * wave_loss(made, true, part, bandwidth, config)
        for part, weight in zip(parts, config.mix, strict=True)
        if weight
    ]
    return torch.stack(weighed).sum() if weighed else made.new_zeros(())


@torch.no_grad()
def wave_figures(
    made: MonoBatch, true: MonoBatch, bandwidth: Bandwidth, config: CodecLossConfig
) -> WaveFigures:
    """Return every distance between two waveforms."""
    return WaveFigures(
        l1=wave_loss(made, true, "l1", bandwidth, config),
        l2=wave_loss(made, true, "l2", bandwidth, config),
        linf=wave_loss(made, true, "linf", bandwidth, config),
        convergence=_relative(_spectrum(made, SPECTRAL), _spectrum(true, SPECTRAL)).mean(),
    )


def _relative(ours: Tensor, theirs: Tensor) -> Each:
    norm = _norm(theirs)
    return torch.where(norm > QUIETEST, _norm(ours - theirs) / norm.clamp(min=QUIETEST), 0.0)


def _norm(spectrum: Float[Tensor, "batch bins frames"]) -> Each:
    # Of which the gradient at zero is zero, unlike a root's. Torch leaves its type unsaid.
    norm = cast("Callable[..., Tensor]", torch.linalg.vector_norm)  # pyright: ignore[reportUnknownMemberType]
    return norm(spectrum, dim=(1, 2))


def _spectrum(audio: MonoBatch, resolution: Resolution) -> Float[Tensor, "batch bins frames"]:
    size, hop, window = resolution
    return torch.stft(
        audio.float(),
        size,
        hop,
        window,
        torch.hann_window(window, device=audio.device),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    ).abs()
