"""Measures the autoregressive prior: codes per second against memory's limit and a plain loop.

    python benchmarks/sampling.py [--shapes 512x24,1024x24,1b-8] [--rounds 5] [--codes 24]
        [--batches 1,4,8] [--weights half,bfloat16,float32] [--small-pages] [--json]

Random weights, one thread, from the middle of the context on. Rows of the table are one shape at
one batch size; every round measures, one after the other,

- *limit*: how fast one core reads a buffer far larger than its caches (the fastest of several
  readers), hence how many steps a second can read their bytes: weights as held, keys and values.
- *ours*: `model.published`, drawing included: logits, temperature, softmax, counter-based draw.
- *plain*: a loop in the style of the published code, written here for the purpose: single
  precision, a cache of the whole context concatenated at every step, nothing fused or reused.

Figures are medians over rounds of each round's median step; ratios are medians of each round's
ratio, so that what else the machine does falls out. `processor` counts the thread's own time,
`wall` all time. Weights, and the buffer that the limit is read from, lie on large pages, as a
server's do (`model.pages`), unless --small-pages is given.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from model.config import LabelConfig, PriorConfig, TransformerConfig
from model.noise import choose
from model.pages import use_large_pages
from model.prior import Prior
from model.published.linear import Precision
from model.published.prior import PackedPrior
from model.released import PRIOR_1B_LYRICS
from model.transformer import Attention, Layer

READ_BYTES: Final = 256 * 2**20
LABELS: Final = LabelConfig(artists=64, genres=32)


def styled_5b(width: int) -> PriorConfig:
    """Return a 5B-style prior: order 2, 8 heads, 32 rows of a context of 2048."""
    stack = TransformerConfig(width=width, depth=24, heads=8, frames=2048, rows=32)
    return PriorConfig(vocabulary=2048, transformer=stack, labels=LABELS, timing=True, merged=True)


SHAPES: Final = {
    "512x24": styled_5b(512),
    "1024x24": styled_5b(1024),
    "1b-8": replace(
        PRIOR_1B_LYRICS,
        labels=LABELS,
        transformer=replace(PRIOR_1B_LYRICS.transformer, depth=8),
    ),
}
"""The released 1B's shape is cut to its first 8 layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """One step's time, in seconds."""

    wall: float
    processor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round measured of one way to sample."""

    ours: Clocks
    plain: Clocks | None
    limit: float
    """Seconds to read a step's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    shape: str
    weights: str
    batch: int
    step_mb: float
    read_gb_s: float
    codes_s: float
    """Codes per second of the whole batch, by the thread's own time."""
    wall_codes_s: float
    of_limit: float
    wall_of_limit: float
    over_plain: float | None
    """How many times as fast as the plain loop at batch 1, by the thread's own time."""


class PlainLoop:
    """One sequence, a step at a time, as the published sampler does it."""

    def __init__(self, prior: Prior) -> None:
        self._prior = prior
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def fill(self, positions: int) -> None:
        """Begin with a past of so many positions."""
        stack = self._prior.transformer.stack()
        past = [torch.randn(1, positions, layer.attention.inner) for layer in stack]
        self._keys, self._values = past, [made.clone() for made in past]

    def step(self, x: Tensor) -> Tensor:
        """Return the stack's output at the next position."""
        for index, layer in enumerate(self._prior.transformer.stack()):
            x = self._layer(layer, x, index)
        return x

    def _layer(self, layer: Layer, x: Tensor, index: int) -> Tensor:
        attention = layer.attention
        made = attention.enter(layer.before_attention(x))
        query, key, value = made.chunk(3, dim=-1)
        self._keys[index] = torch.cat([self._keys[index], key], dim=1)
        self._values[index] = torch.cat([self._values[index], value], dim=1)
        keys, values = self._seen(attention, index)
        mixed = self._attend(attention.heads, query, keys, values)
        between = x + attention.leave(mixed)
        return between + layer.mlp(layer.before_mlp(between))

    def _seen(self, attention: Attention, index: int) -> tuple[Tensor, Tensor]:
        position, row = self._keys[index].shape[1] - 1, attention.config.row_frames()
        start = position // row * row
        spans = {
            "row": slice(start, position + 1),
            "column": slice(position % row, position + 1, row),
            "previous": slice(max(0, start - row), max(1, start)),
        }
        span = spans.get(attention.kind, slice(0, position + 1))
        return self._keys[index][:, span], self._values[index][:, span]

    @staticmethod
    def _attend(heads: int, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        def split(x: Tensor) -> Tensor:
            return x.reshape(1, x.shape[1], heads, -1).transpose(1, 2)

        scores = split(query) @ split(keys).transpose(-1, -2)
        weights = (scores / math.sqrt(query.shape[-1] / heads)).softmax(-1)
        return (weights @ split(values)).transpose(1, 2).reshape(query.shape)


class Ours:
    """The product's way, one window of a batch."""

    def __init__(self, packed: PackedPrior, batch: int, first: int) -> None:
        self._packed, self._first = packed, first
        config = packed.config
        self._cache = packed.open(batch)
        width = config.transformer.width
        self._start = torch.zeros(batch, width)
        self._conditions = torch.randn(batch, 1, width)
        self._previous = torch.zeros(batch, 1, dtype=torch.long)
        self._draws = np.random.default_rng(0).random((batch, config.transformer.frames))
        self._at = first

    def begin(self) -> None:
        """Go back to where the measurement starts."""
        self._at = self._first

    @property
    def nbytes(self) -> int:
        """Return what a step reads."""
        return self._packed.nbytes + self._cache.read_nbytes(self._first)

    def step(self) -> None:
        """Draw the next code of each item."""
        packed, at = self._packed, self._at
        x = packed.inputs(self._previous, self._start, self._conditions, at)
        hidden = packed.advance(x, self._cache, at)
        logits = packed.logits(hidden, self._conditions[:, 0])
        probabilities = (logits / 0.99).double().softmax(-1).numpy()
        made = choose(probabilities, self._draws[:, at])
        self._previous = torch.as_tensor(made)[:, None]
        self._at += 1


def plain_step(prior: Prior, loop: PlainLoop) -> Callable[[], None]:
    """Return the plain loop's step, drawing included."""
    width = prior.config.transformer.width
    conditions = torch.randn(1, 1, width)
    previous = [torch.zeros(1, 1, dtype=torch.long)]

    def step() -> None:
        x = prior.codes(previous[0]) + prior.positions[:1] + conditions
        logits = prior.logits(loop.step(x), conditions)[:, -1]
        drawn = torch.distributions.Categorical(logits=logits / 0.99).sample()
        previous[0] = drawn[:, None]

    return step


def timed(step: Callable[[], None], codes: int) -> Clocks:
    """Return the median step."""
    walls: list[float] = []
    processors: list[float] = []
    for _ in range(codes):
        wall, processor = time.perf_counter(), time.thread_time()
        step()
        walls.append(time.perf_counter() - wall)
        processors.append(time.thread_time() - processor)
    return Clocks(wall=median(walls), processor=median(processors))


def read_speed(buffer: Tensor) -> float:
    """Return bytes per second that the fastest reader gets, by the thread's own time."""
    readers = (torch.linalg.vector_norm, torch.sum, torch.amax)
    best = 0.0
    for reader in readers:
        start = time.thread_time()
        reader(buffer)
        best = max(best, buffer.nbytes / (time.thread_time() - start))
    return best


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """Everything of one shape that a measurement reads."""

    shape: str
    weights: str
    prior: Prior
    packed: PackedPrior
    buffer: Tensor
    """What the limit is read from."""


def measure(bench: Bench, batches: Sequence[int], rounds: int, codes: int) -> list[Row]:
    """Return the rows of one shape."""
    first = bench.prior.config.transformer.frames // 2
    ways = {batch: Ours(bench.packed, batch, first) for batch in batches}
    loop = PlainLoop(bench.prior)
    plain = plain_step(bench.prior, loop)
    made: dict[int, list[Round]] = {batch: [] for batch in batches}
    for _ in range(rounds):
        loop.fill(first)
        timed(plain, 2)
        slow = timed(plain, codes)
        for batch, way in ways.items():
            speed = read_speed(bench.buffer)
            way.begin()
            timed(way.step, 2)
            clocks = timed(way.step, codes)
            made[batch].append(Round(ours=clocks, plain=slow, limit=way.nbytes / speed))
    return [_row(bench, batch, way.nbytes, made[batch]) for batch, way in ways.items()]


def _row(bench: Bench, batch: int, nbytes: int, rounds: list[Round]) -> Row:
    return Row(
        shape=bench.shape,
        weights=bench.weights,
        batch=batch,
        step_mb=nbytes / 1e6,
        read_gb_s=median(nbytes / made.limit for made in rounds) / 1e9,
        codes_s=batch / median(made.ours.processor for made in rounds),
        wall_codes_s=batch / median(made.ours.wall for made in rounds),
        of_limit=median(made.limit / made.ours.processor for made in rounds),
        wall_of_limit=median(made.limit / made.ours.wall for made in rounds),
        over_plain=median(
            batch * made.plain.processor / made.ours.processor for made in rounds if made.plain
        ),
    )


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """Print the table."""
    table = Table(title="autoregressive prior, one thread; limit = one core's reads, this run")
    for heading in (
        "shape",
        "weights",
        "batch",
        "MB a step",
        "read GB/s",
        "codes/s processor",
        "codes/s wall",
        "of the limit",
        "... wall",
        "over plain loop",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.shape,
            row.weights,
            str(row.batch),
            f"{row.step_mb:.1f}",
            f"{row.read_gb_s:.1f}",
            f"{row.codes_s:.0f}",
            f"{row.wall_codes_s:.0f}",
            f"{row.of_limit:.0%}",
            f"{row.wall_of_limit:.0%}",
            "" if row.over_plain is None else f"{row.over_plain:.1f}x",
        )
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--weights", default="half", help="half, bfloat16, float32")
    parser.add_argument("--batches", default="1,4,8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--codes", type=int, default=24, help="steps in each round")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--small-pages", action="store_true", help="leave weights where they are")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    rows: list[Row] = []
    for precision in given.weights.split(","):
        for name in given.shapes.split(","):
            batches = [int(batch) for batch in given.batches.split(",")]
            prior = Prior(SHAPES[name]).eval().requires_grad_(False)
            packed = PackedPrior(prior, Precision(precision))
            bench = Bench(name, precision, prior, packed, torch.randn(READ_BYTES // 4))
            if not given.small_pages:
                use_large_pages()
            rows += measure(bench, batches, given.rounds, given.codes)
    console = Console(width=140)
    if given.json:
        console.print_json(json.dumps([asdict(row) for row in rows]))
    else:
        print_rows(rows, console)


if __name__ == "__main__":
    main()
