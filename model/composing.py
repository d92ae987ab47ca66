"""The composer at work on a timeline: notes for the chunk to come, where nobody gave them.

Heard steps come from the listener, sure ones from the notes known; composed notes
join the known ones, so that all who read notes need not care who wrote them.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, Float64, Int64
from torch import Tensor

from model.bundle import Bundle
from model.composer import (
    FEATURES,
    HELD,
    OFF,
    PITCHES,
    STATES,
    STRUCK,
    Notes,
    Places,
    Score,
    Steps,
    Voice,
    heard,
    placed_notes,
    score_heard,
    score_of,
    step_at,
    sure,
)
from model.conditioning.cues import (
    DENSITY,
    ECHO,
    ECHO_SOUNDS,
    ECHO_STRUCK,
    ENERGY,
    GOAL,
    GOAL_SOUNDS,
    GOAL_STEPS,
    METRE,
    Cues,
    density_cues,
    energy_cues,
    goal_cues,
    metre_cues,
    nothing_told,
    onsets_of,
)
from model.conditioning.roll import DRUM_PROGRAM
from model.grid import Grid
from model.listener import SOUNDING
from model.state import Composed, TimelineState
from model.streaming import StackState
from model.striking import USUAL_STEPS, as_dense, as_usual, choice, come_back, in_key, key_of
from model.transformer import Running
from model.values import MIX, Echo, Known, Mono, SamplingPlan

SURELY_HEARD = 0.5
LEAST_HEARD = 0.3
"""Rows a step, on average: where less is heard there is nothing to go on with."""
TONAL_STEPS = 172
RENEWED = 4
"""The window is read anew after this fraction of it; between, a step is read once."""
AHEAD_STEPS = 1
"""Composed beyond a chunk, since a step's notes may begin half a step before it."""
LEAST_SHIFT_CHUNKS = 2
"""What comes back sooner than this was not written when it should be looked at."""
VELOCITY_DB = 20.0
"""A tenth of the velocity is so much softer."""
VELOCITIES = (12, 127)
DENSER = (1 / 16, 8.0)
"""The least and the most that a bar's density may change how often notes are struck."""
ROUNDED = 1e-3
"""The part of a bar that rounding to samples may have taken."""
Scores = Float[Tensor, "pitches states"]
StepNumbers = Int64[np.ndarray, " steps"]
Goal = Float32[np.ndarray, " pitches"]
Hear = Callable[[Mono], Float16[np.ndarray, "steps rows states"]]


class Composing:
    """Extends the notes of timelines whose target is the mix."""

    def __init__(self, bundle: Bundle, grid: Grid, hear: Hear) -> None:
        """Take a model's composer; `hear` gives the notes of the first steps of a sound."""
        self._composer = bundle.composer
        self._hear = hear
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
        first = self._step_at(begin)
        # What begins in the last half step of the chunk belongs to the step after it.
        last = self._chunk_end(state) // self.step_samples + AHEAD_STEPS
        score, composed = self._drawn(state, first, last, plan)
        places = self._places(known, first, last, begin)
        notes = _joined(known.notes, score, placed_notes(score, places, self._voice), begin)
        start = begin if known.composed_span is None else known.composed_span[0]
        known = replace(known, notes=notes, composed_span=(start, places.end_sample))
        return replace(state, known=known, composed=composed)

    def _places(self, known: Known, first: int, last: int, begin: int) -> Places:
        steps = np.arange(first, last)
        onsets = np.maximum(onsets_of(known.pulse, steps), begin)
        return Places(
            onsets=onsets,
            velocities=velocities_of(known, onsets, self._voice),
            start_sample=begin,
            end_sample=last * self.step_samples - self.step_samples // 2,
        )

    def _step_at(self, sample: int) -> int:
        return step_at(sample, self.step_samples)

    def _drawn(
        self, state: TimelineState, first: int, last: int, plan: SamplingPlan
    ) -> tuple[Score, Composed]:
        score = np.zeros((last - first, PITCHES), np.int8)
        features = self._past(state, first, min(self._window, USUAL_STEPS))
        scores, composed, past = self._caught_up(state, first, last - first - 1, plan.guidance)
        cues = self._cues(state, first, last, composed.goal)
        usual, key = self._onsets_a_step(state), key_of(self._prime(state, first))
        denser = self._denser(state.known, np.arange(first, last), usual)
        for index in range(len(score)):
            chances = np.asarray((scores / plan.temperature).double().softmax(-1))
            sounding = features[-1, :PITCHES] >= SURELY_HEARD
            chances = in_key(chances, key)
            if np.isnan(denser[index]):
                factor = as_usual(features, usual) if state.known.pulse is None else 1.0
            else:
                factor = denser[index]
            chances = as_dense(chances, factor)
            chances = come_back(chances, cues[index])
            score[index] = choice(chances, sounding, plan, first + index)
            new = sure(score[index : index + 1])
            features = np.concatenate([features, new])
            if index + 1 < len(score):
                scores = self._read(new, cues[index + 1 : index + 2], past, plan.guidance)
        return score, composed

    def _prime(self, state: TimelineState, first: int) -> Steps:
        """Return the features of the last 8 s before anything was composed.

        The key is held against these: held against what was composed itself, it would drift.
        Chroma composed with a tempo told correlated .56 with the truth's on 24 held-out
        excerpts, held against the prime .63.
        """
        span = state.known.composed_span
        return self._past(state, first if span is None else self._step_at(span[0]), TONAL_STEPS)

    def _caught_up(
        self, state: TimelineState, first: int, more: int, guidance: float
    ) -> tuple[Scores, Composed, Running]:
        """Return scores for a step, and what the stack remembers of those before it.

        With it comes the stack itself, with room for `more` steps.

        The stack reads the window before its start at once, then each chunk's
        steps as the chunk is over: the same whether some of it is remembered.
        """
        start, done = self._window_start(state, first), state.composed
        memory: StackState = ()
        if done is None or done.start != start or done.seen >= first or done.guidance != guidance:
            goal = self._goal(state.known) if done is None else done.goal
            spans = [(start - self._window, start)]
        else:
            goal, memory = done.goal, done.memory
            spans = [(done.seen, min(first, self._chunk_after(done.seen)))]
        while spans[-1][1] < first:
            seen = spans[-1][1]
            spans.append((seen, min(first, self._chunk_after(seen))))
        scores = torch.zeros(PITCHES, STATES)
        room = sum(end - begin for begin, end in spans) + more
        past = self._composer.upon(memory, batch=1 if guidance == 1 else 2, steps=room)
        for begin, end in spans:
            steps = self._past(state, end, end - begin)
            cues = self._cues(state, begin + 1, end + 1, goal)
            scores = self._read(steps, cues, past, guidance)
        memory = past.state()
        composed = Composed(start=start, seen=first, memory=memory, guidance=guidance, goal=goal)
        return scores, composed, past

    def _read(self, steps: Steps, cues: Cues, past: Running, guidance: float) -> Scores:
        """Return scores for the step after, away from those of who was told the metre alone.

        The metre is no wish: led away from music without one, every line would be struck.
        """
        read, told = torch.as_tensor(steps)[None], torch.as_tensor(cues)[None]
        if guidance == 1:
            return self._composer.go_on(read, told, past)[0]
        untold = torch.zeros_like(told)
        untold[..., METRE] = told[..., METRE]
        both = torch.cat([told, untold])
        scores = self._composer.go_on(read.expand(2, -1, -1), both, past)
        return scores[1] + guidance * (scores[0] - scores[1])

    def _window_start(self, state: TimelineState, first: int) -> int:
        """Return where the window of a step began: it is renewed at fixed steps of the grid."""
        span = state.known.composed_span
        origin = first if span is None else self._step_at(span[0])
        return max(origin, first // self._renewed * self._renewed)

    def _chunk_after(self, step: int) -> int:
        """Return the step up to which a chunk is composed together with a step."""
        chunks = (step - AHEAD_STEPS) // self._chunk_steps + 1
        return chunks * self._chunk_steps + AHEAD_STEPS

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
        told = self._told_steps(state.known, start + np.arange(window))
        steps[told] = sure(score)[told]
        return steps

    def _told_steps(self, known: Known, steps: StepNumbers) -> Bool[np.ndarray, " steps"]:
        """Return the steps whose notes are known."""
        told = np.zeros(len(steps), bool)
        for begin, end in known.spans():
            told |= (steps >= self._step_at(max(0, begin))) & (steps < self._step_at(end))
        return told

    def _cues(self, state: TimelineState, first: int, end: int, goal: Goal) -> Cues:
        """Return what is told of steps besides notes."""
        known, steps = state.known, np.arange(first, end)
        cues = nothing_told(len(steps))
        if known.pulse is not None:
            cues[:, METRE] = metre_cues(known.pulse, steps)
            onsets = onsets_of(known.pulse, steps)
            cues[:, ENERGY] = energy_cues(_curve(known, known.energy, onsets))
            cues[:, DENSITY] = density_cues(density_at(known, onsets))
        if known.suffix is not None:
            left = self._step_at(known.suffix.start_sample) - steps
            cues[:, GOAL], cues[:, GOAL_SOUNDS] = goal_cues(left, goal)
        for echo in known.echoes:
            self._echo(state, echo, steps, cues)
        return cues

    def _echo(self, state: TimelineState, echo: Echo, steps: StepNumbers, cues: Cues) -> None:
        """Write the notes of an earlier section to the steps at which they shall come back."""
        first, last = self._step_at(echo.start_sample), self._step_at(echo.end_sample)
        inside = (steps >= first) & (steps < last)
        shift = echo.start_sample - echo.source_sample
        if not inside.any() or shift < LEAST_SHIFT_CHUNKS * self._grid.chunk_samples:
            return
        sources = (steps * self.step_samples - shift + self.step_samples // 2) // self.step_samples
        told = inside & self._told_steps(state.known, sources)
        ear = inside & ~told & (sources >= 0) & (sources < len(state.heard))
        moved = state.known.notes.copy()
        moved[:, :2] += shift
        score = score_of(moved, int(steps[0]) * self.step_samples, len(steps), self.step_samples)
        if ear.any():
            begin = max(0, int(sources[0]) - 1)
            found = score_heard(state.heard[begin : int(sources[-1]) + 1].astype(np.float32))
            score[ear] = found[sources[ear] - begin]
        known = told | ear
        cues[known, ECHO] = (1.0, echo.similarity)
        cues[known, ECHO_SOUNDS] = (score > OFF)[known]
        cues[known, ECHO_STRUCK] = (score == STRUCK)[known]

    def _denser(
        self, known: Known, steps: StepNumbers, usual: float
    ) -> Float64[np.ndarray, " steps"]:
        """Return how many times as often to strike as in the prime, for its bar's density.

        NaN where no density is told.
        """
        if known.pulse is None or not known.density or not usual:
            return np.full(len(steps), np.nan)
        onsets = density_at(known, onsets_of(known.pulse, steps))
        a_beat = known.pulse.knots[known.pulse.places(steps * self.step_samples), 3]
        factors = onsets * self.step_samples / a_beat / usual
        return np.clip(factors, *DENSER)

    def _onsets_a_step(self, state: TimelineState) -> float:
        """Return how often the prime strikes, as it was heard or else as its notes were given."""
        heard = state.heard[-self._window :].astype(np.float32)
        if len(heard):
            return float((score_heard(heard) == STRUCK).sum()) / len(heard)
        if state.known.notes_span is None:
            return 0.0
        first, last = state.known.notes_span
        first = max(first, last - self._window * self.step_samples)
        begun = (state.known.notes[:, 0] >= first) & (state.known.notes[:, 0] < last)
        return float(begun.sum()) * self.step_samples / (last - first)

    def _goal(self, known: Known) -> Goal:
        """Return how likely each pitch sounds as the suffix begins."""
        if known.suffix is None:
            return np.zeros(PITCHES, np.float32)
        likely = self._hear(known.suffix.samples)[:GOAL_STEPS, :, SOUNDING]
        return likely.max(axis=0).astype(np.float32)

    def _chunk_end(self, state: TimelineState) -> int:
        chunk = len(state.codes) // self._grid.chunk_frames
        return (chunk + 1) * self._grid.chunk_samples

    def _told(self, known: Known, end_sample: int) -> bool:
        return any(last >= end_sample for _, last in known.spans())


def velocities_of(known: Known, onsets: StepNumbers, voice: Voice) -> Int64[np.ndarray, " steps"]:
    """Return the velocity of notes that begin at samples: the bar's energy says how loud."""
    decibels = np.nan_to_num(_curve(known, known.energy, onsets))
    velocities = voice.velocity * 10 ** (decibels / VELOCITY_DB)
    return np.clip(np.rint(velocities), *VELOCITIES).astype(np.int64)


def density_at(known: Known, samples: StepNumbers) -> Float64[np.ndarray, " steps"]:
    """Return the onsets a quarter note asked for at samples; NaN where none are."""
    return _curve(known, known.density, samples)


def _curve(
    known: Known, values: tuple[float, ...], samples: StepNumbers
) -> Float64[np.ndarray, " steps"]:
    """Return a curve's value in the bar of each sample; NaN where it has none."""
    found = np.full(len(samples), np.nan)
    if known.pulse is None or not values:
        return found
    # A bar line that was rounded to a sample may lie a little before it.
    first = np.floor(known.pulse.bars(np.array([known.curves_sample])) + ROUNDED)
    bars = (np.floor(known.pulse.bars(samples) + ROUNDED) - first).astype(np.int64)
    inside = (bars >= 0) & (bars < len(values))
    found[inside] = np.array(values)[bars[inside]]
    return found


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
