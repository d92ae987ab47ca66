"""The learner of published models: scaled losses, their Adam, averaged weights, checkpoints.

Driven by `model.training.loop`. What happens at a step depends on the step's
number and on what is kept in a checkpoint, on nothing else.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from model.errors import CheckpointError, TrainingError
from model.training.loop import Clock, Figures, history_row
from model.training.optimizer import Adam, gradient_norm, gradient_scale
from model.training.published.board import Board
from model.training.published.checkpoints import Kept, keep
from model.training.published.clips import Batch
from model.training.published.crowd import Crowd
from model.training.published.settings import LearningSettings, SavingSettings
from model.training.published.task import Lesson, Task
from model.training.schedule import LossScale, average_decay, rate_factor

MOST_OVERFLOWS: Final = 100
"""Steps one after the other without finite gradients, after which nothing will be learnt."""
MEBIBYTE: Final = 2**20


@dataclass(slots=True, kw_only=True, eq=False)
class PublishedLearner:
    """A module under training and all that going on needs."""

    task: Task
    cut: Callable[[int], Batch]
    """Gives this process's rows of a step's batch."""
    crowd: Crowd
    learning: LearningSettings
    saving: SavingSettings
    batch_clips: int
    out: Path
    facts: Mapping[str, Any]
    """Kept with every checkpoint: what a training that goes on must agree with."""
    board: Board
    show: Callable[[Clock, Figures], None]
    scale: LossScale = field(default_factory=LossScale)
    overflows: int = 0
    _optimizer: Adam = field(init=False)
    _averaged: dict[str, Tensor] = field(init=False)
    _lesson: Lesson | None = field(init=False, default=None)
    _reports: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Begin with the weights as they are."""
        self._optimizer = Adam(self._parameters(), self.learning.adam())
        self._averaged = {
            name: value.detach().clone() for name, value in self._module().named_parameters()
        }

    def learn(self, step: int, spent: float) -> Figures:
        """Learn from one batch.

        Raises:
            TrainingError: Gradients have not been finite for `MOST_OVERFLOWS` steps.
        """
        del spent
        lesson = self.task.lesson(step, self.cut(step))
        self._module().zero_grad(set_to_none=True)
        factor = self.scale.factor() if self.learning.precision == "float16" else 1.0
        torch.autograd.backward(lesson.loss * factor)
        self.crowd.mean_gradients(self._parameters())
        norm = gradient_norm(self._parameters(), factor)
        overflow = not math.isfinite(norm)
        rate = self.learning.rate * rate_factor(step, self.learning.schedule())
        if not overflow:
            self._move(rate, gradient_scale(norm, self.learning.clip_norm, factor))
            self._average(step)
        settled: Figures = {} if overflow else lesson.settle()
        self._count(overflow=overflow)
        self._lesson = lesson
        figures = {"loss": float(lesson.loss.detach()), **lesson.figures, **settled}
        measured = {"rate": rate, "gradient_norm": norm if not overflow else 0.0}
        return figures | measured | {"overflows": float(overflow), "loss_scale": factor}

    def report(self, clock: Clock, figures: Figures) -> None:
        """Write figures down, averaged over processes; now and then with audio."""
        means = self.crowd.means(figures)
        if self.crowd.rank:
            return
        history_row(self.out, clock, means)
        self.board.scalars(clock.step, means)
        if self._reports % self.saving.audio_reports == 0 and self._lesson is not None:
            self.board.sounds(clock.step, self._lesson.sounds)
        self._reports += 1
        self.show(clock, means)

    def save(self, clock: Clock) -> None:
        """Keep a checkpoint; one process writes for all."""
        if self.crowd.rank:
            return
        numbers = {
            "step": clock.step,
            "minutes": clock.minutes,
            "loss_scale_log2": self.scale.log2,
            "overflows": self.overflows,
            "updates": self._updates(),
            "facts": dict(self.facts),
        }
        keep(
            self.out,
            clock.step,
            numbers,
            self._tensors(),
            shard_bytes=self.saving.shard_mib * MEBIBYTE,
            most=self.saving.keep,
        )

    @torch.no_grad()
    def restore(self, kept: Kept) -> Clock:
        """Take up a checkpoint; return how far it had come.

        Raises:
            CheckpointError: It holds other tensors than this training.
        """
        tensors, numbers = kept.tensors(), kept.numbers
        places = dict(self._places(numbers["updates"]))
        if tensors.keys() != places.keys():
            odd = sorted(tensors.keys() ^ places.keys())
            raise CheckpointError(
                f"{kept.folder} holds other tensors than this training: {odd[:5]}"
            )
        for key, place in places.items():
            if place.shape != tensors[key].shape:
                raise CheckpointError(
                    f"{key} has shape {tuple(tensors[key].shape)} in {kept.folder}, expected "
                    f"{tuple(place.shape)}"
                )
            place.copy_(tensors[key])
        self.scale = LossScale(log2=numbers["loss_scale_log2"])
        self.overflows = numbers["overflows"]
        return Clock(step=numbers["step"], minutes=numbers["minutes"])

    @contextmanager
    def averaged(self) -> Generator[nn.Module]:
        """Yield the module with its averaged weights; its own come back afterwards."""
        own = {name: value.data for name, value in self._module().named_parameters()}
        for name, value in self._module().named_parameters():
            value.data = self._averaged[name]
        try:
            yield self._module()
        finally:
            for name, value in self._module().named_parameters():
                value.data = own[name]

    def _module(self) -> nn.Module:
        return self.task.module

    def _parameters(self) -> list[nn.Parameter]:
        return list(self._module().parameters())

    def _move(self, rate: float, scale: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step(scale=scale)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        decay = self.learning.average
        if decay is None:
            decay = average_decay(self.batch_clips)
        if self.learning.average_ramp:
            decay = min(decay, (1 + step) / (10 + step))
        for name, value in self._module().named_parameters():
            self._averaged[name].lerp_(value, 1 - decay)

    def _count(self, *, overflow: bool) -> None:
        self.overflows = self.overflows + 1 if overflow else 0
        if self.learning.precision == "float16":
            self.scale = self.scale.after(overflow=overflow)
        if self.overflows >= MOST_OVERFLOWS:
            raise TrainingError(
                f"gradients were not finite for {MOST_OVERFLOWS} steps one after the other: go "
                "back to an earlier checkpoint with a lower learning.rate or another "
                "learning.precision"
            )

    def _updates(self) -> dict[str, int]:
        """Return how often each weight was moved; those that never had a gradient are left out."""
        state = self._optimizer.state
        return {
            name: int(state[value]["step"])
            for name, value in self._module().named_parameters()
            if state[value]
        }

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._places(self._updates())

    def _places(self, updates: Mapping[str, int]) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor of the training by its key in a checkpoint."""
        for name, value in self._module().named_parameters():
            yield f"weight/{name}", value.data
            yield f"average/{name}", self._averaged[name]
            if name in updates:
                state = self._optimizer.state[value]
                if not state:
                    state |= {"first": torch.zeros_like(value), "second": torch.zeros_like(value)}
                    state["step"] = updates[name]
                yield f"first/{name}", state["first"]
                yield f"second/{name}", state["second"]
        for name, value in self._module().named_buffers():
            yield f"buffer/{name}", value
