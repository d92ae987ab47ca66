"""The released sizes hold the released checkpoints, key by key, without their weights."""

from functools import cache

import pytest
import torch

from model.checkpoint import published_names, published_state, shapes
from model.codec import Codec
from model.config import CodecConfig, PriorConfig
from model.prior import Prior
from model.released import (
    ORDERS,
    PRIOR_1B_LYRICS,
    PRIOR_5B_LYRICS,
    RELEASED,
    UPSAMPLER_LEVEL_0,
    UPSAMPLER_LEVEL_1,
    VQVAE,
)
from model.upsampler import Upsampler
from tests.golden.configs import NAMES, codec_config, prior_config
from tests.vectors import cases, manifest, needs_golden


@cache
def without_weights(config: CodecConfig | PriorConfig) -> Codec | Prior | Upsampler:
    with torch.device("meta"):
        if isinstance(config, CodecConfig):
            return Codec(config)
        return Upsampler(config) if config.upper else Prior(config)


@needs_golden
@pytest.mark.parametrize("name", RELEASED)
def test_a_released_size_has_the_keys_and_shapes_of_its_checkpoint(name):
    module = without_weights(RELEASED[name])
    names = published_names(RELEASED[name])
    assert set(names) == set(module.state_dict())
    assert len(set(names.values())) == len(names)
    wanted = {key: tuple(shape) for key, shape in manifest(name)["state_dict"].items()}
    assert shapes(published_state(module)) == wanted


@needs_golden
@pytest.mark.parametrize("name", RELEASED)
def test_a_released_size_has_the_parameters_of_its_checkpoint_and_shares_the_same_ones(name):
    module = without_weights(RELEASED[name])
    counted = sum(parameter.numel() for parameter in module.parameters())
    assert counted == manifest(name)["parameter_count_unique"]
    names = published_names(RELEASED[name])
    every = dict(module.named_parameters(remove_duplicate=False))
    own = dict(module.named_parameters())
    twins = [
        [names[first], names[key]]
        for key in every.keys() - own.keys()
        for first in own
        if own[first] is every[key]
    ]
    assert twins == manifest(name)["tied_keys"]


@needs_golden
@pytest.mark.parametrize("name", RELEASED)
def test_a_released_size_is_the_one_that_its_hyper_parameters_describe(name):
    codec = manifest("vqvae")["hyper_parameters"]
    made = (
        codec_config(codec)
        if name == "vqvae"
        else prior_config(manifest(name)["hyper_parameters"], codec)
    )
    assert made == RELEASED[name]


@needs_golden
def test_every_recorded_prior_has_the_attention_that_its_order_says():
    priors = [case for case in cases().values() if "attn_funcs" in case]
    assert {case["hyper_parameters"]["attn_order"] for case in priors} == set(ORDERS)
    for case in priors:
        pattern = ORDERS[case["hyper_parameters"]["attn_order"]]
        kinds = [NAMES[number] for number in case["attn_funcs"]]
        assert kinds == [pattern[layer % len(pattern)] for layer in range(len(kinds))]


def test_the_layers_that_hear_lyrics_are_the_published_ones():
    kinds = PRIOR_5B_LYRICS.transformer.layer_kinds()
    assert [layer for layer, kind in enumerate(kinds) if kind == "encoder"] == [*range(18, 79, 10)]
    kinds = PRIOR_1B_LYRICS.transformer.layer_kinds()
    assert [layer for layer, kind in enumerate(kinds) if kind == "prefix"] == [15, 31, 63]
    assert [layer for layer, kind in enumerate(kinds) if kind == "dense"] == [47]


def test_level_1_alone_scales_its_conditioner_and_dilations_start_again_after_eight():
    assert UPSAMPLER_LEVEL_0.upper is not None
    assert UPSAMPLER_LEVEL_0.upper.residual_scale() == 1.0
    assert UPSAMPLER_LEVEL_1.upper is not None
    assert UPSAMPLER_LEVEL_1.upper.residual_scale() == 0.25
    assert UPSAMPLER_LEVEL_1.upper.dilations() == tuple(3**unit for unit in range(8)) * 2


def test_a_released_code_is_8_32_and_128_samples():
    assert [VQVAE.hop(level) for level in range(3)] == [8, 32, 128]
