"""TensorBoard: scalars and audio of a training. The package is imported when it is asked for."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from model.errors import TrainingError

INSTALL = "pip install 'jukebox-bridge[train]'"


class Board:
    """Writes nothing: nobody asked for it."""

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        """Write numbers by name."""

    def sounds(self, step: int, sounds: Mapping[str, Float[Tensor, " samples"]]) -> None:
        """Write audio by name."""

    def close(self) -> None:
        """Write what is still held."""


class TensorBoard(Board):
    """Writes event files that TensorBoard shows."""

    def __init__(self, folder: Path, sample_rate: int) -> None:
        """Open a folder.

        Raises:
            TrainingError: The package is not installed.
        """
        try:
            found = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise TrainingError(
                f"saving.tensorboard is true, but tensorboard is not installed: {INSTALL}"
            ) from error
        self._writer: Any = found.SummaryWriter(str(folder))
        self._sample_rate = sample_rate

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        """Write numbers by name."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def sounds(self, step: int, sounds: Mapping[str, Float[Tensor, " samples"]]) -> None:
        """Write audio by name; what is beyond full scale is cut."""
        for name, samples in sounds.items():
            audio = samples.float().cpu().clamp(-1, 1)[None]
            self._writer.add_audio(name, audio, step, sample_rate=self._sample_rate)

    def close(self) -> None:
        """Write what is still held."""
        self._writer.close()
