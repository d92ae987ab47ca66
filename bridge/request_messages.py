"""Requests on the wire to values and back: plan, target, conditions.

Refuses what no model could follow. Knows no socket, no engine and no model.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from fractions import Fraction

from bridge.errors import InvalidRequestError
from bridge.limits import check_conditions, check_count, check_plan
from bridge.messages import (
    decimal_of,
    number_of_kind,
    number_of_quality,
    quality_of,
    stem_kind_of,
)
from bridge.ports import (
    Conditions,
    Labels,
    LevelPlan,
    MidiPart,
    Note,
    Plan,
    PlanChange,
    Section,
    StemKind,
    Timing,
    Voice,
)
from bridge.request import MAX_NOTES
from bridge.transport import Meter, TempoMap, nearest, tempos_at_samples
from protos import bridge_pb2


class Verb(StrEnum):
    """What a request with audio asks for."""

    CONTINUE = "Continue"
    GENERATE = "Generate"
    RENDER_MIDI = "RenderMidi"


def plan_of(message: bridge_pb2.Plan, drawn_seed: int) -> Plan:
    """Return the plan; the drawn seed stands in where the message has none.

    Raises:
        InvalidRequestError: A value outside `PLAN_RANGES`.
    """
    blank = Plan(seed=message.seed if message.HasField("seed") else drawn_seed)
    plan = Plan(
        seed=blank.seed,
        quality=quality_of(message.quality),
        variation=message.variation,
        temperature=_given(message, "temperature", blank.temperature),
        top_p=_given(message, "top_p", blank.top_p),
        top_k=message.top_k,
        guidance=_given(message, "guidance", blank.guidance),
        passes=message.passes,
        finest_level=message.finest_level,
        levels=tuple(_level_plan_of(level) for level in message.levels),
        reprise=message.reprise if message.HasField("reprise") else blank.reprise,
        changes=tuple(
            PlanChange(from_sample=change.from_sample, passes=change.passes)
            for change in message.changes
        ),
    )
    check_plan(plan)
    return plan


def message_of_plan(plan: Plan, *, seed: int | None) -> bridge_pb2.Plan:
    """Return the wire's plan; without a seed the server draws one."""
    check_plan(plan)
    return bridge_pb2.Plan(
        seed=seed,
        quality=number_of_quality(plan.quality),
        variation=plan.variation,
        temperature=plan.temperature,
        top_p=plan.top_p,
        top_k=plan.top_k,
        guidance=plan.guidance,
        passes=plan.passes,
        finest_level=plan.finest_level,
        levels=[
            bridge_pb2.LevelPlan(
                level=level.level,
                temperature=level.temperature,
                top_p=level.top_p,
                top_k=level.top_k,
                hop_fraction=level.hop_fraction,
            )
            for level in plan.levels
        ],
        reprise=plan.reprise,
        changes=[
            bridge_pb2.PlanChange(from_sample=change.from_sample, passes=change.passes)
            for change in plan.changes
        ],
    )


def num_samples_of(message: bridge_pb2.Target, sample_rate: int, splice_sample: int) -> int:
    """Return how many samples the result has, from the splice on.

    Raises:
        InvalidRequestError: No length, no tempo for bars, or a value outside its limits.
    """
    match message.WhichOneof("length"):
        case "num_samples":
            return message.num_samples
        case "bars":
            tempo_map = tempo_map_of(message.tempo_map, sample_rate)
            return tempo_map.num_samples_of_bars(message.bars, splice_sample)
        case _:
            raise InvalidRequestError("the target has neither num_samples nor bars, give one")


def tempo_map_of(changes: Sequence[bridge_pb2.TempoChange], sample_rate: int) -> TempoMap:
    """Return the tempo map; bar 0 begins at the first change.

    A meter of 0/0 keeps the meter before it, 4/4 at first. A meter changes at
    the bar line whose sample, rounded, is the one given.

    Raises:
        InvalidRequestError: No change, or a value outside its limits.
    """
    if not changes:
        raise InvalidRequestError("bars need a tempo map: 0 entries, at least 1 is needed")
    origin = changes[0].sample
    tempos = tempos_at_samples(
        sample_rate, [(change.sample, change.tempo_bpm) for change in changes], origin
    )
    beats = TempoMap(sample_rate=sample_rate, tempos=tempos, origin_sample=origin)
    meters = [_meter_of(changes[0]) or Meter()]
    for change in changes[1:]:
        meter = _meter_of(change)
        if meter is not None:
            beat = _bar_line_at(change.sample, beats, meters[-1])
            meters.append(replace(meter, beat=beat))
    return replace(beats, meters=tuple(meters))


def conditions_of(message: bridge_pb2.Conditions) -> Conditions:
    """Return the conditions, stems and suffix still missing.

    Raises:
        InvalidRequestError: A value outside its limits.
    """
    conditions = Conditions(
        labels=Labels(artist=message.labels.artist or None, genre=message.labels.genre or None),
        timing=_timing_of(message.timing) if message.HasField("timing") else None,
        midi=midi_of(message.midi) if message.HasField("midi") else None,
        target=stem_kind_of(message.target, default=StemKind.MIX),
        energy_per_bar=tuple(map(decimal_of, message.energy_per_bar)),
        density_per_bar=tuple(map(decimal_of, message.density_per_bar)),
        sections=tuple(_section_of(section) for section in message.sections),
        lyrics=message.lyrics or None,
        blend=tuple(_voice_of(voice) for voice in message.blend),
    )
    check_conditions(conditions)
    return conditions


def message_of_conditions(conditions: Conditions) -> bridge_pb2.Conditions:
    """Return the wire's conditions, without stems and suffix, which travel as audio."""
    check_conditions(conditions)
    labels, timing, midi = conditions.labels, conditions.timing, conditions.midi
    return bridge_pb2.Conditions(
        labels=bridge_pb2.Labels(artist=labels.artist or "", genre=labels.genre or ""),
        timing=None
        if timing is None
        else bridge_pb2.Timing(
            total_samples=timing.total_samples, offset_samples=timing.offset_samples
        ),
        midi=None if midi is None else _message_of_midi(midi),
        target=number_of_kind(conditions.target),
        energy_per_bar=conditions.energy_per_bar,
        density_per_bar=conditions.density_per_bar,
        sections=[_message_of_section(section) for section in conditions.sections],
        lyrics=conditions.lyrics or "",
        blend=[
            bridge_pb2.Voice(artist=voice.artist, genre=voice.genre or "", weight=voice.weight)
            for voice in conditions.blend
        ],
    )


def _meter_of(change: bridge_pb2.TempoChange) -> Meter | None:
    numerator, denominator = change.meter_numerator, change.meter_denominator
    if numerator == denominator == 0:
        return None
    return Meter(numerator=numerator, denominator=denominator)


def _bar_line_at(sample: int, beats: TempoMap, meter: Meter) -> Fraction:
    """Return the beat of the bar line that rounds to this sample; else the exact beat."""
    beat = beats.beat_of_sample(sample)
    bar = nearest((beat - meter.beat) / meter.beats_per_bar)
    line = meter.beat + bar * meter.beats_per_bar
    return line if nearest(beats.sample_of_beat(line)) == sample else beat


def _given(message: bridge_pb2.Plan, name: str, default: float) -> float:
    return decimal_of(getattr(message, name)) if message.HasField(name) else default


def _level_plan_of(message: bridge_pb2.LevelPlan) -> LevelPlan:
    decimals = {
        name: decimal_of(getattr(message, name)) if message.HasField(name) else None
        for name in ("temperature", "top_p", "hop_fraction")
    }
    top_k = message.top_k if message.HasField("top_k") else None
    return LevelPlan(level=message.level, top_k=top_k, **decimals)


def _voice_of(message: bridge_pb2.Voice) -> Voice:
    weight = decimal_of(message.weight)
    return Voice(artist=message.artist, genre=message.genre or None, weight=weight)


def midi_of(message: bridge_pb2.MidiPart) -> MidiPart:
    """Return the notes, not yet checked.

    Raises:
        InvalidRequestError: More of them than a request may hold.
    """
    check_count("MIDI notes", len(message.notes), MAX_NOTES)
    notes = tuple(
        Note(
            start_sample=note.start_sample,
            end_sample=note.end_sample,
            pitch=note.pitch,
            velocity=note.velocity,
            program=note.program,
            is_drum=note.is_drum,
        )
        for note in message.notes
    )
    return MidiPart(notes=notes, start_sample=message.start_sample, end_sample=message.end_sample)


def _message_of_midi(midi: MidiPart) -> bridge_pb2.MidiPart:
    notes = [
        bridge_pb2.Note(
            start_sample=note.start_sample,
            end_sample=note.end_sample,
            pitch=note.pitch,
            velocity=note.velocity,
            program=note.program,
            is_drum=note.is_drum,
        )
        for note in midi.notes
    ]
    return bridge_pb2.MidiPart(
        notes=notes, start_sample=midi.start_sample, end_sample=midi.end_sample
    )


def _timing_of(message: bridge_pb2.Timing) -> Timing:
    return Timing(total_samples=message.total_samples, offset_samples=message.offset_samples)


def _section_of(message: bridge_pb2.Section) -> Section:
    return Section(
        name=message.name,
        start_sample=message.start_sample,
        end_sample=message.end_sample,
        similarity=decimal_of(message.similarity),
    )


def _message_of_section(section: Section) -> bridge_pb2.Section:
    return bridge_pb2.Section(
        name=section.name,
        start_sample=section.start_sample,
        end_sample=section.end_sample,
        similarity=section.similarity,
    )
