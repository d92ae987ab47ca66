"""What a training of published kind can be told, and presets of its sizes.

Frozen values; every field is a key of the configuration file. Knows neither
files nor weights.
"""

from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from model.conditioning.text import RULES
from model.config import (
    BlockConfig,
    CodecConfig,
    LabelConfig,
    LyricConfig,
    PriorConfig,
    TransformerConfig,
)
from model.errors import ConfigError
from model.released import ORDERS
from model.training.codec_pass import CodebookConfig
from model.training.optimizer import AdamConfig
from model.training.published_losses import CodecLossConfig
from model.training.schedule import RateConfig

Precision = Literal["float32", "bfloat16", "float16"]
Lyrics = Literal["none", "encoder", "joined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecModel:
    """Sizes of a codec; width and depth are multiplied level by level."""

    sample_rate: int = 44_100
    downs: tuple[tuple[int, ...], ...] = ((3,), (3, 2), (3, 2, 2))
    """By level, how often each block of its encoder halves the rate."""
    stride: int = 2
    width: int = 32
    depth: int = 4
    multipliers: tuple[int, ...] = (2, 1, 1)
    dilation_growth: int = 3
    dilation_cycle: int = 0
    """After so many units dilations start again; 0 lets them grow."""
    unit_width: float = 1.0
    """Width inside a residual unit, relative to the stack's."""
    latent_width: int = 64
    codebook_size: int = 2048

    def config(self) -> CodecConfig:
        """Return the codec's sizes.

        Raises:
            ConfigError: Numbers that make no codec.
        """
        _above("model", 0, width=self.width, depth=self.depth, codebook_size=self.codebook_size)
        _above("model", 0, sample_rate=self.sample_rate, latent_width=self.latent_width)
        if len(self.multipliers) != len(self.downs) or len(self.downs) < 1:
            raise ConfigError(
                f"model.multipliers has {len(self.multipliers)} levels, model.downs "
                f"{len(self.downs)}: one number a level is needed"
            )
        if self.stride < 2 or self.stride % 2:
            raise ConfigError(f"model.stride is {self.stride}, it must be even and at least 2")
        return CodecConfig(
            sample_rate=self.sample_rate,
            levels=tuple(
                tuple(self._block(down, times) for down in downs)
                for downs, times in zip(self.downs, self.multipliers, strict=True)
            ),
            latent_width=self.latent_width,
            codebook_size=self.codebook_size,
        )

    def _block(self, repeats: int, times: int) -> BlockConfig:
        _above("model", 0, downs=repeats, multipliers=times)
        return BlockConfig(
            stride=self.stride,
            repeats=repeats,
            width=self.width * times,
            depth=self.depth * times,
            dilation_growth=self.dilation_growth,
            dilation_cycle=self.dilation_cycle or None,
            multiplier=self.unit_width,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorModel:
    """Sizes of a prior or an upsampler; the codec and its level say the rest."""

    width: int = 1024
    depth: int = 24
    heads: int = 2
    frames: int = 8192
    """Codes in the context; lyric characters in the same sequence come on top."""
    rows: int = 128
    """The context, such characters included, is folded into so many rows."""
    attention_order: int = 2
    """Which layers attend to what, by the published number: 0, 2, 8, 10 or 12."""
    attention_multiplier: float = 0.25
    mlp_multiplier: float = 1.0
    merged: bool = False
    """Own output head, conditions added once (5B); else a tied head, conditions added twice."""
    labels: bool = True
    timing: bool = True
    timing_bins: int = 64
    shortest_seconds: float = 24.0
    """Of whole recordings, as timing tells them apart; shorter ones are left out."""
    longest_seconds: float = 600.0
    artists: int = 0
    """Rows of the artists' table; 0 takes as many as the recordings need."""
    genres: int = 0
    text: Literal["v2", "v3"] = "v2"
    """How names and lyrics are read: v2 splits genres into words, v3 has one genre."""
    lyrics: Lyrics = "none"
    """`encoder` reads them apart (5b_lyrics), `joined` puts them before the codes (1b_lyrics)."""
    characters: int = 512
    """Lyric characters that a window hears; even."""
    lyric_width: int = 512
    lyric_depth: int = 6
    lyric_heads: int = 4
    lyric_rows: int = 32
    upper_width: int = 512
    """Of an upsampler's conditioner over the codes above."""
    upper_depth: int = 8
    upper_cycle: int = 8
    upper_growth: int = 3
    upper_scaled: bool = False
    """Its residuals times 1/sqrt(depth)."""
    init_scale: float = 1.0
    lyric_init_scale: float = 1.0
    zero_out: bool = False
    """Layers begin as nothing: their output maps are zeros."""

    def config(self, codec: CodecConfig, level: int, artists: int, genres: int) -> PriorConfig:
        """Return the sizes of the prior of a codec's level.

        Raises:
            ConfigError: Numbers that make no prior, or none for this codec.
        """
        top = len(codec.levels) - 1
        if level != top and (self.timing or self.lyrics != "none" or self.merged):
            raise ConfigError(
                f"model.timing is {self.timing}, model.lyrics {self.lyrics!r}, model.merged "
                f"{self.merged}: an upsampler has none of these"
            )
        if self.lyrics != "none" and (self.characters < 2 or self.characters % 2):
            raise ConfigError(
                f"model.characters is {self.characters}, it must be even and at least 2"
            )
        characters = len(RULES[self.text].characters) + 1
        labels = LabelConfig(
            artists=self.artists or artists,
            genres=self.genres or genres,
            timing_bins=self.timing_bins,
            seconds=(self.shortest_seconds, self.longest_seconds),
            sample_rate=codec.sample_rate,
        )
        return PriorConfig(
            vocabulary=codec.codebook_size + (characters if self.lyrics == "joined" else 0),
            transformer=self._stack(),
            labels=labels if self.labels else None,
            timing=self.timing and self.labels,
            merged=self.merged,
            upper=None if level == top else self._upper(codec, level),
            upper_vocabulary=codec.codebook_size,
            lyrics=self._reader(characters) if self.lyrics == "encoder" else None,
        )

    def _stack(self) -> TransformerConfig:
        joined = self.characters if self.lyrics == "joined" else 0
        if self.attention_order not in ORDERS:
            raise ConfigError(
                f"model.attention_order is {self.attention_order}, known are {sorted(ORDERS)}"
            )
        stack = TransformerConfig(
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            frames=self.frames + joined,
            rows=self.rows,
            pattern=ORDERS[self.attention_order],
            attention_multiplier=self.attention_multiplier,
            mlp_multiplier=self.mlp_multiplier,
            prefix_frames=joined,
        )
        _check_stack("model.", stack)
        kinds = set(stack.layer_kinds())
        for kind, wanted in (("encoder", "encoder"), ("prefix", "joined")):
            if (kind in kinds) != (self.lyrics == wanted):
                raise ConfigError(
                    f"model.lyrics is {self.lyrics!r}, but of {stack.depth} layers of attention "
                    f"order {self.attention_order} {'some' if kind in kinds else 'none'} attend "
                    f"to lyrics as {wanted!r} does"
                )
        return stack

    def _reader(self, characters: int) -> LyricConfig:
        stack = TransformerConfig(
            width=self.lyric_width,
            depth=self.lyric_depth,
            heads=self.lyric_heads,
            frames=self.characters,
            rows=self.lyric_rows,
        )
        _check_stack("model.lyric_", stack)
        return LyricConfig(vocabulary=characters, transformer=stack)

    def _upper(self, codec: CodecConfig, level: int) -> BlockConfig:
        ratio = codec.hop(level + 1) // codec.hop(level)
        last = codec.levels[level + 1][-1]
        if last.hop() != ratio:
            raise ConfigError(
                f"a code of level {level + 1} is {ratio} codes of level {level}, but the codec's "
                f"last block there makes {last.hop()}: no upsampler fits"
            )
        if self.frames % ratio:
            raise ConfigError(
                f"model.frames is {self.frames}, it must be a multiple of {ratio}: the codes of "
                f"level {level} that share one of level {level + 1}"
            )
        return BlockConfig(
            stride=last.stride,
            repeats=last.repeats,
            width=self.upper_width,
            depth=self.upper_depth,
            dilation_growth=self.upper_growth,
            dilation_cycle=self.upper_cycle or None,
            scaled_residuals=self.upper_scaled,
            decoder_widens=True,
        )


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
        _above("data", 0, batch_clips=self.batch_clips, bandwidth_seconds=self.bandwidth_seconds)
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
        _above("learning", 0, rate=self.rate, clip_norm=self.clip_norm, epsilon=self.epsilon)
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
        _above("saving", 0, save_minutes=self.save_minutes, keep=self.keep)
        _above("saving", 0, shard_mib=self.shard_mib, report_steps=self.report_steps)
        _above("saving", 0, audio_reports=self.audio_reports)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecSettings:
    """A codec's training."""

    model: CodecModel = field(default_factory=CodecModel)
    loss: CodecLossConfig = field(default_factory=CodecLossConfig)
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    data: DataSettings = field(default_factory=DataSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    saving: SavingSettings = field(default_factory=SavingSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorSettings:
    """A prior's or an upsampler's training."""

    model: PriorModel = field(default_factory=PriorModel)
    loss: PriorLoss = field(default_factory=PriorLoss)
    data: DataSettings = field(default_factory=DataSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    saving: SavingSettings = field(default_factory=SavingSettings)


Settings = CodecSettings | PriorSettings


def _check_stack(where: str, stack: TransformerConfig) -> None:
    inner = int(stack.attention_multiplier * stack.width)
    if stack.heads < 1 or inner < 1 or inner % stack.heads:
        raise ConfigError(
            f"{where}heads is {stack.heads}, it must divide the attention's width of {inner} "
            f"({stack.attention_multiplier:g} of {stack.width})"
        )


def _above(where: str, least: int, **numbers: int | float) -> None:
    for name, value in numbers.items():
        if not isfinite(value) or value <= least:
            raise ConfigError(f"{where}.{name} is {value:g}, it must be above {least:g}")
