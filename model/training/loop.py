"""The loop that every training shares: a time box, reports, resumable checkpoints.

`run` knows neither model nor loss nor files: a `Learner` is given. `train` gives it
the learner of the shipped model's parts, which takes a `step` function; that of the
published models is `model.training.published.learner`. Progress goes to the log and
to `history.jsonl`, one row a report.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)
Figures = Mapping[str, float]
HISTORY = "history.jsonl"
CHECKPOINT = "checkpoint.pt"
START = "start.pt"
"""Weights that a training begins with where it has no checkpoint yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How long and how fast to learn."""

    out: Path
    max_minutes: float
    max_steps: float = math.inf
    learning_rate: float = 3e-4
    final_rate: float = 0.05
    """The last learning rate, relative to the first."""
    warm_up_steps: int = 50
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average: float = 0.998
    """Decay of the averaged weights, which are the ones that ship."""
    save_minutes: float = 3.0
    report_steps: int = 20
    muon: bool = False
    """Orthogonalised momentum for the matrices inside layers (Jordan et al. 2024), which learn
    from fewer examples so; everything else keeps AdamW."""
    seed: int = 1


@dataclass(slots=True)
class Clock:
    """Training time so far, over all sittings."""

    step: int = 0
    minutes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """When a training stops, saves and reports."""

    max_minutes: float
    max_steps: float = math.inf
    save_minutes: float = 3.0
    report_steps: int = 20
    agree: Callable[[float], float] = float
    """Makes one time of the minutes that each process counts: all stop after the same step."""
    stop: Callable[[], bool] = lambda: False
    """Asked after every step; true ends the sitting as the time box does."""


@runtime_checkable
class Learner(Protocol):
    """What learns: one batch at a time, from one step's number on."""

    def learn(self, step: int, spent: float) -> Figures:
        """Learn from one batch, given the share of the time box that is spent; return figures."""
        ...

    def report(self, clock: Clock, figures: Figures) -> None:
        """Take note of figures, averaged over the steps since the last report."""
        ...

    def save(self, clock: Clock) -> None:
        """Keep everything that going on from here needs."""
        ...


def run(learner: Learner, clock: Clock, box: Box) -> None:
    """Learn until time or steps are up, or a stop is asked for; what was learnt is saved."""
    last_save = last_tick = time.monotonic()
    sums: dict[str, float] = {}
    summed = 0
    while clock.minutes < box.max_minutes and clock.step < box.max_steps:
        figures = learner.learn(clock.step, clock.minutes / box.max_minutes)
        clock.step += 1
        now = time.monotonic()
        clock.minutes = box.agree(clock.minutes + (now - last_tick) / 60)
        last_tick = now
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + value
        summed += 1
        if clock.step % box.report_steps == 0:
            learner.report(clock, {name: value / summed for name, value in sums.items()})
            sums, summed = {}, 0
        if box.stop():
            break
        if now - last_save > 60 * box.save_minutes:
            learner.save(clock)
            last_save = now
    learner.save(clock)


def train(
    module: nn.Module,
    step: Callable[[int, torch.Generator, float], tuple[Tensor, Figures]],
    config: LoopConfig,
    show: Callable[[Clock, Figures], None] = lambda clock, figures: None,
    stop: Callable[[], bool] = lambda: False,
) -> nn.Module:
    """Return the averaged module after learning for the time box; resumes what `out` holds.

    `step` takes the step number, a random generator that is that step's own, and the
    share of the time box spent (0 to 1), and returns the loss with figures to report.
    `show` is told of every report; `stop` is asked after every step.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    optimizers = _optimizers(module, config)
    averaged = {name: value.detach().clone() for name, value in module.state_dict().items()}
    clock = _resume(config, module, optimizers, averaged)
    box = Box(
        max_minutes=config.max_minutes,
        max_steps=config.max_steps,
        save_minutes=config.save_minutes,
        report_steps=config.report_steps,
        stop=stop,
    )
    run(_Steps(module, step, config, optimizers, averaged, show), clock, box)
    module.load_state_dict(averaged)
    return module


@dataclass(slots=True)
class _Steps:
    """The learner of the shipped model's parts: a loss from each step, AdamW, a plain average."""

    module: nn.Module
    step: Callable[[int, torch.Generator, float], tuple[Tensor, Figures]]
    config: LoopConfig
    optimizers: Sequence[torch.optim.Optimizer]
    averaged: dict[str, Tensor]
    show: Callable[[Clock, Figures], None]

    def learn(self, step: int, spent: float) -> Figures:
        random = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        rate = self.config.learning_rate * _rate(self.config, step, spent)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        loss, figures = self.step(step, random, spent)
        self.module.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()  # pyright: ignore[reportUnknownMemberType] - torch types no closure
        _average(self.averaged, self.module, min(self.config.average, (1 + step) / (10 + step)))
        return {"loss": float(loss.detach()), **figures}

    def report(self, clock: Clock, figures: Figures) -> None:
        row = history_row(self.config.out, clock, figures)
        log.info("%s", row)
        self.show(clock, figures)

    def save(self, clock: Clock) -> None:
        _save(self.config, self.module, self.optimizers, self.averaged, clock)


def history_row(out: Path, clock: Clock, figures: Figures) -> str:
    """Append a report to `history.jsonl`; return its line."""
    row = {"step": clock.step, "minutes": round(clock.minutes, 2)}
    row |= {name: round(value, 4) for name, value in figures.items()}
    line = json.dumps(row)
    with (out / HISTORY).open("a", encoding="utf-8") as history:
        history.write(line + "\n")
    return line


def _optimizers(module: nn.Module, config: LoopConfig) -> list[torch.optim.Optimizer]:
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    inside = [p for name, p in named if config.muon and p.ndim == 2 and ".layers." in name]
    chosen = {id(p) for p in inside}
    others = [p for _, p in named if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            others, config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )
    ]
    if inside:
        optimizers.append(
            torch.optim.Muon(
                inside,
                config.learning_rate,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


def _rate(config: LoopConfig, step: int, spent: float) -> float:
    warm = min(1.0, (step + 1) / config.warm_up_steps)
    hold = min(1.0, max(0.0, (1 - spent) / 0.6))
    return warm * (config.final_rate + (1 - config.final_rate) * hold)


@torch.no_grad()
def _average(averaged: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    for name, value in module.state_dict().items():
        if value.is_floating_point() and "codebook" not in name:
            averaged[name].lerp_(value, 1 - decay)
        else:
            averaged[name].copy_(value)


def _save(
    config: LoopConfig,
    module: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    averaged: Mapping[str, Tensor],
    clock: Clock,
) -> None:
    whole = {
        "module": module.state_dict(),
        "buffers": dict(module.named_buffers()),
        "averaged": dict(averaged),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "step": clock.step,
        "minutes": clock.minutes,
    }
    temporary = config.out / "checkpoint.tmp"
    torch.save(whole, temporary)
    temporary.replace(config.out / CHECKPOINT)


def _resume(
    config: LoopConfig,
    module: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    averaged: dict[str, Tensor],
) -> Clock:
    path = config.out / CHECKPOINT
    if not path.exists():
        if (config.out / START).exists():
            module.load_state_dict(torch.load(config.out / START, weights_only=True))
            averaged.update({name: value.clone() for name, value in module.state_dict().items()})
            log.info("began with %s", config.out / START)
        return Clock()
    whole = torch.load(path, weights_only=True)
    module.load_state_dict(whole["module"])
    for name, value in module.named_buffers():
        value.copy_(whole["buffers"][name])
    for optimizer, state in zip(optimizers, whole["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    averaged.update(whole["averaged"])
    log.info("resumed at step %d, %.1f minutes", whole["step"], whole["minutes"])
    return Clock(whole["step"], whole["minutes"])


def load_averaged(module: nn.Module, folder: Path) -> nn.Module:
    """Return the module holding a training's averaged weights, in eval mode.

    A folder where nothing was learnt yet gives the weights that its training begins with.
    """
    path = folder / CHECKPOINT
    if path.exists():
        module.load_state_dict(torch.load(path, weights_only=True)["averaged"])
    else:
        module.load_state_dict(torch.load(folder / START, weights_only=True))
    return module.eval().requires_grad_(False)
