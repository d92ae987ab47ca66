"""What the manifest tells of one example: who wrote it, its notes, sections, bars and settings."""

from typing import Any

import numpy as np
from jaxtyping import Int16

from model.data.arrange import Arrangement
from model.data.dataset import STEM_KINDS
from model.data.score import BAR_QUARTERS

EXCERPT_SAMPLES = 1_058_400

Pcm = Int16[np.ndarray, "samples"]


def row_of(
    arrangement: Arrangement,
    settings: dict[str, float],
    place: tuple[str, int],
    stems: dict[str, Pcm],
    mix: Pcm,
) -> tuple[dict[str, Any], list[Pcm]]:
    """Return an example's row and the signals of its audio; `place` is its split and number."""
    score, (split, number) = arrangement.score, place
    signals = list(stems.values())
    alone = len(signals) == 1 and "noise_dbfs" not in settings
    row = {
        "name": f"{split}-{number:05d}",
        "work": score.work,
        "source_licence": score.licence,
        "composer": score.composer,
        "genre": score.genre,
        "tempo_bpm": round(arrangement.tempo_bpm, 3),
        "meter": score.meter,
        "num_samples": EXCERPT_SAMPLES,
        "mix_offset": 0 if alone else len(signals) * EXCERPT_SAMPLES,
        "stems": {kind: i * EXCERPT_SAMPLES for i, kind in enumerate(stems)},
        "programs": [part.program for part in arrangement.parts],
        "notes": _note_rows(arrangement),
        "sections": _section_rows(arrangement),
        "bars": _bar_rows(arrangement, signals[0] if alone else mix),
        "augmentation": {
            **settings,
            "transposition_semitones": arrangement.transposition_semitones,
            "start_quarters": arrangement.start_quarters,
            "volumes": [part.volume for part in arrangement.parts],
            "drum_kit": max((part.kit for part in arrangement.parts), default=0),
        },
        "split": split,
    }
    return row, signals if alone else [*signals, mix]


def _note_rows(arrangement: Arrangement) -> list[list[int]]:
    rows = [
        [*note, part.program, STEM_KINDS.index(part.kind)]
        for part in arrangement.parts
        for note in part.notes.tolist()
    ]
    return sorted(rows)


def _section_rows(arrangement: Arrangement) -> list[tuple[str, int, int]]:
    """Return name, start and end sample of the sections that the excerpt touches."""
    rows = [
        (
            section.name,
            arrangement.sample_of(section.start_quarters),
            arrangement.sample_of(section.end_quarters),
        )
        for section in arrangement.score.sections
    ]
    return [
        (name, max(0, start), min(end, EXCERPT_SAMPLES))
        for name, start, end in rows
        if start < EXCERPT_SAMPLES and end > 0
    ]


def _bar_rows(arrangement: Arrangement, mix: Pcm) -> list[tuple[int, float, float]]:
    """Return start sample, level in dBFS and onsets a quarter note of the excerpt's whole bars."""
    bar = BAR_QUARTERS[arrangement.score.meter]
    starts = np.concatenate([part.notes[:, 0] for part in arrangement.parts])
    rows: list[tuple[int, float, float]] = []
    quarters = arrangement.start_quarters
    while (end := arrangement.sample_of(quarters + bar)) <= EXCERPT_SAMPLES:
        first = arrangement.sample_of(quarters)
        level = float(np.sqrt(np.mean(np.square(mix[first:end] / 32768.0))))
        onsets = int(np.count_nonzero((starts >= first) & (starts < end)))
        energy_dbfs = float(20 * np.log10(max(level, 1e-6)))
        rows.append((first, round(energy_dbfs, 2), round(onsets / bar, 3)))
        quarters += bar
    return rows
