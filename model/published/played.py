"""Notes, stems and the part wanted, as a prior of published kind hears them in its windows.

The published models hear neither; a prior that a user trains may. Positions are
model samples from the start of what is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Int64

from model.conditioning.embeddings import PlayedInputs
from model.conditioning.roll import NOTE_FIELDS, ROLL_FRAME_SAMPLES, Notes, noted_roll
from model.config import PlayedConfig
from model.values import TARGETS

StemCodes = Int64[np.ndarray, "kinds _"]
"""A row of top-level codes for each of `values.TARGETS`; -1 where nothing is given."""
Codes = Int64[np.ndarray, " _"]
NO_CODE = -1


def no_notes() -> Notes:
    """Return no notes."""
    return np.zeros((0, len(NOTE_FIELDS)), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """What is told of a timeline beside its labels."""

    notes: Notes = field(default_factory=no_notes)
    spans: tuple[tuple[int, int], ...] = ()
    """Stretches whose notes are all known: there silence means silence."""
    stems: StemCodes | None = None
    """After the last code nothing is given."""
    target: int = 0
    """The part wanted; indexes `values.TARGETS`."""

    @property
    def nbytes(self) -> int:
        """Return the memory held."""
        return self.notes.nbytes + (0 if self.stems is None else self.stems.nbytes)

    @property
    def silent(self) -> bool:
        """Return whether nothing is told."""
        return not (self.spans or self.target or self.stems is not None)

    def with_stem(self, kind: int, first_frame: int, codes: Codes) -> "Played":
        """Return what is told with one more stem, whose first code lies on a frame."""
        held = 0 if self.stems is None else self.stems.shape[1]
        made = np.full((len(TARGETS), max(held, first_frame + len(codes))), NO_CODE, np.int64)
        if self.stems is not None:
            made[:, :held] = self.stems
        made[kind, first_frame : first_frame + len(codes)] = codes
        return replace(self, stems=made)


def played_inputs(
    items: Sequence[Played], config: PlayedConfig, start_frame: int, frames: int
) -> PlayedInputs:
    """Return what a window of a batch is told."""
    groups = -(-frames // config.roll_frames)
    start = start_frame * (ROLL_FRAME_SAMPLES // config.roll_frames)
    rolls = [noted_roll(item.notes, item.spans, start, groups) for item in items]
    stems = [_window(item.stems, config.stem_kinds, start_frame, frames) for item in items]
    return PlayedInputs(
        target=torch.tensor([item.target for item in items]),
        roll=torch.as_tensor(np.stack([roll for roll, _ in rolls])),
        roll_known=torch.as_tensor(np.stack([known for _, known in rolls])),
        stems=torch.as_tensor(np.stack(stems)),
    )


def _window(stems: StemCodes | None, kinds: int, first: int, frames: int) -> StemCodes:
    made = np.full((kinds, frames), NO_CODE, np.int64)
    if stems is not None:
        some = stems[:, first : first + frames]
        made[:, : some.shape[1]] = some
    return made
