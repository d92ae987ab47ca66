"""Counter-based randomness: a draw is a function of where it is used, not of what came before.

Philox over the request's seed; level, pass and variation pick the stream, the
absolute frame is the counter. So any cut of the work, any order and any
company give the same draws (Salmon et al. 2011, "Parallel random numbers").
"""

import numpy as np
from jaxtyping import Float64, Int64
from numpy.random import Philox

MAX_SEED = 2**64 - 1
MAX_LEVEL = 2**8 - 1
MAX_TURN = 2**24 - 1
MAX_VARIATION = 2**32 - 1
_LIMITS = {
    "seed": MAX_SEED,
    "level": MAX_LEVEL,
    "turn": MAX_TURN,
    "variation": MAX_VARIATION,
}
_DOUBLE = 2.0**-53


def uniform(
    seed: int, *, level: int, turn: int, variation: int, first_frame: int, frames: int
) -> Float64[np.ndarray, " frames"]:
    """Return one number in [0, 1) for each frame from `first_frame` on; `turn` is the pass.

    Raises:
        ValueError: The seed, level, turn or variation has no room in the key.
    """
    given = {"seed": seed, "level": level, "turn": turn, "variation": variation}
    for name, limit in _LIMITS.items():
        if not 0 <= given[name] <= limit:
            raise ValueError(f"the {name} is {given[name]}, allowed are 0 to {limit}")
    stream = (level << 56) | (turn << 32) | variation
    bits = Philox(key=np.array([seed, stream], np.uint64), counter=first_frame)
    words = bits.random_raw(4 * frames).reshape(frames, 4)[:, 0]
    return (words >> np.uint64(11)).astype(np.float64) * _DOUBLE


def choose(
    probabilities: Float64[np.ndarray, "frames codes"], draws: Float64[np.ndarray, " frames"]
) -> Int64[np.ndarray, " frames"]:
    """Return the code at each draw's place in the cumulative distribution."""
    cumulative = probabilities.cumsum(axis=1)
    total = cumulative[:, -1:]
    # Rounded up to the total, a draw would lie after the last code that has a chance.
    wanted = np.minimum(draws[:, None] * total, np.nextafter(total, 0.0))
    return (cumulative <= wanted).sum(axis=1)
