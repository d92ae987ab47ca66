"""What the records say together: means, ratios to the truth, distances, with intervals.

Pure: records in, estimates out. What is asked of them stands in `bars`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeAlias

import numpy as np

from bridge.evaluation import candidates, distribution, intervals
from bridge.evaluation.intervals import Estimate, Statistic, Values
from bridge.evaluation.records import Record

RIGHT_TEMPO: Final = 0.04
RIGHT_BEAT_MS: Final = 50.0
LEAST_TRUE_ONSET_F1: Final = 0.5

LEVEL_ERROR: Final = "level_error_lu"
"""How far the loudness is off the truth's, up or down."""

CODEC_FIGURES: Final = ("spectral_convergence_db", "log_mel_db", "si_sdr_db")

SHOWN: Final = (
    "frame_f1",
    "onset_f1",
    "drum_match",
    "chroma_of_prime",
    "beat_phase_of_truth_ms",
    "beat_strength",
    "timbre_of_truth_db",
    "timbre_of_prime_db",
    "note_novelty",
    "copy_score",
    "loudness_of_truth_lu",
    LEVEL_ERROR,
    "gain_db",
    "tempo_error",
    "seam_flux_db",
    "attack_db_per_s",
    "decay_db_per_s",
    "noisiness",
    "silence_share",
)
"""Figures of the table, means over clips."""


ValuesOf: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any]], Sequence[Any]]
"""Columns of a clip, from its own figures and the truth's; empty where it does not count."""


class Clips:
    """Records of one kind and length, by candidate and clip."""

    def __init__(self, records: Iterable[Record]) -> None:
        """Take records of one model at most for each candidate."""
        self.by_name: dict[str, dict[str, Record]] = {}
        for record in records:
            self.by_name.setdefault(record.candidate, {})[record.clip] = record

    def rows(self, name: str, values: ValuesOf) -> list[tuple[str, list[float]]]:
        """Return (work, values) of a candidate's clips, from its figures and the truth's.

        Clips where a value is None are left out.
        """
        found: list[tuple[str, list[float]]] = []
        for clip, record in self.by_name.get(name, {}).items():
            true = self.by_name[candidates.TRUTH].get(clip)
            if true is not None:
                row = values(record.figures, true.figures)
                if row and all(value is not None for value in row):
                    found.append((record.work, [float(value) for value in row]))
        return found

    def estimate(self, name: str, values: ValuesOf, statistic: Statistic) -> Estimate | None:
        """Return a statistic over a candidate's clips; None where none counts."""
        return intervals.estimate(self.rows(name, values), statistic)

    def mean(self, name: str, figure: str) -> Estimate | None:
        """Return the mean of a figure over a candidate's clips."""
        return self.estimate(name, lambda own, _: [figure_of(own, figure)], intervals.mean)


def figure_of(own: Mapping[str, Any], figure: str) -> float | None:
    """Return a figure of a clip, or one that follows from others; None where there is none."""
    if figure == LEVEL_ERROR:
        louder = own.get("loudness_of_truth_lu")
        return None if louder is None else abs(louder)
    return own.get(figure)


def passes_gate(own: Mapping[str, Any]) -> bool:
    """Return whether a result is nearer in timbre to the truth than a random piece is."""
    return bool(own["timbre_of_truth_db"] < own["random_timbre_of_truth_db"])


def adherence(clips: Clips, name: str, *, gated: bool) -> Estimate | None:
    """Return (F1 - F1 of wrong notes) / (true F1 - F1 of wrong notes), of sums over clips."""

    def values(own: Mapping[str, Any], true: Mapping[str, Any]) -> list[float | None]:
        needed = (own.get("frame_f1"), true.get("frame_f1"), true.get("wrong_frame_f1"))
        if any(value is None for value in needed) or (gated and not passes_gate(own)):
            return []
        made, real, wrong = needed
        assert made is not None
        assert real is not None
        assert wrong is not None
        return [made - wrong, real - wrong]

    return clips.estimate(name, values, intervals.ratio)


def onset_adherence(clips: Clips, name: str) -> Estimate | None:
    """Return onset F1 over the truth's, where the truth's is .5 at least."""

    def values(own: Mapping[str, Any], true: Mapping[str, Any]) -> list[float | None]:
        real = true.get("onset_f1")
        return [] if real is None or real < LEAST_TRUE_ONSET_F1 else [own.get("onset_f1"), real]

    return clips.estimate(name, values, intervals.ratio)


def drum_adherence(clips: Clips, name: str) -> Estimate | None:
    """Return how far drums fall where they are written, 0 as of wrong ones, 1 as of the truth."""

    def values(own: Mapping[str, Any], true: Mapping[str, Any]) -> list[float | None]:
        needed = (own.get("drum_match"), true.get("drum_match"), true.get("wrong_drum_match"))
        made, real = needed[:2]
        if made is None or real is None:
            return []
        wrong = needed[2] or 0.0
        return [made - wrong, real - wrong]

    return clips.estimate(name, values, intervals.ratio)


def kept_key(clips: Clips, name: str) -> Estimate | None:
    """Return how often a result has the prime's key, where the true continuation has it."""
    return clips.estimate(
        name, lambda own, _: [own["same_key"]] if own["truth_same_key"] else [], intervals.mean
    )


def kept_tempo(clips: Clips, name: str) -> Estimate | None:
    """Return how often a result's tempo is within 4 %, where the true continuation's is."""

    def values(own: Mapping[str, Any], true: Mapping[str, Any]) -> list[float]:
        if true.get("tempo_error") is None or true["tempo_error"] > RIGHT_TEMPO:
            return []
        return [float(own["tempo_error"] <= RIGHT_TEMPO)]

    return clips.estimate(name, values, intervals.mean)


def kept_beat(clips: Clips, name: str) -> Estimate | None:
    """Return how often the beat lies within 50 ms of the truth's, where the truth has the tempo."""

    def values(own: Mapping[str, Any], true: Mapping[str, Any]) -> list[float]:
        if true.get("tempo_error") is None or true["tempo_error"] > RIGHT_TEMPO:
            return []
        return [float(own["beat_phase_of_truth_ms"] <= RIGHT_BEAT_MS)]

    return clips.estimate(name, values, intervals.mean)


def kernel_distances(records: Sequence[Record]) -> dict[str, Any]:
    """Return how far each candidate's sounds lie from music; see `distribution.distances`."""
    sets: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for record in records:
        if record.vectors:
            by_work = sets.setdefault(record.candidate, {})
            by_work.setdefault(record.work, []).extend(record.vectors)
    real = sets.pop(candidates.TRUTH, {})
    found: dict[str, Any] = {}
    for name, by_work in sorted(sets.items()):
        both = {work: real[work] for work in by_work if work in real}
        spreads = distribution.distances(both, {name: by_work})
        if spreads:
            found[name] = {key: asdict(value) for key, value in spreads.items()}
    return found


def table(clips: Clips) -> dict[str, dict[str, Any]]:
    """Return the means of all figures by candidate."""
    return {
        name: {figure: intervals.as_row(clips.mean(name, figure)) for figure in SHOWN}
        for name in clips.by_name
    }


def diversity(records: Sequence[Record], name: str, seeds: Sequence[str]) -> Estimate | None:
    """Return how far draws with other seeds lie apart, over how far other works lie apart.

    Mean distances of embeddings, stretch by stretch: 0 if all draws sound alike.
    """
    draws = [
        Clips(r for r in records if r.candidate == one).by_name.get(one, {})
        for one in (name, *seeds)
    ]
    truths = Clips(records).by_name.get(candidates.TRUTH, {})
    shared = sorted(set(truths).intersection(*draws)) if all(draws) else []
    rows: list[tuple[str, list[float]]] = []
    for index, clip in enumerate(shared):
        other = shared[(index + len(shared) // 2) % len(shared)]
        if truths[clip].work != truths[other].work:
            vectors = [np.array(by_clip[clip].vectors) for by_clip in draws]
            apart = [_apart(vectors[0], vector) for vector in vectors[1:]]
            works = _apart(np.array(truths[clip].vectors), np.array(truths[other].vectors))
            rows.append((truths[clip].work, [float(np.mean(apart)), works]))
    return intervals.estimate(rows, intervals.ratio)


def _apart(first: Values, second: Values) -> float:
    size = min(len(first), len(second))
    return float(np.linalg.norm(first[:size] - second[:size], axis=1).mean())
