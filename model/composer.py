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

from model.conditioning.cues import (
    CUES,
    ECHO,
    ECHO_SOUNDS,
    ECHO_STRUCK,
    GOAL,
    GOAL_SOUNDS,
)
from model.conditioning.roll import DRUM_PROGRAM, HIT_KINDS, UNNAMED_PROGRAM
from model.config import ComposerConfig
from model.streaming import StackState
from model.transformer import Running, Transformer

PITCHES = 128
OFF, STRUCK, HELD = 0, 1, 2
STATES = 3
LOWEST_PITCH = 12
"""Rows below hold the kinds of drums: no music plays there."""
HIT_KEYS = (36, 38, 42, 49)
"""The drum key that a composed hit of each kind becomes."""
HEARD_FROM = 0.3
"""With this chance, held-out works are heard with about as many notes at once as they have."""
PITCHWISE = 9
PITCHWISE_GAIN = 8.0
"""What a pitch is told of itself counts so much from the start of training on."""
FEATURES = 3 * PITCHES + 1
"""How likely each pitch sounds, whether it is struck, whether it is held, and: heard or sure."""

_TELLING = [GOAL.start, ECHO.start]
"""The cues that are 0 where no pitch is told anything of itself."""

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
        self.cue = nn.Linear(CUES, width, bias=False)
        self.pitchwise = nn.Linear(PITCHWISE, STATES, bias=False)
        nn.init.zeros_(self.cue.weight)
        nn.init.zeros_(self.pitchwise.weight)

    def forward(
        self,
        steps: Float[Tensor, "batch steps features"],
        cues: Float[Tensor, "batch steps cues"],
    ) -> Float[Tensor, "batch steps pitches states"]:
        """Return scores for the step after each of a whole window; the cues are of that step."""
        entered = self.enter(steps) + self.cue(cues) + self.positions
        return self._scores(self.transformer(entered), cues)

    def upon(self, memory: StackState, *, batch: int, steps: int) -> Running:
        """Return the stack at work after what is remembered, with room for more steps.

        Raises:
            ValueError: More steps than the window has left.
        """
        return Running(self.transformer, memory or self.transformer.start(batch), steps)

    def go_on(
        self,
        steps: Float[Tensor, "batch steps features"],
        cues: Float[Tensor, "batch steps cues"],
        past: Running,
    ) -> Float[Tensor, "batch pitches states"]:
        """Return scores for the step after the last, which later calls see."""
        positions = self.positions[past.seen : past.seen + steps.shape[1]]
        x = self.enter(steps) + self.cue(cues) + positions
        hidden, told = past.go_on(x)[:, -1], cues[:, -1]
        # Where nobody tells of pitches, what each is told of itself adds nothing.
        if not bool(told[:, _TELLING].any()):
            return self._of_all(hidden)
        return self._scores(hidden, told)

    def _scores(
        self, hidden: Float[Tensor, "*axes width"], cues: Float[Tensor, "*axes cues"]
    ) -> Float[Tensor, "*axes pitches states"]:
        return self._of_all(hidden) + PITCHWISE_GAIN * self.pitchwise(_told_of_pitches(cues))

    def _of_all(
        self, hidden: Float[Tensor, "*axes width"]
    ) -> Float[Tensor, "*axes pitches states"]:
        return self.leave(self.norm(hidden)).unflatten(-1, (PITCHES, STATES))


def _told_of_pitches(
    cues: Float[Tensor, "*axes cues"],
) -> Float[Tensor, "*axes pitches pitchwise"]:
    """Return what each pitch is told of itself: whether it comes back, or is led to."""
    sounds, struck = cues[..., ECHO_SOUNDS], cues[..., ECHO_STRUCK]
    echoed, alike = (cues[..., ECHO][..., [column]] for column in (0, 1))
    near = cues[..., GOAL][..., 1:].unsqueeze(-2) * cues[..., GOAL_SOUNDS].unsqueeze(-1)
    # A high power, since what comes back whole is all but sure.
    of_echo = [sounds, struck, sounds * alike**4, struck * alike**4]
    of_echo += [echoed - sounds, (echoed - sounds) * alike**4]
    return torch.cat([torch.stack(of_echo, dim=-1), near], dim=-1)


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
    end_sample = start_sample + num_steps * step_samples
    near = np.maximum(notes[:, 1], notes[:, 0] + step_samples) + step_samples > start_sample
    near &= notes[:, 0] - step_samples < end_sample
    for start, end, pitch, _, program, _ in notes[near].tolist():
        first = step_at(start - start_sample, step_samples)
        if program == DRUM_PROGRAM:
            if 0 <= first < num_steps:
                score[first, hit_row(pitch)] = STRUCK
        elif pitch >= LOWEST_PITCH:
            last = max(step_at(end - start_sample, step_samples), first + 1)
            score[max(first + 1, 0) : max(last, 0), pitch] = HELD
            if 0 <= first < num_steps:
                score[first, pitch] = STRUCK
    return score


def step_at(sample: int, step_samples: int) -> int:
    """Return the step that is nearest to a sample, halves upwards."""
    return (sample + step_samples // 2) // step_samples


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Where composed steps lie, and how loud they are.

    `onsets` and `velocities` have one value a step; what is held at the first step
    has begun at `start_sample`, what is held at the last one ends at `end_sample`.
    """

    onsets: Int64[np.ndarray, " steps"]
    velocities: Int64[np.ndarray, " steps"]
    start_sample: int
    end_sample: int


def notes_of(score: Score, start_sample: int, voice: Voice) -> Notes:
    """Return notes of a score on even steps; what is held at its start has begun there."""
    onsets = start_sample + np.arange(len(score)) * voice.step_samples
    places = Places(
        onsets=onsets,
        velocities=np.full(len(score), voice.velocity),
        start_sample=start_sample,
        end_sample=start_sample + len(score) * voice.step_samples,
    )
    return placed_notes(score, places, voice)


def placed_notes(score: Score, places: Places, voice: Voice) -> Notes:
    """Return notes of a score whose steps lie where they are told to."""
    rows = _hits(score[:, :LOWEST_PITCH], places, voice)
    for pitch in np.flatnonzero(score[:, LOWEST_PITCH:].any(axis=0)) + LOWEST_PITCH:
        rows += _tones(score[:, pitch], int(pitch), places, voice)
    rows.sort()
    return np.array(rows, np.int64).reshape(-1, 6)


_Row = tuple[int, int, int, int, int, int]


def _hits(score: Score, places: Places, voice: Voice) -> list[_Row]:
    rows: list[_Row] = []
    for row, key in enumerate(HIT_KEYS):
        for step in np.flatnonzero(score[:, row] == STRUCK).tolist():
            at, velocity = int(places.onsets[step]), int(places.velocities[step])
            rows.append((at, at + voice.step_samples, key, velocity, DRUM_PROGRAM, 0))
    return rows


def _tones(
    states: Int8[np.ndarray, " steps"], pitch: int, places: Places, voice: Voice
) -> list[_Row]:
    before = np.concatenate([[OFF], states[:-1]])
    starts = np.flatnonzero((states == STRUCK) | ((states == HELD) & (before == OFF)))
    ends = [*places.onsets.tolist(), places.end_sample]
    rows: list[_Row] = []
    for first in starts.tolist():
        held = states[first + 1 :] == HELD
        length = 1 + (len(held) if held.all() else int(np.argmin(held)))
        begun = first == 0 and states[0] == HELD
        at = places.start_sample if begun else int(places.onsets[first])
        velocity = int(places.velocities[first])
        rows.append((at, ends[first + length], pitch, velocity, voice.program, 0))
    return rows
