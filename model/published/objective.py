"""What published priors are trained on: bits a code and bits a lyric character (paper, 5)."""

from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from model.prior import Prior
from model.published.level import Heard
from model.published.request import Codes, LevelSizes
from model.upsampler import Upsampler

Scalar = Float[Tensor, ""]
LYRIC_FRACTION = 0.4
"""The weight of a lyric character against a code's, in the published lyric models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorLosses:
    """Cross entropies in bits a position; zero lyrics where a model has none."""

    total: Scalar
    lyrics: Scalar
    music: Scalar


def window_logits(
    module: Prior | Upsampler, sizes: LevelSizes, heard: Heard, codes: Codes
) -> Float[Tensor, "batch positions vocabulary"]:
    """Return teacher-forced logits of a whole window; lyrics in the same sequence come first."""
    prior = module.prior if isinstance(module, Upsampler) else module
    sequence = torch.cat([heard.characters, codes + sizes.shift], dim=1)
    return prior(sequence, heard.start, heard.conditions, heard.encoded)


def prior_losses(
    module: Prior | Upsampler,
    sizes: LevelSizes,
    heard: Heard,
    characters: Codes,
    codes: Codes,
    *,
    lyric_fraction: float = LYRIC_FRACTION,
) -> PriorLosses:
    """Return the losses of whole windows; lyrics and codes weigh by how many there are.

    Args:
        module: The model.
        sizes: Its sizes.
        heard: What the windows are told (`level.hear`).
        characters: Their lyrics.
        codes: The windows' codes.
        lyric_fraction: What a lyric character weighs against a code.
    """
    logits = window_logits(module, sizes, heard, codes)
    prefix = sizes.prefix_frames
    music = _bits(logits[:, prefix:], codes + sizes.shift)
    lyrics = music.new_zeros(())
    if prefix:
        lyrics = _bits(logits[:, :prefix], heard.characters)
    elif heard.encoded is not None:
        assert isinstance(module, Prior)
        assert module.lyrics is not None
        lyrics = _bits(module.lyrics.head(heard.encoded), characters)
    slots, frames = characters.shape[1], codes.shape[1]
    total = (lyric_fraction * lyrics * slots + music * frames) / (slots + frames)
    return PriorLosses(total=total, lyrics=lyrics, music=music)


def _bits(
    logits: Float[Tensor, "batch some vocabulary"], wanted: Int[Tensor, "batch some"]
) -> Scalar:
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten()) / log(2)
