"""Conditions and plans in the model's own numbers: names become rows, bars become samples.

What the model cannot use is refused here, by name.
"""

from collections.abc import Sequence

import numpy as np

from bridge.errors import InvalidRequestError, NotFoundError, UnsupportedError
from bridge.model_info import ModelInfo
from bridge.ports import Conditions, MidiPart, Plan, PulsePoint, Quality, Section, StemKind
from model.conditioning.cues import ENERGY_DB, MOST_ONSETS
from model.conditioning.roll import DRUM_PROGRAM, NOTE_FIELDS
from model.values import (
    TARGETS,
    Echo,
    Known,
    Notes,
    Pulse,
    SamplingPlan,
    StemAudio,
    SuffixAudio,
)

UNLABELLED = 0
"""The row of a label that was not given; names follow from row 1 on."""
QUALITIES = (Quality.FAST, Quality.EXACT, Quality.TEACHER)


def known_of(conditions: Conditions, info: ModelInfo) -> Known:
    """Return conditions in the model's own numbers.

    Raises:
        InvalidRequestError: Curves without the bars that they count.
        NotFoundError: A label outside the vocabulary.
        UnsupportedError: A condition that this model cannot use, by name.
    """
    _refuse_unused(conditions, info.name)
    timing, midi, suffix = conditions.timing, conditions.midi, conditions.suffix
    pulse = conditions.pulse
    curves = conditions.curves_sample
    return Known(
        artist=_row_of("artist", conditions.labels.artist, info.artists),
        genre=_row_of("genre", conditions.labels.genre, info.genres),
        target=TARGETS.index(conditions.target),
        total_samples=0 if timing is None else timing.total_samples,
        offset_samples=0 if timing is None else timing.offset_samples,
        notes=notes_of(midi),
        notes_span=None if midi is None else (midi.start_sample, midi.end_sample),
        stems=stems_of(conditions),
        pulse=_pulse_of(pulse) if pulse else None,
        curves_sample=round(pulse[0].sample) if curves is None and pulse else curves or 0,
        energy=tuple(ENERGY_DB * (2 * value - 1) for value in conditions.energy_per_bar),
        density=tuple(MOST_ONSETS * value**2 for value in conditions.density_per_bar),
        suffix=None
        if suffix is None
        else SuffixAudio(start_sample=suffix.start_sample, samples=suffix.samples),
        echoes=echoes_of(conditions.sections),
    )


def echoes_of(sections: Sequence[Section]) -> tuple[Echo, ...]:
    """Return the sections whose name was there before, each with where that one began."""
    first: dict[str, int] = {}
    echoes: list[Echo] = []
    for section in sorted(sections, key=lambda section: section.start_sample):
        source = first.setdefault(section.name, section.start_sample)
        if source < section.start_sample and section.similarity > 0:
            echoes.append(
                Echo(
                    start_sample=section.start_sample,
                    end_sample=section.end_sample,
                    source_sample=source,
                    similarity=section.similarity,
                )
            )
    return tuple(echoes)


def _pulse_of(points: Sequence[PulsePoint]) -> Pulse:
    rows = [
        (point.sample, point.beat, point.bar, point.samples_per_beat, point.beats_per_bar)
        for point in points
    ]
    return Pulse(knots=np.array(rows, np.float64))


def stems_of(conditions: Conditions) -> tuple[StemAudio, ...]:
    """Return given stems in the model's own numbers."""
    return tuple(
        StemAudio(
            kind=TARGETS.index(stem.kind),
            start_sample=stem.start_sample,
            samples=stem.samples,
        )
        for stem in conditions.stems
    )


def sampling_plan_of(plan: Plan) -> SamplingPlan:
    """Return a plan in the model's words.

    Raises:
        UnsupportedError: A quality that this model has not, or guidance with one that it has.
    """
    if plan.quality not in QUALITIES:
        raise UnsupportedError(f"this model has no quality {plan.quality}")
    if plan.guidance != 1.0 and plan.quality is not Quality.FAST:
        raise UnsupportedError(
            f"guidance is {plan.guidance:g}, quality {plan.quality} can do 1 (off) only: it draws "
            "code by code, and each would be computed twice"
        )
    return SamplingPlan(
        seed=plan.seed,
        teacher=plan.quality is not Quality.FAST,
        exact=plan.quality is Quality.EXACT,
        variation=plan.variation,
        temperature=plan.temperature,
        guidance=plan.guidance,
        top_p=plan.top_p,
        top_k=plan.top_k,
        passes=plan.passes,
        reprise=plan.reprise,
    )


def _refuse_unused(conditions: Conditions, model: str) -> None:
    if conditions.lyrics is not None:
        raise UnsupportedError(f"the model {model} cannot use: lyrics")
    steering = {
        "suffix": conditions.suffix is not None,
        "energy": bool(conditions.energy_per_bar),
        "density": bool(conditions.density_per_bar),
        "sections": bool(conditions.sections),
    }
    names = [name for name, is_given in steering.items() if is_given]
    if names and (conditions.stems or conditions.target is not StemKind.MIX):
        raise UnsupportedError(
            f"the model {model} composes no notes for a part or beside stems, so it cannot use: "
            f"{', '.join(names)}"
        )
    for name in ("energy", "density"):
        if name in names and not conditions.pulse:
            raise InvalidRequestError(
                f"{name} is given bar by bar, and no tempo map says where bars are: 0 tempo "
                "changes, at least 1 is needed",
                field="target.tempo_map",
            )


def _row_of(what: str, name: str | None, words: tuple[str, ...]) -> int:
    if name is None:
        return UNLABELLED
    if name not in words:
        raise NotFoundError(
            f"the {what} {name[:80]!r} is unknown, {len(words)} are known: {', '.join(words)}"
        )
    return UNLABELLED + 1 + words.index(name)


def notes_of(midi: MidiPart | None) -> Notes:
    """Return notes in the model's own numbers; whose part each is stays open."""
    notes = () if midi is None else midi.notes
    rows = [
        (
            note.start_sample,
            note.end_sample,
            note.pitch,
            note.velocity,
            DRUM_PROGRAM if note.is_drum else note.program,
            0,
        )
        for note in notes
    ]
    return np.array(rows, np.int64).reshape(-1, len(NOTE_FIELDS))
