"""Which stretches of the recording sound again, and when: the sampler of reprise.

Where no notes are told, a continuation is put together from the recording's own beats, as
free improvisers and their machines do (Assayag and Dubnov 2004, "Using factor oracles for
machine improvisation"; Schwarz 2007, concatenative synthesis). At each line of the beat a
stretch is drawn among those that begin at the same place of a beat: by how well it goes on
from what sounds, how well its notes are those the composer wrote, its place in the bar, how
well it goes with stems, and how lately it was heard. Knows spectra, notes and samples,
neither codes nor how the stretches are joined.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, floor

import numpy as np
from jaxtyping import Int16, Int64

from model.composer import Voice
from model.composing import velocities_of
from model.grains import FADE_SAMPLES, SOURCE, START, STRAY_SAMPLES, THOUSAND, Rows, alignment
from model.grid import LEAD_FRAMES, Grid
from model.guiding import Guiding
from model.listening import STEP_SAMPLES
from model.memo import Memo, digest
from model.noise import choose, uniform
from model.state import TimelineState
from model.values import MIX, Known, Mono, Pulse, SamplingPlan
from model.weighing import CONTEXT_STEPS, Choice, Recalled, costs_of, recalled, sources_of

LEVEL = 4
"""Of the noise: the codec's levels are 0 to 2, the composer's draws 3."""
BEFORE_LINE_SAMPLES = FADE_SAMPLES + 76
"""A stretch begins so much before its line: its first attack is heard whole."""
UNIT_SECONDS = (0.3, 0.62)
SAMPLE_RATE = 44_100
LEAST_CANDIDATES = 3
"""Of fewer stretches nothing but a loop can be made."""
SAME_LENGTH = 0.03
"""The tempo of a stretch may differ by so much from that where it shall sound."""
COOLNESS = 12.0
"""A cost greater by 1/12 makes a stretch e times as unlikely, at temperature 1."""
DRAWS = 2
"""A line: which stretch, and whether an earlier section comes back."""
RECALLED_BYTES = 8 * 2**20
VOICE = Voice(step_samples=STEP_SAMPLES)
FindPulse = Callable[[Mono], Pulse | None]


class Reprising:
    """Fills chunks of timelines from what they heard."""

    def __init__(self, grid: Grid, find_pulse: FindPulse, guiding: Guiding) -> None:
        """Take the grid, what finds the beat of a recording whose tempo nobody told, and stems."""
        self._grid = grid
        self._find_pulse = find_pulse
        self._guiding = guiding
        self.recalled: Memo[Recalled] = Memo(RECALLED_BYTES, lambda one: one.nbytes)
        """What stretches are compared with, by the spectra of the recording."""

    def begun(self, state: TimelineState, plan: SamplingPlan) -> TimelineState:
        """Return the state with the pulse of what was heard, if that is asked for and not told."""
        if state.known.pulse is not None or state.beat is not None or not self._asked(state, plan):
            return state
        pulse = self._find_pulse(state.audio[: self._heard_end(state) - state.audio_start])
        if pulse is None:
            return replace(state, beat=np.zeros((0, 5)))
        return replace(state, beat=pulse.knots + np.array([state.audio_start, 0, 0, 0, 0]))

    def choices(self, state: TimelineState, plan: SamplingPlan) -> list[Choice] | None:
        """Return the lines to fill in the chunk to come; None where the recording cannot fill it.

        Or where it shall not: notes are told, or a part that was not recorded, or the plan says so.
        """
        pulse = self._pulse(state)
        if not self._asked(state, plan) or pulse is None:
            return None
        found = self._lines(state, pulse)
        counts = [len(choice.sources) for choice in found]
        least = 1 if self._sounding(state) else LEAST_CANDIDATES
        return found if all(counts) and (not counts or counts[0] >= least) else None

    def step(
        self, state: TimelineState, choices: Sequence[Choice], plan: SamplingPlan
    ) -> TimelineState:
        """Return the state one chunk further: its stretches drawn, its codes those of the prime."""
        rows = state.reprised
        for choice in choices:
            rows = self._with(state, rows, choice, plan)
        end = self._chunk_end(state) // self._grid.frame_samples
        codes = self._codes(state, rows, len(state.codes), end)
        return replace(state, reprised=rows, codes=np.concatenate([state.codes, codes]))

    def heard_again(self, state: TimelineState) -> TimelineState:
        """Return the state with the notes of what sounded again: a composer may go on from them.

        They follow from what was heard, so nobody keeps them until they are asked for.
        """
        rows, first = state.reprised, len(state.heard)
        if not len(rows) or first == 0 or first < self._heard_end(state) // STEP_SAMPLES:
            return state
        made_from = rows[rows[:, SOURCE] < 0, START]
        end = min([state.settled_sample, *made_from.tolist()])
        steps = np.arange(first, end // STEP_SAMPLES)
        if not len(steps):
            return state
        sources = sources_of(rows, steps * STEP_SAMPLES) // STEP_SAMPLES
        again = state.heard[sources.clip(0, first - 1)]
        return replace(state, heard=np.concatenate([state.heard, again]))

    def left(self, state: TimelineState) -> TimelineState:
        """Return the state in which the finisher makes what comes after the settled codes."""
        if not self._sounding(state):
            return state
        row = np.array([[state.settled_sample, -1, 0, 0]], np.int64)
        return replace(state, reprised=np.concatenate([state.reprised, row]))

    def _asked(self, state: TimelineState, plan: SamplingPlan) -> bool:
        known = state.known
        told = known.notes_span is not None and known.notes_span[1] >= self._chunk_end(state)
        if told or plan.teacher or not plan.reprise or not known.may_recur():
            return False
        # A part is found again where it was recorded alone.
        return known.target == MIX or self._guiding.is_apart(state, self._heard(state))

    def _sounding(self, state: TimelineState) -> bool:
        return len(state.reprised) > 0 and int(state.reprised[-1, SOURCE]) >= 0

    def _chunk_end(self, state: TimelineState) -> int:
        return (len(state.codes) // self._grid.chunk_frames + 1) * self._grid.chunk_samples

    def _heard(self, state: TimelineState) -> tuple[int, int]:
        return state.audio_start, self._heard_end(state)

    def _heard_end(self, state: TimelineState) -> int:
        return min(state.drawn_from * self._grid.frame_samples, state.heard_sample)

    def _pulse(self, state: TimelineState) -> Pulse | None:
        if state.known.pulse is not None or state.beat is None or not len(state.beat):
            return state.known.pulse
        return Pulse(knots=state.beat)

    def _lines(self, state: TimelineState, pulse: Pulse) -> list[Choice]:
        """Return the lines at which stretches begin before the end of the chunk to come.

        The first one of all lies under the crossfade, if all before was heard.
        """
        end = self._chunk_end(state)
        found: list[Choice] = []
        if self._sounding(state):
            start = int(state.reprised[-1, START])
        else:
            start = state.settled_sample
            if len(state.codes) <= state.drawn_from:
                start = max(0, start - LEAD_FRAMES * self._grid.frame_samples)
            found.append(self._choice(state, pulse, start, start))
        while True:
            line = _next_line(pulse, start, unit_beats(pulse, start))
            start = line - BEFORE_LINE_SAMPLES
            if start >= end:
                return found
            found.append(self._choice(state, pulse, start, line))

    def _choice(self, state: TimelineState, pulse: Pulse, start: int, line: int) -> Choice:
        unit = unit_beats(pulse, line)
        following = _next_line(pulse, start, unit)
        length = following - line
        least = state.audio_start + CONTEXT_STEPS * STEP_SAMPLES
        most = self._heard_end(state) - (following - start) - FADE_SAMPLES - STRAY_SAMPLES
        beats = pulse.beats(np.array([line, following, least, max(least, most)]))
        beat, last, first_heard, last_heard = (float(value) for value in beats)
        nearest, furthest = (beat - last_heard) / unit, (beat - first_heard) / unit
        back = np.arange(max(1, floor(nearest)), ceil(furthest) + 1) * unit
        places = pulse.samples(beat - back)
        lengths = pulse.samples(last - back) - places
        sources = np.rint(places).astype(np.int64) - (line - start)
        fits = (sources >= least) & (sources <= most)
        fits &= np.abs(lengths / length - 1) <= SAME_LENGTH
        sources, end = sources[fits], following - BEFORE_LINE_SAMPLES
        misfits = None
        if state.known.stems and len(sources):
            lines = sources + (line - start)
            misfits = self._guiding.misfits(state, self._heard(state), lines, (line, end))
        return Choice(
            start=start,
            end=end,
            line=line,
            sources=sources,
            least=least,
            most=most,
            misfits=misfits,
        )

    def _with(
        self, state: TimelineState, rows: Rows, choice: Choice, plan: SamplingPlan
    ) -> Int64[np.ndarray, "one_more entries"]:
        """Return the rows with one more."""
        outgoing = choice.start
        if len(rows) and int(rows[-1, SOURCE]) >= 0:
            outgoing = int(rows[-1, SOURCE]) + choice.start - int(rows[-1, START])
        draws = uniform(
            plan.seed,
            level=LEVEL,
            turn=0,
            variation=plan.variation,
            first_frame=DRAWS * (choice.line // self._grid.frame_samples),
            frames=DRAWS,
        )
        source = self._come_back(state, rows, choice, float(draws[1]))
        if source is None:
            costs = costs_of(state, self._recalled(state), rows, choice, outgoing)
            chances = np.exp(-(COOLNESS / plan.temperature) * (costs - costs.min()))
            source = int(choice.sources[choose(chances[None], draws[:1])[0]])
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

    def _recalled(self, state: TimelineState) -> Recalled:
        spectra = state.spectra
        return self.recalled.of(digest(spectra), lambda: recalled(spectra))

    def _come_back(
        self, state: TimelineState, rows: Rows, choice: Choice, draw: float
    ) -> int | None:
        """Return the source that sounded at the same place of an earlier section of this name.

        None where there is none, where it does not fit, or where the draw says that this
        stretch shall differ: of the stretches `similarity` are the same.
        """
        for echo in state.known.echoes:
            if not echo.start_sample <= choice.line < echo.end_sample or draw >= echo.similarity:
                continue
            earlier = choice.start - (echo.start_sample - echo.source_sample)
            index = int(np.searchsorted(rows[:, START], earlier, side="right")) - 1
            if index >= 0:
                if int(rows[index, SOURCE]) < 0:
                    continue
                earlier += int(rows[index, SOURCE] - rows[index, START])
            if choice.least <= earlier <= choice.most:
                return earlier
        return None

    def _codes(
        self, state: TimelineState, rows: Rows, first: int, end: int
    ) -> Int16[np.ndarray, " frames"]:
        """Return the prime's codes of the frames that sound again."""
        hop = self._grid.frame_samples
        sources = sources_of(rows, np.arange(first, end) * hop + hop // 2) // hop
        return state.codes[np.clip(sources, 0, min(state.drawn_from, len(state.codes)) - 1)]


def needs_notes(known: Known) -> bool:
    """Return whether stretches are weighed by the notes heard in them."""
    return known.suffix is not None or bool(known.density)


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
