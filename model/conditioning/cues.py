"""What the composer is told of the steps to come, besides notes: a row of features a step.

The metre, how loud and how busy a bar shall be, what the suffix begins with and
how far away it is, and the notes of an earlier section that shall come back.
What nobody told is 0, and a flag says so. Knows numpy, nothing of networks.
"""

import numpy as np
from jaxtyping import Float32, Float64, Int64

from model.values import Pulse

STEP_SAMPLES = 2048
PITCHES = 128
HARMONICS = (1, 2, 3, 4)
DIVISIONS = (1, 2, 4, 3)
"""Of a quarter note: notes are put on these, the first that lies in a step counts most."""
GOAL_STEPS = 8
"""So much of the suffix, 0.37 s, is looked at."""
GOAL_REACHES = (8.0, 32.0, 128.0)
"""In steps: how near the suffix is, is told as three decays."""
MOST_ONSETS = 8.0
"""Onsets a quarter note at density 1."""
ENERGY_DB = 12.0
"""How much louder than the piece energy 1 is, and how much softer energy 0."""

_WIDTHS = {
    "metre": 1 + 4 * len(HARMONICS) + 1 + len(DIVISIONS) + 2,
    "energy": 2,
    "density": 2,
    "goal": 1 + len(GOAL_REACHES),
    "echo": 2,
    "goal_sounds": PITCHES,
    "echo_sounds": PITCHES,
    "echo_struck": PITCHES,
}
_STARTS = np.cumsum([0, *_WIDTHS.values()]).tolist()
METRE, ENERGY, DENSITY, GOAL, ECHO, GOAL_SOUNDS, ECHO_SOUNDS, ECHO_STRUCK = (
    slice(start, start + width) for start, width in zip(_STARTS[:-1], _WIDTHS.values(), strict=True)
)
CUES = _STARTS[-1]

Cues = Float32[np.ndarray, "steps cues"]
Steps = Int64[np.ndarray, " steps"]
"""Numbers of steps on the anchor's grid."""


def nothing_told(num_steps: int) -> Cues:
    """Return the cues of steps of which nothing is told."""
    return np.zeros((num_steps, CUES), np.float32)


def edges_of(steps: Steps) -> Steps:
    """Return the samples from which on what begins belongs to a step: half a step before it."""
    return steps * STEP_SAMPLES - STEP_SAMPLES // 2


def metre_cues(pulse: Pulse, steps: Steps) -> Float32[np.ndarray, "steps metre"]:
    """Return phases of beat and bar, and which lines of the grid lie in each step."""
    at, edges = steps * STEP_SAMPLES, edges_of(np.append(steps, steps[-1:] + 1))
    beats, bars = pulse.beats(at), pulse.bars(at)
    turns = 2 * np.pi * np.concatenate([np.outer(x, HARMONICS) for x in (beats, bars)], axis=1)
    lines = [_lines(pulse.bars(edges)), *(_lines(pulse.beats(edges) * n) for n in DIVISIONS)]
    knots = pulse.knots[pulse.places(at)]
    rates = np.stack([np.log2(knots[:, 3] / STEP_SAMPLES) / 4, knots[:, 4] / 4], axis=1)
    flags = np.stack([np.ones(len(steps), bool), *(line > 0 for line in lines)], axis=1)
    return np.concatenate([flags, np.sin(turns), np.cos(turns), rates], axis=1, dtype=np.float32)


def onsets_of(pulse: Pulse | None, steps: Steps) -> Steps:
    """Return the sample at which a note of each step begins: on the grid, where a line is near.

    A line is near if it lies in the step, so no note is moved by more than half a step.
    """
    onsets = steps * STEP_SAMPLES
    if pulse is None or not len(steps):
        return onsets
    edges = edges_of(np.append(steps, steps[-1:] + 1))
    beats = pulse.beats(edges)
    for division in reversed(DIVISIONS):
        line = np.ceil(beats[:-1] * division)
        near = line < beats[1:] * division
        placed = np.floor(pulse.samples(line / division) + 0.5).astype(np.int64)
        onsets = np.where(near, np.clip(placed, edges[:-1], edges[1:] - 1), onsets)
    return onsets


def energy_cues(
    decibels: Float64[np.ndarray, " steps"],
) -> Float32[np.ndarray, "steps 2"]:
    """Return how much louder than the piece each step's bar is; NaN where nobody said."""
    return _told(decibels / ENERGY_DB)


def density_cues(
    onsets: Float64[np.ndarray, " steps"],
) -> Float32[np.ndarray, "steps 2"]:
    """Return how many onsets a quarter note each step's bar has; NaN where nobody said."""
    return _told(np.sqrt(onsets / MOST_ONSETS))


def goal_cues(
    left: Int64[np.ndarray, " steps"], sounds: Float32[np.ndarray, " pitches"]
) -> tuple[Float32[np.ndarray, "steps goal"], Float32[np.ndarray, "steps pitches"]]:
    """Return how near the suffix is and, while it is to come, what it begins with.

    Args:
        left: Steps until it begins; 0 and less once it has begun.
        sounds: How likely each pitch sounds as it begins.
    """
    coming = left > 0
    near = np.exp(-np.maximum(left, 0)[:, None] / np.array(GOAL_REACHES))
    flags = np.concatenate([np.ones((len(left), 1)), near], axis=1) * coming[:, None]
    return flags.astype(np.float32), coming[:, None] * sounds


def _lines(at: Float64[np.ndarray, " edges"]) -> Float64[np.ndarray, " steps"]:
    return np.diff(np.ceil(at))


def _told(values: Float64[np.ndarray, " steps"]) -> Float32[np.ndarray, "steps 2"]:
    known = ~np.isnan(values)
    return np.stack([known, np.where(known, values, 0)], axis=1).astype(np.float32)
