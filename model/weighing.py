"""What speaks against a stretch of the recording at a place of the continuation.

Costs, most of them 0 to 1: how badly it goes on from what sounds, how unlike its notes are
to those composed, its place in the bar, its density, how badly it goes with stems, and how lately
it was heard. Knows
spectra and notes, no draws.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float32, Float64, Int64

from model.composer import PITCHES, STRUCK, score_heard, score_of
from model.composing import density_at
from model.grains import SOURCE, START, STRAY_SAMPLES, Rows
from model.listener import SOUNDING
from model.listening import STEP_SAMPLES
from model.state import TimelineState

CONTEXT_STEPS = 8
LATER_MATTERS_MORE = np.linspace(0.4, 1, CONTEXT_STEPS, dtype=np.float32)
LATELY = 8
COPY_STEPS = 21
"""1 s."""
LEAST_COPY_STEPS = 2
FREELY_ALIKE = 0.7
NEAR_SAMPLES = 13_000
"""Two sources nearer than this, 0.3 s, are the same music."""
WEIGHTS = {
    "context": 1.0,
    "notes": 0.8,
    "bar": 0.2,
    "density": 0.5,
    "stems": 3.0,
    "lately": 0.6,
    "run": 1.0,
    "copy": 2.0,
}
"""Of the costs, each 0 to 1 a stretch. With runs of 0.75 s allowed and `lately` at 0.3 the copy
score of 16 recordings was .82 on average where the true continuations have .51, with these .60;
without `copy` its 95th percentile was .90 and with the tempo unknown .91, with it .87 and .83,
where the true ones have .88."""
BESIDE_STEMS = 0.25
"""What speaks against repeating counts so much where stems say what fits: they repeat, too."""
Costs = Float64[np.ndarray, " candidates"]
Steps = Float32[np.ndarray, "steps features"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """A line to fill: where its stretch begins and ends, and where stretches may come from.

    `sources` are those of the same place in a beat; anything from `least` to `most` could sound.
    """

    start: int
    end: int
    line: int
    sources: Int64[np.ndarray, " candidates"]
    least: int
    most: int
    misfits: Costs | None = None
    """How badly each goes with the stems told, 0 to 2; None where none is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recalled:
    """A recording's spectra, as they are and less their mean, ready to be compared with.

    `spread` is how much windows of `COPY_STEPS` steps vary: a sum of squares for each.
    """

    spectra: Steps
    centred: Steps
    spread: Float64[np.ndarray, " windows"]

    @property
    def nbytes(self) -> int:
        """Return the bytes held."""
        return self.spectra.nbytes + self.centred.nbytes + self.spread.nbytes


def recalled(heard: Float16[np.ndarray, "steps features"]) -> Recalled:
    """Return what stretches of a recording are compared with, from its spectra."""
    spectra = heard.astype(np.float32)
    centred = spectra - spectra.mean(0)
    return Recalled(spectra=spectra, centred=centred, spread=_spread(centred, COPY_STEPS))


def costs_of(
    state: TimelineState, recording: Recalled, rows: Rows, choice: Choice, outgoing: int
) -> Costs:
    """Return a cost for each source, after what sounds from `outgoing` on in the recording."""
    sources = choice.sources
    cost = WEIGHTS["context"] * (1 - _context(recording, outgoing, sources))
    cost = cost + WEIGHTS["notes"] * (1 - _agreement(state, choice))
    cost += WEIGHTS["bar"] * _off_the_bar(state, choice)
    cost += WEIGHTS["density"] * _too_dense(state, choice)
    counted = 1.0
    if choice.misfits is not None:
        counted = BESIDE_STEMS
        cost += WEIGHTS["stems"] * choice.misfits
    lately = rows[-LATELY:, SOURCE]
    for source in lately[lately >= 0]:
        cost += counted * WEIGHTS["lately"] * (np.abs(sources - source) < NEAR_SAMPLES)
    goes_on = np.abs(sources - outgoing) <= STRAY_SAMPLES
    cost += counted * WEIGHTS["run"] * goes_on
    return cost + counted * WEIGHTS["copy"] * copied_shares(recording, rows, choice)


def copied_shares(recording: Recalled, rows: Rows, choice: Choice) -> Costs:
    """Return how like each stretch, after what sounds, is to any place of the recording, 0 to 1.

    Compared are the spectra of up to `COPY_STEPS` steps that end with the stretch, each bin less
    its mean in them, as an evaluation's copy score does: repeated music is found again though
    no run of samples is. Likeness up to `FREELY_ALIKE` counts nothing.
    """
    spectra = recording.spectra
    begun = _sounding_since(rows, choice)
    steps = min(COPY_STEPS, (choice.end - begun) // STEP_SAMPLES)
    if steps < LEAST_COPY_STEPS or len(spectra) < steps:
        return np.zeros(len(choice.sources))
    times = choice.end - STEP_SAMPLES * np.arange(steps, 0, -1)
    moved = choice.sources[:, None] + (times - choice.start)
    places = np.where(times >= choice.start, moved, sources_of(rows, times))
    made = spectra[np.clip(np.rint(places / STEP_SAMPLES).astype(int), 0, len(spectra) - 1)]
    likeness = _best_matches(made - made.mean(1, keepdims=True), recording)
    return np.clip((likeness - FREELY_ALIKE) / (1 - FREELY_ALIKE), 0, 1)


def _best_matches(
    made: Float32[np.ndarray, "candidates steps features"], recording: Recalled
) -> Costs:
    """Return the highest normalised correlation of each with as many steps of the recording."""
    count, steps, features = made.shape
    spectra = recording.centred
    products = (made.reshape(-1, features) @ spectra.T).reshape(count, steps, -1)
    windows = len(spectra) - steps + 1
    matches = sum(products[:, step, step : step + windows] for step in range(steps))
    spread = recording.spread if steps == COPY_STEPS else _spread(spectra, steps)
    norms = np.sqrt(np.maximum(spread, 0))[None] * np.linalg.norm(made, axis=(1, 2))[:, None]
    return (matches / np.maximum(norms, 1e-9)).max(1).astype(np.float64)


def _spread(spectra: Steps, steps: int) -> Float64[np.ndarray, " windows"]:
    """Return how much the spectra of each window vary; nothing if there is no whole one."""
    if len(spectra) < steps:
        return np.zeros(0)
    before = np.zeros((1, spectra.shape[1]))
    sums = np.concatenate([before, np.cumsum(spectra, 0, dtype=np.float64)])
    powers = np.concatenate([before, np.cumsum(spectra.astype(np.float64) ** 2, 0)])
    means = (sums[steps:] - sums[:-steps]) / steps
    return (powers[steps:] - powers[:-steps] - steps * means**2).sum(1)


def _sounding_since(rows: Rows, choice: Choice) -> int:
    """Return from which sample on stretches sound without another source between."""
    others = np.flatnonzero(rows[:, SOURCE] < 0)
    first = int(others[-1]) + 1 if len(others) else 0
    return int(rows[first, START]) if first < len(rows) else choice.start


def sources_of(rows: Rows, times: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Return which samples of the recording sound at these times."""
    if not len(rows):
        return times
    row = rows[np.maximum(np.searchsorted(rows[:, START], times, side="right") - 1, 0)]
    return row[:, SOURCE] + times - row[:, START]


def _off_the_bar(state: TimelineState, choice: Choice) -> Costs:
    """Return 0 for stretches from the same place of a bar, up to 1; 0 if no bars are known."""
    if state.known.pulse is None:
        return np.zeros(len(choice.sources))
    moved = choice.sources + (choice.line - choice.start)
    here = state.known.pulse.bars(np.array([choice.line]))
    apart = np.abs(state.known.pulse.bars(moved) - here) % 1
    apart = np.minimum(apart, 1 - apart)
    return np.where(apart < 0.02, 0.0, np.where(np.abs(apart - 0.5) < 0.02, 0.5, 1.0))


def _context(recording: Recalled, outgoing: int, sources: Int64[np.ndarray, " n"]) -> Costs:
    """Return how like the sound before each source is to that before where we come from, -1 to 1.

    Spectra less their mean: what all of a recording has in common tells nothing.
    """
    here = _before(recording.centred, outgoing)
    there = np.stack([_before(recording.centred, int(source)) for source in sources])
    return likeness(there, here)


def likeness(
    rows: Float32[np.ndarray, "candidates values"], wanted: Float32[np.ndarray, " values"]
) -> Costs:
    """Return the cosine of each row with what is wanted, -1 to 1; 0 where one is nothing."""
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(wanted)
    return (rows @ wanted / np.maximum(norms, 1e-9)).astype(np.float64)


def _before(spectra: Steps, sample: int) -> Float32[np.ndarray, " both"]:
    step = min(round(sample / STEP_SAMPLES), len(spectra))
    rows = np.zeros((CONTEXT_STEPS, spectra.shape[1]), np.float32)
    found = spectra[max(0, step - CONTEXT_STEPS) : step]
    if len(found):
        rows[-len(found) :] = found
    return (rows * LATER_MATTERS_MORE[:, None]).ravel()


def _agreement(state: TimelineState, choice: Choice) -> Costs:
    """Return how like the notes heard at each source are to those composed, 0 to 1; 1 if none."""
    known = state.known
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


def _too_dense(state: TimelineState, choice: Choice) -> Costs:
    """Return how far each source is from the density told, in octaves, at most 2; 0 if none is."""
    onsets = density_at(state.known, np.array([choice.line]))[0]
    if np.isnan(onsets) or not len(state.heard):
        return np.zeros(len(choice.sources))
    struck = (score_heard(state.heard.astype(np.float32)) == STRUCK).sum(1)
    steps = max(1, (choice.end - choice.start) // STEP_SAMPLES)
    begun = np.concatenate([[0], np.cumsum(struck)])
    firsts = np.clip(choice.sources // STEP_SAMPLES, 0, len(struck))
    counts = begun[np.minimum(firsts + steps, len(struck))] - begun[firsts]
    assert state.known.pulse is not None
    knots = state.known.pulse.knots[state.known.pulse.places(np.array([choice.line]))]
    wanted = onsets * steps * STEP_SAMPLES / float(knots[0, 3])
    return np.minimum(2.0, np.abs(np.log2((counts + 0.5) / (wanted + 0.5))))


def _folded(
    sounding: Float64[np.ndarray, "steps pitches"],
) -> Float64[np.ndarray, "steps pitches_and_classes"]:
    """Return pitches beside pitch classes, so that an octave off is half right."""
    padded = np.pad(sounding, ((0, 0), (0, -sounding.shape[1] % 12)))
    classes = padded.reshape(len(sounding), -1, 12).max(1)
    return np.concatenate([sounding, 2 * classes], axis=1)
