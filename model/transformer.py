"""The stack of factored attention (paper section 4.1, appendix A).

A sequence is folded into rows. A layer attends within its row, down its
column, or to the whole previous row; lyric models add dense, prefix and encoder
layers. `forward` takes aligned whole rows at once; `advance` continues from a
state, frame by frame or row by row, with the same result.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import TransformerConfig
from model.errors import ConditionError
from model.streaming import LayerState, StackState, empty_layer

Activations = Float[Tensor, "batch frames width"]
Encoded = Float[Tensor, "batch characters width"]
Queries = Float[Tensor, "batch frames inner"]
Pairs = Float[Tensor, "batch frames pair"]
"""Keys and values side by side."""
PairsSeen = Float[Tensor, "batch seen pair"]
Heads = Float[Tensor, "batch heads frames head_width"]
QueryRows = Float[Tensor, "batch rows frames inner"]
PairRows = Float[Tensor, "batch rows frames pair"]

STREAMED_KINDS = frozenset({"row", "column", "previous"})


class Linear(nn.Module):
    """A linear map stored (in, out), as the published checkpoints store it."""

    def __init__(self, inputs: int, outputs: int, std: float = 0.02) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(inputs, outputs) * std)
        self.b = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Float[Tensor, "*axes inputs"]) -> Float[Tensor, "*axes outputs"]:
        """Return x w + b, also where weights are held in half precision and x is not."""
        return F.linear(x, self.w.t().to(x.dtype), self.b)


class Mlp(nn.Module):
    """Two maps around x * sigmoid(1.702 x)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.enter = Linear(width, hidden)
        self.leave = Linear(hidden, width)

    def forward(self, x: Activations) -> Activations:
        """Return the transformed activations."""
        hidden = self.enter(x)
        return self.leave(hidden * torch.sigmoid(1.702 * hidden))


class Attention(nn.Module):
    """One factored attention; `kind` says what a frame may see."""

    def __init__(self, config: TransformerConfig, kind: str) -> None:
        super().__init__()
        self.config, self.kind = config, kind
        self.inner = int(config.attention_multiplier * config.width)
        self.heads = config.heads
        outputs = self.inner if kind == "encoder" else 3 * self.inner
        self.enter = Linear(config.width, outputs)
        self.leave = Linear(self.inner, config.width)
        if kind == "encoder":
            self.encoder_pair = Linear(config.width, 2 * self.inner)
        if kind == "column" and config.relative:
            self.row_distance = nn.Parameter(torch.zeros(config.heads, config.rows + 1))

    def pairs(self, x: Activations) -> tuple[Queries, Pairs]:
        """Return queries, and keys with values side by side."""
        made = self.enter(x)
        return made[..., : self.inner], made[..., self.inner :]

    def attend(
        self,
        queries: Float[Tensor, "*batch frames inner"],
        pairs: Float[Tensor, "*batch seen pair"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "*batch frames inner"]:
        """Return the mix of values; `mask` is boolean (may see) or a float bias."""
        keys, values = self._split(pairs, 2 * self.heads).chunk(2, dim=1)
        mixed = F.scaled_dot_product_attention(
            self._split(queries, self.heads), keys, values, attn_mask=mask
        )
        return mixed.transpose(1, 2).reshape(queries.shape)

    def _split(self, x: Float[Tensor, "*batch frames any"], heads: int) -> Heads:
        return x.reshape(-1, x.shape[-2], heads, self.inner // self.heads).transpose(1, 2)

    def forward(self, x: Activations, encoded: Encoded | None = None) -> Activations:
        """Return the mix over whole rows from the start of the grid."""
        if self.kind == "encoder":
            if encoded is None:
                raise ConditionError("an encoder layer needs encoded lyrics, none were given")
            return self.leave(self.attend(self.enter(x), self.encoder_pair(encoded)))
        queries, pairs = self.pairs(x)
        return self.leave(self._whole(queries, pairs, pairs))

    def against(self, queries: Queries, past: Pairs, own: Pairs) -> Activations:
        """Return the mix where earlier rows are seen through `past` and the own row through `own`.

        This is how many rows of a masked student are trained at once, each
        against the finished rows before it. The own row is seen whole.
        """
        return self.leave(self._whole(queries, past, own))

    def _whole(self, queries: Queries, past: Pairs, own: Pairs) -> Queries:
        if self.kind == "dense":
            return self.attend(queries, own, _causal(queries.shape[1], queries))
        if self.kind == "prefix":
            return self._prefix(queries, own)
        folded = self._folded(queries)
        if self.kind == "row":
            return self._whole_row(folded, self._folded(own)).flatten(1, 2)
        if self.kind == "previous":
            return self._whole_previous(folded, self._folded(past)).flatten(1, 2)
        earlier = None if past is own else self._folded(past)
        return self._whole_column(folded, earlier, self._folded(own)).flatten(1, 2)

    def _folded(
        self, x: Float[Tensor, "batch frames any"]
    ) -> Float[Tensor, "batch rows row_frames any"]:
        return x.reshape(len(x), -1, self.config.row_frames(), x.shape[-1])

    def _whole_row(self, queries: QueryRows, own: PairRows) -> QueryRows:
        mask = _causal(queries.shape[2], queries) if self.config.causal_rows else None
        return self.attend(queries, own, mask)

    def _whole_column(self, queries: QueryRows, past: PairRows | None, own: PairRows) -> QueryRows:
        """Return the mix down columns; `past` is None where earlier rows are those of `own`."""
        rows = torch.arange(queries.shape[1], device=queries.device)
        distance = rows[:, None] - rows[None, :]
        earlier, same = (distance > 0) & (distance <= self.config.rows), distance == 0
        if past is None:
            seen, mask = own, self._biased(earlier | same, distance)
        else:
            seen = torch.cat([past, own], dim=1)
            mask = self._biased(torch.cat([earlier, same], 1), torch.cat([distance, distance], 1))
        return self.attend(queries.transpose(1, 2), seen.transpose(1, 2), mask).transpose(1, 2)

    def _biased(
        self, sees: Bool[Tensor, "rows seen"], distance: Int[Tensor, "rows seen"]
    ) -> Bool[Tensor, "rows seen"] | Float[Tensor, "heads rows seen"]:
        """Return what may be seen, as a mask or, with relative positions, as a bias."""
        if not self.config.relative:
            return sees
        bias = self.row_distance[:, distance.clamp(0, self.config.rows)]
        return bias.masked_fill(~sees, float("-inf"))

    def _whole_previous(self, queries: QueryRows, past: PairRows) -> QueryRows:
        before = torch.cat([torch.zeros_like(past[:, :1]), past[:, :-1]], dim=1)
        return self.attend(queries, before)

    def _prefix(self, queries: Queries, own: Pairs) -> Queries:
        seen = prefix_length(self.config)
        mask = _causal(queries.shape[1], queries)[:, :seen]
        return self.attend(queries, own[:, :seen], mask)


class Layer(nn.Module):
    """x + a + m, with a = attention(norm(x)) and m = mlp(norm(x + a))."""

    def __init__(self, config: TransformerConfig, kind: str) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(config.width)
        self.attention = Attention(config, kind)
        self.before_mlp = nn.LayerNorm(config.width)
        self.mlp = Mlp(config.width, int(config.mlp_multiplier * config.width))

    def finish(self, x: Activations, attended: Activations) -> Activations:
        """Return the layer's output once attention is known."""
        between = x + attended
        return between + self.mlp(self.before_mlp(between))

    def forward(self, x: Activations, encoded: Encoded | None = None) -> Activations:
        """Return the layer's output over whole rows."""
        return self.finish(x, self.attention(self.before_attention(x), encoded))


class Transformer(nn.Module):
    """All layers."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config, kind) for kind in config.layer_kinds())

    def stack(self) -> list[Layer]:
        """Return the layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def start(self, batch: int) -> StackState:
        """Return the state of sessions that have heard nothing.

        Raises:
            ConditionError: A layer kind that cannot stream.
        """
        kinds = set(self.config.layer_kinds()) - STREAMED_KINDS
        if kinds:
            raise ConditionError(f"layers of kind {sorted(kinds)} do not stream")
        return tuple(
            empty_layer(
                layer.before_attention.weight,
                batch=batch,
                row_frames=self.config.row_frames(),
                pair=2 * layer.attention.inner,
            )
            for layer in self.stack()
        )

    def forward(self, x: Activations, encoded: Encoded | None = None) -> Activations:
        """Return the output over whole rows from the start of the grid."""
        for layer in self.stack():
            x = layer(x, encoded)
        return x

    def against(self, clean: Activations, masked: Activations) -> Activations:
        """Return the output of masked rows, each seeing the clean rows before it."""
        for layer in self.stack():
            attention = layer.attention
            clean_queries, clean_pairs = attention.pairs(layer.before_attention(clean))
            queries, pairs = attention.pairs(layer.before_attention(masked))
            masked = layer.finish(masked, attention.against(queries, clean_pairs, pairs))
            clean = layer.finish(clean, attention.against(clean_queries, clean_pairs, clean_pairs))
        return masked

    def advance(
        self, x: Activations, state: StackState, *, keep: bool = True
    ) -> tuple[Activations, StackState]:
        """Return the output for the next frames, which stay within one row, and the state.

        Raises:
            ValueError: More frames than the row under way has room for.
        """
        under_way = Running(self, state, x.shape[1])
        made = under_way.go_on(x) if keep else under_way.look(x)
        return made, under_way.state()


class Running:
    """A stack at work within the row under way, its past laid out once for many calls.

    A student looks several times at the same past before it decides, a composer goes on
    frame by frame. Scratch of one caller: sessions are `StackState`s.
    """

    def __init__(self, transformer: Transformer, state: StackState, frames: int) -> None:
        """Lay out a past for `frames` more of the row.

        Raises:
            ValueError: More frames than the row under way has room for.
        """
        self.seen = state[0].current.shape[1]
        """Frames of the row so far."""
        room = transformer.config.row_frames() - self.seen
        if frames > room:
            raise ValueError(f"{frames} frames were given, the row has room for {room} frames")
        self._config = transformer.config
        self._layers = [
            _AtWork(layer, past, frames)
            for layer, past in zip(transformer.stack(), state, strict=True)
        ]

    def look(self, x: Activations) -> Activations:
        """Return the output for the next frames, which are not seen later."""
        return self._through(self._layers, x)

    def go_on(self, x: Activations) -> Activations:
        """Return the output for the next frames, which later ones see."""
        made = self.look(x)
        self.keep(x.shape[1])
        return made

    def keep(self, frames: int) -> None:
        """Let later frames see the first of those looked at last."""
        self.seen += frames
        for layer in self._layers:
            layer.keep(frames)

    def remember(self, x: Activations) -> None:
        """Let later frames see the next ones; of the last layer only what is seen is made."""
        *before, last = self._layers
        last.see(self._through(before, x))
        self.keep(x.shape[1])

    def state(self) -> StackState:
        """Return what is remembered so far."""
        return tuple(layer.state(self._config) for layer in self._layers)

    def _through(self, layers: Sequence["_AtWork"], x: Activations) -> Activations:
        frames = x.shape[1]
        mask = None
        if frames > 1 and self._config.causal_rows:
            mask = _causal(self.seen + frames, x)[self.seen :]
        for layer in layers:
            x = layer.through(x, self.seen, mask)
        return x


class _AtWork:
    """One layer of `Running`."""

    def __init__(self, layer: Layer, past: LayerState, frames: int) -> None:
        self._layer, self._attention, self._past = layer, layer.attention, past
        self._first = past.current.shape[1]
        self._last: Pairs = past.current[:, :0]
        self._kept: list[Pairs] = []
        self._bias: Tensor | None = None
        kind = self._attention.kind
        self._mixed = {"row": self._row, "column": self._column}.get(kind, self._previous)
        if kind == "row":
            self._room = _widened(past.current, frames)
        elif kind == "column":
            column = past.rows[:, :, self._first : self._first + frames].transpose(1, 2)
            self._room = _widened(column, 1)
            if self._attention.config.relative:
                distances = self._attention.row_distance[None, :, : column.shape[2] + 1]
                self._bias = distances.flip(-1).unsqueeze(2)

    def through(self, x: Activations, seen: int, mask: Tensor | None) -> Activations:
        """Return the layer's output for frames after those seen."""
        mixed = self._mixed(self.see(x), self._last, seen, mask)
        return self._layer.finish(x, self._attention.leave(mixed))

    def see(self, x: Activations) -> Queries:
        """Return the queries of frames, and hold their keys and values."""
        queries, self._last = self._attention.pairs(self._layer.before_attention(x))
        return queries

    def keep(self, frames: int) -> None:
        """Keep the keys and values of the first of the last frames."""
        self._kept.append(self._last[:, :frames])

    def state(self, config: TransformerConfig) -> LayerState:
        """Return the past with the frames kept."""
        if not self._kept:
            return self._past
        pairs = self._kept[0] if len(self._kept) == 1 else torch.cat(self._kept, dim=1)
        kept = {"row": 1, "previous": 1}.get(self._attention.kind, config.rows)
        return self._past.append(pairs, row_frames=config.row_frames(), keep_rows=kept)

    def _row(self, queries: Queries, pairs: Pairs, seen: int, mask: Tensor | None) -> Queries:
        if self._room.shape[1] > pairs.shape[1]:
            self._room[:, seen : seen + pairs.shape[1]] = pairs
            pairs = self._room[:, : seen + pairs.shape[1]]
        return self._attention.attend(queries, pairs, mask)

    def _column(self, queries: Queries, pairs: Pairs, seen: int, mask: Tensor | None) -> Queries:
        del mask
        first = seen - self._first
        column = self._room[:, first : first + pairs.shape[1]]
        column[:, :, -1] = pairs
        return self._attention.attend(queries.unsqueeze(2), column, self._bias).squeeze(2)

    def _previous(self, queries: Queries, pairs: Pairs, seen: int, mask: Tensor | None) -> Queries:
        del pairs, seen, mask
        if self._past.rows.shape[1] == 0:
            return torch.zeros_like(queries)
        return self._attention.attend(queries, self._past.rows[:, -1])


def _widened(seen: Float[Tensor, "*axes seen pair"], more: int) -> Float[Tensor, "*axes room pair"]:
    """Return a copy with room for more."""
    *axes, length, pair = seen.shape
    room = seen.new_empty(*axes, length + more, pair)
    room[..., :length, :] = seen
    return room


def prefix_length(config: TransformerConfig) -> int:
    """Return the positions that prefix layers see: lyrics, and more to a multiple of rows.

    More even where the lyrics fill that multiple.
    """
    return (config.prefix_frames // config.rows + 1) * config.rows


def _causal(frames: int, like: Tensor) -> Bool[Tensor, "frames frames"]:
    return torch.ones(frames, frames, dtype=torch.bool, device=like.device).tril()
