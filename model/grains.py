"""Stretches of a recording, one after the other, joined without a click.

A row of the table says from which sample on which stretch sounds: it comes in over
`FADE_SAMPLES`, while the one before goes out. Every sample depends on the rows
around it alone, so any cut gives the same samples. Knows no music.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

Mono = Float32[np.ndarray, " samples"]
Rows = Int64[np.ndarray, "stretches entries"]
"""Fields: where it begins; the sample of the recording that sounds there, -1 for another
source; its gain and the likeness of both sides of the join, in thousandths."""
START, SOURCE, GAIN, LIKENESS = range(4)
FADE_SAMPLES = 1024
STRAY_SAMPLES = 256
BEFORE_SAMPLES = 1024
THOUSAND = 1000


def no_rows() -> Rows:
    """Return the table of a timeline in which nothing sounds again."""
    return np.zeros((0, 4), np.int64)


def alignment(audio: Mono, outgoing: int, source: int) -> tuple[int, float]:
    """Return how far to move a source so that it lies best on what it follows, and how like it is.

    Compared are the samples before the join and, as far as they are there, under it. The
    likeness is the normalised correlation, 0 to 1, as in WSOLA (Verhelst and Roelands 1993).
    """
    first = max(0, outgoing - BEFORE_SAMPLES)
    here = audio[first : outgoing + FADE_SAMPLES].astype(np.float64)
    least = max(0, source - (outgoing - first) - STRAY_SAMPLES)
    there = audio[least : source - (outgoing - first) + len(here) + STRAY_SAMPLES]
    there = there.astype(np.float64)
    if not len(here) or len(there) < len(here):
        return 0, 0.0
    products = np.correlate(there, here, "valid")
    powers = np.concatenate([[0.0], np.cumsum(there**2)])
    norms = np.sqrt((powers[len(here) :] - powers[: -len(here)]) * (here**2).sum())
    likeness = products / np.maximum(norms, 1e-9)
    best = int(likeness.argmax())
    moved = least + best + (outgoing - first) - source
    return moved, float(np.clip(likeness[best], 0, 1))


def sounded(
    rows: Rows, audio: Mono, audio_start: int, span: tuple[int, int]
) -> tuple[Float32[np.ndarray, " span"], Float32[np.ndarray, " span"]]:
    """Return a span of samples, and how much of another source belongs under each (0: none).

    Before the first row, and in rows without a source, all is the other source's.
    """
    begin, end = span
    made = np.zeros(end - begin)
    other = np.zeros(end - begin)
    starts = rows[:, START]
    nearest = max(0, int(np.searchsorted(starts, begin)) - 2)
    beyond = int(np.searchsorted(starts, end))
    for index in range(-1 if nearest == 0 else nearest, beyond):
        first = begin if index < 0 else int(starts[index])
        last = int(starts[index + 1]) + FADE_SAMPLES if index + 1 < len(rows) else end
        first, last = max(begin, first), min(end, last)
        if first >= last:
            continue
        at = np.arange(first, last)
        gain = _shape(rows, index, at)
        if index < 0 or int(rows[index, SOURCE]) < 0:
            other[first - begin : last - begin] += gain
        else:
            source = int(rows[index, SOURCE]) - int(starts[index]) - audio_start
            loud = gain * int(rows[index, GAIN]) / THOUSAND
            made[first - begin : last - begin] += loud * audio[source + first : source + last]
    return made.astype(np.float32), other.astype(np.float32)


def _shape(rows: Rows, index: int, at: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Return a stretch's gain: in over its own fade, out over the next one's, 1 between."""
    gain = np.ones(len(at))
    for fading, shape in ((index, np.sin), (index + 1, np.cos)):
        if 0 <= fading < len(rows):
            begun = int(rows[fading, START]) - int(at[0])
            under = slice(max(0, begun), max(0, begun + FADE_SAMPLES))
            gain[under] *= _faded(rows, fading, at[under], shape)
    return gain


def _faded(
    rows: Rows, index: int, at: Int64[np.ndarray, " n"], shape: np.ufunc
) -> Float64[np.ndarray, " n"]:
    """Return one side of a fade whose sum has constant power for sides as like as the row says."""
    turn = np.clip((at - rows[index, START] + 0.5) / FADE_SAMPLES, 0, 1) * np.pi / 2
    likeness = int(rows[index, LIKENESS]) / THOUSAND
    inside: Bool[np.ndarray, " n"] = (turn > 0) & (turn < np.pi / 2)
    power = 1 + np.where(inside, 2 * likeness * np.sin(turn) * np.cos(turn), 0.0)
    return shape(turn) / np.sqrt(power)
