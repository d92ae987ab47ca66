"""How many steps a piece takes, for those who wait: the windows that are still to be drawn.

Knows no weights.
"""

from math import ceil
from typing import Final

from model.config import PriorConfig
from model.offline_checks import OfflinePlan, missing_frames, windows
from model.offline_state import OfflineState
from model.published.request import SystemSizes
from model.windows import Window, window_starts

CHUNK_FRAMES: Final = 32
"""Given codes are read so many at once."""
STEP_PRODUCTS: Final = 2 * 10**9
"""Multiplications that a step may take about; more where one position of a level takes more, so
that the steps of all levels take about as long and the time left can be told."""
STEP_POSITIONS: Final = 32


class StepCount:
    """Counts the steps of a system."""

    def __init__(self, sizes: SystemSizes) -> None:
        self._sizes = sizes
        products = [position_products(prior) for prior in sizes.priors]
        limit = max(STEP_PRODUCTS, *products)
        self.positions = tuple(int(min(limit // one, STEP_POSITIONS)) for one in products)
        """Positions that one step works at, by level, finest first."""

    def per_second(self, plan: OfflinePlan) -> float:
        """Return how many steps one second of audio takes, about."""
        total = 0.0
        for level in range(plan.finest_level, self._sizes.top + 1):
            own, settings = self._sizes.level(level), plan.settings[level]
            rate = self._sizes.codec.frame_rate(level)
            context, hop = own.context_frames, settings.hop_fraction * own.context_frames
            read = 1 + (own.prefix_frames + context - hop) / CHUNK_FRAMES
            total += rate / self.positions[level] + rate / hop * read
        return total

    def left(self, state: OfflineState, plan: OfflinePlan) -> int:
        """Return how many steps are still to come.

        Raises:
            ModelError: A window that cannot be laid.
        """
        sizes = self._sizes
        steps = sizes.top + 1 - state.finest if state.audio.size else 0
        steps += len(state.stems)
        for level in range(state.coarsest, state.finest - 1, -1):
            if missing_frames(state, level, sizes) <= 0:
                continue
            laid = windows(state, plan, level, sizes)
            steps += 1
            steps += sum(self._window(one, level) for one in (laid.windows if laid else ()))
            if level == sizes.top and state.aligns:
                steps += self._alignment(state, plan)
        return steps

    def _window(self, window: Window, level: int) -> int:
        given = self._sizes.level(level).prefix_frames + window.given_frames
        new, positions = window.frames - window.given_frames, self.positions[level]
        if positions >= CHUNK_FRAMES:
            return 1 + ceil((given + new) / positions)
        return 1 + ceil(given / CHUNK_FRAMES) + ceil(new / positions)

    def _alignment(self, state: OfflineState, plan: OfflinePlan) -> int:
        top = self._sizes.top
        own = self._sizes.level(top)
        frames = max(state.goal_sample // own.hop_samples, own.context_frames)
        hop = max(1, int(plan.settings[top].hop_fraction * own.context_frames))
        starts = window_starts(frames, own.context_frames, hop)
        return 1 + len(starts) * ceil((own.prefix_frames + own.context_frames) / CHUNK_FRAMES)


def position_products(prior: PriorConfig) -> float:
    """Return how many multiplications one position takes, attention to the past left out."""
    stack = prior.transformer
    maps = 4 * stack.attention_multiplier + 2 * stack.mlp_multiplier
    return stack.depth * stack.width**2 * maps
