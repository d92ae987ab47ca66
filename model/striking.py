"""Which notes a step strikes: the composer's chances weighed, then drawn.

Knows chances and what a step was told; neither timelines nor networks.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8

from model.composer import HELD, LOWEST_PITCH, OFF, PITCHES, STRUCK, Steps
from model.conditioning.cues import ECHO, ECHO_SOUNDS, ECHO_STRUCK
from model.noise import uniform
from model.values import SamplingPlan

LEVEL = 3
"""The composer's stream of noise, beside the three of the codec's levels."""
LEAST_CHANCE = 0.005
STRUCK_TEMPERATURE = 0.5
MOST_STRUCK = 12
DRAWS = PITCHES + 1
"""Uniform numbers a step: one a row, and one for how many pitches are struck."""
USUAL_STEPS = 43
"""What was struck in the last 2 s is held against the prime."""
LEAST_AS_USUAL = 0.25
KEY_FLOOR = 0.01
KEY_RANGE = (0.05, 2.0)
"""A pitch class that never sounded is struck this much more rarely, the commonest more often."""
Chances = Float64[np.ndarray, "pitches states"]
Key = Float64[np.ndarray, " pitches"]


def come_back(
    chances: Chances, cues: Float32[np.ndarray, " cues"]
) -> Float64[np.ndarray, "pitches states"]:
    """Return chances of which a share copies the earlier section: all of it at similarity 1.

    The share is the similarity squared, since the composer was told of it as well.
    """
    told, similarity = cues[ECHO].tolist()
    if not told:
        return chances
    share = told * similarity**2
    copied = np.zeros_like(chances)
    sounds, struck = cues[ECHO_SOUNDS] > 0, cues[ECHO_STRUCK] > 0
    copied[np.arange(PITCHES), np.where(struck, STRUCK, np.where(sounds, HELD, OFF))] = 1.0
    return (1 - share) * chances + share * copied


def as_dense(chances: Chances, factor: float) -> Float64[np.ndarray, "pitches states"]:
    """Return chances that strike so many times as much."""
    weighted = chances.copy()
    weighted[:, STRUCK] *= factor
    return weighted / weighted.sum(axis=1, keepdims=True)


def as_usual(past: Steps, usual: float) -> float:
    """Return how many times as often to strike, so that it happens no more often than in the prime.

    Else mistakes feed on each other: of 8 held-out excerpts with no tempo told, notes came
    2.5 times as often as in the truth.

    Args:
        past: What was heard, or is known for sure, up to the step to come.
        usual: How many rows the prime strikes a step; 0: nobody knows.
    """
    if not usual:
        return 1.0
    recent = past[-USUAL_STEPS:]
    surely = recent[recent[:, -1] > 0, PITCHES : 2 * PITCHES]
    struck = float(surely.sum()) + usual * (len(recent) - len(surely))
    return float(np.clip(usual * len(recent) / max(struck, 1e-9), LEAST_AS_USUAL, 1.0))


def key_of(past: Float32[np.ndarray, "steps rows"]) -> Key:
    """Return how many times as often each pitch shall be struck, for how its class sounded."""
    sounding = past[:, :PITCHES].sum(axis=0, dtype=np.float64)
    sounding[:LOWEST_PITCH] = 0
    classes = np.array([sounding[pitch::12].sum() for pitch in range(12)])
    share = 12 * (classes / max(classes.sum(), 1e-9) + KEY_FLOOR)
    weights = np.clip(share, *KEY_RANGE)[np.arange(PITCHES) % 12]
    weights[:LOWEST_PITCH] = 1.0
    return weights


def in_key(chances: Chances, key: Key) -> Float64[np.ndarray, "pitches states"]:
    """Return chances that strike pitch classes as often as the past sounds them.

    Many unlikely pitches together make wrong notes likely, since each is drawn
    apart; so the unlikeliest are left out. The constants were chosen on five
    pieces, one draw each: chroma of 5.6 s composed correlated .84 with the
    prime's, without this .72.
    """
    weighted = chances.copy()
    weighted[:, STRUCK] *= key
    weighted /= weighted.sum(axis=1, keepdims=True)
    weighted[weighted < LEAST_CHANCE] = 0
    return weighted / weighted.sum(axis=1, keepdims=True)


def choice(
    chances: Float64[np.ndarray, "pitches states"],
    sounding: Bool[np.ndarray, " pitches"],
    plan: SamplingPlan,
    step: int,
) -> Int8[np.ndarray, " pitches"]:
    """Return one state a row.

    What sounds already, and drums, are drawn each by its own chances. Of the
    silent pitches so many are struck as their chances say together, but which
    ones is drawn cooler: many unlikely pitches would else be struck among them.
    """
    draws = uniform(
        plan.seed,
        level=LEVEL,
        turn=0,
        variation=plan.variation,
        first_frame=step * DRAWS,
        frames=DRAWS,
    )
    states = (chances.cumsum(axis=1) <= draws[:PITCHES, None]).sum(axis=1).clip(OFF, HELD)
    silent = ~sounding
    silent[:LOWEST_PITCH] = False
    states[silent] = OFF
    likely = np.where(silent, chances[:, STRUCK], 0.0)
    count = int((_counts(likely).cumsum() <= draws[PITCHES]).sum())
    with np.errstate(divide="ignore"):
        rank = np.log(likely) / STRUCK_TEMPERATURE - np.log(-np.log(draws[:PITCHES]))
    rank[likely <= 0] = -np.inf
    chosen = np.argsort(-rank, kind="stable")[: min(count, int((likely > 0).sum()))]
    states[chosen] = STRUCK
    return states.astype(np.int8)


def _counts(chances: Float64[np.ndarray, " events"]) -> Float64[np.ndarray, " counts"]:
    """Return how likely it is that so many of independent events happen, up to `MOST_STRUCK`."""
    counts = np.zeros(MOST_STRUCK + 1)
    counts[0] = 1.0
    for chance in chances[chances > 0]:
        counts[1:] = counts[1:] * (1 - chance) + counts[:-1] * chance
        counts[0] *= 1 - chance
    return counts / counts.sum()
