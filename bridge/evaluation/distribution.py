"""How far a set of sounds lies from music: a kernel distance between sets of embeddings.

The unbiased squared maximum mean discrepancy with a cubic kernel (as the kernel inception
distance, Binkowski et al. 2018), of what half of the works became against the other half as it
really is. Halves are drawn again and again: that is the interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64

HALVES: Final = 200
REAL: Final = "truth"
SHUFFLED: Final = "shuffled"
_LEAST_SPREAD: Final = 1e-3

Vectors = Float64[np.ndarray, "stretches dimensions"]
ByWork = Mapping[str, Sequence[Sequence[float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A distance, and where 95 % of it lie over the halves."""

    value: float
    low: float
    high: float


def kernel_distance(first: Vectors, second: Vectors) -> float:
    """Return the unbiased squared distance of two sets of vectors; about 0 for equal ones."""
    within = (_mean_off_diagonal(_kernel(vectors, vectors)) for vectors in (first, second))
    return sum(within) - 2 * float(_kernel(first, second).mean())


def distances(real: ByWork, made: Mapping[str, ByWork], seed: int = 0) -> dict[str, Spread]:
    """Return the distance of each set from what is real, by name.

    Under `truth` stands that of real music from other real music, the least there is; under
    `shuffled` that of real vectors whose dimensions changed places, which is no music.
    Empty with fewer than four works.
    """
    works = sorted(set(real).intersection(*made.values())) if made else sorted(real)
    if len(works) < 4:
        return {}
    random = np.random.default_rng(seed)
    every = np.concatenate([np.array(real[work], np.float64) for work in works])
    centre, spread = every.mean(axis=0), np.maximum(every.std(axis=0), _LEAST_SPREAD)
    sets = {REAL: real, **made}
    scaled = {
        name: {work: (np.array(rows[work], np.float64) - centre) / spread for work in works}
        for name, rows in sets.items()
    }
    found: dict[str, list[float]] = {name: [] for name in (*sets, SHUFFLED)}
    for _ in range(HALVES):
        order = random.permutation(works)
        half, rest = order[: len(works) // 2], order[len(works) // 2 :]
        other = np.concatenate([scaled[REAL][work] for work in rest])
        for name, rows in scaled.items():
            ours = np.concatenate([rows[work] for work in half])
            found[name].append(kernel_distance(ours, other))
            if name == REAL:
                mixed = (random.permuted(ours * spread + centre, axis=1) - centre) / spread
                found[SHUFFLED].append(kernel_distance(mixed, other))
    return {name: _spread(values) for name, values in found.items()}


def _kernel(first: Vectors, second: Vectors) -> Float64[np.ndarray, "ours theirs"]:
    return (first @ second.T / first.shape[1] + 1) ** 3


def _mean_off_diagonal(kernel: Float64[np.ndarray, "ours theirs"]) -> float:
    size = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / max(1, size * (size - 1)))


def _spread(values: list[float]) -> Spread:
    low, high = np.quantile(values, (0.025, 0.975))
    return Spread(value=float(np.mean(values)), low=float(low), high=float(high))
