"""The composer at work on a timeline: notes for the chunk to come, where nobody gave them.

Heard steps come from the ear, sure ones from the notes known; composed notes
join the known ones, so that all who read notes need not care who wrote them.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64, Int8, Int64

from model.bundle import Bundle
from model.composer import (
    FEATURES,
    HELD,
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
from model.grid import Grid
from model.noise import uniform
from model.state import TimelineState
from model.values import Known, SamplingPlan

LEVEL = 3
"""The composer's stream of noise, beside the three of the codec's levels."""
LEAST_CHANCE = 0.005
KEY_FLOOR = 0.01
KEY_RANGE = (0.05, 2.0)
"""A pitch class that never sounded is struck this much more rarely, the commonest more often."""
LEAST_HEARD = 0.3
"""Pitches a step, on average: where the ear hears less there is no tune to go on with."""
EAR_BEFORE_FRAMES = 24
MIX = 0


class Composing:
    """Extends the notes of timelines whose target is the mix."""

    def __init__(self, bundle: Bundle, grid: Grid) -> None:
        self._composer = bundle.composer
        self._finisher = bundle.finisher
        self._grid = grid
        self.step_samples = self._composer.config.step_frames * grid.frame_samples
        self._voice = Voice(step_samples=self.step_samples)

    @torch.no_grad()
    def listened(self, state: TimelineState) -> TimelineState:
        """Return the state with the ear's view of all settled whole steps."""
        frames = self._composer.config.step_frames
        done, ready = len(state.heard), len(state.codes) // frames
        if ready <= done or self._told(state.known, ready * self.step_samples):
            return state
        start = max(0, done * frames - EAR_BEFORE_FRAMES)
        codes = torch.as_tensor(state.codes[start : ready * frames].astype(np.int64))[None]
        likely = np.asarray(self._finisher.hear(codes)[0].float().sigmoid(), np.float32)
        steps = likely[done * frames - start :].reshape(ready - done, frames, PITCHES).mean(1)
        return replace(state, heard=np.concatenate([state.heard, steps.astype(np.float16)]))

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
        return bool(len(state.heard)) and float(state.heard.sum(1).mean()) >= LEAST_HEARD

    @torch.no_grad()
    def compose(self, state: TimelineState, plan: SamplingPlan) -> TimelineState:
        """Return the state whose notes are known to the end of the chunk to come.

        Between the last note given and the first composed nothing becomes
        known: what was decoded there already stays as it is.
        """
        known = state.known
        begin = max(state.settled_sample, *(last for _, last in known.spans()), 0)
        first = -(-begin // self.step_samples)
        last = self._chunk_end(state) // self.step_samples
        score = self._drawn(state, first, last, plan)
        notes = _joined(known.notes, score, notes_of(score, first * self.step_samples, self._voice))
        start = first * self.step_samples
        if known.composed_span is not None:
            start = known.composed_span[0]
        composed = (start, max(last, first) * self.step_samples)
        return replace(state, known=replace(known, notes=notes, composed_span=composed))

    def _drawn(self, state: TimelineState, first: int, last: int, plan: SamplingPlan) -> Score:
        window = self._composer.config.transformer.frames
        features = self._past(state, first, window)
        score = np.zeros((max(0, last - first), PITCHES), np.int8)
        for index in range(len(score)):
            scores = self._composer(torch.as_tensor(features[-window:])[None])[0, -1]
            chances = np.asarray((scores / plan.temperature).double().softmax(-1))
            score[index] = _choice(_in_key(chances, features[-window:]), plan, first + index)
            features = np.concatenate([features, sure(score[index : index + 1])])
        return score

    def _past(self, state: TimelineState, first: int, window: int) -> Steps:
        """Return the features of the window before a step; before the anchor nothing is known."""
        start = first - window
        steps = np.zeros((window, FEATURES), np.float32)
        ear = state.heard[max(0, start) : first].astype(np.float32)
        offset = max(0, -start)
        steps[offset : offset + len(ear)] = heard(ear)
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
    classes = np.array([sounding[pitch::12].sum() for pitch in range(12)])
    share = 12 * (classes / max(classes.sum(), 1e-9) + KEY_FLOOR)
    weighted = chances.copy()
    weighted[:, STRUCK] *= np.clip(share, *KEY_RANGE)[np.arange(PITCHES) % 12]
    weighted /= weighted.sum(axis=1, keepdims=True)
    weighted[weighted < LEAST_CHANCE] = 0
    return weighted / weighted.sum(axis=1, keepdims=True)


def _choice(
    chances: Float64[np.ndarray, "pitches states"], plan: SamplingPlan, step: int
) -> Int8[np.ndarray, " pitches"]:
    """Return one state a pitch."""
    draws = uniform(
        plan.seed,
        level=LEVEL,
        turn=0,
        variation=plan.variation,
        first_frame=step * PITCHES,
        frames=PITCHES,
    )
    return (chances.cumsum(axis=1) <= draws[:, None]).sum(axis=1).clip(OFF, HELD).astype(np.int8)


def _joined(
    known: Notes, score: Score, made: Int64[np.ndarray, "made fields"]
) -> Int64[np.ndarray, "joined fields"]:
    """Return the notes with the new ones; what is held over the seam is one note."""
    if not len(made):
        return known
    start = int(made[:, 0].min())
    notes = known.copy()
    new: list[Notes] = []
    for index in range(len(made)):
        row = made[index : index + 1]
        begin, end, pitch = (int(value) for value in row[0, :3])
        held = begin == start and int(score[0, pitch]) != STRUCK
        before = np.flatnonzero((notes[:, 1] == begin) & (notes[:, 2] == pitch))
        if held and before.size:
            notes[before[-1], 1] = end
        else:
            new.append(row)
    return np.concatenate([notes, *new])
