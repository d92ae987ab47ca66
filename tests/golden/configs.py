"""Configurations from the hyper-parameters that a golden case holds."""

from collections.abc import Mapping
from typing import Any

from model.config import (
    BlockConfig,
    CodecConfig,
    LabelConfig,
    LyricConfig,
    PriorConfig,
    TransformerConfig,
)
from model.released import ORDERS

NAMES = {0: "dense", 1: "row", 2: "column", 3: "previous", 6: "encoder", 7: "prefix"}
"""Kinds of attention by the number that the published code gives them."""


def codec_config(sizes: Mapping[str, Any]) -> CodecConfig:
    """Return the configuration that published hyper-parameters describe."""
    factors = sizes["hvqvae_multipliers"] or [1] * sizes["levels"]
    return CodecConfig(
        sample_rate=sizes["sr"],
        latent_width=sizes["emb_width"],
        codebook_size=sizes["l_bins"],
        levels=tuple(
            tuple(
                BlockConfig(
                    stride=stride,
                    repeats=repeats,
                    width=sizes["width"] * factor,
                    depth=sizes["depth"] * factor,
                    dilation_growth=sizes["dilation_growth_rate"],
                    dilation_cycle=sizes["dilation_cycle"],
                    multiplier=sizes["m_conv"],
                    decoder_widens=not sizes["vqvae_reverse_decoder_dilation"],
                )
                for stride, repeats in list(zip(sizes["strides_t"], sizes["downs_t"], strict=True))[
                    : level + 1
                ]
            )
            for level, factor in enumerate(factors)
        ),
    )


def prior_config(sizes: Mapping[str, Any], codec: Mapping[str, Any]) -> PriorConfig:
    """Return the configuration of published hyper-parameters, over a codec's."""
    joint = sizes["single_enc_dec"]
    characters = sizes["n_tokens"] if joint else 0
    top = sizes["level"] == codec["levels"] - 1
    return PriorConfig(
        vocabulary=codec["l_bins"] + (sizes["n_vocab"] if joint else 0),
        transformer=_stack(sizes, "prior_", "", sizes["n_ctx"] + characters, characters),
        labels=_labels(sizes) if sizes["labels"] else None,
        timing=top and sizes["labels"],
        merged=sizes["merged_decoder"],
        upper=None if top else _upper(sizes, codec),
        upper_vocabulary=codec["l_bins"],
        lyrics=LyricConfig(
            vocabulary=sizes["n_vocab"],
            transformer=_stack(sizes, "prime_", "prime_", sizes["n_tokens"], 0),
        )
        if sizes["use_tokens"] and not joint
        else None,
    )


def _stack(
    sizes: Mapping[str, Any], shape: str, rest: str, frames: int, prefix: int
) -> TransformerConfig:
    return TransformerConfig(
        width=sizes[f"{shape}width"],
        depth=sizes[f"{shape}depth"],
        heads=sizes[f"{rest}heads"],
        frames=frames,
        rows=sizes[f"{rest}blocks"] or 1,
        pattern=ORDERS[sizes[f"{rest}attn_order"]],
        attention_multiplier=sizes[f"{rest}m_attn"],
        mlp_multiplier=sizes[f"{rest}m_mlp"],
        prefix_frames=prefix,
    )


def _labels(sizes: Mapping[str, Any]) -> LabelConfig:
    genres, artists = sizes["y_bins"]
    return LabelConfig(
        artists=artists,
        genres=genres,
        timing_bins=sizes["t_bins"],
        seconds=(sizes["min_duration"] or 1.0, sizes["max_duration"] or 600.0),
        sample_rate=sizes["sr"],
    )


def _upper(sizes: Mapping[str, Any], codec: Mapping[str, Any]) -> BlockConfig:
    return BlockConfig(
        stride=codec["strides_t"][sizes["level"] + 1],
        repeats=codec["downs_t"][sizes["level"] + 1],
        width=sizes["cond_width"],
        depth=sizes["cond_depth"],
        dilation_growth=sizes["cond_dilation_growth_rate"],
        dilation_cycle=sizes["cond_dilation_cycle"],
        multiplier=sizes["cond_m_conv"],
        scaled_residuals=sizes["cond_res_scale"],
        decoder_widens=True,
    )
