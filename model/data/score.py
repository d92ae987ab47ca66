"""Scores as plain values: parts of notes in quarter notes, and their JSON files.

Knows neither where a score came from nor how it will sound.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BAR_QUARTERS = {
    "2/4": 2.0,
    "3/4": 3.0,
    "4/4": 4.0,
    "2/2": 4.0,
    "3/2": 6.0,
    "4/2": 8.0,
    "6/4": 6.0,
    "3/8": 1.5,
    "6/8": 3.0,
    "7/8": 3.5,
    "9/8": 4.5,
    "12/8": 6.0,
}


@dataclass(frozen=True, slots=True)
class ScoreNote:
    """One written note; onset and duration in quarter notes."""

    onset_quarters: float
    duration_quarters: float
    pitch: int
    velocity: int = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One line of a score; `role` is what it does (voice, melody, bass, chords, drums, ...)."""

    name: str
    role: str
    notes: tuple[ScoreNote, ...]

    def mean_pitch(self) -> float:
        """Return the mean MIDI pitch."""
        return sum(note.pitch for note in self.notes) / max(1, len(self.notes))


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of the form, in quarter notes; sections of one name are the same music."""

    name: str
    start_quarters: float
    end_quarters: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A work as notes; the tempo counts quarter notes a minute."""

    work: str
    composer: str
    genre: str
    licence: str
    tempo_bpm: float
    meter: str
    bar_starts: tuple[float, ...]
    length_quarters: float
    parts: tuple[Part, ...]
    sections: tuple[Section, ...] = ()
    """Of generated pieces; nobody marked those of written ones."""


def save_score(score: Score, path: Path) -> None:
    """Write a score as JSON."""
    table = asdict(score)
    for row, part in zip(table["parts"], score.parts, strict=True):
        row["notes"] = [
            [note.onset_quarters, note.duration_quarters, note.pitch, note.velocity]
            for note in part.notes
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table), encoding="utf-8")


def load_score(path: Path) -> Score:
    """Return the score that `save_score` wrote."""
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    parts = tuple(
        Part(name=row["name"], role=row["role"], notes=tuple(ScoreNote(*n) for n in row["notes"]))
        for row in table.pop("parts")
    )
    bar_starts = tuple(table.pop("bar_starts"))
    sections = tuple(Section(**row) for row in table.pop("sections", ()))
    return Score(parts=parts, bar_starts=bar_starts, sections=sections, **table)
