"""What a training of published kind can be told, and presets of its sizes.

Frozen values; every field is a key of the configuration file. Knows neither
files nor weights.
"""

from dataclasses import dataclass, field
from typing import Literal

from model.errors import ConfigError
from model.training.codec_pass import CodebookConfig
from model.training.optimizer import AdamConfig
from model.training.published.model_sizes import CodecModel, PriorModel, check_above
from model.training.published_losses import CodecLossConfig
from model.training.schedule import RateConfig

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorLoss:
    """What lyrics weigh."""

    lyric_fraction: float = 0.4
    """A lyric character against a code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """How clips are cut from recordings."""

    clip_samples: int = 0
    """Length of a clip; 0 takes a prior's context, or 131072 samples for a codec."""
    batch_clips: int = 8
    """Clips of a step, all processes together."""
    downmix: Literal["random", "mid"] = "random"
    """Stereo to mono: a share of its own for every clip, or the middle."""
    shift: bool = True
    """Clips begin anywhere; else at multiples of their length."""
    stem_share: float = 0.0
    """Of a codec's clips, those cut from a stem where a recording has some."""
    bandwidth_seconds: float = 600.0
    """How much is listened to for the data's width, before a codec's first step."""

    def __post_init__(self) -> None:
        """Refuse numbers that no batch can be made with."""
        check_above(
            "data", 0, batch_clips=self.batch_clips, bandwidth_seconds=self.bandwidth_seconds
        )
        if self.clip_samples < 0:
            raise ConfigError(f"data.clip_samples is {self.clip_samples} samples, the least is 0")
        if not 0 <= self.stem_share <= 1:
            raise ConfigError(f"data.stem_share is {self.stem_share:g}, allowed are 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSettings:
    """How weights move; defaults as published."""

    rate: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    """Gradients longer than this are shortened to it."""
    rate_scale: float = 1.0
    warm_up_steps: float = 100.0
    gamma: float = 1.0
    decay_steps: float = 1e10
    linear_from_step: int | None = None
    precision: Precision = "float32"
    average: float | None = None
    """Decay of the averaged weights, which are what is saved; by default as published, from the
    clips of a step."""
    average_ramp: bool = True
    """The decay begins low, so that a short training is not averaged with its beginning."""
    checkpoint_layers: bool = False
    """Activations inside layers are computed again instead of kept: slower, far less memory."""
    steps: int = 0
    """Stop after so many; 0 leaves it to the time."""
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be learnt with."""
        check_above("learning", 0, rate=self.rate, clip_norm=self.clip_norm, epsilon=self.epsilon)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"learning.betas are {self.betas}, allowed are 0 to below 1")
        if self.average is not None and not 0 <= self.average < 1:
            raise ConfigError(f"learning.average is {self.average:g}, allowed are 0 to below 1")
        if self.steps < 0 or self.seed < 0 or self.weight_decay < 0:
            raise ConfigError("learning.steps, seed and weight_decay must not be below 0")
        self.schedule()

    def adam(self) -> AdamConfig:
        """Return the optimizer's settings."""
        return AdamConfig(
            rate=self.rate,
            betas=self.betas,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
        )

    def schedule(self) -> RateConfig:
        """Return the learning rate's way."""
        return RateConfig(
            scale=self.rate_scale,
            warm_up_steps=self.warm_up_steps,
            gamma=self.gamma,
            decay_steps=self.decay_steps,
            linear_from_step=self.linear_from_step,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingSettings:
    """What is written, and when."""

    save_minutes: float = 10.0
    keep: int = 3
    """Checkpoints that are kept; older ones are deleted."""
    shard_mib: int = 256
    """Size of a checkpoint's files; one tensor alone may be larger."""
    report_steps: int = 20
    tensorboard: bool = False
    audio_reports: int = 25
    """TensorBoard gets audio with every so many reports, and with the first."""

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be kept with."""
        check_above("saving", 0, save_minutes=self.save_minutes, keep=self.keep)
        check_above("saving", 0, shard_mib=self.shard_mib, report_steps=self.report_steps)
        check_above("saving", 0, audio_reports=self.audio_reports)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """What every training is told."""

    data: DataSettings = field(default_factory=DataSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    saving: SavingSettings = field(default_factory=SavingSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecSettings(_Training):
    """A codec's training."""

    model: CodecModel = field(default_factory=CodecModel)
    loss: CodecLossConfig = field(default_factory=CodecLossConfig)
    codebook: CodebookConfig = field(default_factory=CodebookConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorSettings(_Training):
    """A prior's or an upsampler's training."""

    model: PriorModel = field(default_factory=PriorModel)
    loss: PriorLoss = field(default_factory=PriorLoss)


Settings = CodecSettings | PriorSettings
