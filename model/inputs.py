"""Conditions of one chunk as the networks read them."""

import numpy as np
import torch

from model.bundle import Bundle
from model.conditioning.embeddings import FrameInputs
from model.conditioning.roll import ROLL_FRAME_SAMPLES, ROLL_WIDTH, roll_of
from model.grid import Grid
from model.hearing import Hearing
from model.values import TARGETS, Known


class Inputs:
    """Builds `FrameInputs` for chunks of the grid; stems are encoded as chunks need them."""

    def __init__(self, bundle: Bundle, grid: Grid, hearing: Hearing) -> None:
        self._codebook = bundle.codebook
        self._grid = grid
        self._hearing = hearing

    def of_chunk(self, known: Known, chunk: int) -> FrameInputs:
        """Return the conditions of one chunk."""
        start = chunk * self._grid.chunk_samples
        groups = self._grid.chunk_samples // ROLL_FRAME_SAMPLES
        at = start + np.arange(groups) * ROLL_FRAME_SAMPLES
        stems, given = self._stems(known, chunk, groups)
        roll, noted = self.roll(known, start, groups)
        total = float(known.total_samples)
        return FrameInputs(
            artist=torch.tensor([known.artist]),
            genre=torch.tensor([[known.genre]]),
            target=torch.tensor([known.target]),
            total=torch.full((1, groups), total),
            position=torch.from_numpy((at + known.offset_samples).astype(np.float32))[None],
            roll=torch.from_numpy(roll)[None],
            roll_known=torch.from_numpy(noted)[None],
            stems=self._codebook[torch.from_numpy(stems)][None],
            stems_given=torch.from_numpy(given)[None],
        )

    def roll(self, known: Known, start: int, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """Return note features from a sample on, and which roll frames they are known for."""
        if known.notes_span is None:
            return np.zeros((groups, ROLL_WIDTH), np.float32), np.zeros(groups, bool)
        at = start + np.arange(groups) * ROLL_FRAME_SAMPLES
        first, last = known.notes_span
        # A frame is known when the span covers its start: half-known frames have notes to tell.
        noted = (at + ROLL_FRAME_SAMPLES > first) & (at < last)
        return roll_of(known.notes, start, groups), noted

    def _stems(self, known: Known, chunk: int, groups: int) -> tuple[np.ndarray, np.ndarray]:
        codes = np.zeros((len(TARGETS), groups), np.int64)
        given = np.zeros((len(TARGETS), groups), bool)
        step = self._grid.chunk_frames // groups
        for stem in known.stems:
            audio, start = stem.samples, stem.start_sample
            if start > 0:
                audio, start = np.concatenate([np.zeros(start, np.float32), audio]), 0
            heard = self._hearing.encode(audio[-start:], 0, chunk)[::step] if len(audio) else []
            codes[stem.kind, : len(heard)] = heard
            given[stem.kind, : len(heard)] = True
        return codes, given
