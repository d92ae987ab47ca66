"""What attention remembers of one window under way, in buffers of fixed size.

Each kind of layer holds what it can still read and nothing else: a row layer
the row under way, a `previous` layer two rows, a column layer every row, a
prefix layer the lyrics and what follows them to the row's end, an encoder layer
the encoded lyrics. Nothing grows: a step writes one slot and reads, at most,
one row (row, previous), one frame a row (column), or what came before (dense,
prefix). All layers of a kind share one buffer.

A cache is written in place, by the one window that owns it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from model.config import TransformerConfig
from model.errors import ConditionError
from model.published.kernels import Memory, Work, bits, room
from model.transformer import prefix_length

Slots = Float[Tensor, "layers 2 ..."]
"""Keys and values by layer; the last axes are batch, heads, head width."""
Views = Iterator[Tensor]


@dataclass(frozen=True, slots=True)
class Opened:
    """Views of one kind's buffer for one stretch of positions, a layer after the other.

    `write` takes keys and values of the stretch, (2, frames, batch, heads, head
    width); None where nothing is ever written. `keys` and `values` are what the
    stretch may see, (batch, heads, seen, head width); where each frame of a
    stretch sees a column of its own, (frames, batch x heads, seen, head width).
    """

    write: Views | None
    keys: Views
    values: Views


@dataclass(frozen=True, slots=True, kw_only=True)
class StackCache:
    """Buffers by kind of attention."""

    config: TransformerConfig
    batch: int
    numbers: Float[Tensor, " numbers"]
    """All buffers, one after the other."""
    buffers: dict[str, Slots]
    layers: Int64[np.ndarray, "depth 3"]
    """Of each layer: its kind's place in `buffers`, where keys and where values begin."""
    work: Work

    @property
    def characters(self) -> int:
        """Return how many characters of encoded lyrics it has room for."""
        return self.buffers["encoder"].shape[2] if "encoder" in self.buffers else 0

    @property
    def nbytes(self) -> int:
        """Return the bytes held, whatever has been written."""
        return self.numbers.nbytes

    def restart(self) -> None:
        """Forget: the row before the first is all zeros, everything else is written before read."""
        if "previous" in self.buffers:
            self.buffers["previous"].zero_()

    def room(self, position: int) -> int:
        """Return how many positions, from `position` on, one stretch may have: to its row's end."""
        row = self.config.row_frames()
        return row - position % row

    def open(self, position: int, frames: int) -> dict[str, Opened]:
        """Return the views for a stretch that stays within one row.

        Raises:
            ConditionError: The stretch leaves its row or the context.
        """
        self._check(position, frames)
        return {kind: _OPEN[kind](self, position, frames) for kind in self.buffers}

    def _check(self, position: int, frames: int) -> None:
        if frames > self.room(position) or position + frames > self.config.frames:
            raise ConditionError(
                f"{frames} positions from {position} leave their row of "
                f"{self.config.row_frames()} or the context of {self.config.frames}"
            )

    def memory(self, position: int) -> Memory:
        """Return what a step at a position sees and writes, for compiled code on a processor.

        Raises:
            ConditionError: The context is over.
        """
        return Memory(bits(self.numbers), self.layers, self._places(position), self.work)

    def read_nbytes(self, position: int) -> int:
        """Return the bytes of keys and values that a step at `position` reads."""
        seen = self._places(position)[self.layers[:, 0], 1].sum()
        frame = next(iter(self.buffers.values()))[0, 0].flatten(0, -4)[0].nbytes
        return 2 * int(seen) * frame

    def _places(self, position: int) -> Int64[np.ndarray, "kinds 3"]:
        """Return for each kind the first slot seen, how many are, and the one written, or -1."""
        self._check(position, 1)
        frames = self.config.row_frames()
        row, start = divmod(position, frames)
        last = self.buffers["prefix"].shape[2] - 1 if "prefix" in self.buffers else 0
        column = start * self.config.rows
        places = {
            "row": (0, start + 1, start),
            "column": (column, row + 1, column + row),
            "previous": ((row + 1) % 2 * frames, frames, row % 2 * frames + start),
            "dense": (0, position + 1, position),
            "prefix": (0, min(position + 1, last), min(position, last)),
            "encoder": (0, self.characters, -1),
        }
        return np.array([places[kind] for kind in self.buffers])


def new_cache(
    config: TransformerConfig,
    *,
    batch: int,
    characters: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> StackCache:
    """Return a cache for one window of `batch` items; `characters` is the encoded lyrics' length.

    `dtype` may be a half one: half the memory, keys and values rounded.
    """
    kinds = config.layer_kinds()
    width = int(config.attention_multiplier * config.width) // config.heads
    shapes = {
        kind: (kinds.count(kind), 2, *slots, batch, config.heads, width)
        for kind, slots in _slots(config, characters).items()
        if kind in kinds
    }
    counts = {kind: math.prod(shape) for kind, shape in shapes.items()}
    numbers = torch.zeros(sum(counts.values()), dtype=dtype, device=device)
    buffers: dict[str, Slots] = {}
    first = 0
    for kind, shape in shapes.items():
        buffers[kind] = numbers[first : first + counts[kind]].view(shape)
        first += counts[kind]
    return StackCache(
        config=config,
        batch=batch,
        numbers=numbers,
        buffers=buffers,
        layers=_layers(kinds, counts),
        work=_work(config, batch, characters),
    )


def _work(config: TransformerConfig, batch: int, characters: int) -> Work:
    width = config.width
    inner, hidden = int(config.attention_multiplier * width), int(config.mlp_multiplier * width)
    return room(batch, width, inner, hidden, max(config.frames, characters))


def _layers(kinds: Sequence[str], counts: Mapping[str, int]) -> Int64[np.ndarray, "depth 3"]:
    """Return each layer's kind and where its keys and values begin, given numbers by kind."""
    order, made = list(counts), list[tuple[int, int, int]]()
    for layer, kind in enumerate(kinds):
        pair = counts[kind] // kinds.count(kind) // 2
        before = sum(counts[earlier] for earlier in order[: order.index(kind)])
        keys = before + 2 * pair * kinds[:layer].count(kind)
        made.append((order.index(kind), keys, keys + pair))
    return np.array(made)


def _slots(config: TransformerConfig, characters: int) -> dict[str, tuple[int, ...]]:
    row = config.row_frames()
    return {
        "row": (row,),
        "column": (row, config.rows),
        "previous": (2, row),
        "dense": (config.frames,),
        # The last slot takes what is written after the prefix and never read.
        "prefix": (min(prefix_length(config), config.frames) + 1,),
        "encoder": (characters,),
    }


def _open_row(cache: StackCache, position: int, frames: int) -> Opened:
    start = position % cache.config.row_frames()
    return _linear(cache.buffers["row"], start, start + frames)


def _open_dense(cache: StackCache, position: int, frames: int) -> Opened:
    return _linear(cache.buffers["dense"], position, position + frames)


def _open_prefix(cache: StackCache, position: int, frames: int) -> Opened:
    buffer = cache.buffers["prefix"]
    kept = buffer.shape[2] - 1
    first, last = min(position, kept), min(position + frames, kept)
    return Opened(_each(buffer[:, :, first : max(last, first + 1)]), *_seen(buffer[:, :, :last]))


def _open_encoder(cache: StackCache, position: int, frames: int) -> Opened:
    del position, frames
    buffer = cache.buffers["encoder"]
    return Opened(None, *_seen(buffer))


def _linear(buffer: Slots, first: int, last: int) -> Opened:
    """Return views where slots are positions: all up to the stretch's own are seen."""
    return Opened(_each(buffer[:, :, first:last]), *_seen(buffer[:, :, :last]))


def _open_previous(cache: StackCache, position: int, frames: int) -> Opened:
    row, start = divmod(position, cache.config.row_frames())
    buffer = cache.buffers["previous"]
    write = _each(buffer[:, :, row % 2, start : start + frames])
    return Opened(write, *_seen(buffer[:, :, (row + 1) % 2]))


def _open_column(cache: StackCache, position: int, frames: int) -> Opened:
    row, start = divmod(position, cache.config.row_frames())
    span = cache.buffers["column"][:, :, start : start + frames]
    write = _each(span[:, :, :, row])
    if frames == 1:
        return Opened(write, *_seen(span[:, :, 0, : row + 1]))
    seen = span[:, :, :, : row + 1].flatten(-3, -2).transpose(-3, -2)
    return Opened(write, _each(seen[:, 0]), _each(seen[:, 1]))


def _seen(slots: Slots) -> tuple[Views, Views]:
    """Return keys and values by layer, (batch, heads, seen, head width)."""
    seen = slots.permute(1, 0, 3, 4, 2, 5)
    return _each(seen[0]), _each(seen[1])


def _each(views: Tensor) -> Views:
    return iter(views.unbind(0))


_OPEN = {
    "row": _open_row,
    "column": _open_column,
    "previous": _open_previous,
    "dense": _open_dense,
    "prefix": _open_prefix,
    "encoder": _open_encoder,
}
