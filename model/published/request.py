"""What a run of a published system is asked for, checked before the first code is drawn.

Sizes and numbers alone: no weights are needed to refuse a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import torch
from jaxtyping import Int
from torch import Tensor

from model.conditioning.labels import (
    LabelShape,
    Piece,
    check_labels,
    label_shape,
    labels_of,
)
from model.conditioning.text import RULES, TextRules
from model.conditioning.timing import timing_rows
from model.config import CodecConfig, LabelConfig, PriorConfig
from model.errors import ConditionError, LabelError, WindowError
from model.noise import uniform
from model.published.played import Played
from model.values import SamplingPlan
from model.windows import LevelPlan, Window, level_shape, plan_windows

Codes = Int[Tensor, "_ _"]
"""(results, frames); levels and groups differ in both."""
DRAWN_TURN = 254
"""The pass that a published draw counts as in the noise; no other sampler uses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSizes:
    """One level without its weights."""

    prior: PriorConfig
    rules: TextRules
    """How it reads names and lyrics."""
    hop_samples: int
    """Samples a code."""
    codebook_size: int

    @property
    def prefix_frames(self) -> int:
        """Return how many lyric positions begin the sequence (1b_lyrics)."""
        return self.prior.transformer.prefix_frames

    @property
    def context_frames(self) -> int:
        """Return the codes in a whole window."""
        return self.prior.transformer.frames - self.prefix_frames

    @property
    def shift(self) -> int:
        """Return what is added to a code where lyrics share its vocabulary (1b_lyrics)."""
        return self.prior.vocabulary - self.codebook_size

    def labels(self) -> LabelShape:
        """Return what labels of this level hold."""
        return label_shape(self.prior, self.rules, self.hop_samples)

    def codes(self, raw: Codes) -> Codes:
        """Return codes of the prior's own numbers: a lyric character counts as code 0."""
        return (raw - self.shift).clamp(min=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSizes:
    """A whole system without its weights; tuples are by level, finest first."""

    codec: CodecConfig
    priors: tuple[PriorConfig, ...]
    rules: tuple[TextRules, ...]
    """How each level reads names and lyrics: v2 everywhere but at the 1B top."""

    def __post_init__(self) -> None:
        """Refuse levels without a prior or rules.

        Raises:
            ConditionError: The numbers of levels differ.
        """
        counts = (len(self.codec.levels), len(self.priors), len(self.rules))
        if len(set(counts)) > 1:
            raise ConditionError(f"levels of codec, priors and rules are {counts}, expected equal")

    @property
    def top(self) -> int:
        """Return the coarsest level."""
        return len(self.priors) - 1

    def level(self, level: int) -> LevelSizes:
        """Return one level's sizes."""
        return LevelSizes(
            prior=self.priors[level],
            rules=self.rules[level],
            hop_samples=self.codec.hop(level),
            codebook_size=self.codec.codebook_size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSettings:
    """How one level is drawn; a published run's own numbers are the default."""

    hop_fraction: float = 0.5
    """How far apart windows start, relative to the context; published: 1/8 at the top."""
    temperature: float = 0.99
    top_k: int = 0
    """Draw among the so many likeliest; 0 among all. Not together with `top_p`."""
    top_p: float = 1.0
    """Draw among the likeliest that make up this probability; 1 among all."""
    chunk_frames: int = 32
    """Given codes are read so many at once; does not change what is drawn but for rounding."""
    batch_items: int = 16
    """Items computed together; does not change what is drawn."""

    def __post_init__(self) -> None:
        """Refuse numbers that no draw can be made with.

        Raises:
            ConditionError: One is out of range, or both filters are asked for.
        """
        SamplingPlan(seed=0, temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)
        if self.top_k and self.top_p < 1:
            raise ConditionError(
                f"top_k is {self.top_k} and top_p {self.top_p:g}: choose one of the two filters"
            )
        for name, value in (
            ("chunk_frames", self.chunk_frames),
            ("batch_items", self.batch_items),
        ):
            if value < 1:
                raise ConditionError(f"{name} is {value}, the least is 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One part of a blend: an artist with genres, and how much of it."""

    artist: int
    genres: tuple[int, ...]
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """What one result shall be, told to one level."""

    piece: Piece
    blend: tuple[Voice, ...] = ()
    """Instead of the piece's artist and genres: the weighted sum of several."""
    played: Played = field(default_factory=Played)
    """For a prior that was trained to hear it; others do not look."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemRequest:
    """One run for a batch of results of one length."""

    items: tuple[tuple[Item, ...], ...]
    """By level, finest first, then by result: each level reads labels its own way."""
    total_samples: int
    """Length of the results, the prompt included; rounded down to whole top-level codes."""
    seed: int
    variations: tuple[int, ...]
    """One number a result: equal ones of one seed draw alike."""
    settings: tuple[LevelSettings, ...]
    """By level, finest first."""
    levels: tuple[int, ...] = (0, 1, 2)
    """Levels to draw; the others keep the codes they have."""


def check_request(
    sizes: SystemSizes, request: SystemRequest, codes: Sequence[Codes]
) -> tuple[LevelPlan | None, ...]:
    """Return the windows of each level that is to be drawn, once nothing can be refused any more.

    Raises:
        ConditionError: Counts, codes, seeds or weights that do not fit.
        LabelError: An artist or genre that a level's tables do not hold.
        WindowError: A length, a hop or a place that some window cannot have.
    """
    _check_counts(sizes, request)
    _check_codes(sizes, request, codes)
    for variation in request.variations:
        _check_draws(request, variation)
    shapes = [
        level_shape(sizes.codec, prior, level, request.settings[level].hop_fraction)
        for level, prior in enumerate(sizes.priors)
    ]
    have = [made.shape[1] for made in codes]
    plans = plan_windows(shapes, request.total_samples, have=have, levels=request.levels)
    for level, plan in enumerate(plans):
        for window in plan.windows if plan is not None else ():
            _check_window(sizes, request, level, window)
    return plans


def _check_counts(sizes: SystemSizes, request: SystemRequest) -> None:
    levels = len(sizes.priors)
    for name, count in (("items", len(request.items)), ("settings", len(request.settings))):
        if count != levels:
            raise ConditionError(f"{name} are given for {count} levels, the system has {levels}")
    wrong = set(request.levels) - set(range(levels))
    if wrong:
        raise ConditionError(f"levels {sorted(wrong)} are to be drawn, there are 0 to {levels - 1}")
    results = len(request.variations)
    if results < 1 or any(len(items) != results for items in request.items):
        counts = [len(items) for items in request.items]
        raise ConditionError(
            f"items of {counts} results by level, and {results} variations are given; "
            "expected equal numbers from 1 on"
        )


def _check_codes(sizes: SystemSizes, request: SystemRequest, codes: Sequence[Codes]) -> None:
    if len(codes) != len(sizes.priors):
        raise ConditionError(
            f"codes of {len(codes)} levels are given, expected {len(sizes.priors)}"
        )
    for level, given in enumerate(codes):
        if len(given) != len(request.variations):
            raise ConditionError(
                f"codes of {len(given)} results are given at level {level}, "
                f"{len(request.variations)} are asked for"
            )
        if given.numel() and not 0 <= int(given.min()) <= int(given.max()) < (
            sizes.codec.codebook_size
        ):
            raise ConditionError(
                f"codes of level {level} are {int(given.min())} to {int(given.max())}, "
                f"allowed are 0 to {sizes.codec.codebook_size - 1}"
            )


def _check_draws(request: SystemRequest, variation: int) -> None:
    try:
        uniform(
            request.seed, level=0, turn=DRAWN_TURN, variation=variation, first_frame=0, frames=0
        )
    except ValueError as error:
        raise ConditionError(str(error)) from error


def _check_window(sizes: SystemSizes, request: SystemRequest, level: int, window: Window) -> None:
    own, items = sizes.level(level), request.items[level]
    config = own.prior
    start_samples = window.start_frame * own.hop_samples
    try:
        labels, _ = labels_of([item.piece for item in items], own.labels(), start_samples)
        if config.labels is None:
            return
        check_labels(labels, config.labels)
        for item in items:
            for voice in item.blend:
                _check_voice(voice, config.labels)
        if config.timing:
            timing_rows(config.labels, labels.extents, own.context_frames)
    except (WindowError, LabelError) as error:
        raise type(error)(
            f"level {level}, the window from frame {window.start_frame}: {error}"
        ) from error


def _check_voice(voice: Voice, config: LabelConfig) -> None:
    if not isfinite(voice.weight):
        raise LabelError(f"a voice's weight is {voice.weight}, it must be finite")
    for name, ids, rows in (
        ("artist", (voice.artist,), config.artists),
        ("genre", voice.genres, config.genres),
    ):
        wrong = [row for row in ids if not 0 <= row < rows]
        if wrong:
            raise LabelError(f"a voice's {name} id is {wrong[0]}, this model has {rows} rows")


def no_codes(sizes: SystemSizes, results: int) -> tuple[Codes, ...]:
    """Return what a run from nothing begins with."""
    return tuple(torch.zeros(results, 0, dtype=torch.long) for _ in sizes.priors)


def published_rules(*versions: str) -> tuple[TextRules, ...]:
    """Return rules by their names "v2" and "v3", finest level first."""
    return tuple(RULES[version] for version in versions)
