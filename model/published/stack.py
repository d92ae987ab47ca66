"""The factored-attention stack, packed for steps: few operations a layer, buffers made once.

Activations are the rows of a matrix, frame after frame, the batch inside a
frame: a step of one frame is a matrix of `batch` rows. Weights come from a
`Transformer`, whose `forward` over the whole context gives the same numbers.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import LayerNorm
from torch.nn import functional as F

from model.errors import ConditionError
from model.published.cache import Opened, StackCache, new_cache
from model.published.linear import LinearMap, Precision, pack
from model.transformer import Attention, Layer, Linear, Transformer

Rows = Float[Tensor, "rows width"]
Maps = Float[Tensor, "batch heads frames seen"]
Encoded = Float[Tensor, "batch characters width"]
Normalise = Callable[[Tensor], Tensor]
"""Layer norm over the last axis."""
FLOAT = 4
"""Bytes of a single-precision number; a layer's norms hold four times its width of them."""
SLOPE = 1.702
"""x sigmoid(1.702 x) is silu(1.702 x) / 1.702: the norm before it and the sum after it scale."""
_RECORD, _OPTIMIZED = "trace", "optimized_execution"
ALIGNING = ("dense", "prefix", "encoder")
"""Kinds whose keys stand in the order of the sequence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedAttention:
    """One layer's attention over what a cache holds; inputs are normalised rows."""

    kind: str
    heads: int
    head_width: int
    enter: LinearMap
    leave: LinearMap
    encoder_pair: LinearMap | None = None

    def step(self, x: Tensor, write: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return the mix for one frame, (batch, width), and write its keys and values."""
        entered = self.enter.of(x)
        # Numbers rather than shapes: a recording would look shapes up at every step.
        heads, width, inner = self.heads, self.head_width, self.heads * self.head_width
        if self.encoder_pair is None:
            write.copy_(entered.narrow(1, inner, 2 * inner).view(-1, 2, heads, width))
            entered = entered.narrow(1, 0, inner)
        query = entered.view(-1, heads, 1, width)
        if keys.dtype != query.dtype:
            keys, values = keys.to(query.dtype), values.to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, keys, values)
        return self.leave.of(mixed.flatten(1))

    def stretch(self, x: Rows, stretch: "Stretch") -> Rows:
        """Return the mix for several frames of one row."""
        query, seen = self._entered(x, stretch)
        mixed = F.scaled_dot_product_attention(
            query,
            next(seen.keys).float(),
            next(seen.values).float(),
            attn_mask=stretch.masks.get(self.kind),
        )
        if not stretch.by_column(self.kind):
            mixed = mixed.permute(2, 0, 1, 3)
        return self.leave(mixed.reshape(len(x), -1))

    def maps(self, x: Rows, stretch: "Stretch") -> Maps:
        """Return the softmax over what each frame sees."""
        query, seen = self._entered(x, stretch)
        scores = query @ next(seen.keys).float().transpose(-1, -2) * query.shape[-1] ** -0.5
        mask = stretch.masks.get(self.kind)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(-1)

    def hear(self, encoded: Rows, slots: Float[Tensor, "2 characters batch heads d"]) -> None:
        """Write the encoded lyrics' keys and values; characters outermost."""
        assert self.encoder_pair is not None
        _, characters, batch, heads, _ = slots.shape
        pairs = self.encoder_pair(encoded).view(characters, batch, 2, heads, -1)
        slots.copy_(pairs.permute(2, 0, 1, 3, 4))

    def _entered(self, x: Rows, stretch: "Stretch") -> tuple[Tensor, Opened]:
        """Return queries, (batch, heads, frames, head width), once keys and values are kept."""
        seen, cache = stretch.opened[self.kind], stretch.cache
        entered = self.enter(x).view(
            stretch.frames,
            cache.batch,
            3 if self.encoder_pair is None else 1,
            cache.config.heads,
            -1,
        )
        if seen.write is not None:
            slots = next(seen.write)
            slots.copy_(entered[: slots.shape[1], :, 1:].permute(2, 0, 1, 3, 4))
        query = entered[:, :, 0]
        if stretch.by_column(self.kind):
            return query.flatten(1, 2).unsqueeze(2), seen
        return query.permute(1, 2, 0, 3), seen


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedLayer:
    """One layer's weights; what enters the mlp's activation is times `SLOPE`."""

    attention_norm: Normalise
    attention: PackedAttention
    mlp_norm: Normalise
    mlp_enter: LinearMap
    mlp_leave: LinearMap
    width: int

    def step(self, x: Tensor, write: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return the layer's output for one frame, (batch, width)."""
        return self.finish(x, self.attention.step(self.attention_norm(x), write, keys, values))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return the layer's output once attention is known, which is written over."""
        between = attended.add_(x)
        hidden = F.silu(self.mlp_enter.of(self.mlp_norm(between)), inplace=True)
        return torch.add(between, self.mlp_leave.of(hidden), alpha=1 / SLOPE)

    @property
    def nbytes(self) -> int:
        """Return the bytes of weights that a step reads."""
        maps = (self.attention.enter, self.attention.leave, self.mlp_enter, self.mlp_leave)
        return sum(made.nbytes for made in maps) + 4 * FLOAT * self.width


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Several frames of one row, read at once."""

    cache: StackCache
    frames: int
    opened: dict[str, Opened]
    masks: dict[str, Bool[Tensor, "frames seen"]]

    def by_column(self, kind: str) -> bool:
        """Return whether each frame sees keys of its own."""
        return kind == "column" and self.frames > 1


def open_stretch(cache: StackCache, position: int, frames: int) -> Stretch:
    """Return the views and masks of frames from `position` on.

    Raises:
        ConditionError: They leave their row or the context.
    """
    return Stretch(cache, frames, cache.open(position, frames), _masks(cache, position, frames))


class StepProgram:
    """One frame through all layers as one call: recorded once, run without Python in between.

    A sixth of a step's time at width 512 is Python between operations. PyTorch means to
    replace its recorder one day; the exact version is pinned, and what it records runs
    as it is, too.
    """

    def __init__(self, layers: Sequence[PackedLayer], cache: StackCache) -> None:
        self._layers = layers
        # A cache of its own: recording runs the step once, and writes.
        own = new_cache(
            cache.config,
            batch=cache.batch,
            characters=cache.characters,
            dtype=next(iter(cache.buffers.values())).dtype,
            device=next(iter(cache.buffers.values())).device,
        )
        views = own.step_views(0)
        example = (views[0].new_zeros(own.batch, own.config.width, dtype=torch.float32), *views)
        record: Callable[..., Callable[..., Tensor]] = getattr(torch.jit, _RECORD)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._recorded = record(self._run, example, check_trace=False)
        self._as_recorded: Callable[[bool], AbstractContextManager[None]] = getattr(
            torch.jit, _OPTIMIZED
        )

    def __call__(self, x: Rows, views: Sequence[Tensor]) -> Rows:
        """Return the output for one frame; `views` as of `StackCache.step_views`."""
        with self._as_recorded(False):
            return self._recorded(x, *views)

    def _run(self, x: Tensor, *views: Tensor) -> Tensor:
        for index, layer in enumerate(self._layers):
            x = layer.step(x, *views[3 * index : 3 * index + 3])
        return x


class PackedStack:
    """All layers, packed; holds no session."""

    def __init__(self, stack: Transformer, precision: Precision, *, release: bool = False) -> None:
        """Pack a stack's weights; with `release` its own linear maps are emptied as they go."""
        self.config = stack.config
        self._layers = [_packed(layer, precision, release=release) for layer in stack.stack()]
        self._programs: dict[tuple[int, torch.dtype], StepProgram] = {}

    @property
    def nbytes(self) -> int:
        """Return the bytes of weights that a step reads."""
        return sum(layer.nbytes for layer in self._layers)

    def hear(self, encoded: Encoded, cache: StackCache) -> None:
        """Write the encoded lyrics' keys and values, once a window."""
        rows = encoded.transpose(0, 1).flatten(0, 1)
        hearing = [layer.attention for layer in self._layers if layer.attention.encoder_pair]
        for attention, slots in zip(hearing, cache.buffers["encoder"], strict=True):
            attention.hear(rows, slots)

    def advance(self, x: Rows, cache: StackCache, position: int) -> Rows:
        """Return the output for the next positions, all of one row, and remember them.

        Raises:
            ConditionError: The positions leave their row or the context.
        """
        frames = len(x) // cache.batch
        if frames == 1:
            return self._program(cache)(x, cache.step_views(position))
        return self._through(x, open_stretch(cache, position, frames), self._layers)

    def maps(self, x: Rows, cache: StackCache, position: int, layer: int) -> Maps:
        """Return what the next positions attend to in a layer; later layers are not computed.

        Raises:
            ConditionError: The layer's keys do not stand in the order of the sequence.
        """
        tapped = self._layers[layer]
        if tapped.attention.kind not in ALIGNING:
            raise ConditionError(
                f"layer {layer} is of kind {tapped.attention.kind}, one of {ALIGNING} is needed"
            )
        stretch = open_stretch(cache, position, len(x) // cache.batch)
        x = self._through(x, stretch, self._layers[:layer])
        return tapped.attention.maps(tapped.attention_norm(x), stretch)

    def _program(self, cache: StackCache) -> "StepProgram":
        """Return the step of all layers for a cache like this one."""
        key = cache.batch, next(iter(cache.buffers.values())).dtype
        if key not in self._programs:
            self._programs[key] = StepProgram(self._layers, cache)
        return self._programs[key]

    def _through(self, x: Rows, stretch: Stretch, layers: Sequence[PackedLayer]) -> Rows:
        for layer in layers:
            x = layer.finish(x, layer.attention.stretch(layer.attention_norm(x), stretch))
        return x


def _masks(cache: StackCache, position: int, frames: int) -> dict[str, Bool[Tensor, "frames seen"]]:
    """Return which slots the frames of a stretch see, where they do not see all."""
    starts = {
        "row": position % cache.config.row_frames(),
        "dense": position,
        "prefix": position,
    }
    masks: dict[str, Bool[Tensor, "frames seen"]] = {}
    for kind, start in starts.items():
        if kind in cache.buffers:
            spare = 1 if kind == "prefix" else 0
            seen = min(start + frames, cache.buffers[kind].shape[2] - spare)
            slots = torch.arange(max(seen, start + frames), device=cache.buffers[kind].device)
            masks[kind] = slots[:seen] <= slots[start : start + frames, None]
    return masks


def pack_attention(
    attention: Attention, precision: Precision, *, release: bool = False
) -> PackedAttention:
    """Return an attention's weights, packed."""
    encoder = attention.encoder_pair if attention.kind == "encoder" else None
    return PackedAttention(
        kind=attention.kind,
        heads=attention.heads,
        head_width=attention.inner // attention.heads,
        enter=_map(attention.enter, precision, release=release),
        leave=_map(attention.leave, precision, release=release),
        encoder_pair=None if encoder is None else _map(encoder, precision, release=release),
    )


def _packed(layer: Layer, precision: Precision, *, release: bool) -> PackedLayer:
    mlp = layer.mlp
    return PackedLayer(
        attention_norm=_norm(layer.before_attention, 1.0),
        attention=pack_attention(layer.attention, precision, release=release),
        mlp_norm=_norm(layer.before_mlp, SLOPE),
        mlp_enter=_map(mlp.enter, precision, release=release, bias_scale=SLOPE),
        mlp_leave=_map(mlp.leave, precision, release=release, bias_scale=SLOPE),
        width=len(layer.before_mlp.weight),
    )


def _norm(norm: LayerNorm, scale: float) -> Normalise:
    gain, bias = norm.weight.detach().float() * scale, norm.bias.detach().float() * scale
    shape = (len(gain),)
    return lambda x: torch.layer_norm(x, shape, gain, bias, norm.eps, False)


def _map(
    linear: Linear, precision: Precision, *, release: bool, bias_scale: float = 1.0
) -> LinearMap:
    made = pack(linear.w, linear.b.detach().float() * bias_scale, precision)
    if release:
        linear.w.data = linear.w.data.new_empty(0)
    return made
