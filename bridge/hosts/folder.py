"""Any music program at all: a folder that it exports into, and one that it imports from.

`in/` holds time-stamped Broadcast Wave files, one for each track, as a DAW exports
or bounces them; `out/<track>/` the clips. A file's place is its `bext` time reference.
Undo takes the last step's files away. Deleting `out/progress.txt` aborts.
"""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from bridge.audio_file import (
    AudioClip,
    Provenance,
    read_audio,
    read_time_reference,
    write_audio,
    write_whole,
)
from bridge.errors import InvalidRequestError, NotFoundError, NotReadyError
from bridge.hosts.contract import Clip, Selection
from bridge.request import MAX_PRIME_SECONDS

SUFFIXES: Final = (".wav", ".wave", ".bwf")
PROGRESS: Final = "progress.txt"
MESSAGE: Final = "message.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one transaction made, and what it took away and where that lies now."""

    made: tuple[Path, ...]
    removed: tuple[tuple[Path, Path], ...]


class FolderHost:
    """A pair of folders that stand for a music program."""

    def __init__(self, root: Path) -> None:
        """Open the folders, which are made if they are not there.

        Raises:
            NotReadyError: They cannot be made.
        """
        self.inbox, self.outbox = root / "in", root / "out"
        self._trash = root / ".undo"
        self._steps: list[_Step] = []
        self._chosen: Path | None = None
        try:
            for folder in (self.inbox, self.outbox, self._trash):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotReadyError(f"{root} cannot be used: {error.strerror}") from error

    @property
    def name(self) -> str:
        """Return the host's name."""
        return "folder"

    def choose(self, path: Path) -> None:
        """Select a file of `in/`."""
        self._chosen = path

    def selection(self) -> Selection:
        """Return the whole of the file chosen; its name is the track.

        Raises:
            InvalidRequestError: None is chosen, or it is no audio.
        """
        if self._chosen is None:
            raise InvalidRequestError(f"0 files of {self.inbox} are chosen, 1 is needed")
        clip = read_audio(self._chosen)
        start = read_time_reference(self._chosen) or 0
        return Selection(
            track=self._chosen.stem,
            start_sample=start,
            end_sample=start + clip.samples.shape[1],
            sample_rate=clip.sample_rate,
        )

    def clips(self, track: str) -> tuple[Clip, ...]:
        """Return the clips of a track in time order."""
        found: list[Clip] = []
        for path in sorted(self._track(track).glob("*.wav")):
            clip = read_audio(path, MAX_PRIME_SECONDS * 10)
            start = read_time_reference(path) or 0
            length = clip.samples.shape[1]
            found.append(Clip(name=path.stem, track=track, start_sample=start, num_samples=length))
        return tuple(sorted(found, key=lambda one: one.start_sample))

    def render_range(self, stretch: Selection, path: Path) -> Path:
        """Return where a piece of a track's file in `in/` now lies.

        Raises:
            NotFoundError: There is no such file.
            InvalidRequestError: The stretch is not in it.
        """
        source = self._source_of(stretch.track)
        clip, start = read_audio(source), read_time_reference(source) or 0
        begin, end = stretch.start_sample - start, stretch.end_sample - start
        if begin < 0 or end > clip.samples.shape[1] or clip.sample_rate != stretch.sample_rate:
            raise InvalidRequestError(
                f"{source.name} holds samples {start} to {start + clip.samples.shape[1]} at "
                f"{clip.sample_rate} Hz, asked were {stretch.start_sample} to "
                f"{stretch.end_sample} at {stretch.sample_rate} Hz"
            )
        piece = AudioClip(samples=clip.samples[:, begin:end], sample_rate=clip.sample_rate)
        return write_audio(path, piece, stretch.start_sample, _cut_from(source))

    @contextmanager
    def transaction(self, title: str) -> Generator["_FolderEdit"]:
        """Yield an edit; its files appear together when it is whole."""
        del title
        edit = _FolderEdit(self)
        yield edit
        self._steps.append(self._done(edit))

    @contextmanager
    def progress(self, title: str) -> Generator["_FolderView"]:
        """Yield a view: a text file that goes away at the end."""
        view = _FolderView(title, self.outbox / PROGRESS)
        try:
            yield view
        finally:
            view.path.unlink(missing_ok=True)

    def undo(self) -> None:
        """Take the last step's files away, and put back what it deleted.

        Raises:
            NotReadyError: There is no step.
        """
        if not self._steps:
            raise NotReadyError("0 steps are left to undo")
        step = self._steps.pop()
        for path in step.made:
            path.unlink(missing_ok=True)
        for path, kept in step.removed:
            kept.replace(path)

    def tell(self, text: str) -> None:
        """Write a sentence into `out/message.txt`."""
        write_whole(self.outbox / MESSAGE, [f"{text}\n".encode()], overwrite=True)

    def clip_path(self, name: str) -> Path:
        """Return the file of a clip.

        Raises:
            NotFoundError: There is none.
        """
        for path in self.outbox.glob("*/*.wav"):
            if path.stem == name:
                return path
        raise NotFoundError(f"there is no clip {name}")

    def _track(self, track: str) -> Path:
        if not track or track.startswith(".") or set(track) & set('/\\:*?"<>|\0'):
            raise InvalidRequestError(f"{track!r} cannot be the name of a folder")
        return self.outbox / track

    def _source_of(self, track: str) -> Path:
        for path in sorted(self.inbox.iterdir()):
            if path.stem == track and path.suffix.lower() in SUFFIXES:
                return path
        raise NotFoundError(f"there is no file {track} in {self.inbox}")

    def _done(self, edit: "_FolderEdit") -> _Step:
        made: list[Path] = []
        removed: list[tuple[Path, Path]] = []
        try:
            for name in edit.deleted:
                path = self.clip_path(name)
                kept = self._trash / f"{uuid4().hex}.wav"
                path.replace(kept)
                removed.append((path, kept))
            made.extend(self._created(*clip) for clip in edit.created)
        except BaseException:
            for path in made:
                path.unlink(missing_ok=True)
            for path, kept in removed:
                kept.replace(path)
            raise
        return _Step(made=tuple(made), removed=tuple(removed))

    def _created(self, source: Path, track: str, start_sample: int, name: str) -> Path:
        folder = self._track(track)
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.wav"
        if path.exists():
            raise InvalidRequestError(f"there is a clip {name} already, names are used once")
        if read_time_reference(source) == start_sample:
            unfinished = folder / f".{uuid4().hex}.part"
            shutil.copyfile(source, unfinished)
            return unfinished.replace(path)
        clip = read_audio(source, MAX_PRIME_SECONDS * 10)
        return write_audio(path, clip, start_sample, _cut_from(source))


class _FolderEdit:
    def __init__(self, host: FolderHost) -> None:
        self._host = host
        self.created: list[tuple[Path, str, int, str]] = []
        self.deleted: list[str] = []

    def import_file(self, path: Path) -> str:
        read_audio(path, MAX_PRIME_SECONDS * 10)
        return str(path)

    def create_clip(self, source: str, track: str, start_sample: int, name: str) -> None:
        if start_sample < 0:
            raise InvalidRequestError(f"the clip would begin at sample {start_sample}, 0 is first")
        self.created.append((Path(source), track, start_sample, name))

    def delete_clip(self, name: str) -> None:
        self._host.clip_path(name)
        self.deleted.append(name)


class _FolderView:
    def __init__(self, title: str, path: Path) -> None:
        self._title = title
        self._is_shown = False
        self._is_aborted = False
        self.path = path

    def show(self, fraction: float, text: str) -> None:
        if self.is_aborted():
            return
        line = f"{self._title}: {fraction:.0%}, {text}. Delete this file to stop.\n"
        write_whole(self.path, [line.encode()], overwrite=True)
        self._is_shown = True

    def is_aborted(self) -> bool:
        self._is_aborted = self._is_aborted or (self._is_shown and not self.path.exists())
        return self._is_aborted


def _cut_from(source: Path) -> Provenance:
    return Provenance(
        model="", fingerprint="", seed=0, request_id=f"from {source.name}", licence=""
    )
