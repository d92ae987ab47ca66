"""Sizes of a model of published kind, as a training is told them; what they come to as shapes.

Frozen values; every field is a key of `[model]` in the configuration file.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from model.conditioning.roll import ROLL_FRAME_SAMPLES
from model.conditioning.text import RULES
from model.config import (
    BlockConfig,
    CodecConfig,
    LabelConfig,
    LyricConfig,
    PlayedConfig,
    PriorConfig,
    TransformerConfig,
)
from model.errors import ConfigError
from model.released import ORDERS

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
        check_above(
            "model", 0, width=self.width, depth=self.depth, codebook_size=self.codebook_size
        )
        check_above("model", 0, sample_rate=self.sample_rate, latent_width=self.latent_width)
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
        check_above("model", 0, downs=repeats, multipliers=times)
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
    plays: bool = False
    """Notes (MIDI) and stems of the recordings are told to the top prior, which the published
    ones do not hear."""
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
        if level != top and (self.timing or self.lyrics != "none" or self.merged or self.plays):
            raise ConfigError(
                f"model.timing is {self.timing}, model.lyrics {self.lyrics!r}, model.merged "
                f"{self.merged}, model.plays {self.plays}: an upsampler has none of these"
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
            played=self._played(codec, level) if self.plays else None,
        )

    def _played(self, codec: CodecConfig, level: int) -> PlayedConfig:
        hop = codec.hop(level)
        if ROLL_FRAME_SAMPLES % hop:
            raise ConfigError(
                f"model.plays is True, but a code of level {level} is {hop} samples: notes are "
                f"told every {ROLL_FRAME_SAMPLES} samples, which must be whole codes"
            )
        return PlayedConfig(
            codebook_size=codec.codebook_size,
            latent_width=codec.latent_width,
            roll_frames=ROLL_FRAME_SAMPLES // hop,
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


def _check_stack(where: str, stack: TransformerConfig) -> None:
    inner = int(stack.attention_multiplier * stack.width)
    if stack.heads < 1 or inner < 1 or inner % stack.heads:
        raise ConfigError(
            f"{where}heads is {stack.heads}, it must divide the attention's width of {inner} "
            f"({stack.attention_multiplier:g} of {stack.width})"
        )


def check_above(where: str, least: int, **numbers: int | float) -> None:
    """Pass if every number is finite and above the least.

    Raises:
        ConfigError: Names the first that is not.
    """
    for name, value in numbers.items():
        if not isfinite(value) or value <= least:
            raise ConfigError(f"{where}.{name} is {value:g}, it must be above {least:g}")
