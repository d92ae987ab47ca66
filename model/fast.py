"""The student at work on a timeline: prefill from what is heard, refine what is not."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from model.bundle import TOP, Bundle
from model.conditioning.embeddings import FrameInputs
from model.errors import ConditionError
from model.grid import Grid
from model.inputs import Inputs
from model.memo import Memo, digest
from model.noise import choose, uniform
from model.sampler import chances
from model.state import Codes, TimelineState
from model.transformer import Running
from model.values import Known, SamplingPlan, nothing_known

Shown = Bool[np.ndarray, " frames"]
Conditions = Float[Tensor, "1 groups width"]
CONDITIONS_BYTES = 8 * 2**20
"""For conditions of some hundreds of chunks."""


class FastSampler:
    """Chunks of top-level codes in a few passes each."""

    def __init__(self, bundle: Bundle, grid: Grid, inputs: Inputs) -> None:
        self._student = bundle.student
        self._loudness = bundle.loudness
        self._grid = grid
        self._inputs = inputs
        self.conditions: Memo[Conditions] = Memo(CONDITIONS_BYTES, lambda made: made.nbytes)
        """What the student reads of labels, notes and stems, by their content."""
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
        conditions = self._conditions(state, state.known)
        return self._remembering(state, codes, conditions, self._upon(state))

    @torch.no_grad()
    def step(self, state: TimelineState, plan: SamplingPlan) -> TimelineState:
        """Return the state one chunk further: drawn in a few passes, settled and remembered."""
        frames, conditions = self._grid.chunk_frames, self._conditions(state, state.known)
        heard = state.codes[state.remembered_chunks * frames :]
        codes = np.zeros(frames, np.int16)
        codes[: len(heard)] = heard
        shown = np.arange(frames) < len(heard)
        past = self._upon(state)
        passes, lean = self.passes(plan), self._loudness.lean(state)
        for turn in range(passes):
            now = self._decided(turn, passes) & ~shown
            if now.any():
                seen = _row(codes), torch.as_tensor(shown)[None]
                wanted = torch.as_tensor(now)
                logits = self._student.look(*seen, conditions, past, wanted=wanted)
                if plan.guidance != 1:
                    # The past was remembered as it was told: what leads away is this chunk's.
                    untold = self._conditions(state, _untold(state.known))
                    free = self._student.look(*seen, untold, past, wanted=wanted)
                    logits = free + plan.guidance * (logits - free)
                draws = self._draws(state, plan, turn)[now]
                codes[now] = choose(chances(logits[0] + lean, plan), draws)
                shown |= now
        after = self._remembering(state, codes, conditions, past)
        return replace(after, codes=np.concatenate([state.codes, codes[len(heard) :]]))

    def _decided(self, turn: int, passes: int) -> Shown:
        group = np.zeros(self._config.group_frames, bool)
        group[list(self._config.decided(turn, passes))] = True
        return np.tile(group, self._grid.chunk_frames // len(group))

    def _draws(
        self, state: TimelineState, plan: SamplingPlan, turn: int
    ) -> Float64[np.ndarray, " frames"]:
        frames = self._grid.chunk_frames
        return uniform(
            plan.seed,
            level=TOP,
            turn=turn,
            variation=plan.variation,
            first_frame=state.remembered_chunks * frames,
            frames=frames,
        )

    def _remembering(
        self, state: TimelineState, codes: Codes, conditions: Conditions, past: Running
    ) -> TimelineState:
        memory = self._student.remember(_row(codes), conditions, past)
        return replace(state, memory=memory, remembered_chunks=state.remembered_chunks + 1)

    def _upon(self, state: TimelineState) -> Running:
        return self._student.upon(state.memory or self._student.transformer.start(1))

    def _conditions(self, state: TimelineState, known: Known) -> Conditions:
        """Return the conditions of the chunk to come."""
        inputs = self._inputs.of_chunk(known, state.remembered_chunks)
        return self.conditions.of(_key(inputs), lambda: self._student.conditions(inputs))


def _untold(known: Known) -> Known:
    """Return what is left when all is dropped that was dropped in training: the part wanted."""
    return replace(nothing_known(), target=known.target)


def _key(inputs: FrameInputs) -> bytes:
    """Return what conditions depend on: where no total is said, places do not count."""
    position = inputs.position if bool((inputs.total > 0).any()) else inputs.total
    parts = (
        *(inputs.artist, inputs.genre, inputs.target, inputs.total, position),
        *(inputs.roll, inputs.roll_known, inputs.stems, inputs.stems_given),
    )
    return digest(*(part.numpy() for part in parts))


def _row(codes: Codes) -> Int[Tensor, "1 frames"]:
    return torch.as_tensor(codes.astype(np.int64))[None]
