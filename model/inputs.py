"""Conditions of one chunk as the networks read them."""

import numpy as np
import torch
from jaxtyping import Bool, Int64

from model.bundle import Bundle
from model.conditioning.embeddings import FrameInputs
from model.conditioning.roll import ROLL_FRAME_SAMPLES, Roll, check_notes, noted_roll
from model.errors import ConditionError, LabelError
from model.grid import Grid
from model.hearing import Hearing
from model.values import TARGETS, Known


class Inputs:
    """Builds `FrameInputs` for chunks of the grid; stems are encoded as chunks need them."""

    def __init__(self, bundle: Bundle, grid: Grid, hearing: Hearing) -> None:
        assert bundle.config.student is not None
        self._labels = bundle.config.student.labels
        self._codebook = bundle.codebook
        self._grid = grid
        self._hearing = hearing

    def check(self, known: Known) -> None:
        """Refuse what no table has a row for.

        Raises:
            ConditionError: A target, note or stem that this model cannot read.
            LabelError: An artist or genre outside the vocabulary.
        """
        rows = {"artist": known.artist, "genre": known.genre}
        limits = {"artist": self._labels.artists, "genre": self._labels.genres}
        for name, row in rows.items():
            if not 0 <= row < limits[name]:
                raise LabelError(f"the {name}'s row is {row}, the model has {limits[name]} rows")
        kinds = [stem.kind for stem in known.stems]
        for kind in (known.target, *kinds):
            if not 0 <= kind < len(TARGETS):
                raise ConditionError(f"kind {kind} is none of the {len(TARGETS)}: {TARGETS}")
            if kinds.count(kind) > 1:
                raise ConditionError(f"{kinds.count(kind)} stems are {TARGETS[kind]}, 1 can be")
        check_notes(known.notes)

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
            position=torch.as_tensor((at + known.offset_samples).astype(np.float32))[None],
            roll=torch.as_tensor(roll)[None],
            roll_known=torch.as_tensor(noted)[None],
            stems=self._codebook[torch.as_tensor(stems)][None],
            stems_given=torch.as_tensor(given)[None],
        )

    def roll(
        self, known: Known, start: int, groups: int
    ) -> tuple[Roll, Bool[np.ndarray, " groups"]]:
        """Return note features from a sample on, and which roll frames they are known for."""
        return noted_roll(known.notes, known.spans(), start, groups)

    def _stems(
        self, known: Known, chunk: int, groups: int
    ) -> tuple[Int64[np.ndarray, "kinds groups"], Bool[np.ndarray, "kinds groups"]]:
        codes = np.zeros((len(TARGETS), groups), np.int64)
        given = np.zeros((len(TARGETS), groups), bool)
        step = self._grid.chunk_frames // groups
        at = chunk * self._grid.chunk_samples + np.arange(groups) * ROLL_FRAME_SAMPLES
        for stem in known.stems:
            heard = self._hearing.encode(stem.samples, stem.start_sample, chunk)[::step]
            begun = at[: len(heard)] + ROLL_FRAME_SAMPLES > stem.start_sample
            codes[stem.kind, : len(heard)] = heard
            given[stem.kind, : len(heard)] = begun
        return codes, given
