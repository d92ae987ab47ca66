"""The factored-attention stack, packed: steps as one compiled call, stretches layer by layer.

Activations are the rows of a matrix, frame after frame, the batch inside a
frame: a step of one frame is a matrix of `batch` rows. Weights come from a
`Transformer`, whose `forward` over the whole context gives the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import LayerNorm
from torch.nn import functional as F

from model.errors import ConditionError
from model.published import kernels
from model.published.cache import Opened, StackCache
from model.published.linear import LinearMap, Precision, hold
from model.transformer import Attention, Layer, Transformer

Rows = Float[Tensor, "rows width"]
Maps = Float[Tensor, "batch heads frames seen"]
Encoded = Float[Tensor, "batch characters width"]
SLOPE = 1.702
"""Of the activation x sigmoid(1.702 x)."""
ALIGNING = ("dense", "prefix", "encoder")
"""Kinds whose keys stand in the order of the sequence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedAttention:
    """One layer's attention over what a cache holds; inputs are normalised rows."""

    kind: str
    heads: int
    enter: LinearMap
    leave: LinearMap
    encoder_pair: LinearMap | None = None

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
class PackedNorm:
    """Layer norm over the last axis."""

    gain: Float[Tensor, " width"]
    bias: Float[Tensor, " width"]
    epsilon: float

    def __call__(self, x: Rows) -> Rows:
        """Return normalised rows."""
        return F.layer_norm(x, self.gain.shape, self.gain, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedLayer:
    """One layer's weights."""

    attention_norm: PackedNorm
    attention: PackedAttention
    mlp_norm: PackedNorm
    mlp_enter: LinearMap
    mlp_leave: LinearMap

    def stretch(self, x: Rows, stretch: "Stretch") -> Rows:
        """Return the layer's output for several frames of one row."""
        between = x + self.attention.stretch(self.attention_norm(x), stretch)
        hidden = self.mlp_enter(self.mlp_norm(between))
        return between + self.mlp_leave(hidden * torch.sigmoid(SLOPE * hidden))

    def singles(self) -> list[Tensor]:
        """Return what is held in single precision, in the order of use."""
        attention, first, second = self.attention, self.attention_norm, self.mlp_norm
        return [
            *(first.gain, first.bias, attention.enter.bias, attention.leave.bias),
            *(second.gain, second.bias, self.mlp_enter.bias, self.mlp_leave.bias),
        ]


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
        layers = list(stack.stack())
        linears = [
            linear
            for layer in layers
            for linear in (
                *(layer.attention.enter, layer.attention.leave),
                *(layer.mlp.enter, layer.mlp.leave),
            )
        ]
        held = hold(linears, precision, release=release)
        self._layers = [
            _packed(layer, held.maps[4 * index : 4 * index + 4], precision, release=release)
            for index, layer in enumerate(layers)
        ]
        self._singles = torch.cat([one for layer in self._layers for one in layer.singles()])
        self._memory = held.memory
        self._weights = _weights(held.memory, self._singles, self._layers)

    @property
    def nbytes(self) -> int:
        """Return the bytes of weights that a step reads."""
        return self._memory.nbytes + self._singles.nbytes

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
        if frames == 1 and self._weights is not None:
            return kernels.step(x, self._weights, cache.memory(position))
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

    def _through(self, x: Rows, stretch: Stretch, layers: Sequence[PackedLayer]) -> Rows:
        for layer in layers:
            x = layer.stretch(x, stretch)
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
    attention: Attention,
    enter: LinearMap,
    leave: LinearMap,
    precision: Precision,
    *,
    release: bool = False,
) -> PackedAttention:
    """Return an attention of maps that are held already."""
    encoder_pair = None
    if attention.kind == "encoder":
        (encoder_pair,) = hold([attention.encoder_pair], precision, release=release).maps
    return PackedAttention(
        kind=attention.kind,
        heads=attention.heads,
        enter=enter,
        leave=leave,
        encoder_pair=encoder_pair,
    )


def _packed(
    layer: Layer, maps: Sequence[LinearMap], precision: Precision, *, release: bool
) -> PackedLayer:
    enter, leave, mlp_enter, mlp_leave = maps
    return PackedLayer(
        attention_norm=_norm(layer.before_attention),
        attention=pack_attention(layer.attention, enter, leave, precision, release=release),
        mlp_norm=_norm(layer.before_mlp),
        mlp_enter=mlp_enter,
        mlp_leave=mlp_leave,
    )


def _norm(norm: LayerNorm) -> PackedNorm:
    return PackedNorm(
        gain=norm.weight.detach().float(), bias=norm.bias.detach().float(), epsilon=norm.eps
    )


def _weights(
    held: Tensor, singles: Tensor, layers: Sequence[PackedLayer]
) -> kernels.Weights | None:
    """Return weights as compiled steps read them, on a processor."""
    if held.device.type != "cpu":
        return None
    attention = layers[0].attention
    return kernels.Weights(
        held=kernels.bits(held),
        singles=singles.numpy(),
        layers=_layers(layers),
        heads=attention.heads,
        inner=attention.leave.inputs,
        hidden=len(layers[0].mlp_enter.bias),
        epsilon=layers[0].mlp_norm.epsilon,
    )


def _layers(layers: Sequence[PackedLayer]) -> Int64[np.ndarray, "depth 6"]:
    """Return where each layer's maps begin among weights, and its two halves among singles."""
    at = one = 0
    made: list[list[int]] = []
    for layer in layers:
        attention = layer.attention
        row: list[int] = []
        for each in (attention.enter, attention.leave, layer.mlp_enter, layer.mlp_leave):
            row.append(at)
            at += each.weights.numel()
        sizes = [len(single) for single in layer.singles()]
        made.append([*row, one, one + sum(sizes[:4])])
        one += sum(sizes)
    return np.array(made)
