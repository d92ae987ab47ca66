"""The composer at work on a timeline: notes for the chunk to come, where nobody gave them.

Heard steps come from the listener, sure ones from the notes known; composed notes
join the known ones, so that all who read notes need not care who wrote them.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int8, Int64
from torch import Tensor

from model.bundle import Bundle
from model.composer import (
    FEATURES,
    HELD,
    LOWEST_PITCH,
    OFF,
    PITCHES,
    STRUCK,
    Notes,
    Score,
    Steps,
    Voice,
    heard,
    notes_of,
    score_of,
    sure,
)
from model.conditioning.roll import DRUM_PROGRAM
from model.grid import Grid
from model.listener import SOUNDING
from model.noise import uniform
from model.state import Composed, TimelineState
from model.values import Known, SamplingPlan

LEVEL = 3
"""The composer's stream of noise, beside the three of the codec's levels."""
LEAST_CHANCE = 0.005
STRUCK_TEMPERATURE = 0.5
MOST_STRUCK = 12
SURELY_HEARD = 0.5
DRAWS = PITCHES + 1
"""Uniform numbers a step: one a row, and one for how many pitches are struck."""
KEY_FLOOR = 0.01
KEY_RANGE = (0.05, 2.0)
"""A pitch class that never sounded is struck this much more rarely, the commonest more often."""
LEAST_HEARD = 0.3
"""Rows a step, on average: where less is heard there is nothing to go on with."""
MIX = 0
RENEWED = 4
"""The window is read anew after this fraction of it; between, a step is read once."""
Scores = Float[Tensor, "1 pitches states"]


class Composing:
    """Extends the notes of timelines whose target is the mix."""

    def __init__(self, bundle: Bundle, grid: Grid) -> None:
        self._composer = bundle.composer
        self._grid = grid
        self.step_samples = self._composer.config.step_frames * grid.frame_samples
        self._voice = Voice(step_samples=self.step_samples)
        self._chunk_steps = grid.chunk_samples // self.step_samples
        frames = self._composer.config.transformer.frames
        self._renewed = max(1, frames // RENEWED // self._chunk_steps) * self._chunk_steps
        self._window = frames - self._renewed

    def wanted(self, state: TimelineState) -> bool:
        """Return whether the chunk to come lacks notes that should be composed."""
        known = state.known
        if known.target != MIX or known.stems or self._told(known, self._chunk_end(state)):
            return False
        return self.tuneful(state)

    def tuneful(self, state: TimelineState) -> bool:
        """Return whether there is a tune to go on with, in what was heard or given."""
        if len(state.known.notes):
            return True
        sounding = state.heard[..., SOUNDING].astype(np.float32)
        return bool(len(sounding)) and float(sounding.sum(1).mean()) >= LEAST_HEARD

    @torch.no_grad()
    def compose(self, state: TimelineState, plan: SamplingPlan) -> TimelineState:
        """Return the state whose notes are known to the end of the chunk to come.

        What sounds at the last note given, or heard, may be held on from there.
        """
        known = state.known
        begin = max(state.settled_sample, *(last for _, last in known.spans()), 0)
        first = -(-begin // self.step_samples)
        last = self._chunk_end(state) // self.step_samples
        score, composed = self._drawn(state, first, last, plan)
        made = notes_of(score, first * self.step_samples, self._voice)
        made = _held_from(made, score, first * self.step_samples, begin)
        notes = _joined(known.notes, score, made, begin)
        start = begin if known.composed_span is None else known.composed_span[0]
        span = (start, max(last * self.step_samples, begin))
        known = replace(known, notes=notes, composed_span=span)
        return replace(state, known=known, composed=composed)

    def _drawn(
        self, state: TimelineState, first: int, last: int, plan: SamplingPlan
    ) -> tuple[Score, Composed]:
        score = np.zeros((max(0, last - first), PITCHES), np.int8)
        features = self._past(state, first, self._window)
        scores, composed = self._caught_up(state, first)
        memory = composed.memory
        for index in range(len(score)):
            chances = np.asarray((scores[0] / plan.temperature).double().softmax(-1))
            sounding = features[-1, :PITCHES] >= SURELY_HEARD
            chances = _in_key(chances, features)
            score[index] = _choice(chances, sounding, plan, first + index)
            new = sure(score[index : index + 1])
            features = np.concatenate([features, new])
            if index + 1 < len(score):
                scores, memory = self._composer.go_on(torch.as_tensor(new)[None], memory)
        return score, composed

    def _caught_up(self, state: TimelineState, first: int) -> tuple[Scores, Composed]:
        """Return scores for a step, and what the stack remembers of those before it.

        The stack reads the window before its start at once, then each chunk's
        steps as the chunk is over: the same whether some of it is remembered.
        """
        start = self._window_start(state, first)
        done = state.composed
        if done is None or done.start != start or done.seen >= first:
            read, memory = self._past(state, start, self._window), ()
            seen = start
        else:
            seen = min(first, self._chunk_after(done.seen))
            read, memory = self._past(state, seen, seen - done.seen), done.memory
        scores, memory = self._composer.go_on(torch.as_tensor(read)[None], memory)
        while seen < first:
            after = min(first, self._chunk_after(seen))
            read = self._past(state, after, after - seen)
            scores, memory = self._composer.go_on(torch.as_tensor(read)[None], memory)
            seen = after
        return scores, Composed(start=start, seen=seen, memory=memory)

    def _window_start(self, state: TimelineState, first: int) -> int:
        """Return where the window of a step began: it is renewed at fixed steps of the grid."""
        span = state.known.composed_span
        origin = first if span is None else -(-span[0] // self.step_samples)
        return max(origin, first // self._renewed * self._renewed)

    def _chunk_after(self, step: int) -> int:
        return (step // self._chunk_steps + 1) * self._chunk_steps

    def _past(self, state: TimelineState, first: int, window: int) -> Steps:
        """Return the features of the window before a step; before the anchor nothing is known."""
        start = first - window
        steps = np.zeros((window, FEATURES), np.float32)
        ear = state.heard[max(0, start) : first].astype(np.float32)
        offset = max(0, -start)
        steps[offset : offset + len(ear)] = heard(ear)
        if 0 < offset + len(ear) < window and len(ear):
            # The step under way when the prime ended sounds like the one before it.
            steps[offset + len(ear) :] = heard(ear[-1:] * np.array([1, 0], np.float32))
        score = score_of(state.known.notes, start * self.step_samples, window, self.step_samples)
        at = (start + np.arange(window)) * self.step_samples
        for begin, end in state.known.spans():
            told = (at >= max(0, begin)) & (at < end)
            steps[told] = sure(score)[told]
        return steps

    def _chunk_end(self, state: TimelineState) -> int:
        chunk = len(state.codes) // self._grid.chunk_frames
        return (chunk + 1) * self._grid.chunk_samples

    def _told(self, known: Known, end_sample: int) -> bool:
        return any(last >= end_sample for _, last in known.spans())


def _in_key(
    chances: Float64[np.ndarray, "pitches states"], past: Steps
) -> Float64[np.ndarray, "pitches states"]:
    """Return chances that strike pitch classes as often as the past sounds them.

    Many unlikely pitches together make wrong notes likely, since each is drawn
    apart; so the unlikeliest are left out. The constants were chosen on five
    pieces, one draw each: chroma of 5.6 s composed correlated .84 with the
    prime's, without this .72.
    """
    sounding = past[:, :PITCHES].sum(axis=0, dtype=np.float64)
    sounding[:LOWEST_PITCH] = 0
    classes = np.array([sounding[pitch::12].sum() for pitch in range(12)])
    share = 12 * (classes / max(classes.sum(), 1e-9) + KEY_FLOOR)
    weighted = chances.copy()
    pitches = np.arange(LOWEST_PITCH, PITCHES)
    weighted[pitches, STRUCK] *= np.clip(share, *KEY_RANGE)[pitches % 12]
    weighted /= weighted.sum(axis=1, keepdims=True)
    weighted[weighted < LEAST_CHANCE] = 0
    return weighted / weighted.sum(axis=1, keepdims=True)


def _choice(
    chances: Float64[np.ndarray, "pitches states"],
    sounding: Bool[np.ndarray, " pitches"],
    plan: SamplingPlan,
    step: int,
) -> Int8[np.ndarray, " pitches"]:
    """Return one state a row.

    What sounds already, and drums, are drawn each by its own chances. Of the
    silent pitches so many are struck as their chances say together, but which
    ones is drawn cooler: many unlikely pitches would else be struck among them.
    """
    draws = uniform(
        plan.seed,
        level=LEVEL,
        turn=0,
        variation=plan.variation,
        first_frame=step * DRAWS,
        frames=DRAWS,
    )
    states = (chances.cumsum(axis=1) <= draws[:PITCHES, None]).sum(axis=1).clip(OFF, HELD)
    silent = ~sounding
    silent[:LOWEST_PITCH] = False
    states[silent] = OFF
    likely = np.where(silent, chances[:, STRUCK], 0.0)
    count = int((_counts(likely).cumsum() <= draws[PITCHES]).sum())
    with np.errstate(divide="ignore"):
        rank = np.log(likely) / STRUCK_TEMPERATURE - np.log(-np.log(draws[:PITCHES]))
    rank[likely <= 0] = -np.inf
    chosen = np.argsort(-rank, kind="stable")[: min(count, int((likely > 0).sum()))]
    states[chosen] = STRUCK
    return states.astype(np.int8)


def _counts(chances: Float64[np.ndarray, " events"]) -> Float64[np.ndarray, " counts"]:
    """Return how likely it is that so many of independent events happen, up to `MOST_STRUCK`."""
    counts = np.zeros(MOST_STRUCK + 1)
    counts[0] = 1.0
    for chance in chances[chances > 0]:
        counts[1:] = counts[1:] * (1 - chance) + counts[:-1] * chance
        counts[0] *= 1 - chance
    return counts / counts.sum()


def _held_from(
    made: Int64[np.ndarray, "made fields"], score: Score, seam: int, begin: int
) -> Int64[np.ndarray, "made fields"]:
    """Return the notes; what is held at the first step sounds from `begin` on."""
    moved = made.copy()
    held = (made[:, 0] == seam) & (made[:, 4] != DRUM_PROGRAM)
    held &= score[0, made[:, 2]] == HELD if len(score) else False
    moved[held, 0] = begin
    return moved


def _joined(
    known: Notes, score: Score, made: Int64[np.ndarray, "made fields"], begin: int
) -> Int64[np.ndarray, "joined fields"]:
    """Return the notes with the new ones; what is held over the seam is one note."""
    if not len(made):
        return known
    notes = known.copy()
    new: list[Notes] = []
    for index in range(len(made)):
        row = made[index : index + 1]
        start, end, pitch = (int(value) for value in row[0, :3])
        held = start == begin and int(row[0, 4]) != DRUM_PROGRAM and score[0, pitch] == HELD
        before = np.flatnonzero((notes[:, 1] == begin) & (notes[:, 2] == pitch))
        if held and before.size:
            notes[before[-1], 1] = end
        else:
            new.append(row)
    return np.concatenate([notes, *new])
