"""The factored-attention stack, packed for steps: few operations a layer, buffers made once.

Activations are the rows of a matrix, frame after frame, the batch inside a
frame: a step of one frame is a matrix of `batch` rows. Weights come from a
`Transformer`, whose `forward` over the whole context gives the same numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import LayerNorm
from torch.nn import functional as F

from model.errors import ConditionError
from model.published.cache import Opened, StackCache, Workspace
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
ALIGNING = ("dense", "prefix", "encoder")
"""Kinds whose keys stand in the order of the sequence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedAttention:
    """One layer's attention over what a cache holds; inputs are normalised rows."""

    kind: str
    enter: LinearMap
    leave: LinearMap
    encoder_pair: LinearMap | None = None

    def step(self, x: Rows, seen: Opened, space: Workspace) -> Rows:
        """Return the mix for one frame, in the workspace."""
        if self.encoder_pair is None:
            self.enter.into(x, space.entered)
            if seen.write is not None:
                next(seen.write).copy_(space.pairs)
            query = space.query
        else:
            self.enter.into(x, space.lone)
            query = space.lone_query
        mixed = F.scaled_dot_product_attention(
            query, next(seen.keys).float(), next(seen.values).float()
        )
        return self.leave.into(mixed.reshape(space.lone.shape), space.between)

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

    @property
    def nbytes(self) -> int:
        """Return the bytes of weights that a step reads."""
        maps = (self.attention.enter, self.attention.leave, self.mlp_enter, self.mlp_leave)
        return sum(made.nbytes for made in maps) + 4 * FLOAT * self.attention.leave.outputs


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


class PackedStack:
    """All layers, packed; holds no session."""

    def __init__(self, stack: Transformer, precision: Precision, *, release: bool = False) -> None:
        """Pack a stack's weights; with `release` its own linear maps are emptied as they go."""
        self.config = stack.config
        self._layers = [_packed(layer, precision, release=release) for layer in stack.stack()]

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
            return self._step(x, cache, position)
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

    def _step(self, x: Rows, cache: StackCache, position: int) -> Rows:
        """One frame: what a layer makes goes into the cache's workspace."""
        opened, space = cache.open(position, 1), cache.space
        for layer in self._layers:
            attention = layer.attention
            between = attention.step(layer.attention_norm(x), opened[attention.kind], space).add_(x)
            hidden = layer.mlp_enter.into(layer.mlp_norm(between), space.hidden)
            added = layer.mlp_leave.into(F.silu(hidden, inplace=True), space.added)
            x = torch.add(between, added, alpha=1 / SLOPE)
        return x

    def _through(self, x: Rows, stretch: Stretch, layers: Sequence[PackedLayer]) -> Rows:
        for layer in layers:
            between = layer.attention.stretch(layer.attention_norm(x), stretch).add_(x)
            hidden = layer.mlp_enter(layer.mlp_norm(between))
            added = layer.mlp_leave(F.silu(hidden, inplace=True))
            x = torch.add(between, added, alpha=1 / SLOPE)
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
            seen = min(start + frames, cache.buffers[kind].shape[2])
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
    )


def _norm(norm: LayerNorm, scale: float) -> Normalise:
    gain, bias = norm.weight.detach().float() * scale, norm.bias.detach().float() * scale
    return lambda x: torch.layer_norm(x, gain.shape, gain, bias, norm.eps, False)


def _map(
    linear: Linear, precision: Precision, *, release: bool, bias_scale: float = 1.0
) -> LinearMap:
    made = pack(linear.w, linear.b.detach().float() * bias_scale, precision)
    if release:
        linear.w.data = linear.w.data.new_empty(0)
    return made
