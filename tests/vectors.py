"""The golden vectors: recorded numbers of the published model with synthetic weights.

They live beside the repository, or where JUKEBOX_GOLDEN says; without them the
tests that read them are skipped. `spec.md` there is what this file follows.
"""

import json
import os
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoint import load_published, published_state, shapes
from model.config import (
    BlockConfig,
    CodecConfig,
    LabelConfig,
    LyricConfig,
    PriorConfig,
    TransformerConfig,
)
from model.released import ORDERS

DEFAULT = Path(__file__).parents[1] / "../shared/golden"
GOLDEN = Path(os.environ.get("JUKEBOX_GOLDEN", DEFAULT))
NAMES = {0: "dense", 1: "row", 2: "column", 3: "previous", 6: "encoder", 7: "prefix"}
"""Kinds of attention by the number that the published code gives them."""

needs_golden = pytest.mark.skipif(
    not (GOLDEN / "cases.json").is_file(),
    reason=f"no golden vectors in {GOLDEN}: set JUKEBOX_GOLDEN",
)


@cache
def cases() -> dict[str, dict[str, Any]]:
    return json.loads((GOLDEN / "cases.json").read_text("utf-8"))


@cache
def manifest(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / "manifests" / f"{name}.json").read_text("utf-8"))


def arrays(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def weight(tag: str, key: str, shape: tuple[int, ...]) -> Tensor:
    """Return the synthetic tensor of a published key (spec, section 2)."""
    seed = zlib.crc32((tag + key).encode())
    generator = np.random.Generator(np.random.PCG64(seed))
    normal = generator.standard_normal(shape, dtype=np.float32)
    leaf = key.rpartition(".")[2]
    if len(shape) == 1 and leaf == "weight":
        return torch.from_numpy(np.float32(1) + np.float32(0.1) * normal)
    if leaf == "k":
        scale = 1.0
    elif len(shape) == 1:
        scale = 0.1
    elif len(shape) == 3:
        scale = (shape[1] * shape[2]) ** -0.5
    else:
        scale = shape[0] ** -0.5 if leaf == "w" else 0.5
    return torch.from_numpy(np.float32(scale) * normal)


def synthetic(
    wanted: Mapping[str, tuple[int, ...]], case: Mapping[str, Any], *, tied: bool = False
) -> dict[str, Tensor]:
    """Return the synthetic state dict of a case, its checksum verified."""
    state = {key: weight(case["tag"], key, shape) for key, shape in wanted.items()}
    if tied:
        state["prior.x_out.weight"] = state["prior.x_emb.weight"]
    checksum = 0
    for key in sorted(state):
        checksum = zlib.crc32(state[key].numpy().tobytes(), checksum)
    assert checksum == case["weights_crc32"], "keys, shapes or the generator differ"
    return state


def fill(module: Any, case: Mapping[str, Any], *, tied: bool = False) -> None:
    load_published(module, synthetic(shapes(published_state(module)), case, tied=tied))


def assert_matches(made: Tensor, expected: Tensor) -> None:
    """Integers exactly, floats within rounding (spec, section 7)."""
    assert made.shape == expected.shape
    if not expected.is_floating_point():
        assert torch.equal(made, expected)
        return
    allowed = max(2e-6, 1e-5 * expected.square().mean().sqrt().item())
    assert (made - expected).abs().max().item() <= allowed


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
