"""What the codec loses, level by level, on music it has never heard.

Encodes and decodes whole clips with the weights of a folder, in the precision they are served in,
and measures the loss as the paper does (Dhariwal et al. 2020, table 4: spectral convergence in
dB). How results sound is measured through the server, by `jukebox-bridge evaluate`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16

from model.bundle import Bundle
from model.codec import Level
from model.similarity import mel
from model.store import SHIPPED, load_bundle
from model.training.losses import spectral_terms

Mono = Float32[np.ndarray, " samples"]
Codes = Int16[np.ndarray, " frames"]
PIECE_FRAMES = 1 << 14
"""Frames encoded at once where a clip is long; levels see less than `LEAD_FRAMES` back."""
LEAD_FRAMES = 1 << 11
_TINY = 1e-12
_RANGE = 1e-3
"""Mel magnitudes under a thousandth of the clip's largest are not told apart: 60 dB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundTrip:
    """A clip through one level: its codes, and the audio made of them, as long as the clip."""

    codes: Codes
    audio: Mono


class CodecTrips:
    """The codec of a folder of weights."""

    def __init__(self, folder: Path | None = None) -> None:
        """Load the weights, the shipped ones if no folder is given.

        Raises:
            CheckpointError: A file is missing, damaged, or not of this configuration.
        """
        torch.set_num_threads(1)
        self._bundle: Bundle = load_bundle(folder or SHIPPED)

    @property
    def fingerprint(self) -> str:
        """Return what names the weights."""
        return self._bundle.card.fingerprint

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Return how many codes each level has, the finest first."""
        config = self._bundle.config.codec
        return (config.codebook_size,) * len(config.levels)

    def codes(self, index: int, audio: Mono) -> Codes:
        """Return a level's codes of a clip."""
        return codes_of(self._bundle.codec.level(index), audio)

    @torch.no_grad()
    def through(self, index: int, audio: Mono) -> RoundTrip:
        """Return a clip after one level; 0 is the finest."""
        level = self._bundle.codec.level(index)
        codes = codes_of(level, audio)
        made: list[torch.Tensor] = []
        for first in range(0, len(codes), PIECE_FRAMES):
            lead = min(LEAD_FRAMES, first)
            seen = codes[first - lead : first + PIECE_FRAMES + LEAD_FRAMES]
            sound = level.decode(torch.as_tensor(seen.astype(np.int64))[None]).float()
            made.append(sound[0, lead * level.hop : (lead + PIECE_FRAMES) * level.hop])
        return RoundTrip(codes=codes, audio=torch.cat(made).numpy()[: len(audio)])


@torch.no_grad()
def codes_of(level: Level, audio: Mono) -> Codes:
    """Return the codes of audio of any length, the last frame filled up with silence.

    Pieces overlap by more than the level sees, so their number changes nothing.
    """
    padded = np.pad(audio, (0, -len(audio) % level.hop))
    codes: list[torch.Tensor] = []
    for first in range(0, len(padded) // level.hop, PIECE_FRAMES):
        lead = min(LEAD_FRAMES, first)
        start, end = (first - lead) * level.hop, (first + PIECE_FRAMES + LEAD_FRAMES) * level.hop
        found = level.encode(torch.as_tensor(padded[start:end])[None])
        codes.append(found[0, lead : lead + PIECE_FRAMES])
    return torch.cat(codes).numpy().astype(np.int16)


def loss_figures(made: Mono, true: Mono) -> dict[str, float]:
    """Return how far audio is from what it should be.

    `spectral_convergence_db` over three resolutions, 0 for silence; `log_mel_db` the mean
    distance of mel bands within 60 dB; `si_sdr_db` after the best scale for the wave.
    """
    ours, theirs = torch.as_tensor(made)[None], torch.as_tensor(true)[None]
    convergence = float(spectral_terms(ours, theirs).convergence)
    return {
        "spectral_convergence_db": 20 * float(np.log10(max(convergence, _TINY))),
        "log_mel_db": _log_mel_db(ours[0], theirs[0]),
        "si_sdr_db": _si_sdr_db(made.astype(np.float64), true.astype(np.float64)),
    }


def _log_mel_db(
    made: Float[torch.Tensor, " samples"], true: Float[torch.Tensor, " samples"]
) -> float:
    ours, theirs = mel(made), mel(true)
    least = _RANGE * theirs.max().clamp(min=_TINY)
    difference = ours.clamp(min=least).log10() - theirs.clamp(min=least).log10()
    return 20 * float(difference.abs().mean())


def _si_sdr_db(made: np.ndarray, true: np.ndarray) -> float:
    scale = float(made @ true) / max(float(true @ true), _TINY)
    noise = float(np.sum(np.square(made - scale * true)))
    return 10 * float(np.log10(max(scale**2 * float(true @ true), _TINY) / max(noise, _TINY)))
