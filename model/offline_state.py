"""The past of a timeline that a published model makes as a whole: codes by level, as one value.

What a window under way has drawn is not kept: begun again from its start it
draws the same. Serialised without pickle.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Int16, Int64
from safetensors import SafetensorError
from safetensors.numpy import load, save

from model.errors import CheckpointError
from model.published.alignment import Aligner
from model.published.played import Played
from model.published.request import Voice
from model.published.system import SystemState
from model.values import StemAudio

LevelCodes = Int16[np.ndarray, " _"]
Mono = Float32[np.ndarray, " samples"]
Starts = Int64[np.ndarray, " characters"]

VERSION: Final = 2
_FACTS: Final = "offline"
_NUMBERS: Final = (
    "end_sample",
    "goal_sample",
    "finest",
    "coarsest",
    "settled_sample",
    "decodable_sample",
    "aligns",
)
_AUDIO: Final = "audio"
_STARTS: Final = "starts"
_NOTES: Final = "notes"
_STEM_CODES: Final = "stem_codes"
_STEM: Final = "stem_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Song:
    """What is said about a piece, each level in its own numbers; tuples are by level, finest first.

    Attributes:
        artists: Ids of the artist.
        genres: Ids of the genres.
        blends: Instead of these the weighted sum of several; none: no blend.
        lyrics: The whole text.
        total_samples: How long the piece is said to be.
        offset_samples: Where model sample 0 lies in it.
        stretches: Nobody said how long it is: `total_samples` follows from where it shall end.
    """

    artists: tuple[int, ...]
    genres: tuple[tuple[int, ...], ...]
    blends: tuple[tuple[Voice, ...], ...]
    lyrics: str
    total_samples: int
    offset_samples: int
    stretches: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """The reading of finished codes that is under way."""

    aligner: Aligner
    steps: Iterator[int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OfflineState:
    """Where a timeline stands.

    Attributes:
        song: What it is told.
        audio: The prime, until it is encoded.
        played: Notes, encoded stems and the part wanted; for a prior that hears them.
        stems: Stems that are not encoded yet.
        codes: By level, finest first; whole windows alone.
        end_sample: Before it all shall be decodable; what no code covers is silence.
        goal_sample: Before it codes shall be drawn: whole codes of the coarsest level.
        finest: The level to go down to.
        coarsest: The coarsest level that has or shall have codes.
        adopted_finest: The level that codes made elsewhere shall go down to, until it begins.
        settled_sample: Before it codes of the finest level are final.
        decodable_sample: Before it `decode` may be asked.
        aligns: Whether the finished top codes are to be read again for `starts`.
        starts: Frame of the top level at which each character is sung; None until it is known.
        run: The windows under way; None between levels and in a restored state.
        alignment: The reading under way; likewise.
        left: Steps still to come, as far as they are known.
    """

    song: Song
    audio: Mono
    codes: tuple[LevelCodes, ...]
    played: Played = field(default_factory=Played)
    stems: tuple[StemAudio, ...] = ()
    end_sample: int
    goal_sample: int = 0
    finest: int = 0
    coarsest: int
    adopted_finest: int | None = None
    settled_sample: int = 0
    decodable_sample: int = 0
    aligns: bool = False
    starts: Starts | None = None
    run: SystemState | None = None
    alignment: Alignment | None = None
    left: int = 0

    @property
    def nbytes(self) -> int:
        """Return the memory held, weights left out."""
        held = self.audio.nbytes + sum(codes.nbytes for codes in self.codes)
        held += self.played.nbytes + sum(stem.samples.nbytes for stem in self.stems)
        return held + (self.run.nbytes if self.run is not None else 0)

    def with_codes(self, level: int, codes: Int64[np.ndarray, " _"]) -> "OfflineState":
        """Return the state with a level's codes in place of those it had."""
        made = codes.astype(np.int16)
        return replace(self, codes=(*self.codes[:level], made, *self.codes[level + 1 :]))

    def fork(self) -> "OfflineState":
        """Return a second state with the same past; it begins the window under way anew."""
        return replace(self, run=None, alignment=None)

    def to_bytes(self) -> bytes:
        """Return the state as bytes for `restored`."""
        facts: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS}
        facts["played"] = {"spans": self.played.spans, "target": self.played.target}
        facts["stems"] = {stem.kind: stem.start_sample for stem in self.stems}
        text = json.dumps({"version": VERSION, "song": asdict(self.song), **facts}, sort_keys=True)
        arrays: dict[str, Any] = {_AUDIO: self.audio, _NOTES: self.played.notes}
        arrays |= {f"{_STEM}{stem.kind}": stem.samples for stem in self.stems}
        if self.played.stems is not None:
            arrays[_STEM_CODES] = self.played.stems
        arrays |= {f"level_{level}": codes for level, codes in enumerate(self.codes)}
        if self.starts is not None:
            arrays[_STARTS] = self.starts
        return save(arrays, metadata={_FACTS: text})


def restored(data: bytes) -> OfflineState:
    """Return the state that `to_bytes` gave.

    Raises:
        CheckpointError: The bytes are no state, or of another version.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        facts = json.loads(header["__metadata__"][_FACTS])
        if facts["version"] != VERSION:
            raise CheckpointError(f"the state has version {facts['version']}, expected {VERSION}")
        arrays: dict[str, Any] = load(data)
        levels = sorted(name for name in arrays if name.startswith("level_"))
        return OfflineState(
            song=_song_of(facts["song"]),
            audio=arrays[_AUDIO],
            codes=tuple(arrays[name] for name in levels),
            starts=arrays.get(_STARTS),
            played=Played(
                notes=arrays[_NOTES],
                spans=tuple((first, last) for first, last in facts["played"]["spans"]),
                stems=arrays.get(_STEM_CODES),
                target=facts["played"]["target"],
            ),
            stems=tuple(
                StemAudio(kind=int(kind), start_sample=start, samples=arrays[f"{_STEM}{kind}"])
                for kind, start in facts["stems"].items()
            ),
            **{name: facts[name] for name in _NUMBERS},
        )
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{len(data)} bytes are no state of a timeline: {error}") from error


def _song_of(facts: Mapping[str, Any]) -> Song:
    return Song(
        artists=tuple(facts["artists"]),
        genres=tuple(tuple(ids) for ids in facts["genres"]),
        blends=tuple(tuple(_voice_of(voice) for voice in voices) for voices in facts["blends"]),
        lyrics=facts["lyrics"],
        total_samples=facts["total_samples"],
        offset_samples=facts["offset_samples"],
        stretches=facts["stretches"],
    )


def _voice_of(facts: Mapping[str, Any]) -> Voice:
    return Voice(artist=facts["artist"], genres=tuple(facts["genres"]), weight=facts["weight"])
