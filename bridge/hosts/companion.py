"""A host that runs one of our companions (Ardour, REAPER, Live's extension), asked by mailbox.

An edit is sent whole, so that the companion makes one undo step of it or nothing.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np

from bridge.audio_file import AudioClip, Provenance, read_audio, write_audio
from bridge.errors import BridgeError, InvalidRequestError
from bridge.hosts.contract import Clip, Selection
from bridge.hosts.mailbox import Line, Mailbox

RENDER_SECONDS: Final = 120.0
EDIT_SECONDS: Final = 120.0
ORIGIN: Final = "rendered by the host"


class CompanionHost:
    """Ardour, REAPER or Live through its companion."""

    def __init__(self, name: str, mailbox: Mailbox) -> None:
        self._name = name
        self._mailbox = mailbox

    @property
    def name(self) -> str:
        """Return the host's name."""
        return self._name

    def selection(self) -> Selection:
        """Return what the musician has selected.

        Raises:
            InvalidRequestError: Nothing is selected, or it is on no track.
        """
        (line,) = self._mailbox.ask([("selection",)])
        _, track, start, end, rate, tempo, numerator, denominator = _words(line, 8)
        return Selection(
            track=track,
            start_sample=int(start),
            end_sample=int(end),
            sample_rate=int(rate),
            tempo_bpm=float(tempo),
            meter=(int(numerator), int(denominator)) if int(numerator) > 0 else None,
        )

    def clips(self, track: str) -> tuple[Clip, ...]:
        """Return the clips of a track in time order."""
        lines = [_words(line, 4) for line in self._mailbox.ask([("clips", track)])]
        found = [
            Clip(name=name, track=track, start_sample=int(start), num_samples=int(length))
            for _, name, start, length in lines
        ]
        return tuple(sorted(found, key=lambda clip: clip.start_sample))

    def render_range(self, stretch: Selection, path: Path) -> Path:
        """Return where the stretch's audio now lies; the host may write a file per channel."""
        start, end = stretch.start_sample, stretch.end_sample
        lines = self._mailbox.ask([("render", stretch.track, start, end)], RENDER_SECONDS)
        parts = [read_audio(Path(_words(line, 2)[1])) for line in lines]
        if not parts or len({(one.samples.shape, one.sample_rate) for one in parts}) != 1:
            raise BridgeError(f"{self._name} rendered {len(parts)} files that do not fit together")
        clip = AudioClip(
            samples=np.concatenate([one.samples for one in parts]),
            sample_rate=parts[0].sample_rate,
        )
        origin = Provenance(model="", fingerprint="", seed=0, request_id=ORIGIN, licence="")
        return write_audio(path, clip, start, origin)

    @contextmanager
    def transaction(self, title: str) -> Generator["_CompanionEdit"]:
        """Yield an edit that is sent when it is whole."""
        edit = _CompanionEdit()
        yield edit
        self._mailbox.ask([("edit", title), *edit.lines], EDIT_SECONDS)

    @contextmanager
    def progress(self, title: str) -> Generator["_CompanionView"]:
        """Yield the companion's progress window."""
        view = _CompanionView(title, self._mailbox)
        try:
            yield view
        finally:
            self._mailbox.ask([("finish",)])

    def undo(self) -> None:
        """Take back the last undo step."""
        self._mailbox.ask([("undo",)])

    def tell(self, text: str) -> None:
        """Show the musician a sentence."""
        self._mailbox.ask([("tell", text)])


class _CompanionEdit:
    def __init__(self) -> None:
        self.lines: list[Line] = []

    def import_file(self, path: Path) -> str:
        key = uuid4().hex
        self.lines.append(("import", key, str(path.absolute())))
        return key

    def create_clip(self, source: str, track: str, start_sample: int, name: str) -> None:
        if start_sample < 0:
            raise InvalidRequestError(f"the clip would begin at sample {start_sample}, 0 is first")
        self.lines.append(("clip", source, track, str(start_sample), name))

    def delete_clip(self, name: str) -> None:
        self.lines.append(("delete", name))


class _CompanionView:
    def __init__(self, title: str, mailbox: Mailbox) -> None:
        self._title = title
        self._mailbox = mailbox
        self._aborted = False

    def show(self, fraction: float, text: str) -> None:
        (line,) = self._mailbox.ask([("progress", self._title, f"{fraction:.4f}", text)])
        self._aborted = self._aborted or _words(line, 2)[1] == "1"

    def is_aborted(self) -> bool:
        return self._aborted


def _words(line: Line, number: int) -> Line:
    if len(line) != number:
        raise BridgeError(f"the companion answered {len(line)} words, {number} were due: {line}")
    return line
