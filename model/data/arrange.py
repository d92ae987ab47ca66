"""How a score sounds: which parts, which programs, tempo, key, touch; notes in samples.

Knows no synthesiser: what comes out are notes at sample positions with programs.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from model.data.dataset import DRUM_PROGRAM, SAMPLE_RATE
from model.data.programs import choose_program, stem_kind
from model.data.score import BAR_QUARTERS, Part, Score, ScoreNote

RENDER_GRID_SAMPLES = 64
SOLO_SHARE = 0.4
PEDAL_SHARE = 1 / 3
_PIANOS = range(6)
MIN_NOTES = 8
_LONGEST_REST = 1 / 3
_MAX_PARTS = 5
_POLYPHONIC_ROLE = "keyboard"
_DRUM_KITS = (0, 0, 0, 8, 16, 24, 25, 32, 40)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SoundingPart:
    """A part as it will be played; rows are start_sample, end_sample, pitch, velocity.

    `volume` is the value of MIDI controller 7; `kit` the drum kit if `program` is 128.
    """

    kind: str
    program: int
    volume: int
    kit: int
    notes: Int64[np.ndarray, "notes 4"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrangement:
    """An excerpt ready to render; the tempo counts quarter notes a minute."""

    score: Score
    tempo_bpm: float
    start_quarters: float
    transposition_semitones: int
    parts: tuple[SoundingPart, ...]

    def sample_of(self, quarters: float) -> int:
        """Return the sample at which a place of the score lies in the excerpt."""
        return round((quarters - self.start_quarters) * 60 / self.tempo_bpm * SAMPLE_RATE)

    def is_full(self, num_samples: int) -> bool:
        """Return whether there are notes enough, without a rest of a third of the excerpt."""
        notes = np.concatenate([part.notes for part in self.parts] or [np.zeros((0, 4), int)])
        starts = np.sort(notes[:, 0])
        ends = np.maximum.accumulate(notes[np.argsort(notes[:, 0], kind="stable"), 1])
        rests = np.append(starts, num_samples) - np.insert(ends, 0, 0)
        return len(notes) >= MIN_NOTES and int(rests.max()) < num_samples * _LONGEST_REST


def arrange(rng: np.random.Generator, score: Score, num_samples: int) -> Arrangement:
    """Return a random arrangement of a random excerpt `num_samples` long."""
    tempo_bpm = float(np.clip(score.tempo_bpm * rng.uniform(0.85, 1.15), 45, 200))
    span = num_samples / SAMPLE_RATE * tempo_bpm / 60
    start = _excerpt_start(rng, score, span)
    chosen = _choose_parts(rng, score)
    shift = _transposition(rng, chosen)
    timeline = _Timeline(start, span, tempo_bpm, num_samples)
    lowest = min(chosen, key=_sounding_height)
    ensemble = int(rng.integers(2**31))
    parts = [
        _perform(
            rng, part, timeline, shift, _voice(rng, part, score, (lowest, len(chosen)), ensemble)
        )
        for part in (_looped(p, score, start + span) for p in chosen)
    ]
    return Arrangement(
        score=score,
        tempo_bpm=tempo_bpm,
        start_quarters=start,
        transposition_semitones=shift,
        parts=tuple(part for part in parts if len(part.notes)),
    )


@dataclass(frozen=True, slots=True)
class _Timeline:
    start_quarters: float
    span_quarters: float
    tempo_bpm: float
    num_samples: int

    def sample(self, quarters: float) -> float:
        return (quarters - self.start_quarters) * 60 / self.tempo_bpm * SAMPLE_RATE


def _excerpt_start(rng: np.random.Generator, score: Score, span: float) -> float:
    last = score.length_quarters - span
    starts = [start for start in score.bar_starts if start <= last]
    return float(rng.choice(starts)) if starts else 0.0


def _looped(part: Part, score: Score, until: float) -> Part:
    """Return the part repeated from the top, in whole bars, until a short score suffices."""
    bar = BAR_QUARTERS[score.meter]
    period = max(bar, np.ceil(score.length_quarters / bar - 1e-6) * bar)
    times = int(np.ceil(until / period))
    notes = tuple(
        ScoreNote(n.onset_quarters + k * period, n.duration_quarters, n.pitch, n.velocity)
        for k in range(max(1, times))
        for n in part.notes
    )
    return Part(name=part.name, role=part.role, notes=notes)


def _choose_parts(rng: np.random.Generator, score: Score) -> list[Part]:
    parts = list(score.parts)
    if rng.random() < SOLO_SHARE:
        melodic = [part for part in parts if part.role != "drums"]
        if len(melodic) > 1 and rng.random() < 0.35:
            return [_merged(melodic)]
        return [parts[int(rng.integers(len(parts)))]]
    if len(parts) == 1:
        return parts
    count = int(rng.integers(2, min(_MAX_PARTS, len(parts)) + 1))
    if score.composer != "generated" and rng.random() < 0.6:
        count = min(_MAX_PARTS, len(parts))
    chosen = sorted(rng.permutation(len(parts))[:count].tolist())
    return [parts[index] for index in chosen]


def _merged(parts: list[Part]) -> Part:
    notes = sorted(
        (note for part in parts for note in part.notes),
        key=lambda note: (note.onset_quarters, note.pitch),
    )
    return Part(name="all", role=_POLYPHONIC_ROLE, notes=tuple(notes))


def _transposition(rng: np.random.Generator, parts: list[Part]) -> int:
    shift = int(rng.integers(-5, 6))
    pitches = [n.pitch for part in parts if part.role != "drums" for n in part.notes]
    if pitches and not (min(pitches) + shift >= 26 and max(pitches) + shift <= 100):
        return 0
    return shift


def _sounding_height(part: Part) -> float:
    return 128.0 if part.role == "drums" else part.mean_pitch()


def _voice(
    rng: np.random.Generator,
    part: Part,
    score: Score,
    company: tuple[Part, int],
    ensemble: int,
) -> SoundingPart:
    lowest, num_parts = company
    program = choose_program(rng, part, score.genre, ensemble)
    is_lowest = part.name == lowest.name and num_parts >= 3
    return SoundingPart(
        kind=stem_kind(program, is_lowest=is_lowest, mean_pitch=part.mean_pitch()),
        program=program,
        volume=int(rng.integers(80, 120)),
        kit=int(rng.choice(_DRUM_KITS)) if program == DRUM_PROGRAM else 0,
        notes=np.zeros((0, 4), np.int64),
    )


def _perform(
    rng: np.random.Generator, part: Part, timeline: _Timeline, shift: int, voice: SoundingPart
) -> SoundingPart:
    """Return the voice with the part's notes as a player with a touch of their own has them."""
    end = timeline.start_quarters + timeline.span_quarters
    heard = [
        note
        for note in part.notes
        if note.onset_quarters < end
        and note.onset_quarters + note.duration_quarters > timeline.start_quarters
    ]
    drums, pedal = voice.program == DRUM_PROGRAM, _pedal_quarters(rng, voice.program)
    jitter = rng.normal(0, 0.002 if drums else 0.004, len(heard)) * SAMPLE_RATE
    velocities = _velocities(rng, heard)
    rows = [
        _row(_pedalled(note, pedal), timeline, late, (0 if drums else shift, velocity))
        for note, late, velocity in zip(heard, jitter, velocities, strict=True)
    ]
    return SoundingPart(
        kind=voice.kind,
        program=voice.program,
        volume=voice.volume,
        kit=voice.kit,
        notes=_without_overlaps(rows, timeline.num_samples),
    )


def _pedal_quarters(rng: np.random.Generator, program: int) -> float:
    """Return how often the sustain pedal is changed, 0 where it is never down."""
    if program not in _PIANOS or rng.random() >= PEDAL_SHARE:
        return 0.0
    return float(rng.choice([1.0, 2.0, 2.0, 4.0]))


def _pedalled(note: ScoreNote, pedal_quarters: float) -> ScoreNote:
    """Return a note that sounds on until the pedal is changed."""
    if not pedal_quarters:
        return note
    end = note.onset_quarters + note.duration_quarters
    up = np.ceil(end / pedal_quarters - 1e-6) * pedal_quarters
    return replace(note, duration_quarters=float(up) - note.onset_quarters)


def _velocities(rng: np.random.Generator, notes: list[ScoreNote]) -> list[int]:
    """Return velocities: a level, a slow swell, accents on whole quarters, and chance."""
    level, depth = rng.uniform(-22, 22), rng.uniform(0, 14)
    period, phase, accent = rng.uniform(6, 24), rng.uniform(0, 6.28), rng.uniform(0, 10)
    chance = rng.normal(0, 5, len(notes))
    raw = (
        note.velocity
        + level
        + depth * np.sin(6.2832 * note.onset_quarters / period + phase)
        + accent * (note.onset_quarters % 1 == 0)
        + late
        for note, late in zip(notes, chance, strict=True)
    )
    return [int(np.clip(value, 24, 124)) for value in raw]


def _row(
    note: ScoreNote, timeline: _Timeline, late: float, pitch_and_velocity: tuple[int, int]
) -> tuple[int, int, int, int]:
    shift, velocity = pitch_and_velocity
    start = timeline.sample(note.onset_quarters)
    end = timeline.sample(note.onset_quarters + note.duration_quarters) + late * 0.5
    start = start + late if note.onset_quarters > timeline.start_quarters else start
    return _on_grid(max(0.0, start)), _on_grid(end), note.pitch + shift, velocity


def _on_grid(sample: float) -> int:
    return round(sample / RENDER_GRID_SAMPLES) * RENDER_GRID_SAMPLES


def _without_overlaps(
    rows: list[tuple[int, int, int, int]], num_samples: int
) -> Int64[np.ndarray, "notes 4"]:
    """Return rows in time order, none too short to sound, none overlapping its own pitch."""
    shortest, following, kept = 8 * RENDER_GRID_SAMPLES, dict[int, int](), list[list[int]]()
    for start, end, pitch, velocity in sorted(rows, reverse=True):
        end = min(max(end, start + shortest), following.get(pitch, num_samples), num_samples)
        if end - start >= shortest:
            kept.append([start, end, pitch, velocity])
            following[pitch] = start
    return np.array(kept[::-1], dtype=np.int64).reshape(-1, 4)
