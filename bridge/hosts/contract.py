"""What every host can do for us: five verbs, and the questions around them.

Render a stretch of a track, import a file, create a clip at a position, make one
undo step of it all, show progress that the musician can abort. Positions are
samples of the host's timeline at the host's rate. Knows no host.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bridge.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A stretch of one track, and the musical time there.

    Attributes:
        track: The track's name in the host.
        start_sample: The first sample.
        end_sample: The sample after the last.
        sample_rate: The host's, in Hz.
        tempo_bpm: Quarter notes a minute at the end; None where the host cannot tell.
        meter: Numerator and denominator at the end; None where the host cannot tell.
    """

    track: str
    start_sample: int
    end_sample: int
    sample_rate: int
    tempo_bpm: float | None = None
    meter: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse what has no music in it.

        Raises:
            InvalidRequestError: It is empty, or begins before sample 0.
        """
        if not 0 <= self.start_sample < self.end_sample:
            raise InvalidRequestError(
                f"the selection is samples {self.start_sample} to {self.end_sample}: "
                "select at least 1 sample, at or after sample 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A piece of audio on a track; the name is the caller's and names it from then on."""

    name: str
    track: str
    start_sample: int
    num_samples: int


class Edit(Protocol):
    """What one undo step holds; nothing of it happens before the step is whole."""

    def import_file(self, path: Path) -> str:
        """Return what `create_clip` calls the file's audio."""
        ...

    def create_clip(self, source: str, track: str, start_sample: int, name: str) -> None:
        """Put imported audio on a track, which is made if there is none of this name."""
        ...

    def delete_clip(self, name: str) -> None:
        """Take a clip away that `create_clip` made."""
        ...


class View(Protocol):
    """A progress dialog, or what the host has instead."""

    def show(self, fraction: float, text: str) -> None:
        """Show how far the work is, from 0 to 1, and what is done now."""
        ...

    def is_aborted(self) -> bool:
        """Return whether the musician wants it stopped."""
        ...


class Host(Protocol):
    """A music program, seen from here.

    Every verb raises `NotReadyError` when the host does not answer, and the host's
    own refusals as errors of the tree.
    """

    @property
    def name(self) -> str:
        """Return the host's name, such as `ardour`."""
        ...

    def selection(self) -> Selection:
        """Return what the musician has selected."""
        ...

    def clips(self, track: str) -> tuple[Clip, ...]:
        """Return the clips of a track in time order; none if there is no such track."""
        ...

    def render_range(self, stretch: Selection, path: Path) -> Path:
        """Return where the stretch's audio now lies, before the track's effects and fader."""
        ...

    def transaction(self, title: str) -> AbstractContextManager[Edit]:
        """Yield an edit that becomes one undo step; an exception inside leaves no trace."""
        ...

    def progress(self, title: str) -> AbstractContextManager[View]:
        """Yield a view that goes away at the end."""
        ...

    def undo(self) -> None:
        """Take back the last undo step."""
        ...

    def tell(self, text: str) -> None:
        """Show the musician a sentence."""
        ...
