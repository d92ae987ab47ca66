"""Power in broad bands, and the gains that bring one sound's bands to another's."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from model.listening import SAMPLE_RATE
from model.state import BANDS, Weighed

GROUPS = 8
"""The balance is that of the last 6 s, in which the recall has something to go by."""
MOST_DB = 9.0
QUIET = 1e-3
"""A recording of less power, about -60 dBFS in one group, says nothing of level or colour."""
FLOOR = 1e-5
"""Of the whole power: what lies below in a band is taken for nothing."""
EDGES_HZ: Float64[np.ndarray, " edges"] = np.geomspace(100.0, 14_000.0, BANDS - 1)


def balance(weighed: Weighed, bins: int) -> Float[Tensor, "1 bins"]:
    """Return what each bin's amplitude is multiplied by, so that what is made sounds as recorded.

    Between the bands' centres gains are linear in dB over the logarithm of frequency.
    """
    made, heard = weighed[-GROUPS:].sum(axis=0, dtype=np.float64)
    if heard.sum() < QUIET:
        return torch.ones(1, bins)
    floor = FLOOR * (heard.sum() + made.sum())
    change = 10 * np.log10((heard + floor) / (made + floor))
    edges = np.log(np.concatenate([[EDGES_HZ[0] / 2], EDGES_HZ, [EDGES_HZ[-1] * 1.5]]))
    hertz = np.arange(bins) * SAMPLE_RATE / (2 * (bins - 1))
    at = np.log(np.maximum(hertz, 1.0))
    centres = (edges[1:] + edges[:-1]) / 2
    decibels = torch.as_tensor(np.interp(at, centres, change.clip(-MOST_DB, MOST_DB)))
    return (10 ** (decibels / 20)).float()[None]


def band_power(audio: Float32[np.ndarray, " samples"]) -> Float64[np.ndarray, " bands"]:
    """Return the power of each band between `EDGES_HZ`, below and above."""
    power = np.square(np.abs(np.fft.rfft(audio * np.hanning(len(audio))))) / len(audio)
    return _membership(len(power)) @ power


@lru_cache(maxsize=2)
def _membership(bins: int) -> Float64[np.ndarray, "bands bins"]:
    hertz = np.arange(bins) * SAMPLE_RATE / (2 * (bins - 1))
    band = np.searchsorted(EDGES_HZ, hertz, side="right")
    return (band[None] == np.arange(BANDS)[:, None]).astype(np.float64)
