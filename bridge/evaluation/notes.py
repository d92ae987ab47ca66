"""How far given notes are played: frame by frame, onset by onset, drum by drum; and novelty.

From a transcriber's rolls and the written notes. Written notes are at samples of
`ANALYSIS_RATE` from the start of what was transcribed.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool

from bridge.evaluation.sound import FLUX_HOP, spectral_flux
from bridge.evaluation.transcriber import FRAME_RATE, LOWEST_PITCH, NUM_PITCHES, Roll
from bridge.figures import correlation
from bridge.ports import Mono, Note
from bridge.spectra import ANALYSIS_RATE

SOUNDING: Final = 0.3
BEGINNING: Final = 0.5
"""The transcriber's own thresholds for frames and onsets."""
ONSET_SECONDS: Final = 0.05
NOVEL_SECONDS: Final = 2.0
DRUM_SPREAD_SECONDS: Final = 0.02
DRUM_LATEST_SECONDS: Final = 0.05

Played = Bool[np.ndarray, "frames keys"]


def sounding(roll: Roll) -> Played:
    """Return which keys the transcriber hears."""
    return roll > SOUNDING


def written(notes: Sequence[Note], num_frames: int) -> Played:
    """Return which keys should sound in each frame; drums have none."""
    wanted: Played = np.zeros((num_frames, NUM_PITCHES), bool)
    for note in notes:
        row = note.pitch - LOWEST_PITCH
        if not note.is_drum and 0 <= row < NUM_PITCHES:
            first, end = (_frame(sample) for sample in (note.start_sample, note.end_sample))
            wanted[max(0, first) : max(0, first + 1, end), row] = True
    return wanted


def f1(found: Played, wanted: Played) -> float | None:
    """Return 2 hits / (found + wanted); None if nothing is wanted."""
    if not wanted.any():
        return None
    hits = np.count_nonzero(found & wanted)
    return 2 * hits / (np.count_nonzero(found) + np.count_nonzero(wanted))


def onset_f1(onsets: Roll, notes: Sequence[Note]) -> float | None:
    """Return F1 of beginnings within 50 ms of the written ones, each used once."""
    wanted = [
        (note.pitch - LOWEST_PITCH, note.start_sample / ANALYSIS_RATE * FRAME_RATE)
        for note in notes
        if not note.is_drum and 0 <= note.start_sample < len(onsets) * ANALYSIS_RATE / FRAME_RATE
    ]
    if not wanted:
        return None
    found = _peaks(onsets)
    free = [True] * len(found)
    hits = 0
    for key, frame in wanted:
        near = [
            (abs(at - frame), index)
            for index, (at, its_key) in enumerate(found)
            if free[index] and its_key == key and abs(at - frame) <= ONSET_SECONDS * FRAME_RATE
        ]
        if near:
            free[min(near)[1]] = False
            hits += 1
    return 2 * hits / (len(found) + len(wanted))


def drum_match(audio: Mono, notes: Sequence[Note]) -> float | None:
    """Return the correlation of the spectral flux with where drums are written; None without.

    The highest over delays up to 50 ms, one for the whole.
    """
    drums = [note for note in notes if note.is_drum]
    flux = spectral_flux(audio)
    frames = np.arange(flux.size) * FLUX_HOP / ANALYSIS_RATE
    bumps = np.zeros(flux.size)
    for note in drums:
        distance = frames - note.start_sample / ANALYSIS_RATE
        bumps += note.velocity / 127 * np.exp(-0.5 * np.square(distance / DRUM_SPREAD_SECONDS))
    if bumps.sum() < 1:
        return None
    latest = round(DRUM_LATEST_SECONDS * ANALYSIS_RATE / FLUX_HOP)
    return max(correlation(flux[late:], bumps[: bumps.size - late]) for late in range(latest + 1))


def novelty(result: Played, prime: Played) -> float | None:
    """Return how little of what is played was played in the prime before, 0 to 1.

    One minus the highest F1 of each stretch of 2 s with any stretch of the prime, over
    all lags; the mean over stretches. The same notes in another order are new.
    """
    length = round(NOVEL_SECONDS * FRAME_RATE)
    stretches = [
        result[at : at + length]
        for at in range(0, len(result) - length + 1, length // 2)
        if result[at : at + length].any()
    ]
    if not stretches or len(prime) < length:
        return None
    return 1 - float(np.mean([_best_f1(stretch, prime) for stretch in stretches]))


def _best_f1(part: Played, whole: Played) -> float:
    size = len(whole) + len(part)
    product = np.fft.rfft(whole, size, axis=0) * np.fft.rfft(part, size, axis=0).conj()
    places = len(whole) - len(part) + 1
    hits = np.fft.irfft(product.sum(axis=1), size)[:places]
    counts = np.cumsum(np.concatenate([[0], whole.sum(axis=1)]))
    total = counts[len(part) :] - counts[:places] + np.count_nonzero(part)
    return float(np.max(2 * hits / np.maximum(total, 1)))


def _peaks(onsets: Roll) -> list[tuple[int, int]]:
    padded = np.pad(onsets, ((1, 1), (0, 0)))
    is_peak = (onsets >= padded[:-2]) & (onsets > padded[2:]) & (onsets > BEGINNING)
    return [(int(at), int(key)) for at, key in np.argwhere(is_peak)]


def _frame(sample: int) -> int:
    return round(sample / ANALYSIS_RATE * FRAME_RATE)
