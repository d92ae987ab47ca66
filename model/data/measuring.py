"""Pieces to measure with, never to train on: a folder a piece, as audio, stems, notes and labels.

`NAME/mix.flac`, `NAME/stems/KIND.flac` (they sum to the mix, but for noise), `NAME/score.mid`
(time 0 is the first sample) and `NAME/labels.json`. Two sets can be made: `reserved`, works of
composers that no training set holds, and `held_out`, the works of our own split.
"""

import json
import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mido  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import soundfile  # pyright: ignore[reportMissingTypeStubs]
from jaxtyping import Int16

from model.data import corpus
from model.data.build import render_example
from model.data.dataset import DRUM_PROGRAM, SAMPLE_RATE, STEM_KINDS
from model.data.errors import DataError, UnreadableScoreError
from model.data.generate import compose
from model.data.render import Renderer
from model.data.score import Score, load_score, save_score

SETS = ("reserved", "held_out", "generated")
ATTEMPTS = 20
COMPOSED_SECONDS = 30.0
COMPOSED_PIECES = 1000
"""As many generated pieces there can be; far more than a set needs."""
_TICKS_PER_QUARTER = 9600
_DRUM_CHANNEL = 9

# mido and soundfile have types only in part
_mido, _soundfile = cast(Any, mido), cast(Any, soundfile)
_Midi = Any

RESERVED = (
    corpus.Source(pattern="joplin/*.mxl", composer="joplin", genre="piano"),
    corpus.Source(pattern="chopin/*.krn", composer="chopin", genre="piano"),
    corpus.Source(pattern="corelli/**/*.xml", composer="corelli", genre="quartet"),
    corpus.Source(pattern="handel/**/*.mxl", composer="handel", genre="orchestral"),
    corpus.Source(pattern="schubert/*.xml", composer="schubert", genre="song"),
    corpus.Source(pattern="haydn/opus74no1/*.mxl", composer="haydn", genre="quartet"),
    corpus.Source(pattern="bach/bwv245*.mxl", composer="bach", genre="chorale"),
    corpus.Source(pattern="palestrina/Agnus_01.krn", composer="palestrina", genre="madrigal"),
    corpus.Source(pattern="mozart/k80/*.mxl", composer="mozart", genre="quartet"),
)
"""What is kept for measuring, by name in the corpus."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringConfig:
    """What to make: which set, how many excerpts of each work, with which SoundFont."""

    out: Path
    scores: Path
    soundfont: Path
    which: str
    excerpts: int
    limit: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse sets that do not exist.

        Raises:
            DataError: An unknown set, or no excerpts.
        """
        if self.which not in SETS:
            raise DataError(f"the set is {self.which!r}, known are {SETS}")
        if self.excerpts < 1 or self.limit < 1:
            raise DataError(f"excerpts {self.excerpts} and limit {self.limit} must be >= 1")


def make_pieces(config: MeasuringConfig, renderer: Renderer | None = None) -> list[Path]:
    """Write a folder a piece and return the folders; pieces that are there already are kept.

    Raises:
        DataError: A tool is missing, or a score that is wanted cannot be read.
    """
    renderer = renderer or Renderer(config.soundfont)
    made: list[Path] = []
    for score in _scores(config):
        for excerpt in range(config.excerpts):
            folder = config.out / f"{_slug(score.work)}-{excerpt}"
            if not (folder / "labels.json").is_file():
                _make_piece(config, renderer, score, (excerpt, folder))
            if (folder / "labels.json").is_file():
                made.append(folder)
    return made


def _make_piece(
    config: MeasuringConfig, renderer: Renderer, score: Score, place: tuple[int, Path]
) -> None:
    excerpt, folder = place
    rng = np.random.default_rng([config.seed, zlib.crc32(score.work.encode()), excerpt])
    for _ in range(ATTEMPTS):
        named = config.which, excerpt
        rendered = render_example(rng, renderer, score, named, mastered=False)
        if rendered is not None:
            _write_piece(folder, *rendered)
            log.info("%s", folder.name)
            return
    log.warning("%s: no excerpt full enough in %d draws", score.work, ATTEMPTS)


def _scores(config: MeasuringConfig) -> Iterator[Score]:
    match config.which:
        case "reserved":
            found = _reserved(config.scores)
        case "held_out":
            found = _held_out(config.scores)
        case _:
            found = _generated(config.seed)
    for _, score in zip(range(config.limit), found, strict=False):
        yield score


def _reserved(cache: Path) -> Iterator[Score]:
    from model.data.parse import parse_score  # music21 takes seconds to import

    root = corpus.corpus_root()
    for source in RESERVED:
        for path in sorted(root.glob(source.pattern)):
            work = path.relative_to(root).with_suffix("").as_posix()
            kept = cache / "reserved" / f"{work}.json"
            if not kept.is_file():
                try:
                    score = parse_score(path, work, source.composer, source.genre, "")
                except UnreadableScoreError as error:
                    log.warning("%s", error)
                    continue
                save_score(score, kept)
            yield load_score(kept)


def _held_out(scores: Path) -> Iterator[Score]:
    """Yield held-out works in an order without meaning, so that any beginning is a fair part."""
    index = scores / "index.json"
    if not index.is_file():
        raise DataError(f"{index} is missing: `python -m model.data` makes it")
    splits: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["splits"]
    works = [work for work, split in splits.items() if split == "held_out"]
    for work in sorted(works, key=lambda work: zlib.crc32(work.encode())):
        yield load_score(scores / f"{work}.json")


def _generated(seed: int) -> Iterator[Score]:
    for number in range(COMPOSED_PIECES):
        name = f"generated/measuring/{seed}/{number:05d}"
        yield compose(np.random.default_rng([seed, 7, number]), name, COMPOSED_SECONDS)


def _write_piece(
    folder: Path, row: dict[str, Any], signals: list[Int16[np.ndarray, "samples"]]
) -> None:
    (folder / "stems").mkdir(parents=True, exist_ok=True)
    whole = np.concatenate(signals)
    length = row["num_samples"]
    places = {f"stems/{kind}": at for kind, at in row["stems"].items()} | {"mix": row["mix_offset"]}
    for name, at in places.items():
        _soundfile.write(folder / f"{name}.flac", whole[at : at + length], SAMPLE_RATE)
    _midi(row).save(str(folder / "score.mid"))
    labels = {
        "work": row["work"],
        "composer": row["composer"],
        "genre": row["genre"],
        "tempo": row["tempo_bpm"],
        "meter": row["meter"],
        "programs": row["programs"],
        "sections": row["sections"],
        "bars": row["bars"],
        "augmentation": row["augmentation"],
        "sample_rate": SAMPLE_RATE,
    }
    (folder / "labels.json").write_text(json.dumps(labels, indent=1), encoding="utf-8")


def _midi(row: dict[str, Any]) -> _Midi:
    file = _mido.MidiFile(ticks_per_beat=_TICKS_PER_QUARTER)
    numerator, denominator = (int(part) for part in row["meter"].split("/"))
    meta = _mido.MidiTrack()
    meta.append(_mido.MetaMessage("set_tempo", tempo=round(60e6 / row["tempo_bpm"])))
    meta.append(_mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator))
    file.tracks.append(meta)
    for number, (program, kind) in enumerate(sorted({(n[4], n[5]) for n in row["notes"]})):
        notes = [note for note in row["notes"] if (note[4], note[5]) == (program, kind)]
        file.tracks.append(_track(notes, number, 60e6 / round(60e6 / row["tempo_bpm"])))
    return file


def _track(notes: list[list[int]], number: int, tempo_bpm: float) -> _Midi:
    program = notes[0][4]
    drums = program == DRUM_PROGRAM
    channel = _DRUM_CHANNEL if drums else number + (number >= _DRUM_CHANNEL)
    track, now = _mido.MidiTrack(), 0
    track.append(_mido.MetaMessage("track_name", name=STEM_KINDS[notes[0][5]]))
    if not drums:
        track.append(_mido.Message("program_change", channel=channel, program=program))
    per_sample = _TICKS_PER_QUARTER * tempo_bpm / 60 / SAMPLE_RATE
    events = [(start, True, pitch, velocity) for start, _, pitch, velocity, *_ in notes]
    events += [(end, False, pitch, 0) for _, end, pitch, *_ in notes]
    for sample, on, pitch, velocity in sorted(events):
        tick = round(sample * per_sample)
        track.append(
            _mido.Message(
                "note_on" if on else "note_off",
                channel=channel,
                note=pitch,
                velocity=velocity,
                time=tick - now,
            )
        )
        now = tick
    return track


def _slug(work: str) -> str:
    return work.replace("/", "-").lower()
