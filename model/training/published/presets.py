"""Sizes to begin with, by name: the smallest for tests, small ones for a band, the published."""

from dataclasses import replace
from typing import Final

from model.training.codec_pass import CodebookConfig
from model.training.published.model_sizes import CodecModel, PriorModel
from model.training.published.settings import (
    CodecSettings,
    DataSettings,
    LearningSettings,
    PriorSettings,
)

_UPSAMPLER: Final = PriorModel(timing=False, rows=128)
_TINY_PRIOR: Final = PriorModel(
    width=32,
    depth=3,
    heads=2,
    frames=64,
    rows=8,
    timing_bins=8,
    shortest_seconds=0.5,
    characters=16,
    lyric_width=16,
    lyric_depth=3,
    lyric_heads=2,
    lyric_rows=4,
    upper_width=16,
    upper_depth=2,
)
_SMALL_PRIOR: Final = PriorModel(width=512, depth=24, heads=4, frames=2048, rows=32)
_SHORT: Final = LearningSettings(warm_up_steps=10.0, rate=1e-3)

CODEC_SIZES: Final[dict[str, CodecSettings]] = {
    "tiny": CodecSettings(
        model=CodecModel(width=8, depth=2, latent_width=8, codebook_size=32),
        data=DataSettings(clip_samples=4096, batch_clips=4),
        learning=_SHORT,
    ),
    "small": CodecSettings(
        model=CodecModel(width=24, depth=3, codebook_size=512),
        codebook=CodebookConfig(threshold=0.5),
        data=DataSettings(clip_samples=32_768),
        learning=LearningSettings(precision="bfloat16"),
    ),
    "jukebox": CodecSettings(learning=LearningSettings(checkpoint_layers=True)),
}
PRIOR_SIZES: Final[dict[str, PriorSettings]] = {
    "tiny": PriorSettings(model=_TINY_PRIOR, data=DataSettings(batch_clips=4), learning=_SHORT),
    "small": PriorSettings(
        model=_SMALL_PRIOR,
        learning=LearningSettings(precision="bfloat16"),
        data=DataSettings(batch_clips=4),
    ),
    "1b_lyrics": PriorSettings(
        model=PriorModel(
            width=2048,
            depth=72,
            heads=2,
            frames=6144,
            rows=64,
            attention_order=12,
            shortest_seconds=17.84,
            text="v3",
            lyrics="joined",
            characters=384,
        ),
        learning=LearningSettings(checkpoint_layers=True, precision="float16"),
    ),
    "5b": PriorSettings(
        model=PriorModel(
            width=4800, depth=72, heads=8, merged=True, timing_bins=128, shortest_seconds=60.0
        ),
        learning=LearningSettings(checkpoint_layers=True, precision="float16"),
    ),
    "5b_lyrics": PriorSettings(
        model=PriorModel(
            width=4800,
            depth=79,
            heads=8,
            attention_order=10,
            merged=True,
            timing_bins=128,
            shortest_seconds=23.8,
            lyrics="encoder",
            lyric_width=1280,
            lyric_depth=18,
        ),
        learning=LearningSettings(checkpoint_layers=True, precision="float16"),
    ),
}
UPSAMPLER_SIZES: Final[dict[str, PriorSettings]] = {
    "tiny": replace(PRIOR_SIZES["tiny"], model=replace(_TINY_PRIOR, timing=False)),
    "small": replace(
        PRIOR_SIZES["small"], model=replace(_SMALL_PRIOR, timing=False, depth=12, width=384)
    ),
    "jukebox": PriorSettings(
        model=replace(_UPSAMPLER, width=1920, depth=72, heads=1, upper_width=1024, upper_depth=16),
        learning=LearningSettings(checkpoint_layers=True, precision="float16"),
    ),
}
KINDS: Final[dict[str, dict[str, CodecSettings] | dict[str, PriorSettings]]] = {
    "codec": CODEC_SIZES,
    "prior": PRIOR_SIZES,
    "upsampler": UPSAMPLER_SIZES,
}
"""Presets by what is trained; `size` in the configuration file names one."""
