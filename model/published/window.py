"""One window for one group of items, drawn code by code.

Given codes are read in chunks, then each code is one step. A window that was
interrupted and comes back without its cache repeats exactly those steps, so
that it goes on with the same bytes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from model.noise import choose, uniform
from model.published.level import Heard, PublishedLevel
from model.published.request import DRAWN_TURN, Codes, LevelSettings
from model.published.stack import Rows
from model.sampler import filtered

Draws = Float64[np.ndarray, "batch frames"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """Which numbers a group draws."""

    seed: int
    level: int
    variations: tuple[int, ...]

    def draws(self, first_frame: int, frames: int) -> Draws:
        """Return one number for each item and frame of the level."""
        return np.stack(
            [
                uniform(
                    self.seed,
                    level=self.level,
                    turn=DRAWN_TURN,
                    variation=variation,
                    first_frame=first_frame,
                    frames=frames,
                )
                for variation in self.variations
            ]
        )


class WindowRun:
    """Owns the window's cache; every call moves on, so it belongs to one holder at a time."""

    def __init__(
        self,
        level: PublishedLevel,
        heard: Heard,
        known: Int[Tensor, "batch known"],
        *,
        given: int,
        draws: Draws,
        settings: LevelSettings,
    ) -> None:
        """Begin a window.

        Args:
            level: The weights.
            heard: What the window is told.
            known: Its sequence so far in the prior's own vocabulary: lyrics that share it, given
                codes, codes already drawn.
            given: How many of `known` were there before the first draw.
            draws: Numbers for all codes of the window that are drawn, drawn ones included.
            settings: How to draw.
        """
        self._level, self._heard, self._settings = level, heard, settings
        self._given, self._draws = given, draws
        self._cache = level.prior.open(len(known), heard.encoded)
        self._width = given + draws.shape[1]
        # A position's input is the code before it; -1 stands for the start.
        self._sequence = torch.full((len(known), self._width + 1), -1)
        self._sequence[:, 1 : known.shape[1] + 1] = known
        self._known = known.shape[1]
        self._position = 0

    @property
    def nbytes(self) -> int:
        """Return the bytes of the cache."""
        return self._cache.nbytes

    @property
    def done(self) -> bool:
        """Return whether the whole window is known."""
        return self._known == self._width

    @torch.no_grad()
    def advance(self, positions: int) -> Codes:
        """Return the codes drawn in about so many positions' work; none while reading.

        At least one chunk is read or one code drawn.
        """
        before, spent = self._known, 0
        while spent < positions and not self.done:
            spent += self._read() if self._position < self._known else self._draw()
        return self._sequence[:, before + 1 : self._known + 1].clone()

    def _read(self) -> int:
        """Feed known positions: given ones in chunks, drawn ones as they were drawn."""
        first = self._position
        frames = max(1, min(self._settings.chunk_frames, self._given - first))
        self._feed(first, frames)
        return frames

    def _draw(self) -> int:
        first = self._position
        hidden = self._feed(first, 1)
        logits = self._level.prior.logits(hidden, self._heard.conditions[:, first])
        kept = filtered(
            logits / self._settings.temperature,
            top_k=self._settings.top_k,
            top_p=self._settings.top_p,
        )
        probabilities = kept.double().softmax(-1).cpu().numpy()
        made = choose(probabilities, self._draws[:, first - self._given])
        self._known += 1
        self._sequence[:, self._known] = torch.as_tensor(made)
        return 1

    def _feed(self, first: int, frames: int) -> Rows:
        span = slice(first, first + frames)
        conditions = self._heard.conditions[:, span]
        x = self._level.prior.inputs(self._sequence[:, span], self._heard.start, conditions, first)
        self._position = first + frames
        return self._level.prior.advance(x, self._cache, first)
