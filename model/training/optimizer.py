"""The published models' Adam.

It differs from `torch.optim.AdamW` where it counts for equal numbers: both
moments are corrected through the step size, so that epsilon is added to the
uncorrected root, and the decay is part of the same step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamConfig:
    """The published settings."""

    rate: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0


class Adam(torch.optim.Optimizer):
    """Moments of each parameter; `state_dict` and `param_groups` as torch's own have them.

    A rate schedule sets the groups' `lr` before a step.
    """

    def __init__(self, parameters: Iterable[Tensor], config: AdamConfig) -> None:
        settings: dict[str, Any] = {
            "lr": config.rate,
            "betas": config.betas,
            "eps": config.epsilon,
            "weight_decay": config.weight_decay,
        }
        super().__init__(parameters, settings)

    @torch.no_grad()
    def step(self, closure: None = None, *, scale: float = 1.0) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - a scale, no closure
        """Move every parameter that has a gradient, which is divided by `scale` first."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _move(parameter, parameter.grad / scale, self.state[parameter], group)


def gradient_scale(norm: float, clip_norm: float, loss_scale: float = 1.0) -> float:
    """Return what gradients are divided by: the loss's scale, and more where they are too long.

    `norm` is the length of all gradients without the loss's scale.
    """
    return loss_scale * max(1.0, norm / clip_norm)


def gradient_norm(parameters: Iterable[Tensor], loss_scale: float = 1.0) -> float:
    """Return the length of all gradients, without the loss's scale.

    It is not finite where the scaled loss overflowed; such a step is left out.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    squares = [gradient.float().square().sum() for gradient in gradients]
    return sqrt(float(torch.stack(squares).sum())) / loss_scale if squares else 0.0


def _move(
    parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
) -> None:
    if not state:
        state |= {
            "step": 0,
            "first": torch.zeros_like(parameter),
            "second": torch.zeros_like(parameter),
        }
    state["step"] += 1
    slow, slower = group["betas"]
    first, second = state["first"], state["second"]
    first.mul_(slow).add_(gradient, alpha=1 - slow)
    second.mul_(slower).addcmul_(gradient, gradient, value=1 - slower)
    turns = state["step"]
    size = group["lr"] * sqrt(1 - slower**turns) / (1 - slow**turns)
    change = first / (second.sqrt() + group["eps"]) + group["weight_decay"] * parameter
    parameter.sub_(size * change)
