"""Reader of rendered training data: memory-mapped audio, notes and labels.

The contract between the pipeline and the trainer; knows neither how audio was rendered nor
what is trained. Needs numpy alone.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int16, Int64

from model.data.errors import CorruptDataError

SAMPLE_RATE = 44_100
SPLITS = ("train", "held_out")
RECORDED = "recorded"
"""A split that is not rendered: recordings, to train on; not every folder has one."""
STEM_KINDS = ("drums", "bass", "vocals", "other")
DRUM_PROGRAM = 128
START, END, PITCH, VELOCITY, PROGRAM, KIND = range(6)
NOTE_COLUMNS = ("start_sample", "end_sample", "pitch", "velocity", "program", "stem_kind")
GENRES = (
    "chorale",
    "madrigal",
    "quartet",
    "piano",
    "folk",
    "song",
    "orchestral",
    "pop",
    "rock",
    "blues",
    "funk",
    "latin",
    "electronic",
    "ballad",
    "jazz",
    "waltz",
)
COMPOSERS = (
    "unknown",
    "generated",
    "traditional",
    "bach",
    "monteverdi",
    "mozart",
    "haydn",
    "beethoven",
    "schumann_robert",
    "josquin",
    "lusitano",
    "cpebach",
    "verdi",
    "liliuokalani",
    "foster",
    "weber",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is known of an example; the tempo counts quarter notes a minute."""

    work: str
    composer: str
    genre: str
    tempo_bpm: float
    meter: str
    source_licence: str
    programs: tuple[int, ...]
    augmentation: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SectionMark:
    """A stretch of the form; stretches of one name are the same music."""

    name: str
    start_sample: int
    end_sample: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A whole bar: where it begins, how loud the mix is in it, how many notes begin in it."""

    start_sample: int
    energy_dbfs: float
    density_per_quarter: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One excerpt: audio stays on disk until it is looked at.

    `notes` has a row a note: start_sample, end_sample, pitch, velocity, program (128 means
    drums) and the index of the stem kind.
    """

    name: str
    split: str
    labels: Labels
    num_samples: int
    notes: Int64[np.ndarray, "notes 6"]
    shard: Int16[np.ndarray, "samples"]
    mix_offset: int
    stem_offsets: dict[str, int]
    sections: tuple[SectionMark, ...] = ()
    bars: tuple[Bar, ...] = ()

    def mix(self) -> Int16[np.ndarray, "samples"]:
        """Return the mix as a view of the file."""
        return self.shard[self.mix_offset : self.mix_offset + self.num_samples]

    def stem(self, kind: str) -> Int16[np.ndarray, "samples"] | None:
        """Return a stem as a view of the file, or None if the excerpt has none of this kind.

        Raises:
            KeyError: `kind` is not one of `STEM_KINDS`.
        """
        if kind not in STEM_KINDS:
            raise KeyError(f"stem kind {kind!r} is none of {STEM_KINDS}")
        offset = self.stem_offsets.get(kind)
        return None if offset is None else self.shard[offset : offset + self.num_samples]

    def stem_kinds(self) -> tuple[str, ...]:
        """Return the kinds of stems this excerpt has."""
        return tuple(self.stem_offsets)


def open_split(folder: Path, split: str) -> list[Example]:
    """Return the examples of one split, their audio memory-mapped.

    Raises:
        CorruptDataError: There are no shards, or a shard is shorter than its table says.
        KeyError: `split` is none of `SPLITS`, nor `RECORDED`.
    """
    if split not in (*SPLITS, RECORDED):
        raise KeyError(f"split {split!r} is none of {(*SPLITS, RECORDED)}")
    tables = sorted((folder / split).glob("shard-*.json"))
    if not tables:
        raise CorruptDataError(f"{folder / split}: no shard-*.json")
    return [example for table in tables for example in _open_shard(table)]


def training_splits(folder: Path) -> tuple[str, ...]:
    """Return the splits of a folder to learn from: what was rendered, and recordings if any."""
    return ("train", RECORDED) if any((folder / RECORDED).glob("shard-*.json")) else ("train",)


def _open_shard(path: Path) -> list[Example]:
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if table["sample_rate"] != SAMPLE_RATE:
        raise CorruptDataError(f"{path}: {table['sample_rate']} Hz, expected {SAMPLE_RATE} Hz")
    shard = np.memmap(path.with_suffix(".i16"), dtype="<i2", mode="r")
    return [_example(row, shard, path) for row in table["examples"]]


def _example(row: dict[str, Any], shard: Int16[np.ndarray, "samples"], path: Path) -> Example:
    offsets = {kind: int(offset) for kind, offset in row["stems"].items()}
    needed = max(row["mix_offset"], *offsets.values()) + row["num_samples"]
    if needed > shard.shape[0]:
        raise CorruptDataError(f"{path}: {row['name']} ends at sample {needed} of {shard.shape[0]}")
    return Example(
        name=row["name"],
        split=row["split"],
        labels=Labels(
            work=row["work"],
            composer=row["composer"],
            genre=row["genre"],
            tempo_bpm=row["tempo_bpm"],
            meter=row["meter"],
            source_licence=row["source_licence"],
            programs=tuple(row["programs"]),
            augmentation=row["augmentation"],
        ),
        num_samples=row["num_samples"],
        notes=np.array(row["notes"], dtype=np.int64).reshape(-1, 6),
        shard=shard,
        mix_offset=row["mix_offset"],
        stem_offsets=offsets,
        sections=tuple(SectionMark(*mark) for mark in row.get("sections", ())),
        bars=tuple(Bar(*bar) for bar in row.get("bars", ())),
    )
