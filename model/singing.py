"""When each lyric character is sung, from what one head attended to (`published.alignment`).

The most attended path that never goes back: characters may be passed over, time
may not. Knows arrays and text alone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

Attention = Float32[np.ndarray, "frames characters"]
Scores = Float[np.ndarray, "steps characters"]
Path = Int64[np.ndarray, " steps"]
Starts = Int64[np.ndarray, " characters"]

UNSUNG = -1
"""The time of a character that the music does not reach."""
_LEAST = 1e-4
"""What no attention at all counts as, relative to the average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SungWord:
    """A word of the lyrics as the model reads them; positions are frames."""

    text: str
    line: int
    """Which line of the lyrics it stands on, from 0."""
    start_frame: int
    end_frame: int
    """Where the next character after it begins."""
    character_frames: tuple[int, ...]
    """Where each of its characters begins."""


def character_starts(attention: Attention, step_frames: int) -> Starts:
    """Return the frame at which each character begins; `UNSUNG` where the music does not come.

    Args:
        attention: How much each frame attends to each character; rows need not sum to 1.
        step_frames: So many frames are taken together, which is how finely times can differ.
    """
    frames, characters = attention.shape
    if not frames or not characters:
        return _unsung(characters)
    path = monotone_path(_scores(_pooled(attention, step_frames)))
    starts = _unsung(characters)
    starts[path[0]] = 0
    for step in range(1, len(path)):
        before, here = int(path[step - 1]), int(path[step])
        # Characters passed over share the step that passed them.
        for place in range(before + 1, here + 1):
            share = (place - before) / (here - before)
            starts[place] = int((step - 1 + share) * step_frames)
    return starts


def monotone_path(scores: Scores) -> Path:
    """Return the character of each step, never going back, whose scores sum to the most."""
    steps, characters = scores.shape
    came = np.zeros((steps, characters), np.int64)
    best = scores[0].astype(np.float64)
    places: Path = np.arange(characters, dtype=np.int64)
    for step in range(1, steps):
        highest = np.maximum.accumulate(best)
        # Where the running maximum was last renewed; of equals the later one, which waits.
        came[step] = np.maximum.accumulate(np.where(best >= highest, places, 0))
        best = scores[step] + highest
    path = np.zeros(steps, np.int64)
    path[-1] = int(best.argmax())
    for step in range(steps - 1, 0, -1):
        path[step - 1] = came[step, path[step]]
    return path


def words_of(text: str, starts: Starts, end_frame: int) -> tuple[SungWord, ...]:
    """Return the words of a text, those whose every character was reached, in order.

    Args:
        text: As the model reads it, a character a start.
        starts: From `character_starts`.
        end_frame: Where the music ends: no word lasts longer.
    """
    found: list[SungWord] = []
    for first, last in _spans(text):
        times = starts[first:last]
        if (times == UNSUNG).any():
            continue
        after = int(starts[last]) if last < len(starts) else UNSUNG
        end = end_frame if after == UNSUNG else after
        found.append(
            SungWord(
                text=text[first:last],
                line=text.count("\n", 0, first),
                start_frame=int(times[0]),
                end_frame=max(int(times[-1]), min(end, end_frame)),
                character_frames=tuple(int(time) for time in times),
            )
        )
    return tuple(found)


def _unsung(characters: int) -> Starts:
    starts: Starts = np.full(characters, UNSUNG, np.int64)
    return starts


def _spans(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    first: int | None = None
    for place, character in enumerate(f"{text} "):
        if character.isspace():
            if first is not None:
                spans.append((first, place))
            first = None
        elif first is None:
            first = place
    return spans


def _pooled(attention: Attention, step_frames: int) -> Scores:
    frames, characters = attention.shape
    padded = np.pad(attention, ((0, -frames % step_frames), (0, 0)))
    return padded.reshape(-1, step_frames, characters).mean(axis=1)


def _scores(pooled: Scores) -> Scores:
    """Return the logarithm of each step's share; a step that attends to nothing has no opinion."""
    total = pooled.sum(axis=1, keepdims=True)
    share = np.divide(pooled, total, out=np.full_like(pooled, 1 / pooled.shape[1]), where=total > 0)
    return np.log(share + _LEAST / pooled.shape[1])
