"""Spectra for measuring and drawing: mel bands, pitches, onsets, chroma, frame by frame.

All at 44.1 kHz with a frame every 1024 samples (23.2 ms), centred on its time, so
that frames of different kinds lie on one grid. Knows neither results nor models.
"""

from functools import cache
from math import log10
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from bridge.ports import Audio, Mono
from bridge.resample import to_model

ANALYSIS_RATE: Final = 44_100
HOP_SAMPLES: Final = 1024
FRAME_RATE: Final = ANALYSIS_RATE / HOP_SAMPLES
MEL_BANDS: Final = 80
MEL_WINDOW: Final = 2048
PITCH_WINDOW: Final = 4096
DRAWN_WINDOW: Final = 8192
DRAWN_PITCHES: Final = (24, 132)
LOWEST_PITCH: Final = 28
"""E1, the lowest string of a bass: 41 Hz."""
HIGHEST_PITCH: Final = 103
NUM_PITCHES: Final = HIGHEST_PITCH - LOWEST_PITCH + 1
SOUNDING_SHARE: Final = 0.3
SMOOTH_FRAMES: Final = 7
ONSET_FRAMES: Final = 3
ONSET_RANGE_DB: Final = 50.0
FLOOR_DB: Final = -80.0
"""Levels below this count as silent."""

_DRAWN_STEPS: Final = 3 * (DRAWN_PITCHES[1] - DRAWN_PITCHES[0]) + 1
_LOWEST_MEL_HZ: Final = 40.0
_HIGHEST_MEL_HZ: Final = 16_000.0
_HIGHEST_PARTIAL_HZ: Final = 5_000.0
_PARTIALS: Final = 12
_PARTIAL_DECAY: Final = 0.8
_ROUNDS: Final = 40
_LEAST_WEIGHT: Final = 0.1
_TINY: Final = 1e-12

Frames = Float64[np.ndarray, "frames bins"]
Mel = Float64[np.ndarray, "frames bands"]
Pitches = Float64[np.ndarray, "frames pitches"]
Sounding = Bool[np.ndarray, "frames pitches"]
Envelope = Float64[np.ndarray, " frames"]


def heard(audio: Audio, sample_rate: int) -> Mono:
    """Return the mid of the audio at the rate of analysis."""
    mid = audio.mean(axis=0, keepdims=True, dtype=np.float32)
    if sample_rate == ANALYSIS_RATE:
        return mid[0]
    return to_model(mid, sample_rate, ANALYSIS_RATE)[0]


def power(audio: Mono, window_samples: int, hop_samples: int = HOP_SAMPLES) -> Frames:
    """Return the power spectrum of each frame; a full-scale sine has the peak 1."""
    window = np.hanning(window_samples + 1)[:-1]
    half = window_samples // 2
    num_frames = max(1, -(-audio.size // hop_samples))
    padded = np.pad(audio.astype(np.float64), (half, half + hop_samples))
    starts = np.arange(num_frames) * hop_samples
    spectra = [
        np.abs(np.fft.rfft(padded[start : start + window_samples] * window)) for start in starts
    ]
    return np.square(np.stack(spectra) * (2 / window.sum()))


def mel_db(audio: Mono) -> Mel:
    """Return the level of each mel band in dB, not under -80 dB; a full-scale sine has about 0."""
    bands = power(audio, MEL_WINDOW) @ _mel_filters().T
    return np.maximum(10 * np.log10(bands + _TINY), FLOOR_DB)


def log_frequency_db(audio: Mono) -> Frames:
    """Return the level at each frequency of `log_frequencies_hz` in dB, for drawing."""
    level_db = 10 * np.log10(power(audio, DRAWN_WINDOW) + _TINY)
    hz = np.fft.rfftfreq(DRAWN_WINDOW, 1 / ANALYSIS_RATE)
    wanted = log_frequencies_hz()
    drawn: list[Envelope] = [np.interp(wanted, hz, frame) for frame in level_db]
    return np.maximum(np.stack(drawn), FLOOR_DB)


def log_frequencies_hz() -> Float64[np.ndarray, " bins"]:
    """Return frequencies from C1 (33 Hz) to 16.7 kHz, three a semitone."""
    return np.array([pitch_hz(DRAWN_PITCHES[0] + step / 3) for step in range(_DRAWN_STEPS)])


def pitch_activity(audio: Mono) -> Pitches:
    """Return how strongly each MIDI pitch from 28 on sounds, as an amplitude.

    Each magnitude spectrum up to 5 kHz is explained as a sum of harmonic
    series (non-negative, fixed templates; multiplicative updates for the
    Kullback-Leibler divergence: Lee and Seung 2001), so that an overtone of one
    note does not count as another note.
    """
    templates = _harmonic_templates()
    spectra = np.sqrt(power(audio, PITCH_WINDOW)[:, : templates.shape[1]])
    activity = np.full((len(spectra), len(templates)), float(spectra.mean()) + _TINY)
    weights = templates.sum(axis=1)
    for _ in range(_ROUNDS):
        explained = activity @ templates + _TINY
        activity *= (spectra / explained) @ templates.T / weights
    return activity


def sounding(activity: Pitches) -> Sounding:
    """Return which pitches sound: peaks over the pitches, smooth over time.

    A peak counts from 30 % of its frame's strongest on, and from -80 dB on.
    """
    half = SMOOTH_FRAMES // 2
    padded = np.pad(activity, ((half, half), (0, 0)), mode="edge")
    smooth = np.median(
        np.lib.stride_tricks.sliding_window_view(padded, SMOOTH_FRAMES, axis=0), axis=-1
    )
    beside = np.pad(smooth, ((0, 0), (1, 1)))
    is_peak = (smooth >= beside[:, :-2]) & (smooth >= beside[:, 2:])
    least = np.maximum(SOUNDING_SHARE * smooth.max(axis=1, keepdims=True), 10 ** (FLOOR_DB / 20))
    return is_peak & (smooth >= least)


def chroma(activity: Pitches) -> Float64[np.ndarray, "frames 12"]:
    """Return the activity by pitch class, C first."""
    classes: Int64[np.ndarray, " pitches"] = np.arange(LOWEST_PITCH, HIGHEST_PITCH + 1) % 12
    return np.stack([activity[:, classes == which].sum(axis=1) for which in range(12)], axis=1)


def onset_strength(activity: Pitches) -> Envelope:
    """Return how much louder the pitches became within three frames, in dB, as the mean of all.

    Levels under -50 dB of the loudest count as that, so that what rings on does
    not flutter. A noise raises all pitches: drums have onsets too.
    """
    level_db = 20 * np.log10(activity + _TINY)
    level_db = np.maximum(level_db, level_db.max() - ONSET_RANGE_DB)
    padded = np.pad(level_db, ((ONSET_FRAMES, 0), (0, 0)), mode="edge")
    return np.maximum(level_db - padded[: len(level_db)], 0.0).mean(axis=1)


def mel_band_hz() -> Float64[np.ndarray, " bands"]:
    """Return the middle of each mel band in Hz."""
    return _mel_edges()[1:-1]


def pitch_hz(pitch: float) -> float:
    """Return the frequency of a MIDI pitch in Hz."""
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def _mel_edges() -> Float64[np.ndarray, " edges"]:
    low, high = (2595 * log10(1 + hz / 700) for hz in (_LOWEST_MEL_HZ, _HIGHEST_MEL_HZ))
    mels = np.linspace(low, high, MEL_BANDS + 2)
    return 700 * (np.power(10.0, mels / 2595) - 1)


@cache
def _mel_filters() -> Float64[np.ndarray, "bands bins"]:
    edges = _mel_edges()
    hz = np.fft.rfftfreq(MEL_WINDOW, 1 / ANALYSIS_RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (hz - low) / (middle - low)
    falling = (high - hz) / (high - middle)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    # A band narrower than a bin hears the bin nearest to it.
    nearest = np.abs(hz - middle).argmin(axis=1)
    narrow = triangles.max(axis=1) < _LEAST_WEIGHT
    triangles[narrow, nearest[narrow]] = 1.0
    return triangles


@cache
def _harmonic_templates() -> Float64[np.ndarray, "pitches bins"]:
    hz = np.fft.rfftfreq(PITCH_WINDOW, 1 / ANALYSIS_RATE)
    hz = hz[: int(np.searchsorted(hz, _HIGHEST_PARTIAL_HZ))]
    templates = np.zeros((NUM_PITCHES, hz.size))
    for number, row in enumerate(templates):
        base = pitch_hz(LOWEST_PITCH + number)
        for partial in range(1, _PARTIALS + 1):
            if base * partial < _HIGHEST_PARTIAL_HZ:
                row += _PARTIAL_DECAY ** (partial - 1) * _line(hz, base * partial)
    return templates / np.linalg.norm(templates, axis=1, keepdims=True) + 1e-6


def _line(hz: Float64[np.ndarray, " bins"], at_hz: float) -> Float64[np.ndarray, " bins"]:
    """Return the magnitude of a Hann-windowed sine around its frequency."""
    bins = (hz - at_hz) * PITCH_WINDOW / ANALYSIS_RATE
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.sinc(bins) / (1 - np.square(bins))
    shape = np.where(np.abs(np.abs(bins) - 1) < 1e-6, 0.5, shape)
    return np.where(np.abs(bins) < 2, np.abs(shape), 0.0)
