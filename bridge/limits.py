"""What conditions and plans may hold, whatever the model and the wire.

Every refusal names the value, the limit and the unit. Knows no message.
"""

import math
from collections.abc import Sequence

from bridge.errors import InvalidRequestError, blaming
from bridge.ports import Conditions, LevelPlan, MidiPart, Note, Plan, PlanChange, Section, Timing
from bridge.request import MAX_NOTES

MAX_BARS_OF_CURVES = 4_096
MAX_SECTIONS = 256
MAX_TEXT_CHARACTERS = 20_000
MAX_ID_CHARACTERS = 128
MAX_LEVEL = 2
MAX_VOICES = 16
MAX_CHANGES = 4_096
MAX_PASSES = 64
MAX_POSITION_SAMPLES = 2**53
"""Either way from 0; hosts count in doubles, which are exact so far."""

PLAN_RANGES: tuple[tuple[str, float, float], ...] = (
    ("seed", 0, 2**64 - 1),
    ("variation", 0, 2**32 - 1),
    ("temperature", 0.01, 10.0),
    ("top_p", 0.001, 1.0),
    ("top_k", 0, 2**16),
    ("guidance", 0.0, 20.0),
    ("passes", 0, MAX_PASSES),
)
"""Field of `Plan`, its least and its greatest value; all without a unit."""

LEVEL_RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0.01, 10.0),
    ("top_p", 0.001, 1.0),
    ("top_k", 0, 2**16),
    ("hop_fraction", 0.0001, 1.0),
)
"""The same of `LevelPlan`."""

NOTE_RANGES: tuple[tuple[str, int, int], ...] = (
    ("pitch", 0, 127),
    ("velocity", 1, 127),
    ("program", 0, 127),
)


def check_plan(plan: Plan) -> None:
    """Refuse a plan that no sampler could follow.

    Raises:
        InvalidRequestError: A value outside `PLAN_RANGES`.
    """
    for name, least, greatest in PLAN_RANGES:
        with blaming(name):
            _check_range(name, getattr(plan, name), least, greatest)
    with blaming("finest_level"):
        _check_range("finest_level", plan.finest_level, 0, MAX_LEVEL)
    seen: set[int] = set()
    for index, level in enumerate(plan.levels):
        with blaming(f"levels[{index}]"):
            if level.level in seen:
                raise InvalidRequestError(f"level {level.level} is there twice, once is allowed")
            seen.add(level.level)
            _check_level(level)
    _check_changes(plan.changes)


def check_conditions(conditions: Conditions) -> None:
    """Refuse conditions that mean nothing, whatever the model.

    Raises:
        InvalidRequestError: A value outside its limits.
    """
    if conditions.midi is not None:
        with blaming("midi"):
            _check_midi(conditions.midi)
    if conditions.timing is not None:
        with blaming("timing"):
            _check_timing(conditions.timing)
    for name in ("energy_per_bar", "density_per_bar"):
        _check_curve(name, getattr(conditions, name))
    with blaming("sections"):
        check_count("sections", len(conditions.sections), MAX_SECTIONS)
    for index, section in enumerate(conditions.sections):
        with blaming(f"sections[{index}]"):
            _check_section(section)
    with blaming("lyrics"):
        check_count("characters of lyrics", len(conditions.lyrics or ""), MAX_TEXT_CHARACTERS)
    with blaming("blend"):
        _check_blend(conditions)


def _check_level(level: LevelPlan) -> None:
    _check_range("level", level.level, 0, MAX_LEVEL)
    for name, least, greatest in LEVEL_RANGES:
        value = getattr(level, name)
        if value is not None:
            _check_range(f"{name} of level {level.level}", value, least, greatest)


def _check_blend(conditions: Conditions) -> None:
    check_count("voices of a blend", len(conditions.blend), MAX_VOICES)
    labels = conditions.labels
    if conditions.blend and (labels.artist is not None or labels.genre is not None):
        raise InvalidRequestError(
            "a blend of artists and an artist or genre are given: choose one of the two"
        )
    for voice in conditions.blend:
        _check_range(f"weight of {voice.artist[:80]!r}", voice.weight, -10.0, 10.0)


def _check_midi(midi: MidiPart) -> None:
    check_count("MIDI notes", len(midi.notes), MAX_NOTES)
    _check_stretch("the MIDI part", midi.start_sample, midi.end_sample)
    for index, note in enumerate(midi.notes):
        _check_note(index, note)


def _check_note(index: int, note: Note) -> None:
    # Without a context each: there may be a hundred thousand of them.
    if note.end_sample <= note.start_sample:
        with blaming(f"notes[{index}].end_sample"):
            _check_stretch(f"MIDI note {index}", note.start_sample, note.end_sample)
    for name, least, greatest in NOTE_RANGES:
        if not least <= getattr(note, name) <= greatest:
            with blaming(f"notes[{index}].{name}"):
                what = f"{name} of MIDI note {index}"
                _check_range(what, getattr(note, name), least, greatest)


def _check_timing(timing: Timing) -> None:
    if not 0 <= timing.offset_samples < timing.total_samples:
        raise InvalidRequestError(
            f"the timing offset is {timing.offset_samples} samples, "
            f"allowed are 0 to less than the song's {timing.total_samples} samples"
        )


def _check_section(section: Section) -> None:
    _check_stretch(f"the section {section.name!r}", section.start_sample, section.end_sample)
    _check_range(f"similarity of the section {section.name!r}", section.similarity, 0.0, 1.0)


def _check_curve(name: str, values: Sequence[float]) -> None:
    with blaming(name):
        check_count(f"bars of {name}", len(values), MAX_BARS_OF_CURVES)
    for bar, value in enumerate(values):
        with blaming(f"{name}[{bar}]"):
            _check_range(f"{name} of bar {bar}", value, 0.0, 1.0)


def _check_stretch(what: str, start_sample: int, end_sample: int) -> None:
    if end_sample <= start_sample:
        raise InvalidRequestError(
            f"{what} ends at sample {end_sample}, it must end after its start, "
            f"sample {start_sample}"
        )


def _check_changes(changes: Sequence[PlanChange]) -> None:
    check_count("changes of the plan", len(changes), MAX_CHANGES)
    before = -1
    for index, change in enumerate(changes):
        with blaming(f"changes[{index}]"):
            if not before < change.from_sample <= MAX_POSITION_SAMPLES:
                raise InvalidRequestError(
                    f"a change of the plan holds from sample {change.from_sample}, "
                    f"allowed are {before + 1} to {MAX_POSITION_SAMPLES} samples"
                )
            _check_range("passes of a change", change.passes, 1, MAX_PASSES)
            before = change.from_sample


def check_position(what: str, sample: int) -> None:
    """Refuse a place that no timeline has.

    Raises:
        InvalidRequestError: Farther from 0 than `MAX_POSITION_SAMPLES`.
    """
    if abs(sample) > MAX_POSITION_SAMPLES:
        raise InvalidRequestError(
            f"the {what} starts at sample {sample}, "
            f"allowed are {-MAX_POSITION_SAMPLES} to {MAX_POSITION_SAMPLES} samples"
        )


def check_count(what: str, count: int, limit: int) -> None:
    """Refuse more things than the limit.

    Raises:
        InvalidRequestError: More than the limit.
    """
    if count > limit:
        raise InvalidRequestError(f"the request holds {count} {what}, the limit is {limit} {what}")


def _check_range(what: str, value: float, least: float, greatest: float) -> None:
    if not (math.isfinite(value) and least <= value <= greatest):
        raise InvalidRequestError(f"{what} is {value:g}, allowed are {least:g} to {greatest:g}")
