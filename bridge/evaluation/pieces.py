"""Music to measure with: a folder a piece, or plain recordings; and the clips cut from them.

A piece is `NAME/mix.flac`, and beside it, where known, `score.mid` (time 0 is the first sample),
`stems/KIND.flac` and `labels.json`. Audio files that lie in the folder itself are recordings:
nothing but their sound is known. All is mono at the rate of analysis.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]

from bridge import spectra
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.midi_file import read_midi
from bridge.ports import Mono, Note, StemKind
from bridge.spectra import ANALYSIS_RATE

RECORDINGS: Final = (".flac", ".wav", ".ogg", ".mp3", ".aiff")
LONGEST_SECONDS: Final = 600
LEAST_RMS: Final = 1e-3
"""A clip whose prime or truth is under -60 dBFS says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """Music and what is known of it; notes are None for a recording.

    Attributes:
        name: Its folder's or file's name.
        work: What it is an excerpt of; intervals are drawn over works.
        audio: The mix.
        notes: What sounds, at samples of the audio.
        stems: Its parts by kind.
        tempo_bpm: Quarter notes a minute; the first sample is on a beat.
        meter: Numerator and denominator; the first sample begins a bar.
        repeated: Whether it was too short and is repeated: its truth is a copy of its prime.
    """

    name: str
    work: str
    audio: Mono
    notes: tuple[Note, ...] | None = None
    stems: Mapping[StemKind, Mono] = field(default_factory=dict[StemKind, Mono])
    tempo_bpm: float | None = None
    meter: tuple[int, int] = (4, 4)
    repeated: bool = False

    @property
    def beats_per_bar(self) -> float:
        """Return the quarter notes in a bar."""
        numerator, denominator = self.meter
        return 4 * numerator / denominator

    @property
    def kind(self) -> str:
        """Return `rendered` where notes are known, else `recording`, or `loop` if repeated."""
        if self.notes is not None:
            return "rendered"
        return "loop" if self.repeated else "recording"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """A stretch of a piece: what is heard, and how it really went on."""

    piece: Piece
    start_sample: int
    prime_samples: int
    result_samples: int

    @property
    def name(self) -> str:
        """Return the piece's name and the second at which the clip begins."""
        return f"{self.piece.name}@{self.start_sample / ANALYSIS_RATE:g}"

    @property
    def prime(self) -> Mono:
        """Return what is heard."""
        return self.piece.audio[self.start_sample :][: self.prime_samples]

    @property
    def truth(self) -> Mono:
        """Return how it went on."""
        return self.piece.audio[self.start_sample + self.prime_samples :][: self.result_samples]

    @property
    def notes(self) -> tuple[Note, ...]:
        """Return the notes of prime and truth, at samples from the prime's start on."""
        end = self.start_sample + self.prime_samples + self.result_samples
        return tuple(
            _moved(note, -self.start_sample)
            for note in self.piece.notes or ()
            if note.end_sample > self.start_sample and note.start_sample < end
        )

    @property
    def bar_samples(self) -> int:
        """Return the length of a bar, of two seconds where no tempo is known."""
        piece = self.piece
        if piece.tempo_bpm is None:
            return 2 * ANALYSIS_RATE
        return round(piece.beats_per_bar * 60 / piece.tempo_bpm * ANALYSIS_RATE)

    def stem(self, kind: StemKind) -> Mono:
        """Return a stem over prime and truth."""
        return self.piece.stems[kind][self.start_sample :][
            : self.prime_samples + self.result_samples
        ]


class _StemFiles(Mapping[StemKind, Mono]):
    """Stems that stay on disk until they are asked for."""

    def __init__(self, folder: Path) -> None:
        files = {kind: folder / f"{kind}.flac" for kind in StemKind}
        self._files = {kind: path for kind, path in files.items() if path.is_file()}

    def __getitem__(self, kind: StemKind) -> Mono:
        return _read(self._files[kind])

    def __iter__(self) -> Iterator[StemKind]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def found_pieces(folder: Path) -> list[Path]:
    """Return the folders and files of a set, in an order without meaning.

    Raises:
        NotFoundError: The folder holds neither pieces nor recordings.
    """
    pieces = [path.parent for path in folder.glob("*/mix.flac")]
    pieces += [path for path in folder.glob("*") if path.suffix in RECORDINGS]
    if not pieces:
        raise NotFoundError(f"{folder} holds neither NAME/mix.flac nor recordings")
    return sorted(pieces, key=lambda path: (zlib.crc32(path.name.encode()), path.name))


def load_piece(path: Path, least_samples: int) -> Piece:
    """Return a piece; a recording shorter than that is repeated, as a loop is.

    Raises:
        InvalidRequestError: Audio that cannot be read.
    """
    if not path.is_dir():
        audio = _read(path)
        times = -(-least_samples // max(1, audio.size))
        return Piece(
            name=path.stem, work=path.stem, audio=np.tile(audio, times), repeated=times > 1
        )
    labels: dict[str, Any] = {}
    if (path / "labels.json").is_file():
        labels = json.loads((path / "labels.json").read_text(encoding="utf-8"))
    midi = path / "score.mid"
    numerator, denominator = (int(part) for part in labels.get("meter", "4/4").split("/"))
    return Piece(
        name=path.name,
        work=str(labels.get("work", path.name)),
        audio=_read(path / "mix.flac"),
        notes=read_midi(midi, ANALYSIS_RATE).notes if midi.is_file() else None,
        stems=_StemFiles(path / "stems"),
        tempo_bpm=labels.get("tempo"),
        meter=(numerator, denominator),
    )


def clips_of(pieces: Sequence[Piece], prime_seconds: float, result_seconds: float) -> list[Clip]:
    """Return clips that begin a prime apart: the first of every piece, the second of each...

    Where a piece is too short for the whole result, what is there is the truth, if it
    is half of it at least.
    """
    prime, result = (round(s * ANALYSIS_RATE) for s in (prime_seconds, result_seconds))
    rows = [list(_cut(piece, prime, result)) for piece in pieces]
    longest = max((len(row) for row in rows), default=0)
    return [row[turn] for turn in range(longest) for row in rows if turn < len(row)]


def _cut(piece: Piece, prime: int, result: int) -> Iterator[Clip]:
    start = 0
    while (rest := piece.audio.size - start - prime) >= result // 2 and rest > 0:
        clip = Clip(
            piece=piece,
            start_sample=start,
            prime_samples=prime,
            result_samples=min(result, rest),
        )
        if min(_rms(clip.prime), _rms(clip.truth)) > LEAST_RMS:
            yield clip
        start += prime


def _read(path: Path) -> Mono:
    try:
        samples, rate = sf.read(  # pyright: ignore[reportUnknownMemberType]
            path, dtype="float32", always_2d=True, frames=LONGEST_SECONDS * 96_000
        )
    except sf.SoundFileError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error}") from error
    return spectra.heard(np.ascontiguousarray(np.asarray(samples, np.float32).T), int(rate))


def _moved(note: Note, samples: int) -> Note:
    return Note(
        start_sample=note.start_sample + samples,
        end_sample=note.end_sample + samples,
        pitch=note.pitch,
        velocity=note.velocity,
        program=note.program,
        is_drum=note.is_drum,
    )


def _rms(audio: Mono) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if audio.size else 0.0
