"""A request on the model's timeline: prime, notes, stems and form in model samples.

Model sample 0 lies on the anchor; notes and stems that end before it are left out,
what begins before it is cut. Knows neither threads nor models.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bridge.ports import (
    Conditions,
    MidiPart,
    Mono,
    Note,
    PulsePoint,
    Section,
    Stem,
    Suffix,
    Timing,
)
from bridge.request import Prime
from bridge.resample import to_model
from bridge.stereo import mid_of
from bridge.transport import SampleMap


def heard(prime: Prime, sample_map: SampleMap) -> Mono:
    """Return what the model hears: the prime's mid from the anchor on, at the model's rate."""
    skipped = sample_map.anchor_sample - prime.start_sample
    return _to_model(mid_of(prime.samples[:, skipped:]), sample_map)


def feed_blocks(audio: Mono, feed_samples: int) -> Iterator[Mono]:
    """Yield the audio in canonical blocks; the last one may be shorter."""
    for start in range(0, audio.shape[0], feed_samples):
        yield audio[start : start + feed_samples]


def model_conditions(
    conditions: Conditions, sample_map: SampleMap, prime_start_sample: int
) -> Conditions:
    """Return the conditions on the model's timeline."""
    stems = [_stem(stem, sample_map) for stem in conditions.stems]
    curves = conditions.curves_sample
    return replace(
        conditions,
        timing=_timing(conditions.timing, sample_map, prime_start_sample),
        midi=_midi(conditions.midi, sample_map),
        stems=tuple(stem for stem in stems if stem is not None),
        sections=tuple(_sections(conditions.sections, sample_map)),
        suffix=_suffix(conditions.suffix, sample_map),
        pulse=tuple(_point(point, sample_map) for point in conditions.pulse),
        curves_sample=None if curves is None else sample_map.nearest_model(curves),
    )


def _point(point: PulsePoint, sample_map: SampleMap) -> PulsePoint:
    ratio = float(sample_map.ratio)
    return replace(
        point,
        sample=(point.sample - sample_map.anchor_sample) * ratio,
        samples_per_beat=point.samples_per_beat * ratio,
    )


def _suffix(suffix: Suffix | None, sample_map: SampleMap) -> Suffix | None:
    if suffix is None:
        return None
    return Suffix(
        start_sample=sample_map.nearest_model(suffix.start_sample),
        samples=_to_model(suffix.samples, sample_map),
    )


def _timing(timing: Timing | None, sample_map: SampleMap, prime_start_sample: int) -> Timing | None:
    if timing is None:
        return None
    # The request counts from the song's start to the prime's, the model to the anchor.
    offset = timing.offset_samples + sample_map.anchor_sample - prime_start_sample
    return Timing(
        total_samples=round(timing.total_samples * sample_map.ratio),
        offset_samples=round(offset * sample_map.ratio),
    )


def _midi(midi: MidiPart | None, sample_map: SampleMap) -> MidiPart | None:
    if midi is None:
        return None
    notes = (_note(note, sample_map) for note in midi.notes)
    return MidiPart(
        notes=tuple(note for note in notes if note.end_sample > note.start_sample),
        start_sample=_nearest(midi.start_sample, sample_map),
        end_sample=_nearest(midi.end_sample, sample_map),
    )


def _note(note: Note, sample_map: SampleMap) -> Note:
    return replace(
        note,
        start_sample=_nearest(note.start_sample, sample_map),
        end_sample=_nearest(note.end_sample, sample_map),
    )


def _sections(sections: tuple[Section, ...], sample_map: SampleMap) -> Iterator[Section]:
    # One that begins before the anchor is not cut: what comes back is counted from its start.
    for section in sections:
        start = sample_map.nearest_model(section.start_sample)
        end = sample_map.nearest_model(section.end_sample)
        if end > start:
            yield replace(section, start_sample=start, end_sample=end)


def _stem(stem: Stem, sample_map: SampleMap) -> Stem | None:
    """Return the stem, or None if it ends before the anchor.

    It is made to begin where session and model have a sample in common, else it
    would be heard a fraction of a sample off.
    """
    after_anchor = stem.start_sample - sample_map.anchor_sample
    audio = stem.samples[max(0, -after_anchor) :]
    if audio.shape[0] == 0:
        return None
    periods, silence = divmod(max(0, after_anchor), sample_map.ratio.denominator)
    return Stem(
        kind=stem.kind,
        start_sample=periods * sample_map.ratio.numerator,
        samples=_to_model(np.pad(audio, (silence, 0)), sample_map),
    )


def _nearest(session_sample: int, sample_map: SampleMap) -> int:
    return max(0, sample_map.nearest_model(session_sample))


def _to_model(audio: Mono, sample_map: SampleMap) -> Mono:
    return to_model(audio[None], sample_map.session_rate, sample_map.model_rate)[0]
