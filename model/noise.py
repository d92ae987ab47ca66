"""Counter-based randomness: a draw is a function of where it is used, not of what came before.

Philox over the request's seed; level, pass and variation pick the stream, the
absolute frame is the counter. So any cut of the work, any order and any
company give the same draws (Salmon et al. 2011, "Parallel random numbers").
"""

import numpy as np
from jaxtyping import Float64, Int64
from numpy.random import Philox

MAX_SEED = 2**64 - 1
_DOUBLE = 2.0**-53


def uniform(
    seed: int, *, level: int, turn: int, variation: int, first_frame: int, frames: int
) -> Float64[np.ndarray, " frames"]:
    """Return one number in [0, 1) for each frame from `first_frame` on; `turn` is the pass.

    Raises:
        ValueError: The seed is not an unsigned 64-bit number.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"the seed is {seed}, allowed are 0 to {MAX_SEED}")
    stream = (level << 56) | (turn << 32) | variation
    bits = Philox(key=np.array([seed, stream], np.uint64), counter=first_frame)
    words = bits.random_raw(4 * frames).reshape(frames, 4)[:, 0]
    return (words >> np.uint64(11)).astype(np.float64) * _DOUBLE


def choose(
    probabilities: Float64[np.ndarray, "frames codes"], draws: Float64[np.ndarray, " frames"]
) -> Int64[np.ndarray, " frames"]:
    """Return the code at each draw's place in the cumulative distribution."""
    cumulative = probabilities.cumsum(axis=1)
    wanted = draws[:, None] * cumulative[:, -1:]
    return np.minimum((cumulative <= wanted).sum(axis=1), probabilities.shape[1] - 1)
