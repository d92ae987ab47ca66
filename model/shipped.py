"""Sizes of the model in the box, and of its small twin for tests.

`SMALL` ships and streams, `TINY` is the same in every part but its widths.
"""

from model.config import (
    BlockConfig,
    CodecConfig,
    ComposerConfig,
    DraftConfig,
    FinisherConfig,
    LabelConfig,
    ListenerConfig,
    ModelConfig,
    PriorConfig,
    StudentConfig,
    TransformerConfig,
)

SMALL_CODEC = CodecConfig(
    streams=True,
    levels=(
        (BlockConfig(stride=8, repeats=1, width=64, depth=4, dilation_growth=2),),
        (
            BlockConfig(stride=8, repeats=1, width=64, depth=3, dilation_growth=2),
            BlockConfig(stride=4, repeats=1, width=128, depth=4, dilation_growth=2),
        ),
        (
            BlockConfig(stride=16, repeats=1, width=96, depth=3, dilation_growth=2),
            BlockConfig(stride=8, repeats=1, width=256, depth=4, dilation_growth=2),
        ),
    ),
)

TINY_CODEC = CodecConfig(
    streams=True,
    latent_width=8,
    codebook_size=32,
    levels=(
        (BlockConfig(stride=8, repeats=1, width=8, depth=2, dilation_growth=2),),
        (
            BlockConfig(stride=8, repeats=1, width=8, depth=2, dilation_growth=2),
            BlockConfig(stride=4, repeats=1, width=8, depth=2, dilation_growth=2),
        ),
        (
            BlockConfig(stride=16, repeats=1, width=8, depth=2, dilation_growth=2),
            BlockConfig(stride=8, repeats=1, width=8, depth=2, dilation_growth=2),
        ),
    ),
)

SMALL_LABELS = LabelConfig(artists=64, genres=32)


def _small_upsampler(frames: int, stride: int) -> PriorConfig:
    return PriorConfig(
        vocabulary=2048,
        transformer=TransformerConfig(
            width=128,
            depth=6,
            heads=2,
            frames=frames,
            rows=frames // 64,
            attention_multiplier=0.5,
            mlp_multiplier=1.0,
            relative=True,
        ),
        labels=SMALL_LABELS,
        upper=BlockConfig(stride=stride, repeats=1, width=64, depth=3, dilation_growth=2),
        draft=DraftConfig(),
    )


SMALL = ModelConfig(
    name="small",
    codec=SMALL_CODEC,
    priors=(
        _small_upsampler(31 * 64, 4),
        _small_upsampler(33 * 64, 4),
        PriorConfig(
            vocabulary=2048,
            transformer=TransformerConfig(
                width=192,
                depth=6,
                heads=3,
                frames=44 * 64,
                rows=44,
                attention_multiplier=0.5,
                mlp_multiplier=2.0,
                relative=True,
            ),
            labels=SMALL_LABELS,
            frame_conditions=True,
        ),
    ),
    student=StudentConfig(
        transformer=TransformerConfig(
            width=320,
            depth=6,
            heads=5,
            frames=44 * 16,
            rows=44,
            attention_multiplier=0.5,
            mlp_multiplier=2.0,
            relative=True,
            causal_rows=False,
        ),
        passes=2,
        labels=SMALL_LABELS,
    ),
    finisher=FinisherConfig(),
    composer=ComposerConfig(
        transformer=TransformerConfig(
            width=160,
            depth=4,
            heads=4,
            frames=160,
            rows=1,
            pattern=("row",),
            attention_multiplier=1.0,
            mlp_multiplier=2.0,
        )
    ),
    listener=ListenerConfig(),
)

_TINY_LABELS = LabelConfig(artists=4, genres=4)
_TINY_DRAFT = DraftConfig(reach=4, narrow=8, hidden=16)


def _tiny_stack(frames: int, row: int, *, causal_rows: bool = True) -> TransformerConfig:
    return TransformerConfig(
        width=16,
        depth=3,
        heads=2,
        frames=frames,
        rows=frames // row,
        attention_multiplier=0.5,
        relative=True,
        causal_rows=causal_rows,
    )


def _tiny_upsampler() -> PriorConfig:
    return PriorConfig(
        vocabulary=32,
        transformer=_tiny_stack(4 * 64, 64),
        labels=_TINY_LABELS,
        latent_width=8,
        upper=BlockConfig(stride=4, repeats=1, width=8, depth=2, dilation_growth=2),
        upper_vocabulary=32,
        draft=_TINY_DRAFT,
    )


TINY = ModelConfig(
    name="tiny",
    codec=TINY_CODEC,
    priors=(
        _tiny_upsampler(),
        _tiny_upsampler(),
        PriorConfig(
            vocabulary=32,
            transformer=_tiny_stack(4 * 64, 64),
            labels=_TINY_LABELS,
            timing=True,
            frame_conditions=True,
            latent_width=8,
            draft=_TINY_DRAFT,
        ),
    ),
    student=StudentConfig(
        transformer=_tiny_stack(4 * 16, 16, causal_rows=False),
        codebook_size=32,
        latent_width=8,
        labels=_TINY_LABELS,
    ),
    finisher=FinisherConfig(
        latent_width=8,
        width=16,
        depth=2,
        note_width=8,
        note_depth=2,
        recall_width=8,
        recall_heads=2,
    ),
    composer=ComposerConfig(
        transformer=TransformerConfig(
            width=16, depth=1, heads=2, frames=32, rows=1, pattern=("row",)
        )
    ),
    listener=ListenerConfig(width=8, depth=1),
)
