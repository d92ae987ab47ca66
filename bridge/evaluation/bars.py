"""What is asked of a model, and whether it holds: limits that were set before it was measured.

A bar is met or not by the value; its interval stands beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bridge.evaluation import candidates, intervals, summary
from bridge.evaluation.intervals import Estimate, Statistic, Values
from bridge.evaluation.summary import Clips, ValuesOf

CONVERGENCE_DB: Final = (-23.0, -12.4, -8.3)
"""What the paper states for levels 0, 1, 2."""
RECORDED_MARGIN_DB: Final = 3.0
LEAST_ADHERENCE: Final = {"fast": 0.6, "teacher": 0.7}
LEAST_TIMBRE_SHARE: Final = 0.8
LEAST_KEY_SHARE: Final = 0.7
LEAST_NOVELTY: Final = 0.5
MOST_SEAM: Final = 1.5
MOST_LOUDNESS_LU: Final = 2.0
COPY_QUANTILE: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What is asked of a figure, and what was found."""

    name: str
    found: Estimate
    limit: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Return whether the value is within the limit."""
        value = self.found.value
        return value <= self.limit if self.at_most else value >= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A row of the table of bars: which columns of each clip, and what of them."""

    name: str
    values: ValuesOf
    statistic: Statistic
    limit: float
    at_most: bool = False


def _copy_quantile(values: Values) -> float:
    return float(np.quantile(values[:, 0], COPY_QUANTILE))


def _loudness(own: Mapping[str, Any], _: Mapping[str, Any]) -> list[float | None]:
    louder = own["loudness_of_truth_lu"]
    return [None if louder is None else abs(louder)]


_CONTINUATION: Final = (
    _Asked(
        name="timbre nearer than random, share",
        values=lambda own, _: [float(summary.passes_gate(own))],
        statistic=intervals.mean,
        limit=LEAST_TIMBRE_SHARE,
    ),
    _Asked(
        name="note novelty over truth's",
        values=lambda own, true: [own["note_novelty"], true["note_novelty"]],
        statistic=intervals.ratio,
        limit=LEAST_NOVELTY,
    ),
    _Asked(
        name="seam flux over truth's, medians",
        values=lambda own, true: [own["seam_flux_db"], true["seam_flux_db"]],
        statistic=intervals.median_ratio,
        limit=MOST_SEAM,
        at_most=True,
    ),
    _Asked(
        name="loudness off the truth's, LU, median",
        values=_loudness,
        statistic=intervals.median,
        limit=MOST_LOUDNESS_LU,
        at_most=True,
    ),
)


def bars(clips: Clips, name: str) -> list[Bar]:
    """Return what is asked of a model's continuations, as far as there is something to measure."""
    quality, _, known = name.partition("_")
    found = [
        _bar(asked.name, clips.estimate(name, asked.values, asked.statistic), asked)
        for asked in _CONTINUATION
    ]
    found.append(_key_bar(clips, name))
    found.append(_copy_bar(clips, name))
    if known == candidates.NOTES:
        followed = summary.adherence(clips, name, gated=True)
        found.append(_least("MIDI adherence, gated", followed, LEAST_ADHERENCE[quality]))
        found.append(_least("notes above last bar, share", _above_last_bar(clips, name), 1.0))
    return [bar for bar in found if bar is not None]


def codec_bars(clips: Clips, kind: str) -> list[Bar]:
    """Return what is asked of the codec's levels."""
    margin = 0.0 if kind == "rendered" else RECORDED_MARGIN_DB
    found: list[Bar] = []
    for level, wanted in enumerate(CONVERGENCE_DB):
        lost = clips.mean(candidates.codec_name(level), "spectral_convergence_db")
        if lost is not None:
            name = f"level {level} spectral convergence, dB"
            found.append(Bar(name=name, found=lost, limit=wanted + margin, at_most=True))
    return found


def _bar(name: str, found: Estimate | None, asked: _Asked) -> Bar | None:
    if found is None:
        return None
    return Bar(name=name, found=found, limit=asked.limit, at_most=asked.at_most)


def _least(name: str, found: Estimate | None, limit: float) -> Bar | None:
    return None if found is None else Bar(name=name, found=found, limit=limit)


def _key_bar(clips: Clips, name: str) -> Bar | None:
    kept = summary.kept_key(clips, name)
    return _least("key where the truth agrees, share", kept, LEAST_KEY_SHARE)


def _copy_bar(clips: Clips, name: str) -> Bar | None:
    """Return the bar of copying: the highest 5 % of results against that of the truths."""

    def values(own: Mapping[str, Any], _: Mapping[str, Any]) -> list[Any]:
        return [own["copy_score"]]

    found = clips.estimate(name, values, _copy_quantile)
    true = clips.estimate(candidates.TRUTH, values, _copy_quantile)
    if found is None or true is None:
        return None
    return Bar(name="copy score, 95th percentile", found=found, limit=true.value, at_most=True)


def _above_last_bar(clips: Clips, name: str) -> Estimate | None:
    """Return in how many clips more of the notes are played than by the last bar repeated."""
    toy = clips.by_name.get(candidates.LAST_BAR, {})
    rows: list[tuple[str, list[float]]] = []
    for clip, record in clips.by_name.get(name, {}).items():
        theirs = toy[clip].figures.get("frame_f1") if clip in toy else None
        own = record.figures.get("frame_f1")
        if own is not None and theirs is not None:
            rows.append((record.work, [float(own > theirs)]))
    return intervals.estimate(rows, intervals.mean)
