"""A model's codec alone, for measuring: clips through one level and back."""

from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Int16

from bridge.app.rows import translated_errors
from bridge.ports import Mono


class RoundTrip(Protocol):
    """A clip through one level: its codes, and the audio made of them."""

    @property
    def codes(self) -> Int16[np.ndarray, " frames"]:
        """Return the codes."""
        ...

    @property
    def audio(self) -> Mono:
        """Return the audio, as long as the clip."""
        ...


class CodecTrips(Protocol):
    """A loaded codec."""

    @property
    def fingerprint(self) -> str:
        """Return what names the weights."""
        ...

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Return how many codes each level has, the finest first."""
        ...

    def codes(self, index: int, audio: Mono) -> Int16[np.ndarray, " frames"]:
        """Return a level's codes of a clip."""
        ...

    def through(self, index: int, audio: Mono) -> RoundTrip:
        """Return a clip after one level; 0 is the finest."""
        ...


def open_codec(folder: Path | None) -> CodecTrips:
    """Return the codec of a folder of weights, or of the model in the box.

    Raises:
        NotReadyError: The weights cannot be read.
    """
    from model.training.evaluate import CodecTrips as Loaded

    with translated_errors():
        return Loaded(folder)


def codec_loss(made: Mono, true: Mono) -> dict[str, float]:
    """Return spectral convergence, log-mel distance and SI-SDR in dB."""
    from model.training.evaluate import loss_figures

    return loss_figures(made, true)
