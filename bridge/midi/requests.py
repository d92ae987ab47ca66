"""A preset, and what is known when its pad is pressed, to a request; files are read here.

The preset's file stands in the map that the owner of this machine wrote: MIDI
chooses among presets and names no path. Knows no port and no engine.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from bridge.audio_file import read_audio, read_time_reference
from bridge.errors import NotFoundError, NotReadyError
from bridge.limits import PLAN_RANGES, check_plan
from bridge.midi.notes import Played, part_of
from bridge.midi.rows import Command, Preset
from bridge.ports import Conditions, Labels, MidiPart, Plan, Quality, StemKind
from bridge.request import Prime, RenderRequest, TakePoint
from bridge.transport import Meter, TempoMap, exact, parse_meter, pulse_of, steady

CLIENT: Final = "midi"
SEED_BITS: Final = 63
SUFFIXES: Final = (".wav", ".wave", ".bwf")
LATE_BEATS: Final = Fraction(1, 2)
"""A pad pressed this little before a bar line means that bar line."""
_SECONDS: Final = 60
"""A tempo at which a beat is a second: how notes are counted while there is no clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is known when a pad is pressed.

    Attributes:
        tempo_bpm: Of the MIDI clock; None without one.
        running_beat: Where notes are counted: beats of the clock, or seconds without one.
        bar_beat: Beat of the host's timeline, to find bar lines; None without a position.
        notes: What was played so far.
        knobs: Values of the plan that controllers have set.
    """

    tempo_bpm: Fraction | None
    running_beat: Fraction
    bar_beat: Fraction | None
    notes: tuple[Played, ...]
    knobs: Mapping[Command, float]


def continuation(preset: Preset, moment: Moment, request_id: str) -> RenderRequest:
    """Return the request that continues a preset's section.

    Raises:
        NotFoundError: There is no such file, or none in the folder.
        NotReadyError: The tempo shall be the clock's, and no clock is heard.
        InvalidRequestError: The file is no audio, or a value outside its limits.
    """
    tempo = tempo_of(preset, moment)
    path = section_of(preset.path)
    clip = read_audio(path)
    start = read_time_reference(path) or 0
    tempo_map = steady(clip.sample_rate, tempo, parse_meter(preset.meter), start)
    prime = Prime(samples=clip.samples, start_sample=start)
    part = None
    if preset.notes == "played":
        part = played_over(preset, moment, tempo_map, prime.end_sample)
    return RenderRequest(
        request_id=request_id,
        client_id=CLIENT,
        sample_rate=clip.sample_rate,
        source=prime,
        num_samples=tempo_map.num_samples_of_bars(preset.bars, prime.end_sample),
        plan=plan_of(preset.options, moment.knobs),
        conditions=replace(_conditions_of(preset.options, part), pulse=pulse_of(tempo_map)),
        model=preset.options.get("model", ""),
        seed_drawn="seed" not in preset.options,
        write_file=True,
    )


def going_on(last: RenderRequest, take_id: str, request_id: str) -> RenderRequest:
    """Return the request that continues a take by as much as was asked for before."""
    return replace(
        _again(last, request_id),
        source=TakePoint(take_id=take_id),
        conditions=replace(last.conditions, midi=None, pulse=()),
        anchor_sample=None,
    )


def another_seed(last: RenderRequest, request_id: str) -> RenderRequest:
    """Return the last request with a seed that is drawn anew."""
    plan = replace(last.plan, seed=secrets.randbits(SEED_BITS), variation=0)
    return replace(_again(last, request_id), plan=plan, seed_drawn=True)


def next_variation(last: RenderRequest, request_id: str) -> RenderRequest:
    """Return the last request with the next variation of its seed."""
    plan = replace(last.plan, variation=last.plan.variation + 1)
    return replace(_again(last, request_id), plan=plan)


def tempo_of(preset: Preset, moment: Moment) -> Fraction:
    """Return the preset's tempo, or the clock's where it names none.

    Raises:
        NotReadyError: It names none, and no clock is heard.
    """
    if preset.tempo_bpm is not None:
        return exact(preset.tempo_bpm)
    if moment.tempo_bpm is None:
        raise NotReadyError(
            f"the preset {preset.name!r} takes the tempo of the MIDI clock, and none is heard: "
            "send clock, or give it tempo_bpm"
        )
    return moment.tempo_bpm


def section_of(path: Path) -> Path:
    """Return the file, or the newest WAV file of a folder.

    Raises:
        NotFoundError: There is no such file, or none in the folder.
    """
    if not path.is_dir():
        return path
    files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
    files = [file for file in files if file.is_file() and not file.name.startswith(".")]
    if not files:
        raise NotFoundError(f"the folder {path} holds no WAV file to continue")
    return max(files, key=lambda file: (file.stat().st_mtime_ns, file.name))


def plan_of(options: Mapping[str, Any], knobs: Mapping[Command, float]) -> Plan:
    """Return the plan of a preset, as the knobs have changed it; a seed is drawn if none is given.

    Raises:
        InvalidRequestError: A value outside its limits.
    """
    values = {name: options[name] for name, _, _ in PLAN_RANGES if name in options}
    values.setdefault("seed", secrets.randbits(SEED_BITS))
    values["quality"] = Quality(options.get("quality", Quality.FAST))
    values |= {command.value: value for command, value in knobs.items()}
    plan = Plan(**values)
    check_plan(plan)
    return plan


def played_over(
    preset: Preset, moment: Moment, tempo_map: TempoMap, splice_sample: int
) -> MidiPart | None:
    """Return the last bars that were played, laid over the result; None if nothing was.

    With a clock that told a position they end at a bar line, else at the press.
    """
    meter = parse_meter(preset.meter)
    beats = exact(preset.bars) * meter.beats_per_bar
    if moment.tempo_bpm is None:
        in_seconds = steady(tempo_map.sample_rate, _SECONDS)
        bpm = tempo_map.tempos[0].bpm
        return _part(moment, beats * _SECONDS / bpm, in_seconds, splice_sample, Fraction(0))
    past = _past_bar_line(moment.bar_beat, meter)
    return _part(moment, beats, tempo_map, splice_sample, past)


def _part(
    moment: Moment, beats: Fraction, tempo_map: TempoMap, at_sample: int, past_beats: Fraction
) -> MidiPart | None:
    end = moment.running_beat - past_beats
    part = part_of(moment.notes, (end - beats, end), tempo_map, at_sample)
    return part if part.notes else None


def _past_bar_line(beat: Fraction | None, meter: Meter) -> Fraction:
    """Return how many beats ago the last bar line was; one that is about to come counts."""
    if beat is None:
        return Fraction(0)
    return (beat + LATE_BEATS) % meter.beats_per_bar - LATE_BEATS


def _conditions_of(options: Mapping[str, Any], part: MidiPart | None) -> Conditions:
    return Conditions(
        labels=Labels(artist=options.get("artist"), genre=options.get("genre")),
        midi=part,
        target=StemKind(options.get("target", StemKind.MIX)),
    )


def _again(last: RenderRequest, request_id: str) -> RenderRequest:
    return replace(last, request_id=request_id, idempotency_key="")
