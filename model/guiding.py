"""How well stretches of a recording go with stems: as they went with what was played beside them.

A stem that is told from the recording on says what sounded beside every beat of it, and what
will sound beside the beats to come. A beat fits where like sounds stand beside it: so a bass
keeps to the chords and to the drums (example by example, as concatenative synthesis chooses its
units: Schwarz 2007). A stem that begins later is compared with the recording itself. Knows
spectra, no notes and no draws.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
from jaxtyping import Float32, Int64

from model.listening import BEFORE_SAMPLES, STEP_SAMPLES
from model.memo import Memo, digest
from model.state import TimelineState
from model.values import Mono, StemAudio
from model.weighing import Costs, likeness

RECORDED_BYTES = 16 * 2**20
"""For what a hundred stems play beside 8 s."""
LATE_STEPS = 172
"""A stem that begins later is looked at without what its first 8 s have in common."""
LEAST_SHARE = 0.5
"""Of a stretch: of less a stem says nothing."""
MIXED = 0.3
"""A recording that correlates so much with the stems together holds them: it is no part."""
LEAST_RMS = 1e-3
"""Under -60 dBFS there is nothing to go on with."""
Rows = Float32[np.ndarray, "steps features"]
Samples = Int64[np.ndarray, " candidates"]
SpectraOf = Callable[[Mono, int, range], Rows]
"""Of a sound, the sample at which it begins, and the steps wanted."""


class Guiding:
    """Compares what stems play beside stretches."""

    def __init__(self, spectra_of: SpectraOf) -> None:
        self._spectra_of = spectra_of
        self.recorded: Memo[Rows] = Memo(RECORDED_BYTES, lambda rows: rows.nbytes)
        """What stems play beside recordings, by their sound."""

    def misfits(
        self, state: TimelineState, heard: tuple[int, int], sources: Samples, to: tuple[int, int]
    ) -> Costs | None:
        """Return how unlike what stems play beside each source is to what they play beside a place.

        Args:
            state: Whose stems and recording they are.
            heard: Samples of the recording: the first one and its end.
            sources: Where stretches of the recording begin.
            to: Samples that one of them shall fill.

        Returns:
            0 (the same) to 2 (the opposite), the mean of all stems; None where none is told.
        """
        begin, end = (round(sample / STEP_SAMPLES) for sample in to)
        found: list[Costs] = []
        for stem in state.known.stems:
            told = _told_steps(stem)
            place = range(max(begin, told.start), min(end, told.stop))
            if len(place) and len(place) >= LEAST_SHARE * (end - begin):
                firsts = np.rint(sources / STEP_SAMPLES).astype(np.int64) + place.start - begin
                found.append(self._misfit(state, stem, (heard, firsts, place)))
        return np.mean(found, axis=0) if found else None

    def is_apart(self, state: TimelineState, heard: tuple[int, int]) -> bool:
        """Return whether a recording is a part beside its stems: it sounds, and holds them not."""
        part = state.audio[heard[0] - state.audio_start : heard[1] - state.audio_start]
        power = float(part @ part)
        if power <= LEAST_RMS**2 * len(part):
            return False
        beside = np.zeros(len(part), np.float32)
        for stem in state.known.stems:
            first, last = max(heard[0], stem.start_sample), min(heard[1], _end(stem))
            if first < last:
                samples = stem.samples[first - stem.start_sample : last - stem.start_sample]
                beside[first - heard[0] : last - heard[0]] += samples
        return float(part @ beside) <= MIXED * sqrt(power * float(beside @ beside))

    def _misfit(
        self,
        state: TimelineState,
        stem: StemAudio,
        where: tuple[tuple[int, int], Int64[np.ndarray, " candidates"], range],
    ) -> Costs:
        """Return one stem's; `where` is the recording, the sources' first steps, and the place."""
        heard, firsts, place = where
        told = _told_steps(stem)
        recorded = range(-(-heard[0] // STEP_SAMPLES), heard[1] // STEP_SAMPLES)
        there = self._spectra_of(stem.samples, stem.start_sample, place)
        steps = firsts[:, None] + np.arange(len(place))
        if told.start <= int(steps.min()) and int(steps.max()) < told.stop:
            start = max(recorded.start, told.start)
            beside = self._recorded(stem, range(start, min(recorded.stop, told.stop)))
            usual = beside.mean(0)
            beside = beside - usual
        else:
            start = 0
            beside = state.spectra.astype(np.float32)
            beside = beside - beside.mean(0)
            late = range(max(told.start, recorded.stop), told.stop)[:LATE_STEPS] or place
            usual = self._spectra_of(stem.samples, stem.start_sample, late).mean(0)
        wanted = (there - usual).ravel()
        rows = beside[np.clip(steps - start, 0, len(beside) - 1)].reshape(len(firsts), -1)
        return 1 - likeness(rows, wanted)

    def _recorded(self, stem: StemAudio, steps: range) -> Rows:
        """Return the spectra of a stem beside the recording."""
        first, last = (
            step * STEP_SAMPLES - stem.start_sample for step in (steps.start, steps.stop)
        )
        heard = stem.samples[max(0, first - BEFORE_SAMPLES) : max(0, last)]
        key = digest(heard, np.array([stem.start_sample, steps.start, steps.stop]))
        return self.recorded.of(
            key, lambda: self._spectra_of(stem.samples, stem.start_sample, steps)
        )


def _told_steps(stem: StemAudio) -> range:
    """Return the steps that a stem fills whole."""
    return range(-(-stem.start_sample // STEP_SAMPLES), _end(stem) // STEP_SAMPLES)


def _end(stem: StemAudio) -> int:
    return stem.start_sample + len(stem.samples)
