"""The finisher's raw material: harmonics of sounding notes, and noise.

Both are functions of the absolute sample on the anchor's grid, so that any cut
of the timeline gives the same samples. Knows nothing of networks.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from model.config import REGISTER_STARTS

TABLE_SAMPLES = 4096
SAMPLE_RATE = 44_100
HIGHEST_HZ = 18_000.0
ROLLOFF = 0.8
"""Amplitude of harmonic k is k ** -ROLLOFF; the filter shapes the rest."""
SILENT_GATE = 1e-3
"""A quieter gate makes no tone, in its frame alone, so that a cut changes nothing."""
REGISTERS = len(REGISTER_STARTS) + 1
BAND_EDGES_HZ = (700.0, 3000.0)
BANDS = 3
FILTER_TAPS = 127
NOISE_PERIOD = 1 << 20
NOISE_SEED = 20_201


@lru_cache(maxsize=1)
def wavetables() -> Float[Tensor, "pitches table"]:
    """Return one band-limited period for each MIDI pitch, of unit mean square."""
    tables = np.zeros((128, TABLE_SAMPLES), np.float32)
    for pitch in range(128):
        spectrum = np.zeros(TABLE_SAMPLES // 2 + 1, np.complex128)
        count = max(1, min(int(HIGHEST_HZ / pitch_hz(pitch)), TABLE_SAMPLES // 4))
        harmonic = np.arange(1, count + 1)
        # Schroeder phases keep the crest low, so that chords do not clip the network's range.
        phase = -np.pi * harmonic * (harmonic - 1) / count
        spectrum[1 : count + 1] = harmonic**-ROLLOFF * np.exp(1j * phase)
        period = np.fft.irfft(spectrum)
        tables[pitch] = period / np.sqrt(np.mean(period**2))
    return torch.as_tensor(tables)


def pitch_hz(pitch: int) -> float:
    """Return the frequency of a MIDI pitch, A4 = 440 Hz."""
    return 440.0 * 2 ** ((pitch - 69) / 12)


def harmonic_frames(
    gates: Float[Tensor, "batch frames pitches"], first_frame: int, *, size: int, hop: int
) -> Float[Tensor, "batch registers frames transform"]:
    """Return each register's tones under each frame's window; a gate is a pitch's amplitude.

    Within a frame the gate is constant: the overlap of windows makes the slope.
    """
    batch, frames, _ = gates.shape
    made = torch.zeros(batch, REGISTERS, frames, size)
    open_gates = gates.detach() * (gates.detach() > SILENT_GATE)
    sounding = [int(pitch) for pitch in torch.nonzero(open_gates.amax((0, 1))).flatten()]
    start = first_frame * hop - (size - hop) // 2
    times = np.arange(start, start + (frames - 1) * hop + size, dtype=np.int64)
    for pitch in sounding:
        wave = _wave(pitch, times).unfold(0, size, hop)
        register = sum(pitch >= lowest for lowest in REGISTER_STARTS)
        made[:, register].addcmul_(open_gates[:, :, pitch, None], wave)
    return made


def _wave(pitch: int, times: Int64[np.ndarray, " samples"]) -> Float[Tensor, " samples"]:
    # Less its floor, which is many times as fast as a remainder, and the same.
    cycles = times * (pitch_hz(pitch) / SAMPLE_RATE)
    index = ((cycles - np.floor(cycles)) * TABLE_SAMPLES).astype(np.int64)
    return wavetables()[pitch][torch.as_tensor(index)]


@lru_cache(maxsize=1)
def _noise() -> Float[Tensor, " samples"]:
    random = np.random.Generator(np.random.Philox(NOISE_SEED))
    return torch.as_tensor(random.standard_normal(NOISE_PERIOD, np.float32))


def noise_frames(
    frames: int, first_frame: int, *, size: int, hop: int
) -> Float[Tensor, "frames transform"]:
    """Return white noise under each frame's window; it repeats after 24 s."""
    start = first_frame * hop - (size - hop) // 2
    index = torch.arange(start, start + (frames - 1) * hop + size) % NOISE_PERIOD
    return _noise()[index].unfold(0, size, hop)


def band_filters() -> Float[Tensor, "bands 1 taps"]:
    """Return linear-phase filters for the bands between `BAND_EDGES_HZ`; they sum to a delay."""
    reach = FILTER_TAPS // 2
    taps = np.arange(-reach, reach + 1)
    lows = [
        np.sinc(2 * edge / SAMPLE_RATE * taps) * (2 * edge / SAMPLE_RATE) * np.hanning(FILTER_TAPS)
        for edge in BAND_EDGES_HZ
    ]
    whole = (taps == 0).astype(np.float64)
    bands = [lows[0], lows[1] - lows[0], whole - lows[1]]
    return torch.as_tensor(np.stack(bands)[:, None], dtype=torch.float32)
