"""When lyrics are sung, as files: LRC with times of words, and markers for a DAW.

LRC is the format of karaoke players: `[mm:ss.xx]` before a line, `<mm:ss.xx>`
before a word. Times count from the result's first sample. Knows no model.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final

from bridge.errors import InvalidRequestError
from bridge.markers import Marker
from bridge.ports import TimedWord

MAX_LRC_BYTES: Final = 2**22
_TIME: Final = r"(\d{1,3}):(\d{2})\.(\d{2})"
_LINE: Final = re.compile(rf"\[{_TIME}\](.*)")
_WORD: Final = re.compile(rf"<{_TIME}>\s*([^<]*)")


def to_lrc(
    words: Sequence[TimedWord], start_sample: int, sample_rate: int, tags: Mapping[str, str]
) -> str:
    """Return words as LRC, to hundredths of a second.

    Args:
        words: In their order; positions on the session's timeline.
        start_sample: The session sample that is time 0.
        sample_rate: Of the session, in Hz.
        tags: Lines such as `[by:...]`, by name.
    """
    lines = [f"[{name}:{_flat(value)}]" for name, value in tags.items()]
    for _, line in groupby(words, key=lambda word: word.line):
        row = list(line)
        times = [_time(word.start_sample - start_sample, sample_rate) for word in row]
        sung = " ".join(f"<{time}> {word.text}" for time, word in zip(times, row, strict=True))
        end = _time(row[-1].end_sample - start_sample, sample_rate)
        lines.append(f"[{times[0]}] {sung} <{end}>")
    return "\n".join(lines) + "\n"


def from_lrc(text: str, sample_rate: int) -> tuple[TimedWord, ...]:
    """Return the words of an LRC file that `to_lrc` could have written, from sample 0 on.

    Raises:
        InvalidRequestError: Longer than `MAX_LRC_BYTES`.
    """
    if len(text) > MAX_LRC_BYTES:
        raise InvalidRequestError(
            f"the LRC has {len(text)} characters, the limit is {MAX_LRC_BYTES} characters"
        )
    found = (_LINE.match(line) for line in text.splitlines())
    lines = [match.group(4) for match in found if match is not None]
    return tuple(
        word for number, line in enumerate(lines) for word in _words(line, number, sample_rate)
    )


def markers_of(
    words: Sequence[TimedWord], start_sample: int, num_samples: int
) -> tuple[Marker, ...]:
    """Return a region for each word, from the result's first sample on."""
    return tuple(
        Marker(
            text=word.text,
            sample=word.start_sample - start_sample,
            num_samples=min(word.end_sample, start_sample + num_samples) - word.start_sample,
        )
        for word in words
        if 0 <= word.start_sample - start_sample < num_samples
    )


def read_lyrics(path: Path) -> str:
    """Return the text of a file of lyrics.

    Raises:
        InvalidRequestError: There is no such file, or it is no UTF-8.
    """
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"no lyrics can be read from {path}: {error}") from error


def _words(line: str, number: int, sample_rate: int) -> Iterator[TimedWord]:
    parts = [
        (_samples(match.groups()[:3], sample_rate), match.group(4).strip())
        for match in _WORD.finditer(line)
    ]
    for (start, text), (end, _) in pairwise(parts):
        yield TimedWord(text=text, line=number, start_sample=start, end_sample=end)


def _samples(time: Sequence[str], sample_rate: int) -> int:
    minutes, seconds, hundredths = map(int, time)
    return round((60 * minutes + seconds + hundredths / 100) * sample_rate)


def _time(samples: int, sample_rate: int) -> str:
    hundredths = max(0, round(100 * samples / sample_rate))
    seconds, hundredths = divmod(hundredths, 100)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes:02d}:{seconds:02d}.{hundredths:02d}"


def _flat(text: str) -> str:
    return " ".join(text.replace("]", ")").split())
