"""The models of one engine: the first one, and those that are served beside it.

All work with the same threads, the same store and one budget of caches; what is a model's own is
its generator and how fast it is. Knows neither jobs nor wires.
"""

from dataclasses import replace
from typing import Generic

from bridge.admission import check_maker
from bridge.errors import ConflictError, NotFoundError
from bridge.keeping import Tools
from bridge.model_info import ModelInfo
from bridge.pace import Pace
from bridge.ports import Generator, S
from bridge.takes import Take

ASSUMED_STEP_SECONDS = 0.05
"""Until it is measured; the prime is heard as fast as it plays until then."""


def assumed_pace(info: ModelInfo) -> Pace:
    """Return how fast a model is thought to be before it is measured."""
    return Pace(prime_s=info.feed_samples / info.sample_rate, made_s=ASSUMED_STEP_SECONDS)


class Lineup(Generic[S]):
    """Models by name; the first one is meant where none is named."""

    def __init__(self, first: Tools[S]) -> None:
        """Begin with the first model."""
        self._first = first
        self._tools = {first.generator.info.name: first}

    @property
    def infos(self) -> tuple[ModelInfo, ...]:
        """Return what a caller may know of the models, the first one first."""
        return tuple(tools.generator.info for tools in self._tools.values())

    def add(self, generator: Generator[S]) -> None:
        """Serve one more model.

        Raises:
            ConflictError: One of this name is served already.
        """
        info = generator.info
        if info.name in self._tools:
            raise ConflictError(f"two models are named {info.name!r}: one of them needs another")
        self._tools[info.name] = replace(self._first, generator=generator, pace=assumed_pace(info))

    def remove(self, name: str) -> None:
        """Serve a model no more; the first one stays.

        Raises:
            NotFoundError: None of this name is served beside the first one.
        """
        if self.named(name) is self._first:
            raise NotFoundError(f"{name!r} is the first model, not one beside it")
        del self._tools[name]

    def named(self, name: str) -> Tools[S]:
        """Return the tools of a model; of the first one for an empty name.

        Raises:
            NotFoundError: No such model is loaded.
        """
        if not name:
            return self._first
        if name not in self._tools:
            known = ", ".join(self._tools)
            raise NotFoundError(f"no model is named {name[:80]!r}; loaded: {known}", field="model")
        return self._tools[name]

    def by_fingerprint(self, fingerprint: str) -> Tools[S]:
        """Return the tools of the model with this fingerprint, or of the first one."""
        same = (t for t in self._tools.values() if t.generator.info.fingerprint == fingerprint)
        return next(same, self._first)

    def maker_of(self, take: Take) -> Tools[S]:
        """Return the tools of the model that made a take.

        Raises:
            NotReadyError: It is not loaded.
        """
        tools = self.by_fingerprint(take.fingerprint)
        check_maker(take, tools.generator.info)
        return tools
