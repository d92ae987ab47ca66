"""What a published model is asked for, level by level, refused before the first code is drawn.

Lengths are told in seconds, for that is what a musician asks for. Knows no weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch

from model.conditioning.labels import Piece
from model.conditioning.roll import check_notes
from model.conditioning.text import character_ids, clean_lyrics
from model.errors import ConditionError, WindowError
from model.offline_state import OfflineState, Song
from model.published.played import Played
from model.published.request import (
    Codes,
    Item,
    LevelSettings,
    SystemRequest,
    SystemSizes,
    check_request,
)
from model.values import TARGETS
from model.windows import LevelPlan

SLACK_FRAMES: Final = 4
"""Given codes may end so many of their frames early: the resampler reaches a little beyond the end,
and the rest of a frame is silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePlan:
    """How a run is drawn."""

    seed: int
    variation: int = 0
    finest_level: int = 0
    settings: tuple[LevelSettings, ...]
    """By level, finest first."""


def aimed(state: OfflineState, sizes: SystemSizes, end_sample: int) -> OfflineState:
    """Return the state with the end to go to.

    Raises:
        WindowError: The codes given are too short and nothing above them can make more.
    """
    hop = sizes.codec.hop(state.coarsest)
    given = len(state.codes[state.coarsest]) * hop
    goal = -(-end_sample // hop) * hop
    if given < goal <= given + SLACK_FRAMES * hop and given:
        goal = given
    if given < goal and state.coarsest < sizes.top:
        raise WindowError(
            f"{_seconds(goal, sizes)} are asked for, the codes of level {state.coarsest} last "
            f"{_seconds(given, sizes)}: without those of level {sizes.top} they cannot go on"
        )
    # What goes on is sung anew: characters move with the end.
    drawn = goal > given
    song = state.song
    if song.stretches:
        # Of this end alone: not of what the state was opened, or has begun, for before.
        song = replace(song, total_samples=max(least_total(sizes), goal))
    return replace(
        state,
        song=song,
        goal_sample=goal,
        end_sample=end_sample,
        aligns=drawn and bool(state.song.lyrics),
        starts=None if drawn else state.starts,
    )


def least_total(sizes: SystemSizes) -> int:
    """Return how many samples a song has at least: a window, and what the model was trained on."""
    top = sizes.level(sizes.top)
    labels = top.prior.labels
    shortest = 0.0 if labels is None else labels.seconds[0] * labels.sample_rate
    return max(top.context_frames * top.hop_samples, int(shortest) + 1)


def check_run(state: OfflineState, plan: OfflinePlan, sizes: SystemSizes) -> None:
    """Pass if every level can be drawn down to the plan's finest.

    Raises:
        ConditionError: A level, a number or lyrics that this model has no use for.
        LabelError: An artist or genre that a level's tables do not hold.
        WindowError: A length, a hop or a place that some window cannot have.
    """
    check_plan(plan, sizes)
    _check_song(state.song, sizes)
    _check_played(state, sizes)
    for level in range(state.coarsest, plan.finest_level - 1, -1):
        if missing_frames(state, level, sizes) > 0:
            _check_length(state, level, sizes)
            windows(state, plan, level, sizes)


def check_plan(plan: OfflinePlan, sizes: SystemSizes) -> None:
    """Pass if some piece can be drawn by a plan.

    Raises:
        ConditionError: A level that does not exist.
        WindowError: A hop that windows cannot have.
    """
    if not 0 <= plan.finest_level <= sizes.top:
        raise ConditionError(
            f"level {plan.finest_level} is asked for, this model has levels 0 to {sizes.top}"
        )
    for level, settings in enumerate(plan.settings):
        _check_hop(settings.hop_fraction, level, sizes)


def windows(
    state: OfflineState, plan: OfflinePlan, level: int, sizes: SystemSizes
) -> LevelPlan | None:
    """Return what is left to be drawn of a level once those above are whole.

    Raises:
        ModelError: See `check_run`.
    """
    request = level_request(state, plan, level, sizes)
    whole = [
        torch.zeros(1, state.goal_sample // sizes.codec.hop(above), dtype=torch.long)
        if above > level
        else torch.zeros(1, len(state.codes[above]), dtype=torch.long)
        for above in range(sizes.top + 1)
    ]
    return check_request(sizes, request, whole)[level]


def level_request(
    state: OfflineState, plan: OfflinePlan, level: int, sizes: SystemSizes
) -> SystemRequest:
    """Return what the published sampler is asked for, to draw one level."""
    total = state.goal_sample
    own = sizes.level(level)
    if level == sizes.top and total // own.hop_samples < own.context_frames:
        # Below its context the published sampler counts what is to be added.
        total = missing_frames(state, level, sizes) * own.hop_samples
    return SystemRequest(
        items=items_of(state.song, sizes, state.played),
        total_samples=total,
        seed=plan.seed,
        variations=(plan.variation,),
        settings=plan.settings,
        levels=(level,),
    )


def items_of(
    song: Song, sizes: SystemSizes, played: Played | None = None
) -> tuple[tuple[Item, ...], ...]:
    """Return what one result is told, by level, each in its own numbers."""
    rows: list[tuple[Item, ...]] = []
    for level in range(sizes.top + 1):
        piece = Piece(
            artist=song.artists[level],
            genres=song.genres[level],
            lyrics=character_ids(song.lyrics, sizes.rules[level]),
            total_samples=song.total_samples,
            offset_samples=song.offset_samples,
        )
        item = Item(piece=piece, blend=song.blends[level], played=played or Played())
        rows.append((item,))
    return tuple(rows)


def missing_frames(state: OfflineState, level: int, sizes: SystemSizes) -> int:
    """Return how many codes of a level are still to be drawn."""
    return state.goal_sample // sizes.codec.hop(level) - len(state.codes[level])


def as_codes(codes: Sequence[object]) -> tuple[Codes, ...]:
    """Return arrays of codes as a batch of one."""
    return tuple(torch.as_tensor(level, dtype=torch.long)[None] for level in codes)


def _check_song(song: Song, sizes: SystemSizes) -> None:
    top = sizes.level(sizes.top)
    hears = top.prefix_frames or top.prior.lyrics is not None
    if song.lyrics and not hears:
        raise ConditionError("this model hears no lyrics")
    if song.lyrics and not clean_lyrics(song.lyrics, top.rules).strip():
        raise ConditionError(
            f"of {len(song.lyrics)} characters of lyrics the model can read none; it reads: "
            f"{top.rules.characters.split()[0]}"
        )
    labels = top.prior.labels
    if labels is None or not top.prior.timing:
        return
    shortest, longest = labels.seconds
    seconds = song.total_samples / labels.sample_rate
    if not shortest <= seconds < longest:
        raise WindowError(
            f"the piece is said to last {seconds:.2f} s in all, this model knows pieces of "
            f"{shortest:g} to below {longest:g} s"
        )
    if song.offset_samples < 0:
        raise WindowError(f"the offset is {song.offset_samples} samples, the least is 0")


def _check_played(state: OfflineState, sizes: SystemSizes) -> None:
    hears = sizes.level(sizes.top).prior.played is not None
    if not hears and not (state.played.silent and not state.stems):
        raise ConditionError("this model hears neither notes nor stems, and has no part to choose")
    kinds = [stem.kind for stem in state.stems]
    for kind in (state.played.target, *kinds):
        if not 0 <= kind < len(TARGETS):
            raise ConditionError(f"kind {kind} is none of the {len(TARGETS)}: {TARGETS}")
        if kinds.count(kind) > 1:
            raise ConditionError(f"{kinds.count(kind)} stems are {TARGETS[kind]}, 1 can be")
    check_notes(state.played.notes)


def _check_length(state: OfflineState, level: int, sizes: SystemSizes) -> None:
    own = sizes.level(level)
    least = own.context_frames * own.hop_samples
    if level < sizes.top and state.goal_sample < least:
        raise WindowError(
            f"all together would last {_seconds(state.goal_sample, sizes)}, what it stands on "
            f"included; level {level} is made in windows of {_seconds(least, sizes)}: ask for at "
            f"least so much, or only for level {level + 1}"
        )


def _check_hop(fraction: float, level: int, sizes: SystemSizes) -> None:
    context = sizes.level(level).context_frames
    codec = sizes.codec
    unit = 1 if level == sizes.top else codec.hop(level + 1) // codec.hop(level)
    frames = int(fraction * context)
    if unit <= frames <= context and frames % unit == 0:
        return
    nearest = min(max(round(fraction * context / unit) * unit, unit), context // unit * unit)
    raise WindowError(
        f"the hop fraction of level {level} is {fraction:g}: windows of {context} frames would "
        f"start {frames} frames apart, allowed are multiples of {unit} up to {context}; the "
        f"nearest fraction is {nearest / context:g}"
    )


def _seconds(samples: int, sizes: SystemSizes) -> str:
    return f"{samples / sizes.codec.sample_rate:.2f} s"
