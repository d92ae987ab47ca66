"""A request as bytes and back: what a job needs to be begun again after a crash.

Audio and codes are arrays, the rest is JSON, both in one NumPy archive without
pickle. Knows neither disk nor engine.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np

from bridge.errors import StorageError
from bridge.ports import (
    Conditions,
    Labels,
    LevelCodes,
    MidiPart,
    Note,
    PulsePoint,
    Section,
    Stem,
    StemKind,
    Suffix,
    Timing,
    Voice,
)
from bridge.request import Nothing, Prime, RenderRequest, Source, StoredCodes, TakePoint
from bridge.takes import plan_from

VERSION: Final = 1
_OWN: Final = ("source", "plan", "conditions")

Arrays = dict[str, np.ndarray[Any, Any]]


def to_bytes(request: RenderRequest) -> bytes:
    """Return a request, audio and all, as bytes for `from_bytes`."""
    arrays: Arrays = {}
    facts = {
        **_scalars(request),
        "plan": asdict(request.plan),
        "source": _source_facts(request.source, arrays),
        "conditions": _conditions_facts(request.conditions, arrays),
    }
    text = json.dumps({"version": VERSION, "request": facts}).encode()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, request=np.frombuffer(text, np.uint8), **arrays)
    return buffer.getvalue()


def from_bytes(data: bytes) -> RenderRequest:
    """Return the request that `to_bytes` wrote.

    Raises:
        StorageError: The bytes are no request, or of another version.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as table:
            arrays: Arrays = dict(table.items())
        record = json.loads(arrays.pop("request").tobytes())
        if record["version"] != VERSION:
            raise StorageError(f"the request has version {record['version']}, expected {VERSION}")
        return _request_from(record["request"], arrays)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise StorageError(f"{len(data)} bytes are no stored request: {error}") from error


def _scalars(request: RenderRequest) -> dict[str, Any]:
    names = [name for name in RenderRequest.__dataclass_fields__ if name not in _OWN]
    return {name: getattr(request, name) for name in names}


def _request_from(facts: Mapping[str, Any], arrays: Arrays) -> RenderRequest:
    values = {name: value for name, value in facts.items() if name not in _OWN}
    return RenderRequest(
        source=_source_from(facts["source"], arrays),
        plan=plan_from(facts["plan"]),
        conditions=_conditions_from(facts["conditions"], arrays),
        **values,
    )


def _source_facts(source: Source, arrays: Arrays) -> dict[str, Any]:
    match source:
        case Prime():
            arrays["prime"] = source.samples
            return {"kind": "prime", "start_sample": source.start_sample}
        case Nothing():
            return {"kind": "nothing", **asdict(source)}
        case TakePoint():
            return {"kind": "take", **asdict(source)}
        case StoredCodes():
            for level in source.levels:
                arrays[f"codes{level.level}"] = level.codes
            levels = [level.level for level in source.levels]
            return {"kind": "codes", **asdict(replace(source, levels=())), "levels": levels}


def _source_from(facts: Mapping[str, Any], arrays: Arrays) -> Source:
    values = {name: value for name, value in facts.items() if name != "kind"}
    match facts["kind"]:
        case "prime":
            return Prime(samples=arrays["prime"], **values)
        case "nothing":
            return Nothing(**values)
        case "take":
            return TakePoint(**values)
        case "codes":
            values["levels"] = tuple(
                LevelCodes(level=level, codes=arrays[f"codes{level}"]) for level in values["levels"]
            )
            return StoredCodes(**values)
        case kind:
            raise ValueError(f"the source is of kind {kind!r}")


def _conditions_facts(conditions: Conditions, arrays: Arrays) -> dict[str, Any]:
    facts = asdict(replace(conditions, stems=(), suffix=None, midi=None))
    if conditions.midi is not None:
        facts["midi"] = asdict(replace(conditions.midi, notes=()))
        facts["midi"]["notes"] = [_note_row(note) for note in conditions.midi.notes]
    facts["stems"] = [[stem.kind, stem.start_sample] for stem in conditions.stems]
    for index, stem in enumerate(conditions.stems):
        arrays[f"stem{index}"] = stem.samples
    if conditions.suffix is not None:
        facts["suffix"] = conditions.suffix.start_sample
        arrays["suffix"] = conditions.suffix.samples
    return facts


def _conditions_from(facts: Mapping[str, Any], arrays: Arrays) -> Conditions:
    return Conditions(
        labels=Labels(**facts["labels"]),
        timing=None if facts["timing"] is None else Timing(**facts["timing"]),
        midi=None if facts["midi"] is None else _midi_from(facts["midi"]),
        stems=tuple(
            Stem(kind=StemKind(kind), start_sample=start, samples=arrays[f"stem{index}"])
            for index, (kind, start) in enumerate(facts["stems"])
        ),
        target=StemKind(facts["target"]),
        suffix=_suffix_from(facts, arrays),
        pulse=tuple(PulsePoint(**point) for point in facts.get("pulse", ())),
        curves_sample=facts.get("curves_sample"),
        energy_per_bar=tuple(facts["energy_per_bar"]),
        density_per_bar=tuple(facts["density_per_bar"]),
        sections=tuple(Section(**section) for section in facts["sections"]),
        lyrics=facts["lyrics"],
        blend=tuple(Voice(**voice) for voice in facts.get("blend", ())),
    )


def _suffix_from(facts: Mapping[str, Any], arrays: Arrays) -> Suffix | None:
    if "suffix" not in arrays:
        return None
    return Suffix(start_sample=facts["suffix"], samples=arrays["suffix"])


def _note_row(note: Note) -> list[int]:
    return [int(getattr(note, name)) for name in Note.__dataclass_fields__]


def _midi_from(facts: Mapping[str, Any]) -> MidiPart:
    notes = tuple(
        Note(
            start_sample=row[0],
            end_sample=row[1],
            pitch=row[2],
            velocity=row[3],
            program=row[4],
            is_drum=bool(row[5]),
        )
        for row in facts["notes"]
    )
    return MidiPart(notes=notes, start_sample=facts["start_sample"], end_sample=facts["end_sample"])
