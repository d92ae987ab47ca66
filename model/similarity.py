"""How alike two sounds are in loudness by band and time: one number, no phase."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

TRANSFORM_SAMPLES = 2048
HOP_SAMPLES = 512
BANDS = 64
SAMPLE_RATE = 44_100


def mel_similarity(made: Float[Tensor, " samples"], true: Float[Tensor, " samples"]) -> float:
    """Return 1 minus the relative distance of root-compressed mel spectra, at least 0."""
    ours, theirs = mel(made).sqrt(), mel(true).sqrt()
    distance, size = (x.square().sum().sqrt() for x in (ours - theirs, theirs))
    return float((1 - distance / size.clamp(min=1e-6)).clamp(0, 1))


def mel(audio: Float[Tensor, " samples"]) -> Float[Tensor, "bands frames"]:
    """Return magnitudes in mel bands (O'Shaughnessy's formula), centred frames."""
    padded = torch.nn.functional.pad(audio, (0, max(0, TRANSFORM_SAMPLES - len(audio))))
    window = torch.hann_window(TRANSFORM_SAMPLES)
    spectrum = torch.stft(
        padded,
        TRANSFORM_SAMPLES,
        HOP_SAMPLES,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return _filters() @ spectrum.abs()


@lru_cache(maxsize=1)
def _filters() -> Float[Tensor, "bands bins"]:
    bins = torch.linspace(0, SAMPLE_RATE / 2, TRANSFORM_SAMPLES // 2 + 1)
    top = 2595 * torch.log10(torch.tensor(1 + SAMPLE_RATE / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, float(top), BANDS + 2) / 2595) - 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return torch.minimum(rising, falling).clamp(min=0)
