"""What conditions say of one stretch of a timeline: as bytes, for hashes.

Two sets of conditions whose bytes are equal for every stretch up to a sample are the same
for a model that has heard so far. Knows no caches.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, TypeAlias

from bridge.ports import Conditions, MidiPart, PulsePoint, Section, Stem

Span: TypeAlias = tuple[int, int]
"""First sample and end, on the timeline of the conditions."""
EVER: Final = -(2**62)
"""Where the first stretch begins: what was before a timeline's anchor may still ring."""


def in_force(conditions: Conditions, span: Span) -> bytes:
    """Return a digest of what conditions say of a stretch, besides what holds throughout.

    That are labels, timing, target, lyrics and blend.
    """
    suffix = conditions.suffix
    told = [
        _notes(conditions.midi, span),
        [_stem(stem, span) for stem in conditions.stems],
        [_section(section, span) for section in conditions.sections if _touches(section, span)],
        _pulse(conditions.pulse, span),
        _curves(conditions, span),
        suffix is not None and suffix.start_sample < span[1],
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()


def _touches(section: Section, span: Span) -> bool:
    return section.start_sample < span[1] and section.end_sample > span[0]


def _notes(part: MidiPart | None, span: Span) -> list[Any]:
    """Return the notes that sound in a stretch, as far as they sound, and what of it is known."""
    if part is None:
        return []
    first, end = span
    sounding = [
        {**asdict(note), "end_sample": min(note.end_sample, end)}
        for note in part.notes
        if note.start_sample < end and max(note.end_sample, note.start_sample + 1) > first
    ]
    return [min(part.start_sample, end), min(part.end_sample, end), sounding]


def _stem(stem: Stem, span: Span) -> list[Any]:
    first, end = (max(0, sample - stem.start_sample) for sample in span)
    heard = stem.samples[first:end]
    return [stem.kind, min(stem.start_sample, span[1]), hashlib.sha256(heard.tobytes()).hexdigest()]


def _section(section: Section, span: Span) -> dict[str, Any]:
    return {**asdict(section), "end_sample": min(section.end_sample, span[1])}


def _pulse(points: Sequence[PulsePoint], span: Span) -> list[dict[str, Any]]:
    """Return the points that hold in a stretch; the first holds before itself too."""
    return [
        asdict(point) for number, point in enumerate(points) if not number or point.sample < span[1]
    ]


def _curves(conditions: Conditions, span: Span) -> list[Any]:
    """Return the values of the bars up to a stretch's end."""
    if not conditions.pulse or not (conditions.energy_per_bar or conditions.density_per_bar):
        return []
    start = conditions.curves_sample
    begin = conditions.pulse[0].sample if start is None else start
    if begin >= span[1]:
        return []
    bars = int(_bar_at(conditions.pulse, span[1])) - int(_bar_at(conditions.pulse, begin)) + 1
    return [begin, conditions.energy_per_bar[:bars], conditions.density_per_bar[:bars]]


def _bar_at(points: Sequence[PulsePoint], sample: float) -> float:
    place = max(0, bisect_right([point.sample for point in points], sample) - 1)
    point = points[place]
    return point.bar + (sample - point.sample) / (point.samples_per_beat * point.beats_per_bar)
