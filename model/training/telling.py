"""What a stretch of training music is told of itself: metre, curves, suffix, earlier section.

Everything is made from the example itself, so that no corpus need hold suffixes or
sections that come back: an earlier section is a copy of what is to come of which a
share, the similarity, is true and the rest is taken from elsewhere in the piece.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from jaxtyping import Float16, Float32, Float64, Int8, Int64

from model.composer import OFF, STRUCK
from model.conditioning.cues import (
    DENSITY,
    ECHO,
    ECHO_SOUNDS,
    ECHO_STRUCK,
    ENERGY,
    GOAL,
    GOAL_SOUNDS,
    GOAL_STEPS,
    METRE,
    Cues,
    density_cues,
    energy_cues,
    goal_cues,
    metre_cues,
    nothing_told,
    onsets_of,
)
from model.data.dataset import SAMPLE_RATE, Example, open_split
from model.listener import SOUNDING, Listener
from model.listening import STEP_SAMPLES
from model.training.listener import spectra_of
from model.values import Pulse, steady_pulse

LARGEST_DEVIATION_BEATS = 0.013
"""Where half of the notes lie further from every twelfth of a beat, no tempo is told."""
QUIET_DB = -60.0
SEEDS = 2**31 - 1
AFTER_STEPS = 64
"""A suffix may begin so long after the stretch."""
SECTION_STEPS = (40, 400)
PIECE_STEPS = (5, 24)
"""What comes back is mixed of pieces as long as a beat or two."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curves:
    """What a whole excerpt's bars are like: decibels relative to the piece, onsets a quarter."""

    energy: Float64[np.ndarray, " bars"]
    density: Float64[np.ndarray, " bars"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardExample:
    """An example's notes with what the listener hears in its mix, step by step."""

    example: Example
    likely: Float16[np.ndarray, "steps rows states"]
    pulse: Pulse | None
    curves: Curves | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Steps of an example to be composed, with the whole example's notes in the same key."""

    one: HeardExample
    first: int
    steps: int
    score: Int8[np.ndarray, "all_steps rows"]
    likely: Float16[np.ndarray, "heard_steps rows states"]

    @property
    def numbers(self) -> Int64[np.ndarray, " steps"]:
        """Return the numbers of its steps."""
        return np.arange(self.first, self.first + self.steps)


@torch.no_grad()
def hear_all(listener: Listener, folder: Path, split: str) -> list[HeardExample]:
    """Return the examples of a split as the listener hears them."""
    examples = open_split(folder, split)
    made: list[HeardExample] = []
    for example, one in zip(examples, spectra_of(folder, split, examples), strict=True):
        spectra = torch.as_tensor(one.spectra.astype(np.float32))[None]
        likely = listener(spectra)[0].sigmoid().numpy().astype(np.float16)
        pulse = pulse_of(example)
        curves = None if pulse is None else curves_of(example, pulse)
        made.append(HeardExample(example=example, likely=likely, pulse=pulse, curves=curves))
    return made


def pulse_of(example: Example) -> Pulse | None:
    """Return the example's tempo and meter; None where its notes do not keep to them."""
    numerator, denominator = (int(part) for part in example.labels.meter.split("/"))
    a_beat = 60 * SAMPLE_RATE / example.labels.tempo_bpm
    twelfths = example.notes[:, 0] / a_beat * 12
    away = np.abs(twelfths - np.rint(twelfths)) / 12
    if not len(away) or np.median(away) > LARGEST_DEVIATION_BEATS:
        return None
    return steady_pulse(a_beat, 4 * numerator / denominator)


def curves_of(example: Example, pulse: Pulse) -> Curves:
    """Return how loud and how busy each bar of an example is."""
    beat_samples, beats = (float(value) for value in pulse.knots[0, 3:].tolist())
    a_bar = beat_samples * beats
    bars = int(np.ceil(example.num_samples / a_bar))
    lines = np.rint(np.arange(bars + 1) * a_bar).astype(np.int64)
    mix = example.mix()
    power = np.array(
        [
            np.mean(np.square(mix[first:last].astype(np.float32) / 32768, dtype=np.float64))
            if first < example.num_samples
            else 0.0
            for first, last in pairwise(lines.tolist())
        ]
    )
    decibels = 10 * np.log10(power + 1e-12)
    heard = decibels > QUIET_DB
    usual = 10 * np.log10(power[heard].mean()) if heard.any() else 0.0
    # Humanised onsets may come a little before their bar line.
    places = np.searchsorted(lines, example.notes[:, 0] + STEP_SAMPLES // 2, side="right") - 1
    counts = np.bincount(np.clip(places, 0, bars - 1), minlength=bars)
    return Curves(energy=np.clip(decibels - usual, -24, 24), density=counts / beats)


def told_of(
    stretch: Stretch, random: np.random.Generator, told: frozenset[str] | None = None
) -> Cues:
    """Return what is told of a stretch; `told` names the kinds, None draws them."""
    cues = nothing_told(stretch.steps)
    for kind, tell in KINDS.items():
        drawn = random.random() < CHANCES[kind]
        own = np.random.default_rng(int(random.integers(SEEDS)))
        if drawn if told is None else kind in told:
            tell(stretch, cues, own)
    return cues


def _tell_metre(stretch: Stretch, cues: Cues, random: np.random.Generator) -> None:
    del random
    if stretch.one.pulse is not None:
        cues[:, METRE] = metre_cues(stretch.one.pulse, stretch.numbers)


def _tell_energy(stretch: Stretch, cues: Cues, random: np.random.Generator) -> None:
    del random
    if stretch.one.curves is not None:
        cues[:, ENERGY] = energy_cues(_by_step(stretch, stretch.one.curves.energy))


def _tell_density(stretch: Stretch, cues: Cues, random: np.random.Generator) -> None:
    del random
    if stretch.one.curves is not None:
        cues[:, DENSITY] = density_cues(_by_step(stretch, stretch.one.curves.density))


def _by_step(
    stretch: Stretch, values: Float64[np.ndarray, " bars"]
) -> Float64[np.ndarray, " steps"]:
    pulse = stretch.one.pulse
    assert pulse is not None
    bars = np.floor(pulse.bars(onsets_of(pulse, stretch.numbers)) + 1e-3).astype(np.int64)
    return values[np.clip(bars, 0, len(values) - 1)]


def _tell_suffix(stretch: Stretch, cues: Cues, random: np.random.Generator) -> None:
    latest = min(stretch.steps + AFTER_STEPS, len(stretch.likely) - GOAL_STEPS - stretch.first)
    begins = stretch.first + int(random.integers(stretch.steps // 5, latest))
    sounds = stretch.likely[begins : begins + GOAL_STEPS, :, SOUNDING].max(axis=0)
    cues[:, GOAL], cues[:, GOAL_SOUNDS] = goal_cues(
        begins - stretch.numbers, sounds.astype(np.float32)
    )


def _tell_echo(stretch: Stretch, cues: Cues, random: np.random.Generator) -> None:
    """Tell an earlier section, of which a share is what really comes."""
    similarity = float(random.choice([1.0, random.random()], p=[0.3, 0.7]))
    steps = stretch.steps
    length = int(random.integers(*SECTION_STEPS))
    begin = int(random.integers(-length // 2, steps - SECTION_STEPS[0] // 2))
    inside = np.zeros(steps, bool)
    inside[max(0, begin) : begin + length] = True
    score = _mixed(stretch, similarity, random)
    cues[inside, ECHO] = (1.0, similarity)
    cues[inside, ECHO_SOUNDS] = (score > OFF)[inside]
    cues[inside, ECHO_STRUCK] = (score == STRUCK)[inside]


def _mixed(
    stretch: Stretch, similarity: float, random: np.random.Generator
) -> Float32[np.ndarray, "steps rows"] | Int8[np.ndarray, "steps rows"]:
    score = stretch.score[stretch.first : stretch.first + stretch.steps].copy()
    at = 0
    while at < stretch.steps:
        length = int(random.integers(*PIECE_STEPS))
        if random.random() >= similarity:
            other = int(random.integers(len(stretch.score) - length))
            piece = stretch.score[other : other + length]
            score[at : at + length] = piece[: stretch.steps - at]
        at += length
    return score


Tell = Callable[[Stretch, Cues, np.random.Generator], None]
KINDS: Final[Mapping[str, Tell]] = MappingProxyType(
    {
        "metre": _tell_metre,
        "energy": _tell_energy,
        "density": _tell_density,
        "suffix": _tell_suffix,
        "echo": _tell_echo,
    }
)
CHANCES: Final[Mapping[str, float]] = MappingProxyType(
    {"metre": 0.75, "energy": 0.4, "density": 0.4, "suffix": 0.3, "echo": 0.3}
)
