"""Which stretches of the recording sound again, and when: the sampler of reprise.

Where neither notes nor stems are told, a continuation is put together from the
recording's own beats, as free improvisers and their machines do (Assayag and Dubnov
2004, "Using factor oracles for machine improvisation"; Schwarz 2007, concatenative
synthesis). At each line of the beat a stretch is drawn among those that begin at the
same place of a beat: by how well it goes on from what sounds, how well its notes are
those the composer wrote, its place in the bar, and how lately it was heard. Knows
spectra, notes and samples, neither codes nor how the stretches are joined.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from jaxtyping import Float32, Float64, Int64

from model.composer import PITCHES, Voice, score_of
from model.composing import velocities_of
from model.grains import FADE_SAMPLES, SOURCE, START, STRAY_SAMPLES, THOUSAND, Rows, alignment
from model.grid import LEAD_FRAMES, Grid
from model.listener import SOUNDING
from model.listening import STEP_SAMPLES
from model.memo import Memo, digest
from model.noise import choose, uniform
from model.state import TimelineState
from model.values import Known, Mono, Pulse, SamplingPlan

LEVEL = 4
"""Of the noise: the codec's levels are 0 to 2, the composer's draws 3."""
MIX = 0
BEFORE_LINE_SAMPLES = FADE_SAMPLES + 76
"""A stretch begins so much before its line: its first attack is heard whole."""
UNIT_SECONDS = (0.3, 0.62)
SAMPLE_RATE = 44_100
LEAST_CANDIDATES = 3
CONTEXT_STEPS = 8
SAME_LENGTH = 0.03
LATELY = 8
WEIGHTS = {"context": 1.0, "notes": 0.8, "bar": 0.2, "lately": 0.6, "run": 1.0}
"""Of the costs, each 0 to 1 a stretch. With runs of 0.75 s allowed and `lately` at 0.3 the copy
score of 16 recordings was .82 on average where the true continuations have .51, with these .63."""
COOLNESS = 12.0
PULSES_BYTES = 2**16
VOICE = Voice(step_samples=STEP_SAMPLES)
Costs = Float64[np.ndarray, " candidates"]
FindPulse = Callable[[Mono], Pulse | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """A line to fill: where its stretch begins and ends, and where stretches may come from."""

    start: int
    end: int
    line: int
    sources: Int64[np.ndarray, " candidates"]
    beats_back: Float64[np.ndarray, " candidates"]


class Reprising:
    """Fills chunks of timelines from what they heard."""

    def __init__(self, grid: Grid, find_pulse: FindPulse) -> None:
        """Take the grid, and what finds the beat of a recording whose tempo nobody told."""
        self._grid = grid
        self._find_pulse = find_pulse
        self._pulses: Memo[Float64[np.ndarray, "1 knot"]] = Memo(PULSES_BYTES, _nbytes)

    def wanted(self, state: TimelineState, plan: SamplingPlan) -> bool:
        """Return whether the chunk to come shall be filled from the recording."""
        known = state.known
        if not plan.reprise or plan.teacher or known.target != MIX or known.stems:
            return False
        if known.notes_span is not None and known.notes_span[1] >= self._chunk_end(state):
            return False
        if self._sounding(state):
            return True
        pulse = self._pulse(state)
        return pulse is not None and len(self._first(state, pulse).sources) >= LEAST_CANDIDATES

    def step(self, state: TimelineState, plan: SamplingPlan) -> TimelineState:
        """Return the state one chunk further: its stretches drawn, its codes those of the prime."""
        end = self._chunk_end(state)
        rows = state.reprised
        pulse = self._pulse(state)
        assert pulse is not None
        if not self._sounding(state):
            rows = self._with(state, rows, self._first(state, pulse), plan)
        while (choice := self._next(state, pulse, rows, end)) is not None:
            rows = self._with(state, rows, choice, plan)
        codes = self._codes(state, rows, len(state.codes), end // self._grid.frame_samples)
        return replace(state, reprised=rows, codes=np.concatenate([state.codes, codes]))

    def left(self, state: TimelineState) -> TimelineState:
        """Return the state in which the finisher makes what comes after the settled codes."""
        if not self._sounding(state):
            return state
        row = np.array([[state.settled_sample, -1, 0, 0]], np.int64)
        return replace(state, reprised=np.concatenate([state.reprised, row]))

    def _sounding(self, state: TimelineState) -> bool:
        return len(state.reprised) > 0 and int(state.reprised[-1, SOURCE]) >= 0

    def _chunk_end(self, state: TimelineState) -> int:
        return (len(state.codes) // self._grid.chunk_frames + 1) * self._grid.chunk_samples

    def _heard_end(self, state: TimelineState) -> int:
        return min(state.drawn_from * self._grid.frame_samples, state.heard_sample)

    def _pulse(self, state: TimelineState) -> Pulse | None:
        if state.known.pulse is not None:
            return state.known.pulse
        heard = state.audio[: self._heard_end(state) - state.audio_start]
        found = self._pulses.of(digest(heard), lambda: self._found(heard))
        if np.isnan(found[0, 0]):
            return None
        return Pulse(knots=found + np.array([state.audio_start, 0, 0, 0, 0]))

    def _found(self, heard: Mono) -> Float64[np.ndarray, "1 knot"]:
        """Return the knot of a recording's pulse, NaN if it has none."""
        pulse = self._find_pulse(heard)
        return np.full((1, 5), np.nan) if pulse is None else pulse.knots

    def _first(self, state: TimelineState, pulse: Pulse) -> Choice:
        """Return the first line: under the crossfade if all before was heard."""
        start = state.settled_sample
        if len(state.codes) <= state.drawn_from:
            start = max(0, start - LEAD_FRAMES * self._grid.frame_samples)
        return self._choice(state, pulse, start, start)

    def _next(self, state: TimelineState, pulse: Pulse, rows: Rows, end: int) -> Choice | None:
        """Return the line after the last row, if its stretch begins before an end."""
        start = int(rows[-1, START])
        line = _next_line(pulse, start, unit_beats(pulse, start))
        if line - BEFORE_LINE_SAMPLES >= end:
            return None
        return self._choice(state, pulse, line - BEFORE_LINE_SAMPLES, line)

    def _choice(self, state: TimelineState, pulse: Pulse, start: int, line: int) -> Choice:
        unit = unit_beats(pulse, line)
        following = _next_line(pulse, start, unit)
        length = following - line
        beat = float(pulse.beats(np.array([line]))[0])
        back = np.arange(1, 129) * unit
        places = pulse.samples(beat - back)
        lengths = pulse.samples(beat - back + (following - line) / _beat_samples(pulse, line))
        lengths = lengths - places
        sources = np.rint(places).astype(np.int64) - (line - start)
        least = state.audio_start + CONTEXT_STEPS * STEP_SAMPLES
        most = self._heard_end(state) - (following - start) - FADE_SAMPLES - STRAY_SAMPLES
        fits = (sources >= least) & (sources <= most)
        fits &= np.abs(lengths / length - 1) <= SAME_LENGTH
        return Choice(
            start=start,
            end=following - BEFORE_LINE_SAMPLES,
            line=line,
            sources=sources[fits],
            beats_back=back[fits],
        )

    def _with(
        self, state: TimelineState, rows: Rows, choice: Choice, plan: SamplingPlan
    ) -> Int64[np.ndarray, "stretches entries"]:
        """Return the rows with one more, or as they are where the last stretch goes on."""
        outgoing = choice.start
        if len(rows) and int(rows[-1, SOURCE]) >= 0:
            outgoing = int(rows[-1, SOURCE]) + choice.start - int(rows[-1, START])
        costs = self._costs(state, rows, choice, outgoing)
        chances = np.exp(-(COOLNESS / plan.temperature) * (costs - costs.min()))
        draw = uniform(
            plan.seed,
            level=LEVEL,
            turn=0,
            variation=plan.variation,
            first_frame=choice.line // self._grid.frame_samples,
            frames=1,
        )
        picked = int(choose(chances[None], draw)[0])
        source = int(choice.sources[picked])
        likeness = 1.0
        if len(rows) and abs(source - outgoing) <= STRAY_SAMPLES:
            source = outgoing
        else:
            heard = state.audio[: self._heard_end(state) - state.audio_start]
            places = outgoing - state.audio_start, source - state.audio_start
            stray, likeness = alignment(heard, *places)
            source += stray
        loud = velocities_of(state.known, np.array([choice.line]), VOICE)[0] / VOICE.velocity
        row = [choice.start, source, round(THOUSAND * loud), round(THOUSAND * likeness)]
        return np.concatenate([rows, np.array([row], np.int64)])

    def _costs(self, state: TimelineState, rows: Rows, choice: Choice, outgoing: int) -> Costs:
        sources = choice.sources
        cost = WEIGHTS["context"] * (1 - _context(state, outgoing, sources))
        cost = cost + WEIGHTS["notes"] * (1 - _agreement(state, choice))
        cost += WEIGHTS["bar"] * self._off_the_bar(state, choice)
        lately = rows[-LATELY:, SOURCE]
        for source in lately[lately >= 0]:
            cost += WEIGHTS["lately"] * (np.abs(sources - source) < UNIT_SECONDS[0] * SAMPLE_RATE)
        goes_on = np.abs(sources - outgoing) <= STRAY_SAMPLES
        return cost + WEIGHTS["run"] * goes_on

    def _off_the_bar(self, state: TimelineState, choice: Choice) -> Costs:
        """Return 0 for stretches from the same place of a bar, up to 1; 0 if no bars are known."""
        if state.known.pulse is None:
            return np.zeros(len(choice.sources))
        moved = choice.sources + (choice.line - choice.start)
        here = state.known.pulse.bars(np.array([choice.line]))
        apart = np.abs(state.known.pulse.bars(moved) - here) % 1
        apart = np.minimum(apart, 1 - apart)
        return np.where(apart < 0.02, 0.0, np.where(np.abs(apart - 0.5) < 0.02, 0.5, 1.0))

    def _codes(
        self, state: TimelineState, rows: Rows, first: int, end: int
    ) -> Int64[np.ndarray, " frames"]:
        """Return the prime's codes of the frames that sound again."""
        hop = self._grid.frame_samples
        middles = np.arange(first, end) * hop + hop // 2
        row = rows[np.searchsorted(rows[:, START], middles, side="right") - 1]
        sources = (row[:, SOURCE] + middles - row[:, START]) // hop
        return state.codes[np.clip(sources, 0, min(state.drawn_from, len(state.codes)) - 1)]


def unit_beats(pulse: Pulse, sample: int) -> float:
    """Return the beats of a unit: a power of two that takes between 0.3 and 0.62 s."""
    seconds, unit = _beat_samples(pulse, sample) / SAMPLE_RATE, 1.0
    while seconds * unit > UNIT_SECONDS[1]:
        unit /= 2
    while seconds * unit < UNIT_SECONDS[0]:
        unit *= 2
    return unit


def _beat_samples(pulse: Pulse, sample: int) -> float:
    return float(pulse.knots[pulse.places(np.array([sample])), 3][0])


def _next_line(pulse: Pulse, start: int, unit: float) -> int:
    """Return the first line that leaves a stretch from `start` on at least half a unit."""
    least = start + BEFORE_LINE_SAMPLES + unit * _beat_samples(pulse, start) / 2
    beat = ceil(float(pulse.beats(np.array([ceil(least)]))[0]) / unit) * unit
    return round(float(pulse.samples(np.array([beat]))[0]))


def _context(state: TimelineState, outgoing: int, sources: Int64[np.ndarray, " n"]) -> Costs:
    """Return how like the sound before each source is to that before where we come from, -1 to 1.

    Spectra less their mean: what all of a recording has in common tells nothing.
    """
    spectra = state.spectra.astype(np.float32)
    spectra = spectra - spectra.mean(0)
    here = _before(spectra, outgoing)
    there = np.stack([_before(spectra, int(source)) for source in sources])
    norms = np.linalg.norm(there, axis=1) * np.linalg.norm(here)
    return (there @ here / np.maximum(norms, 1e-9)).astype(np.float64)


def _before(
    spectra: Float32[np.ndarray, "steps features"], sample: int
) -> Float32[np.ndarray, " both"]:
    step = min(round(sample / STEP_SAMPLES), len(spectra))
    rows = np.zeros((CONTEXT_STEPS, spectra.shape[1]), np.float32)
    found = spectra[max(0, step - CONTEXT_STEPS) : step]
    if len(found):
        rows[-len(found) :] = found
    # What was heard last matters most.
    return (rows * np.linspace(0.4, 1, CONTEXT_STEPS, dtype=np.float32)[:, None]).ravel()


def _agreement(state: TimelineState, choice: Choice) -> Costs:
    """Return how like the notes heard at each source are to those composed, 0 to 1; 1 if none."""
    known: Known = state.known
    span = known.composed_span
    steps = 0 if span is None else (min(span[1], choice.end) - choice.line) // STEP_SAMPLES
    if steps < 1 or not len(state.heard):
        return np.ones(len(choice.sources))
    score = score_of(known.notes, choice.line, steps, STEP_SAMPLES)
    wanted = _folded((score > 0).astype(np.float64))
    found: list[float] = []
    for source in choice.sources + (choice.line - choice.start):
        first = round(int(source) / STEP_SAMPLES)
        rows = state.heard[first : first + steps, :, SOUNDING].astype(np.float64)
        heard = np.zeros((steps, PITCHES))
        heard[: len(rows)] = rows
        heard = _folded(heard)
        norm = float(np.linalg.norm(heard) * np.linalg.norm(wanted))
        found.append(float((heard * wanted).sum()) / norm if norm > 0 else 0.0)
    return np.array(found)


def _folded(
    sounding: Float64[np.ndarray, "steps pitches"],
) -> Float64[np.ndarray, "steps pitches_and_classes"]:
    """Return pitches beside pitch classes, so that an octave off is half right."""
    padded = np.pad(sounding, ((0, 0), (0, -sounding.shape[1] % 12)))
    classes = padded.reshape(len(sounding), -1, 12).max(1)
    return np.concatenate([sounding, 2 * classes], axis=1)


def _nbytes(knots: Float64[np.ndarray, "1 knot"]) -> int:
    return knots.nbytes
