"""What training minimises on audio.

Magnitude terms follow the multi-resolution spectral loss of the paper
(section 3.3); the log term weighs quiet partials, which music lives on.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

MonoBatch = Float[Tensor, "batch samples"]
QUIETEST = 20.0
"""Norm of a magnitude spectrum below which a clip counts as silence, about -50 dBFS."""
LEVEL_FLOOR = 1e-6
BAND_FLOOR = 0.05
"""Power under which a band counts as silent, about -90 dBFS of a sine."""
RESOLUTIONS = ((2048, 240, 1200), (1024, 120, 600), (512, 50, 240))
"""Transform size, hop and window in samples, as published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralTerms:
    """Means over the batch; both fall to 0 for equal spectra."""

    convergence: Tensor
    log_magnitude: Tensor


def spectral_terms(
    made: MonoBatch,
    true: MonoBatch,
    resolutions: tuple[tuple[int, int, int], ...] = RESOLUTIONS,
    floor: float = 1e-3,
) -> SpectralTerms:
    """Return spectral convergence and log-magnitude distance, averaged over resolutions."""
    convergence: list[Tensor] = []
    logs: list[Tensor] = []
    for size, hop, window in resolutions:
        ours, theirs = _magnitude(made, size, hop, window), _magnitude(true, size, hop, window)
        norm = _norm(theirs).clamp(min=QUIETEST)
        convergence.append((_norm(ours - theirs) / norm).mean())
        quiet = floor * window**0.5
        logs.append(((ours + quiet).log() - (theirs + quiet).log()).abs().mean())
    return SpectralTerms(
        convergence=torch.stack(convergence).mean(), log_magnitude=torch.stack(logs).mean()
    )


def band_energy_error(
    made: MonoBatch, true: MonoBatch, *, bands: int = 32, frames: int = 8
) -> Float[Tensor, ""]:
    """Return how far the energies of bands lie apart, in nepers, averaged over stretches.

    Fine log spectra that a model is unsure of pull it below the truth's level;
    energies summed over `frames` spectra and a band pull it back.
    """
    size, hop = 2048, 512
    filters = _band_filters(size, bands).to(made.device)
    logs: list[Tensor] = []
    for audio in (made, true):
        power = _magnitude(audio, size, hop, size).square().transpose(1, 2)
        whole = power.shape[1] // frames * frames
        pooled = (power[:, :whole] @ filters).reshape(len(power), -1, frames, bands).mean(2)
        logs.append(0.5 * (pooled + BAND_FLOOR).log())
    return (logs[0] - logs[1]).abs().mean()


def level_error(made: MonoBatch, true: MonoBatch, samples: int = 4096) -> Float[Tensor, ""]:
    """Return how far the levels of stretches lie apart, in nepers.

    Spectra alone left a finisher that is unsure of them 5 dB too soft.
    """
    logs = [
        0.5
        * (
            audio[:, : audio.shape[1] // samples * samples]
            .reshape(len(audio), -1, samples)
            .square()
            .mean(2)
            + LEVEL_FLOOR
        ).log()
        for audio in (made, true)
    ]
    return (logs[0] - logs[1]).abs().mean()


def relative_error(made: MonoBatch, true: MonoBatch) -> Float[Tensor, ""]:
    """Return the waveform error's energy relative to the signal's, averaged over the batch."""
    energy = true.square().mean(1).clamp(min=1e-5)
    return ((made - true).square().mean(1) / energy).mean()


def snr_db(made: MonoBatch, true: MonoBatch) -> float:
    """Return the signal-to-noise ratio in dB over the whole batch."""
    noise = (made - true).square().sum().clamp(min=1e-12)
    return float(10 * torch.log10(true.square().sum().clamp(min=1e-12) / noise))


def _norm(spectrum: Tensor) -> Float[Tensor, " batch"]:
    return spectrum.square().sum((1, 2)).sqrt()


def _magnitude(audio: MonoBatch, size: int, hop: int, window: int) -> Tensor:
    spectrum = torch.stft(
        audio.float(),
        size,
        hop,
        window,
        _hann(window).to(audio.device),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()


@lru_cache(maxsize=4)
def _band_filters(size: int, bands: int) -> Float[Tensor, "bins bands"]:
    """Return rectangles that share out all bins, evenly on the ear's scale of pitch."""
    hz = torch.arange(size // 2 + 1) * (44_100 / size)
    place = (1 + hz / 700).log() / math.log(1 + 22_050 / 700) * bands
    index = place.long().clamp(max=bands - 1)
    return torch.nn.functional.one_hot(index, bands).float()


@lru_cache(maxsize=16)
def _hann(window: int) -> Tensor:
    return torch.hann_window(window)
