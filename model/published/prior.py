"""A prior of published shape, packed: codes in, next-code logits out, one window at a time."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.prior import Prior
from model.published.cache import StackCache, new_cache
from model.published.linear import Precision, hold_single
from model.published.stack import Encoded, Maps, PackedStack, Rows

Codes = Int[Tensor, "batch frames"]
Conditions = Float[Tensor, "batch frames width"]
Start = Float[Tensor, "batch width"]
Logits = Float[Tensor, "batch vocabulary"]


class PackedPrior:
    """Weights of one prior; embeddings and the output head stay single precision, as published."""

    def __init__(self, prior: Prior, precision: Precision, *, release: bool = False) -> None:
        """Pack a prior; with `release` the module's linear maps are emptied as they are packed."""
        self.prior = prior
        self.config = prior.config
        self.stack = PackedStack(prior.transformer, precision, release=release)
        self._codes = prior.codes.weight.detach().float()
        self._positions = prior.positions.detach().float()
        head = prior.head.weight.detach().float()
        self._head = hold_single(head.t())

    @property
    def nbytes(self) -> int:
        """Return the bytes of weights that a step reads for one item."""
        rows = self._codes[0].nbytes + self._positions[0].nbytes
        return self.stack.nbytes + self._head.nbytes + rows

    @torch.no_grad()
    def open(
        self, batch: int, encoded: Encoded | None = None, dtype: torch.dtype = torch.float32
    ) -> StackCache:
        """Return the cache of a new window, which has heard the lyrics if any."""
        cache = new_cache(
            self.config.transformer,
            batch=batch,
            characters=0 if encoded is None else encoded.shape[1],
            dtype=dtype,
            device=self._codes.device,
        )
        if encoded is not None:
            self.stack.hear(encoded, cache)
        return cache

    def inputs(self, previous: Codes, start: Start, conditions: Conditions, first: int) -> Rows:
        """Return the stack's input from position `first` on; a code of -1 is the start vector."""
        embedded = self._codes[previous.t().clamp(min=0)]
        if first == 0:
            embedded[0] = start
        embedded += self._positions[first : first + previous.shape[1], None]
        return embedded.add_(conditions.transpose(0, 1)).flatten(0, 1)

    def advance(self, x: Rows, cache: StackCache, first: int) -> Rows:
        """Return the stack's output for positions from `first` on, over as many rows as needed."""
        made: list[Rows] = []
        batch = cache.batch
        while len(x):
            frames = min(len(x) // batch, cache.room(first))
            made.append(self.stack.advance(x[: frames * batch], cache, first))
            x, first = x[frames * batch :], first + frames
        return made[0] if len(made) == 1 else torch.cat(made)

    def maps(self, x: Rows, cache: StackCache, first: int, layer: int) -> list[Maps]:
        """Return what positions from `first` on attend to in a layer, row by row."""
        made: list[Maps] = []
        batch = cache.batch
        while len(x):
            frames = min(len(x) // batch, cache.room(first))
            made.append(self.stack.maps(x[: frames * batch], cache, first, layer))
            x, first = x[frames * batch :], first + frames
        return made

    def logits(self, hidden: Rows, conditions: Rows) -> Float[Tensor, "rows vocabulary"]:
        """Return next-code logits from the stack's output."""
        return self._head(hidden if self.config.merged else hidden + conditions)
