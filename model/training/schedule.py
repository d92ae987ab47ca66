"""How fast to learn, by how much to scale losses, how slowly to average: by step, as published."""

from dataclasses import dataclass, replace
from math import floor

from model.errors import ConfigError

CLIPS_PER_UNIT = 8.0
"""Averaged weights forget a thousandth for each so many clips of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateConfig:
    """The learning rate's way, as factors on the configured rate."""

    scale: float = 1.0
    warm_up_steps: float = 100.0
    gamma: float = 1.0
    """Factor after every `decay_steps`; 1 keeps the rate."""
    decay_steps: float = 1e10
    linear_from_step: int | None = None
    """From here the rate falls to 0 within `decay_steps`, instead of by `gamma`."""

    def __post_init__(self) -> None:
        """Refuse steps that no time can be counted in."""
        for name, steps in (
            ("warm_up_steps", self.warm_up_steps),
            ("decay_steps", self.decay_steps),
        ):
            if steps <= 0:
                raise ConfigError(f"{name} is {steps:g} steps, it must be above 0")


def rate_factor(step: int, config: RateConfig) -> float:
    """Return the factor of a step, counted from 0, at which it is 0."""
    warm = config.scale * min(1.0, step / config.warm_up_steps)
    if config.linear_from_step is not None:
        gone = max(0.0, step - config.linear_from_step) / config.decay_steps
        return warm * max(0.0, 1.0 - gone)
    return float(warm * config.gamma ** floor(step / config.decay_steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class LossScale:
    """The factor on losses that keeps half-precision gradients from vanishing, as a value."""

    log2: float = 16.0
    growth_log2: float = 1 / 250
    """Gained by every step whose gradients are finite; one that overflows loses 1."""
    most_log2: float = 24.0

    def factor(self) -> float:
        """Return what the loss is multiplied by."""
        return 2.0**self.log2

    def after(self, *, overflow: bool) -> "LossScale":
        """Return the scale for the next step."""
        grown = min(self.log2 + self.growth_log2, self.most_log2)
        return replace(self, log2=self.log2 - 1 if overflow else grown)


def average_decay(clips_per_step: int) -> float:
    """Return the decay of averaged weights at so many clips a step, over all processes.

    Raises:
        ConfigError: So many clips leave nothing to average.
    """
    decay = 1 - clips_per_step / CLIPS_PER_UNIT / 1000
    if not 0 < decay < 1:
        raise ConfigError(f"{clips_per_step} clips a step, averaging takes 1 to 7999")
    return decay
