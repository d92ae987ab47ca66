"""What can be said of a result in numbers: notes, sound, copying, rhythm, key, noise.

Each figure is one function of the result and of what it had to fit, and one row
of `FIGURES` that says what it means. None of them is quality by itself: a beep
plays all notes, a loop has the prime's sound. They are read together, beside the
same figures of the toys. Knows no model and no file.

How far they separate, measured on seven renderings (organ, strings, voices, piano,
quartet, fiddle; piano with bass and pad): the first half as prime, means of seven.

    second half heard with    note_f1  rhythm  key_match  timbre_db  copy  noisiness
    its own score                 .68     .68        .66        4.0   .49        .10
    the score a semitone up       .01     .68
    the score 2 s late            .18     .34
    instead: another piece        .11     .20       -.28       12.2   .14        .11
    instead: the last bar         .21     .23        .81        3.2   .95        .10
    instead: a plain synth        .94     .86        .65       11.6   .33        .05
    instead: white noise          .10     .10        .02       23.6   .07       1.04

True renderings lie between .52 and .78 in `note_f1`, .30 (voices) and .87 in `rhythm`,
.20 and .87 (a figure that really repeats) in `copy_score`, .08 (a modulation) and .95
in `key_match`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float64

from bridge import spectra
from bridge.ports import Audio, Mono, Note
from bridge.spectra import ANALYSIS_RATE, FRAME_RATE, HOP_SAMPLES, Envelope, Mel, Sounding

SILENT_DBFS: Final = -60.0
SPLICE_SECONDS: Final = 0.5
"""How much on each side of the splice is compared for loudness."""
COPY_SECONDS: Final = 1.0
"""How long a stretch must be to count as copied."""
COPY_RANGE_DB: Final = 60.0
LATEST_ONSET_SECONDS: Final = 0.14
"""Slow attacks sound up to 123 ms after the note began."""
ONSET_SPREAD_SECONDS: Final = 0.03

_QUANTILES: Final = (0.1, 0.5, 0.9)
_HEARD_DB: Final = 50.0
_BAND_BINS: Final = 32
_NOISE_FLATNESS: Final = 0.5615
"""Geometric over arithmetic mean of a noise's periodogram: exp(-Euler's constant)."""
_NOISE_HZ: Final = (100.0, 5_000.0)
_TINY: Final = 1e-12
_LEAST_SPREAD: Final = 1e-3
"""Rounding alone makes a steady sound correlate with another; in dB squared."""


class Better(StrEnum):
    """Which way a figure should go."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table: how to measure, and how to read what comes out."""

    unit: str
    better: Better
    meaning: str
    measure: Callable[["Heard", "Heard"], float | None]
    """From the result and the prime; None where there is nothing to compare."""


class Heard:
    """Audio at the rate of analysis, its notes, and its spectra, each made once.

    Args:
        audio: The audio; its mid is heard.
        sample_rate: Its rate in Hz.
        start_sample: Its place on the timeline of the notes.
        notes: What should sound, at samples of `sample_rate`.
    """

    def __init__(
        self, audio: Audio, sample_rate: int, *, start_sample: int = 0, notes: tuple[Note, ...] = ()
    ) -> None:
        self.mono: Mono = spectra.heard(audio, sample_rate)
        end_sample = start_sample + audio.shape[1]
        self._per_frame = HOP_SAMPLES * sample_rate / ANALYSIS_RATE
        self._start_sample = start_sample
        self.notes = tuple(
            note
            for note in notes
            if note.start_sample < end_sample and note.end_sample > start_sample
        )

    @cached_property
    def mel(self) -> Mel:
        """Return the level of each mel band in dB."""
        return spectra.mel_db(self.mono)

    @cached_property
    def level_db(self) -> Envelope:
        """Return the level of each frame in dBFS."""
        padded = np.pad(self.mono.astype(np.float64), (0, -self.mono.size % HOP_SAMPLES))
        return 10 * np.log10(np.square(padded).reshape(-1, HOP_SAMPLES).mean(axis=1) + _TINY)

    @cached_property
    def activity(self) -> spectra.Pitches:
        """Return how strongly each pitch sounds."""
        return spectra.pitch_activity(self.mono)

    @cached_property
    def written(self) -> Sounding:
        """Return which pitches should sound in each frame; drums have none."""
        wanted: Sounding = np.zeros((len(self.activity), spectra.NUM_PITCHES), bool)
        for note in self.notes:
            row = note.pitch - spectra.LOWEST_PITCH
            if not note.is_drum and 0 <= row < spectra.NUM_PITCHES:
                first = max(0, round(self._frame_of(note.start_sample)))
                wanted[first : max(first + 1, round(self._frame_of(note.end_sample))), row] = True
        return wanted

    @cached_property
    def written_onsets(self) -> Envelope:
        """Return where notes begin, each as a bump of its velocity, 30 ms wide."""
        frames = np.arange(len(self.mel))
        bumps = np.zeros(len(frames))
        for note in self.notes:
            distance = (frames - self._frame_of(note.start_sample)) / FRAME_RATE
            bumps += note.velocity / 127 * np.exp(-0.5 * np.square(distance / ONSET_SPREAD_SECONDS))
        return bumps

    def _frame_of(self, sample: int) -> float:
        return (sample - self._start_sample) / self._per_frame


def measure(result: Heard, prime: Heard) -> dict[str, float | None]:
    """Return all figures of a result that goes on after the prime, by name."""
    return {name: figure.measure(result, prime) for name, figure in FIGURES.items()}


def note_f1(result: Heard, prime: Heard) -> float | None:
    """Return how far the pitches heard are those written, frame by frame.

    F1 over all pairs of frame and pitch: 2 hits / (heard + written).
    """
    del prime
    if not result.written.any():
        return None
    found = spectra.sounding(result.activity)
    hits = np.count_nonzero(found & result.written)
    return 2 * hits / (np.count_nonzero(found) + np.count_nonzero(result.written))


def timbre_distance(result: Heard, prime: Heard) -> float:
    """Return how far the mel bands' levels lie from those of the prime, in dB.

    Each is levelled to the same mean power; compared are the 10, 50 and 90 %
    quantiles over the frames, so that decay and density count beside colour.
    """
    difference = _profile(result.mel) - _profile(prime.mel)
    return float(np.sqrt(np.mean(np.square(difference))))


def copy_score(result: Heard, prime: Heard) -> float | None:
    """Return how far stretches of 1 s of the result are found again somewhere in the prime.

    The highest normalised cross-correlation of the mel spectrogram at any place
    of the prime; the upper quartile over the stretches, since those over the seam
    of a loop match nothing. Each band's mean within the stretch is removed, so
    that the same instruments alone do not correlate.
    """
    num_frames = round(COPY_SECONDS * FRAME_RATE)
    if min(len(result.mel), len(prime.mel)) < num_frames:
        return None
    least_db = max(result.mel.max(), prime.mel.max()) - COPY_RANGE_DB
    ours, theirs = np.maximum(result.mel, least_db), np.maximum(prime.mel, least_db)
    starts = range(0, len(ours) - num_frames + 1, num_frames // 2)
    return float(np.quantile([_best_match(ours[at:][:num_frames], theirs) for at in starts], 0.75))


def rhythm(result: Heard, prime: Heard) -> float | None:
    """Return how far what begins is heard where notes begin: the correlation of onset strengths.

    The highest over delays of 0 to 140 ms, one for the whole result.
    """
    del prime
    if not result.notes:
        return None
    heard = spectra.onset_strength(result.activity)
    latest = round(LATEST_ONSET_SECONDS * FRAME_RATE)
    wanted = result.written_onsets
    return max(
        correlation(heard[late:], wanted[: len(wanted) - late])
        for late in range(min(latest + 1, len(wanted)))
    )


def key_match(result: Heard, prime: Heard) -> float:
    """Return the correlation of how much each pitch class sounds in the result and in the prime."""
    ours, theirs = (spectra.chroma(heard.activity).mean(axis=0) for heard in (result, prime))
    return correlation(ours, theirs)


def loudness_jump(result: Heard, prime: Heard) -> float:
    """Return the change of level over the splice, half a second on each side, in dB, unsigned."""
    num_samples = round(SPLICE_SECONDS * ANALYSIS_RATE)
    before, after = (
        max(10 * np.log10(np.mean(np.square(side, dtype=np.float64)) + _TINY), spectra.FLOOR_DB)
        for side in (prime.mono[-num_samples:], result.mono[:num_samples])
    )
    return float(abs(after - before))


def silence_share(result: Heard, prime: Heard) -> float:
    """Return the share of frames under -60 dBFS."""
    del prime
    return float(np.mean(result.level_db < SILENT_DBFS))


def noisiness(result: Heard, prime: Heard) -> float | None:
    """Return how noise-like the spectrum is: 1 for noise of any colour, near 0 for steady tones.

    Spectral flatness within bands of 344 Hz from 100 Hz to 5 kHz, weighted by the
    root of each band's power, over the flatness of a noise.
    """
    del prime
    power = spectra.power(result.mono, spectra.PITCH_WINDOW)
    hz = np.fft.rfftfreq(spectra.PITCH_WINDOW, 1 / ANALYSIS_RATE)
    first, end = np.searchsorted(hz, _NOISE_HZ)
    end -= (end - first) % _BAND_BINS
    bands = power[:, first:end].reshape(len(power), -1, _BAND_BINS) + _TINY
    means = bands.mean(axis=2)
    flatness = np.exp(np.log(bands).mean(axis=2)) / means
    least = power.max() * 10 ** (-_HEARD_DB / 10) + _TINY
    weights = np.where(means > least, np.sqrt(means), 0.0)
    if not weights.any():
        return None
    return float((flatness * weights).sum() / weights.sum() / _NOISE_FLATNESS)


FIGURES: Final[Mapping[str, Figure]] = {
    "note_f1": Figure(
        unit="0 to 1",
        better=Better.HIGHER,
        meaning="the written notes are heard, and no others (frame-level F1)",
        measure=note_f1,
    ),
    "rhythm": Figure(
        unit="-1 to 1",
        better=Better.HIGHER,
        meaning="sounds begin where notes begin (correlation of onset strength)",
        measure=rhythm,
    ),
    "key_match": Figure(
        unit="-1 to 1",
        better=Better.HIGHER,
        meaning="the same pitch classes sound as in the prime (correlation of chroma)",
        measure=key_match,
    ),
    "timbre_distance_db": Figure(
        unit="dB",
        better=Better.LOWER,
        meaning="mel bands differ so much from those of the prime",
        measure=timbre_distance,
    ),
    "copy_score": Figure(
        unit="-1 to 1",
        better=Better.LOWER,
        meaning="stretches of 1 s are found again in the prime; a loop has about 1",
        measure=copy_score,
    ),
    "loudness_jump_db": Figure(
        unit="dB",
        better=Better.LOWER,
        meaning="the level changes so much at the splice",
        measure=loudness_jump,
    ),
    "silence_share": Figure(
        unit="0 to 1",
        better=Better.LOWER,
        meaning="so much of the time is under -60 dBFS",
        measure=silence_share,
    ),
    "noisiness": Figure(
        unit="0 to 1",
        better=Better.NEITHER,
        meaning="how like a noise it is: 1 for noise of any colour; to be near that of the prime",
        measure=noisiness,
    ),
}
"""All figures, in the order of the report."""


def _profile(mel: Mel) -> Float64[np.ndarray, "quantiles bands"]:
    """Return quantiles of the levels over frames, at a mean power of 0 dB, not under -80 dB."""
    mean_db = 10 * np.log10(np.mean(10 ** (mel / 10)))
    return np.maximum(np.quantile(mel, _QUANTILES, axis=0) - mean_db, spectra.FLOOR_DB)


def _best_match(part: Mel, whole: Mel) -> float:
    """Return the highest normalised correlation of a part with any stretch of the whole."""
    num_frames, num_places = len(part), len(whole) - len(part) + 1
    part = part - part.mean(axis=0)
    size = len(whole) + num_frames
    product = np.fft.rfft(whole, size, axis=0) * np.fft.rfft(part, size, axis=0).conj()
    dots = np.fft.irfft(product.sum(axis=1), size)[:num_places]
    sums = np.cumsum(np.pad(whole, ((1, 0), (0, 0))), axis=0)
    squares = np.cumsum(np.pad(np.square(whole).sum(axis=1), (1, 0)))
    means = (sums[num_frames:] - sums[:num_places]) / num_frames
    spread = squares[num_frames:] - squares[:num_places]
    spread -= num_frames * np.square(means).sum(axis=1)
    scale = np.sqrt(np.maximum(spread, 0.0) * np.square(part).sum())
    return float(np.max(np.where(scale > _LEAST_SPREAD, dots / np.maximum(scale, _TINY), 0.0)))


def correlation(first: Float64[np.ndarray, " n"], second: Float64[np.ndarray, " n"]) -> float:
    """Return the normalised correlation of two curves; 0 where one of them never changes."""
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    return float(first @ second) / scale if scale > _TINY else 0.0
