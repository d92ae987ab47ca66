"""Scores of the music21 corpus as plain note lists. Knows no licence and no split."""

from pathlib import Path
from typing import Any, cast

from music21 import converter  # pyright: ignore[reportMissingTypeStubs]
from music21.exceptions21 import Music21Exception  # pyright: ignore[reportMissingTypeStubs]

from model.data.errors import UnreadableScoreError
from model.data.score import BAR_QUARTERS, Part, Score, ScoreNote

DEFAULT_TEMPO_BPM = {
    "chorale": 76.0,
    "madrigal": 104.0,
    "quartet": 108.0,
    "piano": 108.0,
    "folk": 108.0,
    "song": 92.0,
    "orchestral": 104.0,
}
TEMPO_LIMITS_BPM = (50.0, 176.0)

# music21 has no types to speak of
_Stream = Any


def parse_score(path: Path, work: str, composer: str, genre: str, licence: str) -> Score:
    """Return the work in a corpus file.

    Raises:
        UnreadableScoreError: music21 fails on the file, or it holds no notes.
    """
    try:
        stream = _sounding_stream(path)
        parts = tuple(part for part in map(_part, stream.parts) if part.notes)
    except (Music21Exception, AttributeError, KeyError, IndexError, ValueError) as error:
        raise UnreadableScoreError(f"{work}: {type(error).__name__}: {error}") from error
    if not parts:
        raise UnreadableScoreError(f"{work}: no notes")
    first = stream.parts[0]
    return Score(
        work=work,
        composer=composer,
        genre=genre,
        licence=licence,
        tempo_bpm=_tempo_bpm(stream, genre),
        meter=_meter(first),
        bar_starts=tuple(float(bar.offset) for bar in first.getElementsByClass("Measure")),
        length_quarters=max(n.onset_quarters + n.duration_quarters for p in parts for n in p.notes),
        parts=parts,
    )


def _sounding_stream(path: Path) -> _Stream:
    stream: Any = cast(Any, converter).parse(path, forceSource=True)
    if "Opus" in stream.classes:
        stream = stream.mergeScores()
    return stream.toSoundingPitch()


def _part(stream: _Stream) -> Part:
    notes: list[ScoreNote] = []
    for element in stream.stripTies().flatten().notes:
        duration = float(element.quarterLength)
        if duration > 0 and "ChordSymbol" not in element.classes:
            notes += [
                ScoreNote(float(element.offset), duration, int(pitch.midi))
                for pitch in element.pitches
                if 21 <= pitch.midi <= 108
            ]
    notes.sort(key=lambda note: (note.onset_quarters, note.pitch))
    return Part(name=str(stream.partName or stream.id), role="voice", notes=tuple(notes))


def _tempo_bpm(stream: _Stream, genre: str) -> float:
    low, high = TEMPO_LIMITS_BPM
    for mark in stream.flatten().getElementsByClass("MetronomeMark"):
        quarters = mark.getQuarterBPM()
        if quarters and low <= quarters <= high:
            return float(quarters)
    return DEFAULT_TEMPO_BPM[genre]


def _meter(stream: _Stream) -> str:
    for signature in stream.flatten().getElementsByClass("TimeSignature"):
        if signature.ratioString in BAR_QUARTERS:
            return str(signature.ratioString)
    return "4/4"
