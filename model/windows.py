"""Where the published sampler lays its windows; integers alone (paper section 5).

A level is made window by window, each of the level's whole context; what a
window shares with the one before is given to it, the rest is new. Everything is
planned, and refused, before the first code is drawn. Knows no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from model.config import CodecConfig, PriorConfig
from model.errors import WindowError


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelShape:
    """What windows of one level have to fit."""

    hop_samples: int
    """Samples a code (`CodecConfig.hop`)."""
    context_frames: int
    """Codes in a whole window; lyric characters in the same sequence do not count."""
    hop_fraction: float
    """How far apart windows start, relative to the context."""

    def hop_frames(self) -> int:
        """Return how many codes apart windows start."""
        return int(self.hop_fraction * self.context_frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One pass over a level: codes from `start_frame` on, of which the first are given."""

    start_frame: int
    given_frames: int
    frames: int
    """Codes in the window, given ones included."""
    upper: tuple[int, int] | None = None
    """First and end of the codes one level up that it hears; None at the top."""

    def end_frame(self) -> int:
        """Return the frame after the last."""
        return self.start_frame + self.frames


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPlan:
    """All windows of one level, in order, and how many codes there are after the last."""

    windows: tuple[Window, ...]
    final_frames: int


def level_shape(
    codec: CodecConfig, prior: PriorConfig, level: int, hop_fraction: float
) -> LevelShape:
    """Return what windows of a level fit; lyrics in the prior's own sequence are left out."""
    stack = prior.transformer
    return LevelShape(
        hop_samples=codec.hop(level),
        context_frames=stack.frames - stack.prefix_frames,
        hop_fraction=hop_fraction,
    )


def plan_windows(
    shapes: Sequence[LevelShape],
    total_samples: int,
    *,
    have: Sequence[int] | None = None,
    levels: Sequence[int] | None = None,
) -> tuple[LevelPlan | None, ...]:
    """Return the windows of each level, finest first; None where a level is not made.

    `have` says how many codes each level holds already, `levels` which are to be
    made; none and all by default. A total shorter than the top's context makes one
    short window; there, codes that exist already count as before the total (see
    `windows_of`).

    Raises:
        WindowError: A hop, a length or a start that some window of it cannot have.
    """
    present = list(have or [0] * len(shapes))
    made = range(len(shapes)) if levels is None else levels
    _check_numbers(shapes, total_samples, present)
    for level in made:
        _check_hop(shapes[level], level)
    plans: list[LevelPlan | None] = [None] * len(shapes)
    for level in sorted(made, reverse=True):
        total = total_samples // shapes[level].hop_samples
        if level == len(shapes) - 1:
            plan = windows_of(shapes[level], total, present[level])
        else:
            plan = _under(shapes, level, total, present)
        plans[level] = plan
        present[level] = plan.final_frames
    return tuple(plans)


def windows_of(shape: LevelShape, total_frames: int, have_frames: int = 0) -> LevelPlan:
    """Return the windows of a level that hears no other; those with nothing to add are left out.

    A total below the context is a request for so many codes *more*, as published.

    Raises:
        WindowError: The hop leaves gaps, or the total is below one code.
    """
    if total_frames < shape.context_frames:
        window = more_window(shape.context_frames, have_frames, total_frames)
        return LevelPlan(windows=(window,), final_frames=have_frames + total_frames)
    windows: list[Window] = []
    present = have_frames
    for start in window_starts(total_frames, shape.context_frames, shape.hop_frames()):
        if start + shape.context_frames > present:
            given = present - start
            windows.append(
                Window(start_frame=start, given_frames=given, frames=shape.context_frames)
            )
            present = start + shape.context_frames
    return LevelPlan(windows=tuple(windows), final_frames=present)


def window_starts(total_frames: int, context_frames: int, hop_frames: int) -> tuple[int, ...]:
    """Return where windows start: every hop, the last pulled back to end with the total.

    Raises:
        WindowError: The total is below the context, or the hop below one frame.
    """
    if total_frames < context_frames:
        raise WindowError(
            f"{total_frames} frames are to be made, a whole window has {context_frames}"
        )
    if hop_frames < 1:
        raise WindowError(f"windows start {hop_frames} frames apart, the least is 1")
    last = total_frames - context_frames
    return (*range(0, last, hop_frames), last)


def more_window(context_frames: int, have_frames: int, more_frames: int) -> Window:
    """Return the one window that adds so many codes to those there are.

    While all fits into the context the window starts at 0 and is short; after
    that it is whole and ends with the last new code.

    Raises:
        WindowError: No code is asked for, or more than the context holds.
    """
    if not 1 <= more_frames <= context_frames:
        raise WindowError(
            f"{more_frames} frames more are asked for, one window adds 1 to {context_frames}"
        )
    end = have_frames + more_frames
    start = max(0, end - context_frames)
    return Window(start_frame=start, given_frames=have_frames - start, frames=end - start)


def _under(
    shapes: Sequence[LevelShape], level: int, total: int, present: Sequence[int]
) -> LevelPlan:
    shape = shapes[level]
    if total < shape.context_frames:
        raise WindowError(
            f"{_samples(total, shape)} are to be made at level {level}, "
            f"at least one window of {_samples(shape.context_frames, shape)} is needed"
        )
    ratio = shapes[level + 1].hop_samples // shape.hop_samples
    plan = windows_of(shape, total, present[level])
    return LevelPlan(
        windows=tuple(
            _hearing(window, ratio, level, present[level + 1]) for window in plan.windows
        ),
        final_frames=plan.final_frames,
    )


def _hearing(window: Window, ratio: int, level: int, upper_frames: int) -> Window:
    for edge in (window.start_frame, window.end_frame()):
        if edge % ratio:
            raise WindowError(
                f"a window of level {level} would begin or end at frame {edge}, "
                f"which is no multiple of {ratio}: choose a hop whose frames {ratio} divides"
            )
    first, last = window.start_frame // ratio, window.end_frame() // ratio
    if last > upper_frames:
        raise WindowError(
            f"a window of level {level} hears frames {first} to {last} of level {level + 1}, "
            f"which has {upper_frames} frames"
        )
    return Window(
        start_frame=window.start_frame,
        given_frames=window.given_frames,
        frames=window.frames,
        upper=(first, last),
    )


def _check_numbers(shapes: Sequence[LevelShape], total_samples: int, have: Sequence[int]) -> None:
    if len(have) != len(shapes) or min(have) < 0:
        raise WindowError(f"codes that exist are {have}, expected {len(shapes)} counts from 0 on")
    for fine, coarse in pairwise(shapes):
        if coarse.hop_samples % fine.hop_samples:
            raise WindowError(
                f"a code is {coarse.hop_samples} samples over {fine.hop_samples}, "
                "the lower must divide the upper"
            )
    least = max(shape.hop_samples for shape in shapes)
    if total_samples < least:
        raise WindowError(f"{total_samples} samples are to be made, one code is {least} samples")


def _check_hop(shape: LevelShape, level: int) -> None:
    hop = shape.hop_frames()
    if not 1 <= hop <= shape.context_frames:
        raise WindowError(
            f"the hop fraction of level {level} is {shape.hop_fraction:g}: {hop} frames, "
            f"allowed are 1 to the context's {shape.context_frames}"
        )


def _samples(frames: int, shape: LevelShape) -> str:
    return f"{frames * shape.hop_samples} samples ({frames} frames)"
