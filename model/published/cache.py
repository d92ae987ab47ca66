"""What attention remembers of one window under way, in buffers of fixed size.

Each kind of layer holds what it can still read and nothing else: a row layer
the row under way, a `previous` layer two rows, a column layer every row, a
prefix layer the lyrics and what follows them to the row's end, an encoder layer
the encoded lyrics. Nothing grows: a step writes one slot and reads, at most,
one row (row, previous), one frame a row (column), or what came before (dense,
prefix). All layers of a kind share one buffer.

A cache is written in place, by the one window that owns it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from model.config import TransformerConfig
from model.errors import ConditionError
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


class Place(NamedTuple):
    """A position, and where that is: row, and frame in the row."""

    position: int
    row: int
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StackCache:
    """Buffers by kind of attention."""

    config: TransformerConfig
    batch: int
    buffers: dict[str, Slots]

    @property
    def characters(self) -> int:
        """Return how many characters of encoded lyrics it has room for."""
        return self.buffers["encoder"].shape[2] if "encoder" in self.buffers else 0

    @property
    def nbytes(self) -> int:
        """Return the bytes held, whatever has been written."""
        return sum(buffer.nbytes for buffer in self.buffers.values())

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

    def step_views(self, position: int) -> list[Tensor]:
        """Return what to write, keys and values of each layer in turn, for one frame.

        What is written is (batch, 2, heads, head width); where nothing is, keys stand in.

        Raises:
            ConditionError: The context is over.
        """
        self._check(position, 1)
        row, start = divmod(position, self.config.row_frames())
        place = Place(position, row, start)
        made = {kind: _STEP[kind](buffer, place) for kind, buffer in self.buffers.items()}
        views: list[Tensor] = []
        for kind in self.config.layer_kinds():
            writes, reads = made[kind]
            keys, values = next(reads), next(reads)
            views += (next(writes, keys), keys, values)
        return views

    def read_nbytes(self, position: int) -> int:
        """Return the bytes of keys and values that a step at `position` reads."""
        views = self.step_views(position)
        return sum(view.nbytes for view in (*views[1::3], *views[2::3]))


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
    buffers = {
        kind: torch.zeros(
            (kinds.count(kind), 2, *slots, batch, config.heads, width), dtype=dtype, device=device
        )
        for kind, slots in _slots(config, characters).items()
        if kind in kinds
    }
    return StackCache(config=config, batch=batch, buffers=buffers)


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


def _step_row(buffer: Slots, place: Place) -> tuple[Views, Views]:
    return _step(buffer, place.start, place.start + 1)


def _step_dense(buffer: Slots, place: Place) -> tuple[Views, Views]:
    return _step(buffer, place.position, place.position + 1)


def _step_prefix(buffer: Slots, place: Place) -> tuple[Views, Views]:
    kept = buffer.shape[2] - 1
    return _step(buffer, min(place.position, kept), min(place.position + 1, kept))


def _step_encoder(buffer: Slots, place: Place) -> tuple[Views, Views]:
    del place
    return iter(()), _pairs(buffer.flatten(0, 1))


def _step_previous(buffer: Slots, place: Place) -> tuple[Views, Views]:
    written = buffer.select(2, place.row % 2).select(2, place.start)
    return _each(written.transpose(1, 2)), _pairs(
        buffer.select(2, (place.row + 1) % 2).flatten(0, 1)
    )


def _step_column(buffer: Slots, place: Place) -> tuple[Views, Views]:
    return _step(buffer.select(2, place.start), place.row, place.row + 1)


def _step(slots: Slots, written: int, seen: int) -> tuple[Views, Views]:
    """Return views of one slot, and of keys and values in turn of the first ones."""
    return _each(slots.select(2, written).transpose(1, 2)), _pairs(
        slots.flatten(0, 1).narrow(1, 0, seen)
    )


def _pairs(seen: Float[Tensor, "pairs seen batch heads head_width"]) -> Views:
    return _each(seen.permute(0, 2, 3, 1, 4))


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


_STEP = {
    "row": _step_row,
    "column": _step_column,
    "previous": _step_previous,
    "dense": _step_dense,
    "prefix": _step_prefix,
    "encoder": _step_encoder,
}
_OPEN = {
    "row": _open_row,
    "column": _open_column,
    "previous": _open_previous,
    "dense": _open_dense,
    "prefix": _open_prefix,
    "encoder": _open_encoder,
}
