"""Goes on with the notes when nobody gives them: what was heard in, what comes next out.

Works on a coarse grid of steps and rows, each pitch being off, struck or held;
the lowest rows are kinds of drums. What was recorded is known as the listener
hears it, with doubts; what was composed, for sure. Knows notes, nothing of
codes or audio.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int8, Int64
from torch import Tensor, nn

from model.conditioning.roll import DRUM_PROGRAM, HIT_KINDS, UNNAMED_PROGRAM
from model.config import ComposerConfig
from model.streaming import StackState
from model.transformer import Transformer

PITCHES = 128
OFF, STRUCK, HELD = 0, 1, 2
STATES = 3
LOWEST_PITCH = 12
"""Rows below hold the kinds of drums: no music plays there."""
HIT_KEYS = (36, 38, 42, 49)
"""The drum key that a composed hit of each kind becomes."""
HEARD_FROM = 0.3
"""With this chance, held-out works are heard with about as many notes at once as they have."""
FEATURES = 3 * PITCHES + 1
"""How likely each pitch sounds, whether it is struck, whether it is held, and: heard or sure."""

Steps = Float32[np.ndarray, "steps features"]
Score = Int8[np.ndarray, "steps pitches"]
"""One of OFF, STRUCK, HELD for each pitch."""
Notes = Int64[np.ndarray, "notes fields"]


class Composer(nn.Module):
    """A small causal stack over steps; each pitch's next state is scored apart."""

    def __init__(self, config: ComposerConfig) -> None:
        super().__init__()
        width = config.transformer.width
        self.config = config
        self.enter = nn.Linear(FEATURES, width)
        self.positions = nn.Parameter(torch.randn(config.transformer.frames, width) * 0.02)
        self.transformer = Transformer(config.transformer)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, STATES * PITCHES)

    def forward(
        self, steps: Float[Tensor, "batch steps features"]
    ) -> Float[Tensor, "batch steps pitches states"]:
        """Return scores for the step after each of a whole window."""
        return self._scores(self.transformer(self.enter(steps) + self.positions))

    def go_on(
        self, steps: Float[Tensor, "batch steps features"], memory: StackState = ()
    ) -> tuple[Float[Tensor, "batch pitches states"], StackState]:
        """Return scores for the step after the last, and the memory for it.

        Raises:
            ValueError: More steps than the window has left.
        """
        memory = memory or self.transformer.start(len(steps))
        first = memory[0].current.shape[1]
        x = self.enter(steps) + self.positions[first : first + steps.shape[1]]
        hidden, memory = self.transformer.advance(x, memory)
        return self._scores(hidden[:, -1]), memory

    def _scores(
        self, hidden: Float[Tensor, "*axes width"]
    ) -> Float[Tensor, "*axes pitches states"]:
        return self.leave(self.norm(hidden)).unflatten(-1, (PITCHES, STATES))


def sure(score: Score) -> Steps:
    """Return features of steps whose notes are known."""
    sounding, struck, held = score > OFF, score == STRUCK, score == HELD
    flag = np.ones((len(score), 1), bool)
    return np.concatenate([sounding, struck, held, flag], axis=1).astype(np.float32)


def heard(likely: Float32[np.ndarray, "steps rows states"]) -> Steps:
    """Return features of steps that the listener alone knows: how likely sounding, and struck."""
    nothing = np.zeros((len(likely), PITCHES + 1), np.float32)
    return np.concatenate([likely[..., 0], likely[..., 1], nothing], axis=1)


def score_heard(
    likely: Float32[np.ndarray, "steps rows states"], least: float = HEARD_FROM
) -> Score:
    """Return what the listener most likely heard: a pitch is struck where it begins to sound."""
    sounding, struck = likely[..., 0] > least, likely[..., 1] > least
    before = np.concatenate([np.zeros_like(sounding[:1]), sounding[:-1]])
    score = np.where(sounding, np.where(struck | ~before, STRUCK, HELD), OFF).astype(np.int8)
    score[:, :LOWEST_PITCH] = np.where(struck[:, :LOWEST_PITCH], STRUCK, OFF)
    return score


def score_of(notes: Notes, start_sample: int, num_steps: int, step_samples: int) -> Score:
    """Return the state of each row at each step; a drum is struck in its kind's row."""
    score = np.zeros((num_steps, PITCHES), np.int8)
    for start, end, pitch, _, program, _ in notes.tolist():
        if program == DRUM_PROGRAM:
            first = round((start - start_sample) / step_samples)
            if 0 <= first < num_steps:
                score[first, hit_row(pitch)] = STRUCK
        elif pitch >= LOWEST_PITCH:
            first = round((start - start_sample) / step_samples)
            last = max(round((end - start_sample) / step_samples), first + 1)
            score[max(first + 1, 0) : max(last, 0), pitch] = HELD
            if 0 <= first < num_steps:
                score[first, pitch] = STRUCK
    return score


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How composed steps become notes."""

    step_samples: int
    velocity: int = 82
    """The median of the music that the finisher learnt from."""
    program: int = UNNAMED_PROGRAM


def hit_row(key: int) -> int:
    """Return the row of a drum key: its kind's."""
    kinds = [row for row, keys in enumerate(HIT_KINDS) if key in keys]
    return kinds[0] if kinds else len(HIT_KINDS)


def notes_of(score: Score, start_sample: int, voice: Voice) -> Notes:
    """Return notes of a score; what is held at its start has begun there."""
    rows = _hits(score[:, :LOWEST_PITCH], start_sample, voice)
    for pitch in np.flatnonzero(score[:, LOWEST_PITCH:].any(axis=0)) + LOWEST_PITCH:
        rows += _tones(score[:, pitch], int(pitch), start_sample, voice)
    rows.sort()
    return np.array(rows, np.int64).reshape(-1, 6)


_Row = tuple[int, int, int, int, int, int]


def _hits(score: Score, start_sample: int, voice: Voice) -> list[_Row]:
    rows: list[_Row] = []
    for row, key in enumerate(HIT_KEYS):
        for step in np.flatnonzero(score[:, row] == STRUCK).tolist():
            at = start_sample + step * voice.step_samples
            rows.append((at, at + voice.step_samples, key, voice.velocity, DRUM_PROGRAM, 0))
    return rows


def _tones(
    states: Int8[np.ndarray, " steps"], pitch: int, start_sample: int, voice: Voice
) -> list[_Row]:
    before = np.concatenate([[OFF], states[:-1]])
    starts = np.flatnonzero((states == STRUCK) | ((states == HELD) & (before == OFF)))
    rows: list[_Row] = []
    for first in starts.tolist():
        held = states[first + 1 :] == HELD
        length = 1 + (len(held) if held.all() else int(np.argmin(held)))
        at = start_sample + first * voice.step_samples
        end = at + length * voice.step_samples
        rows.append((at, end, pitch, voice.velocity, voice.program, 0))
    return rows
