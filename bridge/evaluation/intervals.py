"""Means, medians and shares with intervals, drawn over works: clips of one work are no news."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64

DRAWS: Final = 1000
LEVELS: Final = (0.025, 0.975)

Values = Float64[np.ndarray, "clips figures"]
Statistic = Callable[[Values], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval, over so many clips of so many works."""

    value: float
    low: float
    high: float
    clips: int
    works: int


def estimate(
    rows: Sequence[tuple[str, Sequence[float]]], statistic: Statistic, seed: int = 0
) -> Estimate | None:
    """Return a statistic of rows (work, figures) with its interval by resampling whole works.

    None if there are no rows.
    """
    if not rows:
        return None
    by_work: dict[str, list[Sequence[float]]] = {}
    for work, figures in rows:
        by_work.setdefault(work, []).append(figures)
    groups: list[Values] = [np.array(group, np.float64) for group in by_work.values()]
    random = np.random.default_rng(seed)
    chosen: list[list[int]] = random.integers(len(groups), size=(DRAWS, len(groups))).tolist()
    drawn = [statistic(np.concatenate([groups[at] for at in row])) for row in chosen]
    low, high = np.nanquantile(drawn, LEVELS)
    return Estimate(
        value=statistic(np.concatenate(groups)),
        low=float(low),
        high=float(high),
        clips=len(rows),
        works=len(groups),
    )


def mean(values: Values) -> float:
    """Return the mean of the first column."""
    return float(values[:, 0].mean())


def median(values: Values) -> float:
    """Return the median of the first column."""
    return float(np.median(values[:, 0]))


def ratio(values: Values) -> float:
    """Return the sum of the first column over that of the second."""
    below = float(values[:, 1].sum())
    return float(values[:, 0].sum()) / below if below else float("nan")


def median_ratio(values: Values) -> float:
    """Return the median of the first column over that of the second."""
    below = float(np.median(values[:, 1]))
    return float(np.median(values[:, 0])) / below if below else float("nan")


def as_row(found: Estimate | None) -> Mapping[str, float | int] | None:
    """Return an estimate for JSON."""
    if found is None:
        return None
    return {
        "value": round(found.value, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "clips": found.clips,
        "works": found.works,
    }
