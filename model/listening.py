"""What a recording sounds like, step by step: log spectra on a musical frequency axis.

A step is as long as a composer's. Its spectra look back only, so a step is
final as soon as its last sample is there, and the same however the audio
arrives. Fine bins tell partials apart, broad ones tell colour, two short looks
tell an attack from what is held. Knows nothing of networks.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

STEP_SAMPLES = 2048
LONG_SAMPLES = 6144
TRANSFORM_SAMPLES = 8192
SHORT_SAMPLES = 1024
SAMPLE_RATE = 44_100
FIRST_PITCH = 24
PITCH_BINS = 84
BINS_A_PITCH = 3
FINE_BINS = PITCH_BINS * BINS_A_PITCH
HIGH_BANDS = 16
SHORT_BANDS = 24
HIGHEST_HZ = 18_000.0
FEATURES = FINE_BINS + HIGH_BANDS + 2 * SHORT_BANDS
BEFORE_SAMPLES = LONG_SAMPLES - STEP_SAMPLES
"""How far before its own start a step listens."""
QUIET = 1e-5
CENTRE, SPREAD = -8.0, 3.0
"""Roughly the mean and deviation of log magnitudes in music, so that features are near 0 and 1."""


def step_spectra(audio: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch steps features"]:
    """Return a row for each whole step; the first `BEFORE_SAMPLES` samples are only looked at."""
    long = audio.unfold(1, LONG_SAMPLES, STEP_SAMPLES)
    spectrum = _magnitude(long, TRANSFORM_SAMPLES)
    steps = long.shape[1]
    own = audio[:, BEFORE_SAMPLES : BEFORE_SAMPLES + steps * STEP_SAMPLES]
    short = own.reshape(len(audio), steps, 2, SHORT_SAMPLES)
    parts = [
        spectrum[..., : len(_fine_bins())] @ _fine_bins(),
        spectrum @ _bands(TRANSFORM_SAMPLES, HIGH_BANDS, 3000.0),
        (_magnitude(short, SHORT_SAMPLES) @ _bands(SHORT_SAMPLES, SHORT_BANDS, 60.0)).flatten(2),
    ]
    return ((torch.cat(parts, dim=-1) + QUIET).log() - CENTRE) / SPREAD


def _magnitude(frames: Float[Tensor, "*axes samples"], size: int) -> Float[Tensor, "*axes bins"]:
    window = torch.hann_window(frames.shape[-1])
    spectrum = torch.fft.rfft(frames * window, size)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - torch types no FFT
    return torch.abs(spectrum) * (2 / frames.shape[-1])  # pyright: ignore[reportUnknownArgumentType] - as above


@lru_cache(maxsize=1)
def _fine_bins() -> Float[Tensor, "bins fine"]:
    """Return triangles a third of a semitone apart, never narrower than the transform resolves.

    Bins above the highest one weigh nothing, and are left out.
    """
    places = FIRST_PITCH + (np.arange(FINE_BINS) - 1) / BINS_A_PITCH
    centres = 440.0 * 2 ** ((places - 69) / 12)
    widths = np.maximum(centres * (2 ** (1 / (12 * BINS_A_PITCH)) - 1), _hz(TRANSFORM_SAMPLES))
    weights = _triangles(TRANSFORM_SAMPLES, centres, widths)
    return weights[: int(weights.any(1).nonzero().max()) + 1].contiguous()


@lru_cache(maxsize=2)
def _bands(size: int, count: int, lowest_hz: float) -> Float[Tensor, "bins bands"]:
    edges = np.geomspace(lowest_hz, HIGHEST_HZ, count)
    widths = np.maximum(edges * (edges[1] / edges[0] - 1), _hz(size))
    return _triangles(size, edges, widths)


def _triangles(
    size: int, centres: Float64[np.ndarray, " n"], widths: Float64[np.ndarray, " n"]
) -> Float[Tensor, "bins n"]:
    at = np.arange(size // 2 + 1) * _hz(size)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - centres) / widths)
    return torch.as_tensor(weights / np.maximum(weights.sum(0), 1e-9), dtype=torch.float32)


def _hz(size: int) -> float:
    return SAMPLE_RATE / size
