"""The published way on a timeline: three autoregressive levels, row by row.

Each lower row waits for the upper codes that its conditioner looks ahead to,
so all levels advance together and audio can stream. Slow and faithful.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.bundle import TOP, Bundle
from model.conditioning.roll import ROLL_FRAME_SAMPLES
from model.exact import Stretch, previous_codes, speculated
from model.grid import Grid
from model.hearing import Hearing
from model.inputs import Inputs
from model.prior import Prior
from model.sampler import sample
from model.speculative import Draws
from model.state import Codes, Level, TimelineState
from model.streaming import StackState
from model.values import SamplingPlan

Conditions = Float[Tensor, "1 frames width"]

FRAMES_PER_STEP = (16, 16, 8)
"""Frames drawn in one step by level, so that a step stays short."""
DRAW_TURN = 255
"""The stream of noise of the frame by frame draws."""
UPPER_BEFORE = 16
UPPER_AFTER = 2
"""Upper frames that a conditioner sees before and after a row's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """What one step does: a level, from which frame, how many, and whether they are known."""

    level: int
    first: int
    frames: int
    known: bool


class TeacherSampler:
    """Steps of the cascade."""

    def __init__(
        self,
        bundle: Bundle,
        grid: Grid,
        inputs: Inputs,
        hearing: tuple[Hearing, Hearing, Hearing],
    ) -> None:
        self._bundle = bundle
        self._grid = grid
        self._inputs = inputs
        self._hearing = hearing
        self._priors = bundle.priors

    @torch.no_grad()
    def step(self, state: TimelineState, plan: SamplingPlan) -> tuple[TimelineState, int]:
        """Return the state one step further, and the level that worked."""
        if not state.lower:
            return self._begin(state), TOP
        turn = self._next(state)
        conditions = self._conditions(state, turn)
        if turn.known:
            return self._prefill(state, turn, conditions), turn.level
        return self._draw(state, turn, conditions, plan), turn.level

    def _begin(self, state: TimelineState) -> TimelineState:
        """Encode what was heard at the lower levels; older than the audio kept is never decoded."""
        chunks = range(
            -(-state.audio_start // self._grid.chunk_samples),
            -(-state.heard_sample // self._grid.chunk_samples),
        )
        levels: list[Level] = []
        for index in (0, 1):
            hearing = self._hearing[index]
            before = np.zeros(chunks.start * self._grid.chunk_samples // hearing.hop, np.int16)
            heard = [hearing.encode(state.audio, state.audio_start, chunk) for chunk in chunks]
            codes = np.concatenate([before, *heard])
            codes = codes[: len(state.codes) * self._grid.frame_samples // hearing.hop]
            levels.append(self._level(index, codes))
        return replace(state, lower=(*levels, self._level(TOP, state.codes)))

    def _level(self, index: int, codes: Codes) -> Level:
        shape = self._priors[index].config.transformer
        rows = len(codes) // shape.row_frames()
        skipped = max(0, rows - shape.rows) * shape.row_frames()
        memory = self._priors[index].transformer.start(1)
        hop_samples = self._hearing[index].hop
        return Level(hop_samples=hop_samples, codes=codes, seen=skipped, memory=memory)

    def _next(self, state: TimelineState) -> _Turn:
        for index in range(TOP + 1):
            level = state.lower[index]
            row = self._priors[index].config.transformer.row_frames()
            room = row - level.seen % row
            known = min(len(level.codes) - level.seen, room)
            ready = index == TOP or self._upper_ready(state, index, level.seen)
            if ready:
                frames = known or min(FRAMES_PER_STEP[index], room)
                return _Turn(level=index, first=level.seen, frames=frames, known=known > 0)
        raise AssertionError("the top level is always ready")

    def _upper_ready(self, state: TimelineState, index: int, seen: int) -> bool:
        row = self._priors[index].config.transformer.row_frames()
        last = (seen // row + 1) * row // self._ratio(index)
        return last + UPPER_AFTER <= len(state.lower[index + 1].codes)

    def _ratio(self, index: int) -> int:
        return self._hearing[index + 1].hop // self._hearing[index].hop

    def _conditions(self, state: TimelineState, turn: _Turn) -> Conditions:
        if turn.level == TOP:
            frames = self._grid.chunk_frames
            chunk, start = divmod(turn.first, frames)
            assert self._bundle.top.conditions is not None
            made = self._bundle.top.conditions(self._inputs.of_chunk(state.known, chunk))
            group = ROLL_FRAME_SAMPLES // self._grid.frame_samples
            made = made.repeat_interleave(group, dim=1)
            return made[:, start : start + turn.frames]
        row = self._priors[turn.level].config.transformer.row_frames()
        ratio = self._ratio(turn.level)
        row_start = turn.first // row * row
        first = max(0, row_start // ratio - UPPER_BEFORE)
        last = (row_start + row) // ratio + UPPER_AFTER
        upper = _row(state.lower[turn.level + 1].codes[first:last])
        made = self._bundle.upsamplers[turn.level].conditioner(upper)
        start = turn.first - first * ratio
        return made[:, start : start + turn.frames]

    def _prefill(self, state: TimelineState, turn: _Turn, conditions: Conditions) -> TimelineState:
        level = state.lower[turn.level]
        previous = previous_codes(level.codes, turn.first, turn.frames)
        prior = self._priors[turn.level]
        _, (seen, memory) = prior.advance(
            previous, self._start(state, prior), conditions, (level.seen, level.memory)
        )
        return self._with(state, turn.level, replace(level, seen=seen, memory=memory))

    def _draw(
        self, state: TimelineState, turn: _Turn, conditions: Conditions, plan: SamplingPlan
    ) -> TimelineState:
        level, prior = state.lower[turn.level], self._priors[turn.level]
        draws = Draws(plan=plan, level=turn.level)
        stretch = Stretch(
            prior=prior,
            start=self._start(state, prior),
            codes=level.codes,
            conditions=conditions,
            past=(level.seen, level.memory),
        )
        while stretch.conditions.shape[1]:
            # At the top a draft costs more than it wins: its prior has none.
            drafts = plan.exact and prior.draft is not None
            codes, past = speculated(stretch, draws) if drafts else _drawn(stretch, draws)
            left = stretch.conditions[:, past[0] - stretch.past[0] :]
            stretch = replace(stretch, codes=codes, conditions=left, past=past)
        seen, memory = stretch.past
        return self._with(
            state, turn.level, replace(level, codes=stretch.codes, seen=seen, memory=memory)
        )

    def _with(self, state: TimelineState, index: int, level: Level) -> TimelineState:
        lower = (*state.lower[:index], level, *state.lower[index + 1 :])
        codes = level.codes if index == TOP else state.codes
        return replace(state, lower=lower, codes=codes)

    def _start(self, state: TimelineState, prior: Prior) -> Float[Tensor, "1 width"]:
        artist = state.known.artist if prior is self._bundle.top else 0
        genre = state.known.genre if prior is self._bundle.top else 0
        return prior.start_vector(torch.tensor([artist]), torch.tensor([[genre]]))


def _drawn(stretch: Stretch, draws: Draws) -> tuple[Codes, tuple[int, StackState]]:
    """Return all codes with one more, and the past after it."""
    first = stretch.past[0]
    logits, under_way = stretch.scored(previous_codes(stretch.codes, first, 1))
    under_way.keep(1)
    made = sample(logits, draws.plan, level=draws.level, turn=DRAW_TURN, first_frame=first)
    return np.append(stretch.codes, made.astype(np.int16)), (first + 1, under_way.state())


def _row(codes: Codes) -> Int[Tensor, "1 frames"]:
    return torch.as_tensor(codes.astype(np.int64))[None]
