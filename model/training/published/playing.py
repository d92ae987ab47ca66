"""Notes and stems of recordings, as a prior that hears them is told them in training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from model.codec import Level
from model.conditioning.embeddings import PlayedInputs
from model.conditioning.roll import NOTE_FIELDS, Notes
from model.config import PlayedConfig
from model.data.dataset import STEM_KINDS
from model.errors import TrainingError
from model.prior import Prior
from model.published.played import NO_CODE, Played, StemCodes, played_inputs
from model.training.midi import read_notes
from model.training.published.clips import Batch, Clip
from model.training.published.recordings import Recording
from model.upsampler import Upsampler

START, END, PART = (NOTE_FIELDS.index(name) for name in ("start_sample", "end_sample", "stem"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Playing:
    """All notes of all recordings, and how clips are told them."""

    config: PlayedConfig
    notes: Mapping[Path, Notes]
    """By MIDI file, in model samples of its recording."""

    def inputs(self, batch: Batch, level: Level) -> PlayedInputs:
        """Return what a batch is told; stems are encoded at the prior's own level."""
        frames = batch.audio.shape[-1] // level.hop
        codes = _encoded(batch, level, self.config.stem_kinds)
        items = [
            self._item(clip, stems, batch.audio.shape[-1])
            for clip, stems in zip(batch.clips, codes, strict=True)
        ]
        return played_inputs(items, self.config, 0, frames)

    def _item(self, clip: Clip, stems: StemCodes, samples: int) -> Played:
        path, first = clip.recording.midi, clip.told_from_samples
        if path is None or first is None:
            return Played(stems=stems, target=clip.target)
        notes = self.notes[path].copy()
        if clip.target:
            notes = notes[notes[:, PART] == clip.target - 1]
        notes[:, [START, END]] -= clip.start_samples
        return Played(notes=notes, spans=((first, samples),), stems=stems, target=clip.target)


@torch.no_grad()
def _encoded(batch: Batch, level: Level, kinds: int) -> list[StemCodes]:
    """Return the codes of each clip's stems."""
    frames = batch.audio.shape[-1] // level.hop
    made = [np.full((kinds, frames), NO_CODE, np.int64) for _ in batch.clips]
    given = [(row, kind) for row, stems in enumerate(batch.stems) for kind in stems]
    if given:
        audio: Float[Tensor, "stems samples"] = torch.stack(
            [batch.stems[row][kind] for row, kind in given]
        ).to(level.quantizer.codebook.device)
        with torch.autocast(audio.device.type, enabled=False):
            codes = level.encode(audio).cpu().numpy()
        for (row, kind), one in zip(given, codes, strict=True):
            made[row][1 + STEM_KINDS.index(kind)] = one
    return made


def playing_of(
    module: Prior | Upsampler, recordings: Sequence[Recording], level: Level, sample_rate: int
) -> Playing | None:
    """Return what a prior is told of notes and stems; None of one that hears neither.

    It reads stems by the codebook of `level` from now on.

    Raises:
        TrainingError: No recording has notes, nor stems enough; or notes that cannot be told.
    """
    if isinstance(module, Upsampler) or module.played is None:
        return None
    if not any(one.midi or len(one.stems) > 1 for one in recordings):
        raise TrainingError(
            "model.plays is true, but no recording has a MIDI file, nor two stems or more: there "
            "is nothing to be told"
        )
    module.played.set_codebook(level.quantizer.codebook)
    paths = {one.midi for one in recordings if one.midi is not None}
    notes = {path: read_notes(path, sample_rate) for path in sorted(paths)}
    return Playing(config=module.played.config, notes=notes)
