"""The student at work on a timeline: prefill from what is heard, refine what is not."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.bundle import TOP, Bundle
from model.conditioning.embeddings import FrameInputs
from model.errors import ConditionError
from model.grid import Grid
from model.inputs import Inputs
from model.sampler import sample
from model.state import Codes, TimelineState
from model.values import SamplingPlan

CODE_TEMPERATURE = 0.7
"""Codes are drawn cooler than the plan says: a young student is unsure of much that must not
become noise. Chosen on an earlier finisher, by five primes with notes: mean noisiness .41 at 1.0
and .29 at 0.6; not measured again since."""


class FastSampler:
    """Chunks of top-level codes in a few passes each."""

    def __init__(self, bundle: Bundle, grid: Grid, inputs: Inputs) -> None:
        self._student = bundle.student
        self._grid = grid
        self._inputs = inputs
        assert bundle.config.student is not None
        self._config = bundle.config.student

    def passes(self, plan: SamplingPlan) -> int:
        """Return how many passes a chunk takes.

        Raises:
            ConditionError: More passes than there are frames in a group to decide.
        """
        passes, limit = plan.passes or self._config.passes, len(self._config.order)
        if passes > limit:
            raise ConditionError(f"{passes} passes were asked for, this model has 1 to {limit}")
        return passes

    @torch.no_grad()
    def remember(self, state: TimelineState, codes: Codes) -> TimelineState:
        """Return the state whose memory holds one more finished chunk."""
        memory = state.memory or self._student.transformer.start(1)
        made = self._conditions(state, state.remembered_chunks)
        memory = self._student.remember(_row(codes), made, memory)
        return replace(state, memory=memory, remembered_chunks=state.remembered_chunks + 1)

    @torch.no_grad()
    def step(self, state: TimelineState, plan: SamplingPlan) -> TimelineState:
        """Return the state one pass further; the last pass settles and remembers the chunk."""
        chunk, frames = state.remembered_chunks, self._grid.chunk_frames
        state = self._with_draft(state)
        passes = self.passes(plan)
        memory = state.memory or self._student.transformer.start(1)
        logits = self._student.look(
            _row(state.draft),
            torch.as_tensor(state.draft_shown)[None],
            self._conditions(state, chunk),
            memory,
        )
        place = np.arange(frames) % self._config.group_frames
        now = np.isin(place, self._config.decided(state.turn, passes)) & ~state.draft_shown
        cooler = replace(plan, temperature=CODE_TEMPERATURE * plan.temperature)
        made = sample(logits[0], cooler, level=TOP, turn=state.turn, first_frame=chunk * frames)
        draft = np.where(now, made, state.draft).astype(np.int16)
        state = replace(
            state, draft=draft, draft_shown=state.draft_shown | now, turn=state.turn + 1
        )
        return self._settled(state) if state.turn == passes else state

    def _with_draft(self, state: TimelineState) -> TimelineState:
        if len(state.draft):
            return state
        frames = self._grid.chunk_frames
        known = state.codes[state.remembered_chunks * frames :]
        draft = np.zeros(frames, np.int16)
        draft[: len(known)] = known
        return replace(state, draft=draft, draft_shown=np.arange(frames) < len(known), turn=0)

    def _settled(self, state: TimelineState) -> TimelineState:
        known = len(state.codes) - state.remembered_chunks * self._grid.chunk_frames
        codes = np.concatenate([state.codes, state.draft[known:]])
        after = self.remember(state, state.draft)
        empty = np.zeros(0, np.int16)
        return replace(after, codes=codes, draft=empty, draft_shown=np.zeros(0, bool), turn=0)

    def _conditions(self, state: TimelineState, chunk: int) -> Float[Tensor, "1 groups width"]:
        inputs: FrameInputs = self._inputs.of_chunk(state.known, chunk)
        return self._student.conditions(inputs)


def _row(codes: Codes) -> Int[Tensor, "1 frames"]:
    return torch.as_tensor(codes.astype(np.int64))[None]
