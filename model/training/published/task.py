"""What a learner is given: a module, and for every batch a loss and what follows from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from model.checkpoint import Published
from model.training.loop import Figures
from model.training.published.clips import Batch

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def nothing() -> Figures:
    """Return no figures: there is nothing to settle."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What one batch teaches."""

    loss: Float[Tensor, ""]
    figures: Figures
    settle: Callable[[], Figures] = nothing
    """What is learnt without gradients, once they are known to be finite."""
    sounds: Mapping[str, Float[Tensor, " samples"]] = field(default_factory=dict[str, Tensor])
    """To be listened to, by name."""


@runtime_checkable
class Task(Protocol):
    """One kind of training."""

    @property
    def module(self) -> Published:
        """Return what learns."""
        ...

    def lesson(self, step: int, batch: Batch) -> Lesson:
        """Return what a batch teaches at a step."""
        ...
