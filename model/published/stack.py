"""The factored-attention stack, packed for steps: few operations a layer, buffers made once.

Activations are the rows of a matrix, frame after frame, the batch inside a
frame: a step of one frame is a matrix of `batch` rows. Weights come from a
`Transformer`, whose `forward` over the whole context gives the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import LayerNorm
from torch.nn import functional as F

from model.errors import ConditionError
from model.published.cache import Opened, StackCache
from model.published.linear import LinearMap, Precision, pack
from model.transformer import Layer, Linear, Transformer

Rows = Float[Tensor, "rows width"]
Mixed = Float[Tensor, "rows inner"]
Maps = Float[Tensor, "batch heads frames seen"]
Encoded = Float[Tensor, "batch characters width"]
SLOPE = 1.702
"""x sigmoid(1.702 x) is silu(1.702 x) / 1.702: the norm before it and the sum after it scale."""
ALIGNING = ("dense", "prefix", "encoder")
"""Kinds whose keys stand in the order of the sequence."""


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """A layer norm's gain and bias."""

    gain: Float[Tensor, " width"]
    bias: Float[Tensor, " width"]
    epsilon: float

    def __call__(self, x: Rows) -> Rows:
        """Return normalised rows."""
        return torch.layer_norm(x, self.gain.shape, self.gain, self.bias, self.epsilon, False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedLayer:
    """One layer's weights; what enters the mlp's activation is times `SLOPE`."""

    kind: str
    attention_norm: Norm
    enter: LinearMap
    leave: LinearMap
    encoder_pair: LinearMap | None
    mlp_norm: Norm
    mlp_enter: LinearMap
    mlp_leave: LinearMap

    @property
    def nbytes(self) -> int:
        """Return the bytes of weights that a step reads."""
        maps = (self.enter, self.leave, self.mlp_enter, self.mlp_leave)
        norms = 2 * (self.attention_norm.gain.nbytes + self.mlp_norm.gain.nbytes)
        return sum(made.nbytes for made in maps) + norms


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
        layers = [layer for layer in self._layers if layer.encoder_pair is not None]
        for layer, slots in zip(layers, cache.buffers["encoder"], strict=True):
            assert layer.encoder_pair is not None
            slots.copy_(_parts(layer.encoder_pair(rows), cache, 2).permute(2, 0, 1, 3, 4))

    def advance(self, x: Rows, cache: StackCache, position: int) -> Rows:
        """Return the output for the next positions, all of one row, and remember them.

        Raises:
            ConditionError: The positions leave their row or the context.
        """
        if len(x) == cache.batch:
            return self._step(x, cache, position)
        return _Stretch(cache, position, x).through(x, self._layers)

    def maps(self, x: Rows, cache: StackCache, position: int, layer: int) -> Maps:
        """Return what the next positions attend to in a layer; later layers are not computed.

        Raises:
            ConditionError: The layer's keys do not stand in the order of the sequence.
        """
        kind = self._layers[layer].kind
        if kind not in ALIGNING:
            raise ConditionError(f"layer {layer} is of kind {kind}, one of {ALIGNING} is needed")
        stretch = _Stretch(cache, position, x)
        return stretch.maps(stretch.through(x, self._layers[:layer]), self._layers[layer])

    def _step(self, x: Rows, cache: StackCache, position: int) -> Rows:
        """One frame: every intermediate but the attention's goes into the cache's workspace."""
        opened, space = cache.open(position, 1), cache.space
        for layer in self._layers:
            seen = opened[layer.kind]
            normal = layer.attention_norm(x)
            if layer.encoder_pair is None:
                layer.enter(normal, space.entered)
                if seen.write is not None:
                    next(seen.write).copy_(space.pairs)
                query = space.query
            else:
                layer.enter(normal, space.lone)
                query = space.lone_query
            mixed = _attend(query, next(seen.keys), next(seen.values))
            between = layer.leave(mixed.reshape(len(x), -1), space.between).add_(x)
            hidden = layer.mlp_enter(layer.mlp_norm(between), space.hidden)
            added = layer.mlp_leave(F.silu(hidden, inplace=True), space.added)
            x = torch.add(between, added, alpha=1 / SLOPE)
        return x


class _Stretch:
    """Several frames of one row at once."""

    def __init__(self, cache: StackCache, position: int, x: Rows) -> None:
        self.cache = cache
        self.frames = len(x) // cache.batch
        self.opened = cache.open(position, self.frames)
        self.masks = _masks(cache, position, self.frames, x.device)

    def through(self, x: Rows, layers: Sequence[PackedLayer]) -> Rows:
        """Return the output of layers, one after the other."""
        for layer in layers:
            query, seen = self._entered(layer, x)
            mixed = _attend(query, next(seen.keys), next(seen.values), self.masks.get(layer.kind))
            between = layer.leave(self._rows(mixed, layer.kind)).add_(x)
            hidden = layer.mlp_enter(layer.mlp_norm(between))
            added = layer.mlp_leave(F.silu(hidden, inplace=True))
            x = torch.add(between, added, alpha=1 / SLOPE)
        return x

    def maps(self, x: Rows, layer: PackedLayer) -> Maps:
        """Return the softmax over what each frame sees in a layer."""
        query, seen = self._entered(layer, x)
        keys = next(seen.keys).to(query.dtype)
        scores = query @ keys.transpose(-1, -2) * query.shape[-1] ** -0.5
        mask = self.masks.get(layer.kind)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(-1)

    def _entered(self, layer: PackedLayer, x: Rows) -> tuple[Tensor, Opened]:
        """Return queries, (batch, heads, frames, head width), once keys and values are kept."""
        seen = self.opened[layer.kind]
        entered = layer.enter(layer.attention_norm(x))
        if layer.encoder_pair is not None:
            return _parts(entered, self.cache, 1)[:, :, 0].permute(1, 2, 0, 3), seen
        parts = _parts(entered, self.cache, 3)
        if seen.write is not None:
            slots = next(seen.write)
            slots.copy_(parts[: slots.shape[1], :, 1:].permute(2, 0, 1, 3, 4))
        query = parts[:, :, 0]
        if layer.kind == "column":
            return query.flatten(1, 2).unsqueeze(2), seen
        return query.permute(1, 2, 0, 3), seen

    def _rows(self, mixed: Tensor, kind: str) -> Mixed:
        if kind != "column":
            mixed = mixed.permute(2, 0, 1, 3)
        return mixed.reshape(self.frames * self.cache.batch, -1)


def _attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    if keys.dtype != query.dtype:
        keys, values = keys.to(query.dtype), values.to(query.dtype)
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)


def _parts(rows: Rows, cache: StackCache, parts: int) -> Float[Tensor, "frames batch parts h d"]:
    return rows.view(len(rows) // cache.batch, cache.batch, parts, cache.config.heads, -1)


def _masks(
    cache: StackCache, position: int, frames: int, device: torch.device
) -> dict[str, Bool[Tensor, "frames seen"]]:
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
            own = torch.arange(start, start + frames, device=device)
            masks[kind] = torch.arange(seen, device=device) <= own[:, None]
    return masks


def _packed(layer: Layer, precision: Precision, *, release: bool) -> PackedLayer:
    attention, mlp = layer.attention, layer.mlp
    is_encoder = attention.kind == "encoder"
    return PackedLayer(
        kind=attention.kind,
        attention_norm=_norm(layer.before_attention, 1.0),
        enter=_map(attention.enter, precision, release=release),
        leave=_map(attention.leave, precision, release=release),
        encoder_pair=_map(attention.encoder_pair, precision, release=release)
        if is_encoder
        else None,
        mlp_norm=_norm(layer.before_mlp, SLOPE),
        mlp_enter=_map(mlp.enter, precision, release=release, bias_scale=SLOPE),
        mlp_leave=_map(mlp.leave, precision, release=release, bias_scale=SLOPE),
    )


def _norm(norm: LayerNorm, scale: float) -> Norm:
    gain, bias = norm.weight.detach().float(), norm.bias.detach().float()
    return Norm(gain * scale, bias * scale, norm.eps)


def _map(
    linear: Linear, precision: Precision, *, release: bool, bias_scale: float = 1.0
) -> LinearMap:
    made = pack(linear.w, linear.b.detach().float() * bias_scale, precision)
    if release:
        linear.w.data = linear.w.data.new_empty(0)
    return made
