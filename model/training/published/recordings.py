"""A folder of a user's recordings, with what its manifest says of each.

Without a manifest every audio file is a recording of which nothing is known.
With `recordings.jsonl` exactly its rows are, one JSON object a line. Everything
is looked at, and refused by line, before anything is read at length.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import mido  # pyright: ignore[reportMissingTypeStubs]
import soundfile  # pyright: ignore[reportMissingTypeStubs]

from model.data.dataset import STEM_KINDS
from model.errors import TrainingError

# mido and soundfile have types only in part
_mido, _soundfile = cast(Any, mido), cast(Any, soundfile)

MANIFEST: Final = "recordings.jsonl"
ENDINGS: Final = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"})
MOST_MANIFEST_BYTES: Final = 64 * 2**20
MOST_LYRICS: Final = 100_000
"""Characters."""
MOST_CHANNELS: Final = 2
KEYS: Final = (
    "path",
    "midi",
    "stems",
    "lyrics",
    "artist",
    "genre",
    "genres",
    "total_seconds",
    "offset_seconds",
)
Name = str | int
"""As the label tables spell it, or an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One audio file."""

    path: Path
    sample_rate: int
    channels: int
    frames: int
    """Samples of one channel, at the file's own rate."""

    def samples(self, sample_rate: int) -> int:
        """Return its length at another rate, rounded down."""
        return self.frames * sample_rate // self.sample_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One piece of music, or a stretch of one."""

    mix: Source
    stems: Mapping[str, Source] = field(default_factory=dict[str, Source])
    midi: Path | None = None
    lyrics: str = ""
    """Of the whole piece."""
    artist: Name | None = None
    genres: tuple[Name, ...] = ()
    total_seconds: float | None = None
    """How long the piece is; None if the recording is all of it."""
    offset_seconds: float = 0.0
    """Where the recording begins in the piece."""


def open_recordings(folder: Path) -> tuple[Recording, ...]:
    """Return the recordings of a folder, in a fixed order.

    Raises:
        TrainingError: There are none, or one cannot be used; with the manifest's line.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder} is no folder of recordings")
    manifest = folder / MANIFEST
    if manifest.is_file():
        found = _listed(manifest)
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
        found = tuple(Recording(mix=_source(path)) for path in paths)
    if not found:
        endings = ", ".join(sorted(ENDINGS))
        raise TrainingError(f"{folder} holds no recordings: neither {MANIFEST} nor {endings}")
    return found


def _listed(manifest: Path) -> tuple[Recording, ...]:
    size = manifest.stat().st_size
    if size > MOST_MANIFEST_BYTES:
        raise TrainingError(f"{manifest} has {size} bytes, the limit is {MOST_MANIFEST_BYTES}")
    try:
        lines = manifest.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise TrainingError(f"{manifest} is no UTF-8 text: {error}") from error
    made: list[Recording] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                made.append(_recording(line, manifest.parent))
            except TrainingError as error:
                raise TrainingError(f"{manifest}, line {number}: {error}") from error
    return tuple(made)


def _recording(line: str, folder: Path) -> Recording:
    try:
        row: object = json.loads(line)
    except ValueError as error:
        raise TrainingError(f"it is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise TrainingError(f"it is {row!r:.60}, expected an object of {', '.join(KEYS)}")
    table = cast("dict[str, Any]", row)
    _check_known(table, KEYS, "")
    mix = _source(_inside(table.get("path"), folder, "path"))
    recording = Recording(
        mix=mix,
        stems=_stems(table.get("stems", {}), folder, mix),
        midi=_midi(table.get("midi"), folder),
        lyrics=_lyrics(table.get("lyrics", "")),
        artist=None if table.get("artist") is None else _name(table["artist"], "artist"),
        genres=_genres(table),
        total_seconds=_seconds(table.get("total_seconds"), "total_seconds"),
        offset_seconds=_seconds(table.get("offset_seconds"), "offset_seconds") or 0.0,
    )
    _check_place(recording)
    return recording


def _check_known(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise TrainingError(f"{where}{key!r} is unknown; {hint}")


def _check_place(recording: Recording) -> None:
    seconds = recording.mix.frames / recording.mix.sample_rate
    end, total = recording.offset_seconds + seconds, recording.total_seconds
    if total is None and recording.offset_seconds:
        raise TrainingError("offset_seconds is given without total_seconds")
    if total is not None and end > total + 1 / recording.mix.sample_rate:
        raise TrainingError(
            f"total_seconds is {total:g} s, but the recording is {seconds:.3f} s from "
            f"{recording.offset_seconds:g} s on: it ends at {end:.3f} s"
        )


def _inside(given: object, folder: Path, name: str) -> Path:
    if not isinstance(given, str) or not given:
        raise TrainingError(f"{name} is {given!r}, it must be a file's path")
    path = (folder / given).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise TrainingError(f"{name} is {given!r}, which is outside of {folder}")
    if not path.is_file():
        raise TrainingError(f"{name} is {given!r}, there is no such file in {folder}")
    return path


def _source(path: Path) -> Source:
    try:
        info = _soundfile.info(str(path))
    except (RuntimeError, OSError) as error:
        raise TrainingError(f"{path} cannot be read as audio: {error}") from error
    if info.channels > MOST_CHANNELS or info.frames < 1:
        raise TrainingError(
            f"{path} has {info.channels} channels and {info.frames} samples, expected 1 or "
            f"{MOST_CHANNELS} channels and at least one sample"
        )
    return Source(
        path=path, sample_rate=info.samplerate, channels=info.channels, frames=info.frames
    )


def _stems(given: object, folder: Path, mix: Source) -> dict[str, Source]:
    if not isinstance(given, dict):
        raise TrainingError(f"stems is {given!r}, expected an object of paths by kind")
    table = cast("dict[str, Any]", given)
    _check_known(table, STEM_KINDS, "the stem ")
    made = {kind: _source(_inside(path, folder, f"stems.{kind}")) for kind, path in table.items()}
    for kind, stem in made.items():
        if (stem.sample_rate, stem.frames) != (mix.sample_rate, mix.frames):
            raise TrainingError(
                f"stems.{kind} has {stem.frames} samples at {stem.sample_rate} Hz, the mix "
                f"{mix.frames} at {mix.sample_rate} Hz: both must be equally long"
            )
    return made


def _midi(given: object, folder: Path) -> Path | None:
    if given is None:
        return None
    path = _inside(given, folder, "midi")
    try:
        _mido.MidiFile(str(path))
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise TrainingError(f"midi is {given!r}, no standard MIDI file: {error}") from error
    return path


def _lyrics(given: object) -> str:
    if not isinstance(given, str):
        raise TrainingError(f"lyrics is {given!r:.60}, it must be the text")
    if len(given) > MOST_LYRICS:
        raise TrainingError(f"lyrics has {len(given)} characters, the limit is {MOST_LYRICS}")
    return given


def _name(given: object, what: str) -> Name:
    if type(given) is int and given >= 0:
        return given
    if isinstance(given, str) and given.strip():
        return given
    raise TrainingError(f"{what} is {given!r}, it must be a name, or an id from 0 on")


def _genres(table: Mapping[str, Any]) -> tuple[Name, ...]:
    if "genre" in table and "genres" in table:
        raise TrainingError("genre and genres are both given: one of them says it")
    if "genre" in table:
        return (_name(table["genre"], "genre"),)
    given = table.get("genres", [])
    if not isinstance(given, list):
        raise TrainingError(f"genres is {given!r}, expected a list of names or ids")
    return tuple(_name(one, "a genre") for one in cast("list[object]", given))


def _seconds(given: object, name: str) -> float | None:
    if given is None:
        return None
    if type(given) not in (int, float) or not 0 <= cast(float, given) < 1e6:
        raise TrainingError(f"{name} is {given!r}, it must be seconds from 0 to below 1000000")
    return float(cast(float, given))
