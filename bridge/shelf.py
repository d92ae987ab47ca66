"""The models that a server knows, loaded or not: what the wires need of them.

Knows neither wire nor model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.model_info import ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelvedModel:
    """A model, and whether it is in memory and serves."""

    info: ModelInfo
    loaded: bool


class Shelf(Protocol):
    """The models that a server knows."""

    def models(self) -> Sequence[ShelvedModel]:
        """Return all that are known, the default one first.

        Raises:
            NotReadyError: The first one is still loading, so that not even its name is known.
        """
        ...

    async def load_model(self, name: str) -> ShelvedModel:
        """Return the model of this name, once it serves; empty: the default one.

        Raises:
            NotFoundError: No model has this name.
        """
        ...

    async def unload_model(self, name: str) -> ShelvedModel:
        """Return the model of this name, once its jobs have ended and its memory is free.

        Raises:
            NotFoundError: No model has this name.
            BusyError: Its jobs did not end in time.
        """
        ...
