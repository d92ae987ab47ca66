"""A whole published system, advanced step by step: top level first, window by window, code by code.

    system = PublishedSystem(sizes, load)          # load(level) -> PublishedLevel
    state = system.begin(request, codes)           # refuses everything that can be refused
    while not state.finished:
        state, made = system.step(state)           # bounded work; stop between any two
    state.codes                                    # by level, finest first

A `SystemState` is a value but for the cache of the window under way: stepping
consumes it. `state.stored()` is the same state without that cache; it can be
stepped too, now or in another process: the steps of the window under way are
repeated, and then it goes on with the same bytes. Draws depend on seed,
level, variation and absolute frame alone, so neither the company in a batch nor
the order of windows changes them. Weights are asked for one level at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from model.published.level import PublishedLevel
from model.published.request import (
    Codes,
    LevelSettings,
    SystemRequest,
    SystemSizes,
    check_request,
    no_codes,
)
from model.published.window import Luck, WindowRun
from model.windows import LevelPlan, Window

LevelSource = Callable[[int], PublishedLevel]
"""Gives a level's weights; it may drop those of other levels, which are finished by then."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """What one step drew: nothing while a window is opened or its given codes are read."""

    level: int
    items: range
    """Which results it belongs to."""
    first_frame: int
    raw: Int[Tensor, "items frames"]
    """In the prior's own vocabulary, where lyrics may come before the codes."""
    codes: Int[Tensor, "items frames"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn:
    """The window under way, group of items by group."""

    level: int
    window: Window
    finished: tuple[Codes, ...] = ()
    """Raw codes that groups before this one drew."""
    raw: Codes
    """Raw codes that this group has drawn."""
    run: WindowRun | None = None
    """The cache; None before the group's first step and in a restored state."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemState:
    """Where a run stands."""

    request: SystemRequest
    plans: tuple[LevelPlan | None, ...]
    codes: tuple[Codes, ...]
    """Finished windows' codes by level, finest first."""
    turn: Turn | None
    """None once everything is drawn."""

    @property
    def finished(self) -> bool:
        """Return whether everything is drawn."""
        return self.turn is None

    @property
    def total_frames(self) -> int:
        """Return the codes that the whole run draws for each result, all levels together."""
        return sum(_new(window) for plan in self.plans if plan for window in plan.windows)

    @property
    def drawn_frames(self) -> int:
        """Return how many of them are drawn, groups of one window averaged."""
        if self.turn is None:
            return self.total_frames
        made = 0
        for level in sorted(self.request.levels, reverse=True):
            plan = self.plans[level]
            for window in plan.windows if plan else ():
                if level == self.turn.level and window == self.turn.window:
                    results = len(self.request.variations)
                    done = sum(part.numel() for part in (*self.turn.finished, self.turn.raw))
                    return made + done // results
                made += _new(window)
        return made

    @property
    def nbytes(self) -> int:
        """Return the bytes held, weights left out."""
        held = sum(codes.nbytes for codes in self.codes)
        if self.turn is None or self.turn.run is None:
            return held
        return held + self.turn.run.nbytes

    def stored(self) -> "SystemState":
        """Return the state without its cache: codes and numbers alone."""
        if self.turn is None:
            return self
        return replace(self, turn=replace(self.turn, run=None))


class PublishedSystem:
    """Steps of a run; holds no session."""

    def __init__(
        self, sizes: SystemSizes, levels: LevelSource, *, step_positions: int = 32
    ) -> None:
        """Describe a system; `step_positions` bounds a step's work, in positions of one group."""
        self.sizes = sizes
        self._levels = levels
        self._step_positions = step_positions

    def begin(self, request: SystemRequest, codes: Sequence[Codes] | None = None) -> SystemState:
        """Return a run's first state; `codes` by level are what a prompt or an earlier run left.

        Raises:
            ConditionError: Counts, codes, seeds or weights that do not fit.
            LabelError: An artist or genre that a level's tables do not hold.
            WindowError: A length, a hop or a place that some window cannot have.
        """
        given = tuple(codes) if codes is not None else no_codes(self.sizes, len(request.variations))
        plans = check_request(self.sizes, request, given)
        return _next(SystemState(request=request, plans=plans, codes=given, turn=None), None)

    def step(self, state: SystemState) -> tuple[SystemState, Made | None]:
        """Return the state one step further, which consumes this one, and what was drawn.

        A window's conditions are computed in a step of their own, of which nothing comes.
        """
        turn = state.turn
        if turn is None:
            return state, None
        if turn.run is None:
            return replace(state, turn=replace(turn, run=self._open(state, turn))), None
        drawn = turn.run.advance(self._step_positions)
        made = self._made(state, turn, drawn)
        turn = replace(turn, raw=torch.cat([turn.raw, drawn], dim=1))
        assert turn.run is not None
        if turn.run.done:
            return self._group_done(state, turn), made
        return replace(state, turn=turn), made

    def _open(self, state: SystemState, turn: Turn) -> WindowRun:
        level, window = self._levels(turn.level), turn.window
        items = _items(state, turn)
        rows = slice(items.start, items.stop)
        upper = None
        if window.upper is not None:
            upper = state.codes[turn.level + 1][rows, slice(*window.upper)]
        heard = level.hear(state.request.items[turn.level][rows], window.start_frame, upper)
        first, end = window.start_frame, window.start_frame + window.given_frames
        given = state.codes[turn.level][rows, first:end] + self.sizes.level(turn.level).shift
        luck = Luck(
            seed=state.request.seed,
            level=turn.level,
            variations=state.request.variations[rows],
        )
        return WindowRun(
            level,
            heard,
            torch.cat([heard.characters, given, turn.raw], dim=1),
            given=heard.characters.shape[1] + window.given_frames,
            draws=luck.draws(end, _new(window)),
            settings=_settings(state, turn),
        )

    def _made(self, state: SystemState, turn: Turn, drawn: Codes) -> Made | None:
        if not drawn.shape[1]:
            return None
        first = turn.window.start_frame + turn.window.given_frames + turn.raw.shape[1]
        return Made(
            level=turn.level,
            items=_items(state, turn),
            first_frame=first,
            raw=drawn,
            codes=self.sizes.level(turn.level).codes(drawn),
        )

    def _group_done(self, state: SystemState, turn: Turn) -> SystemState:
        finished = (*turn.finished, turn.raw)
        if sum(len(raw) for raw in finished) < len(state.request.variations):
            return replace(state, turn=_fresh(state, turn.level, turn.window, finished))
        new = self.sizes.level(turn.level).codes(torch.cat(finished))
        codes = torch.cat([state.codes[turn.level], new], dim=1)
        every = (*state.codes[: turn.level], codes, *state.codes[turn.level + 1 :])
        return _next(replace(state, codes=every), turn)


def _next(state: SystemState, done: Turn | None) -> SystemState:
    """Return the state with the first window that is not drawn yet."""
    after = done is None
    for level in sorted(state.request.levels, reverse=True):
        plan = state.plans[level]
        for window in plan.windows if plan else ():
            if after:
                return replace(state, turn=_fresh(state, level, window, ()))
            after = done is not None and (level, window) == (done.level, done.window)
    return replace(state, turn=None)


def _fresh(state: SystemState, level: int, window: Window, finished: tuple[Codes, ...]) -> Turn:
    before = sum(len(raw) for raw in finished)
    results = len(state.request.variations)
    items = min(state.request.settings[level].batch_items, results - before)
    return Turn(
        level=level,
        window=window,
        finished=finished,
        raw=torch.zeros(items, 0, dtype=torch.long),
    )


def _items(state: SystemState, turn: Turn) -> range:
    first = sum(len(raw) for raw in turn.finished)
    return range(first, first + len(turn.raw))


def _settings(state: SystemState, turn: Turn) -> LevelSettings:
    return state.request.settings[turn.level]


def _new(window: Window) -> int:
    return window.frames - window.given_frames
