"""The published models as configurations (Dhariwal et al. 2020, appendix B).

Sizes alone: which parameters of a checkpoint they hold is `model.checkpoint`'s
matter, and no weights, names or label tables are here.
"""

from model.config import (
    BlockConfig,
    CodecConfig,
    LabelConfig,
    LyricConfig,
    PriorConfig,
    TransformerConfig,
)

CODEBOOK = 2048
FACTORED = ("row", "column", "previous")
DENSE = ("dense",)
ENCODER_EVERY_TENTH = (*FACTORED * 3, "encoder")
"""A small separate-encoder prior's pattern."""
ENCODER_LATE = (*FACTORED * 3, *ENCODER_EVERY_TENTH * 7)
"""5b_lyrics: 79 layers, of which 18, 28, ..., 78 hear the lyrics."""


def _with_prefix_layers() -> tuple[str, ...]:
    """Return 1b_lyrics' pattern; a replaced layer does not shift the ones after it."""
    replaced = ("prefix", "prefix", "dense")
    return tuple((replaced if layer % 16 == 15 else FACTORED)[layer % 3] for layer in range(3 * 16))


PREFIX = _with_prefix_layers()
"""1b_lyrics: every sixteenth layer hears the lyrics, every third of these all."""

ORDERS = {
    0: DENSE,
    2: FACTORED,
    8: ENCODER_EVERY_TENTH,
    10: ENCODER_LATE,
    12: PREFIX,
}
"""Patterns by the number that published configurations call the attention order."""

LONGEST_SECONDS = 600.0


def _labels(artists: int, genres: int, bins: int, shortest_seconds: float = 1.0) -> LabelConfig:
    return LabelConfig(
        artists=artists,
        genres=genres,
        timing_bins=bins,
        seconds=(shortest_seconds, LONGEST_SECONDS),
    )


def _upsampler(*, scaled_residuals: bool) -> PriorConfig:
    return PriorConfig(
        vocabulary=CODEBOOK,
        transformer=TransformerConfig(width=1920, depth=72, heads=1, frames=8192, rows=128),
        labels=_labels(4111, 120, 128),
        upper=BlockConfig(
            stride=2,
            repeats=2,
            width=1024,
            depth=16,
            dilation_cycle=8,
            scaled_residuals=scaled_residuals,
            decoder_widens=True,
        ),
        upper_vocabulary=CODEBOOK,
    )


def _published_level(downs: tuple[int, ...], width: int, depth: int) -> tuple[BlockConfig, ...]:
    return tuple(BlockConfig(stride=2, repeats=down, width=width, depth=depth) for down in downs)


VQVAE = CodecConfig(
    levels=(
        _published_level((3,), 64, 8),
        _published_level((3, 2), 32, 4),
        _published_level((3, 2, 2), 32, 4),
    )
)
UPSAMPLER_LEVEL_0 = _upsampler(scaled_residuals=False)
UPSAMPLER_LEVEL_1 = _upsampler(scaled_residuals=True)

PRIOR_5B = PriorConfig(
    vocabulary=CODEBOOK,
    transformer=TransformerConfig(width=4800, depth=72, heads=8, frames=8192, rows=128),
    labels=_labels(4111, 120, 128, 60.0),
    timing=True,
    merged=True,
)

PRIOR_5B_LYRICS = PriorConfig(
    vocabulary=CODEBOOK,
    transformer=TransformerConfig(
        width=4800, depth=79, heads=8, frames=8192, rows=128, pattern=ENCODER_LATE
    ),
    labels=_labels(4111, 120, 128, 23.8),
    timing=True,
    merged=True,
    lyrics=LyricConfig(
        vocabulary=80,
        transformer=TransformerConfig(width=1280, depth=18, heads=4, frames=512, rows=32),
    ),
)

LYRICS_1B_CHARACTERS = 79
LYRICS_1B_FRAMES = 384

PRIOR_1B_LYRICS = PriorConfig(
    vocabulary=LYRICS_1B_CHARACTERS + CODEBOOK,
    transformer=TransformerConfig(
        width=2048,
        depth=72,
        heads=2,
        frames=LYRICS_1B_FRAMES + 6144,
        rows=64,
        pattern=PREFIX,
        prefix_frames=LYRICS_1B_FRAMES,
    ),
    labels=_labels(7898, 604, 64, 17.84),
    timing=True,
)

RELEASED: dict[str, CodecConfig | PriorConfig] = {
    "vqvae": VQVAE,
    "upsampler_level_0": UPSAMPLER_LEVEL_0,
    "upsampler_level_1": UPSAMPLER_LEVEL_1,
    "prior_5b": PRIOR_5B,
    "prior_5b_lyrics": PRIOR_5B_LYRICS,
    "prior_1b_lyrics": PRIOR_1B_LYRICS,
}
"""By the name that the manifests give them."""

FILES: dict[str, str] = {
    "vqvae": "vqvae.pth.tar",
    "level_0": "prior_level_0.pth.tar",
    "level_1": "prior_level_1.pth.tar",
    "level_2": "prior_level_2.pth.tar",
}
"""The published file of each part of a model."""

_SHARED = {
    "vqvae": "vqvae",
    "level_0": "upsampler_level_0",
    "level_1": "upsampler_level_1",
}
SHARED_FOLDER = "5b"
"""Where the parts that all models share are published."""

MODELS: dict[str, dict[str, str]] = {
    "5b": {**_SHARED, "level_2": "prior_5b"},
    "5b_lyrics": {**_SHARED, "level_2": "prior_5b_lyrics"},
    "1b_lyrics": {**_SHARED, "level_2": "prior_1b_lyrics"},
}
"""The published models by name: which of `RELEASED` each part is."""

LABEL_VERSIONS: dict[str, str] = {"5b": "v2", "5b_lyrics": "v2", "1b_lyrics": "v3"}
"""Which lists of artists and genres the top level of each model knows; the upsamplers know v2."""
UPSAMPLER_LABELS = "v2"

LICENCE = "non-commercial (the publisher's own licence; this project ships none of the weights)"
OUTPUT_LICENCE = "non-commercial: the weights' licence also covers what is made with them"

REPORTED_SHA256: dict[str, str] = {
    "vqvae": "69745413a48e887f8a3fe91b972a6f7f434021a1ce911a99187b331eb48c059a",
    "prior_5b": "89a1dd14f5b2f9b16b3e73b53fa2138cc89fd96bb13249b4267fea471de92672",
}
"""Digests of published files as third parties report them; not checked by this project."""


def cache_numbers(config: PriorConfig) -> int:
    """Return how many numbers attention must remember of one sample, keys and values.

    A layer keeps what it can still reach: a row, two rows, the prefix, the lyrics, or all.
    """
    shape = config.transformer
    prefix = (shape.prefix_frames // shape.rows + 1) * shape.rows
    reach = {
        "row": shape.row_frames(),
        "previous": 2 * shape.row_frames(),
        "column": shape.frames,
        "dense": shape.frames,
        "prefix": prefix,
        "encoder": config.lyrics.transformer.frames if config.lyrics else 0,
    }
    inner = int(shape.attention_multiplier * shape.width)
    return 2 * inner * sum(reach[kind] for kind in shape.layer_kinds())
