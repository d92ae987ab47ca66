"""How the finisher's own sound lies beside the recording's, band by band, and what evens it out.

Now and then a chunk of the prime is finished once more as if it had been drawn, from
the notes heard in it. Where that comes out duller or louder than the recording, so will
what follows; its bands are raised or lowered by as much. Measured on the anchor's grid
for the last seconds of the prime: it depends on the prime, neither on how it arrived nor
on when it is measured. Where the recording goes on by itself nobody asks.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32

from model.attending import GROUP_STEPS
from model.bands import GROUPS, band_power
from model.composer import Voice, notes_of, score_heard
from model.finishing import RECALLED_STEPS, Finishing, Likeness
from model.grid import Grid
from model.listening import STEP_SAMPLES
from model.state import TimelineState
from model.values import Known

WEIGHED_CHUNK = 2
"""Of a group's chunks the one that is finished again: its neighbours lie in the group."""


class Balancing:
    """Keeps `weighed` of timelines up with what was heard."""

    def __init__(self, grid: Grid, finishing: Finishing) -> None:
        self._finishing = finishing
        self._grid = grid
        self._group_chunks = GROUP_STEPS * STEP_SAMPLES // grid.chunk_samples
        # Of older ones the audio may be gone.
        self._counted = min(GROUPS, (grid.context_chunks - 1) // self._group_chunks)
        self._voice = Voice(step_samples=STEP_SAMPLES)

    def missing(self, state: TimelineState) -> bool:
        """Return whether a whole group of the prime was not weighed yet."""
        return len(state.weighed) < self._groups(state)

    @torch.no_grad()
    def weighed(self, state: TimelineState) -> TimelineState:
        """Return the state with the bands of one more group; of those too old to count, with 0."""
        group = max(len(state.weighed), self._groups(state) - self._counted)
        weighed = np.zeros((group + 1, *state.weighed.shape[1:]), np.float32)
        weighed[: len(state.weighed)] = state.weighed
        weighed[: max(0, group + 1 - self._counted)] = 0
        if self._counted:
            weighed[group] = self._of_group(state, group)
        return replace(state, weighed=weighed)

    def _groups(self, state: TimelineState) -> int:
        chunks = min(len(state.codes), state.drawn_from) // self._grid.chunk_frames
        steps = min(chunks * self._grid.chunk_samples // STEP_SAMPLES, len(state.spectra))
        return steps // GROUP_STEPS

    def _of_group(self, state: TimelineState, group: int) -> Float32[np.ndarray, "sides bands"]:
        chunk = group * self._group_chunks + WEIGHED_CHUNK
        first = chunk * self._grid.chunk_frames
        begin = chunk * self._grid.chunk_samples
        end = begin + self._grid.chunk_samples
        like = Likeness(recalled=state.spectra[: begin // STEP_SAMPLES][-RECALLED_STEPS:])
        span = (first, first + self._grid.chunk_frames)
        made = self._finishing.render(state.codes, self._notes(state, group), span, 0, like)
        heard = state.audio[begin - state.audio_start : end - state.audio_start]
        return np.stack([band_power(made), band_power(heard)]).astype(np.float32)

    def _notes(self, state: TimelineState, group: int) -> Known:
        """Return what the group's notes are: those told, else those heard; none if none are."""
        start = group * GROUP_STEPS * STEP_SAMPLES
        end = start + GROUP_STEPS * STEP_SAMPLES
        if any(first <= start and last >= end for first, last in state.known.spans()):
            return state.known
        rows = state.heard[group * GROUP_STEPS : (group + 1) * GROUP_STEPS]
        notes = notes_of(score_heard(rows.astype(np.float32)), start, self._voice)
        span = (start, end) if len(notes) else None
        return replace(state.known, notes=notes, notes_span=None, composed_span=span)
