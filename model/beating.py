"""The beat of a recording whose tempo nobody told, from how its spectrum rises.

Where rises come back after a lag, twice and four times that lag, the lag is the beat
(autocorrelation of spectral flux with a comb, as in Ellis 2007). Knows samples alone.
"""

import numpy as np
from jaxtyping import Float64

from model.values import Mono, Pulse, steady_pulse

SAMPLE_RATE = 44_100
HOP_SAMPLES = 256
WINDOW_SAMPLES = 1024
BANDS = 32
LAG_SECONDS = (0.3, 1.0)
LAG_STEP = 0.25
USUAL_SECONDS = 0.5
OCTAVES = 1.2
"""The spread of usual beats: a lag an octave from the usual one must be clearer."""
SHORTEST_SECONDS = 2.0
NOT_SILENT = 1e-4


def found_pulse(audio: Mono) -> Pulse | None:
    """Return the steady pulse that fits a recording best, samples counted from its first.

    None for less than 2 s, and for silence.
    """
    if len(audio) < SHORTEST_SECONDS * SAMPLE_RATE:
        return None
    flux = rising(audio)
    if float(flux.max()) <= NOT_SILENT:
        return None
    flux = flux - flux.mean()
    lag = _lag(flux)
    phases = np.arange(0, lag, 1.0)
    places = phases[:, None] + lag * np.arange(int(len(flux) / lag) - 1)
    strength = _at(flux, places.ravel()).reshape(places.shape).mean(1)
    first = phases[int(strength.argmax())] * HOP_SAMPLES + WINDOW_SAMPLES // 2
    pulse = steady_pulse(lag * HOP_SAMPLES, 4.0)
    knots = pulse.knots.copy()
    knots[0, 0] = first
    return Pulse(knots=knots)


def rising(audio: Mono) -> Float64[np.ndarray, " frames"]:
    """Return how much the bands of the spectrum rise from one frame to the next."""
    windows = np.lib.stride_tricks.sliding_window_view(audio, WINDOW_SAMPLES)[::HOP_SAMPLES]
    powers = np.abs(np.fft.rfft(windows * np.hanning(WINDOW_SAMPLES))) ** 2
    edges = sorted({int(powers.shape[1] ** (band / BANDS)) for band in range(BANDS)})
    bands = np.log(np.add.reduceat(powers, edges, axis=1) + 1e-3)
    return np.maximum(np.diff(bands, axis=0, prepend=bands[:1]), 0).mean(1)


def _lag(flux: Float64[np.ndarray, " frames"]) -> float:
    """Return the beat in frames, between them where the correlation has its top."""
    size = 2 * len(flux)
    spectrum = np.fft.rfft(flux, size)
    likeness = np.fft.irfft(np.abs(spectrum) ** 2, size)[: len(flux)]
    likeness = likeness / (len(flux) - np.arange(len(flux)))
    least, most = (seconds * SAMPLE_RATE / HOP_SAMPLES for seconds in LAG_SECONDS)
    lags: Float64[np.ndarray, " lags"] = np.arange(least, most, LAG_STEP, dtype=np.float64)
    usual = USUAL_SECONDS * SAMPLE_RATE / HOP_SAMPLES
    weight = np.exp(-0.5 * (np.log2(lags / usual) / OCTAVES) ** 2)
    comb = sum((_at(likeness, times * lags) for times in (1, 2, 4)), np.zeros(len(lags)))
    return float(lags[int((weight * comb).argmax())])


def _at(
    likeness: Float64[np.ndarray, " frames"], lags: Float64[np.ndarray, " lags"]
) -> Float64[np.ndarray, " lags"]:
    """Return values between frames, 0 after the last."""
    places = np.arange(len(likeness), dtype=np.float64)
    return np.asarray(np.interp(lags, places, likeness, right=0.0), np.float64)
