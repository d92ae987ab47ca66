"""Published state dicts fit, or are refused by name."""

from dataclasses import replace

import pytest
import torch

from model.checkpoint import (
    NAMED,
    check_keys,
    empty_module,
    load_published,
    published_names,
    published_state,
)
from model.codec import Codec
from model.config import CodecConfig, PriorConfig, TransformerConfig
from model.errors import CheckpointError, ConfigError
from model.prior import Prior
from model.released import (
    PRIOR_1B_LYRICS,
    PRIOR_5B,
    PRIOR_5B_LYRICS,
    UPSAMPLER_LEVEL_1,
    VQVAE,
)
from model.shipped import SMALL
from model.upsampler import Upsampler

Module = Codec | Prior | Upsampler


def narrow(config: TransformerConfig, rows: int) -> TransformerConfig:
    return replace(config, width=16, heads=2, frames=8 * rows, rows=rows)


def small(config: PriorConfig) -> PriorConfig:
    """Return the released configuration with every number small but its kind unchanged."""
    assert config.labels is not None
    return replace(
        config,
        vocabulary=24,
        transformer=replace(narrow(config.transformer, 4), depth=min(config.transformer.depth, 29)),
        labels=replace(config.labels, artists=5, genres=4, timing_bins=6),
        upper=config.upper and replace(config.upper, width=6, depth=3),
        upper_vocabulary=12,
        lyrics=config.lyrics
        and replace(
            config.lyrics, transformer=replace(narrow(config.lyrics.transformer, 2), depth=3)
        ),
    )


def small_codec() -> CodecConfig:
    levels = [[replace(block, width=4, depth=2) for block in blocks] for blocks in VQVAE.levels]
    return replace(VQVAE, levels=tuple(map(tuple, levels)), latent_width=6, codebook_size=10)


def make(config: CodecConfig | PriorConfig, seed: int = 0) -> Module:
    torch.manual_seed(seed)
    if isinstance(config, CodecConfig):
        module = Codec(config)
        for level in range(len(config.levels)):
            module.level(level).quantizer.codebook.normal_()
        return module
    return Upsampler(config) if config.upper else Prior(config)


def copied(module: Module) -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in published_state(module).items()}


SHAPES = {
    "codec": small_codec(),
    "upsampler": small(UPSAMPLER_LEVEL_1),
    "merged": small(PRIOR_5B),
    "unlabelled": replace(small(PRIOR_5B), labels=None, timing=False),
    "lyric encoder": small(PRIOR_5B_LYRICS),
    "joint sequence": small(PRIOR_1B_LYRICS),
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_a_state_dict_comes_back_through_its_published_names(config):
    given, taker = make(config, 1), make(config, 2)
    names = published_names(config)
    assert names.keys() == given.state_dict().keys()
    assert len(set(names.values())) == len(names)
    load_published(taker, copied(given))
    for key, tensor in given.state_dict().items():
        assert torch.equal(taker.state_dict()[key], tensor), key


def test_half_precision_weights_become_single():
    given, taker = make(SHAPES["merged"], 1), make(SHAPES["merged"], 2)
    load_published(taker, {key: tensor.half() for key, tensor in copied(given).items()})
    weight = taker.state_dict()["transformer.layers.0.mlp.enter.w"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, given.state_dict()["transformer.layers.0.mlp.enter.w"].half())


def test_missing_surplus_and_misshapen_keys_are_all_named_with_their_shapes():
    with pytest.raises(CheckpointError) as refusal:
        check_keys({"a": (2, 3), "b": (4,), "c": (5,)}, {"b": (1, 4), "c": (5,), "d": (6,)})
    assert str(refusal.value) == (
        "the keys do not fit; 1 missing: a of shape (2, 3); 1 surplus: d of shape (6,); "
        "1 misshapen: b has shape (1, 4), expected (4,)"
    )


def test_of_many_wrong_keys_the_first_are_named_and_all_are_counted():
    with pytest.raises(CheckpointError, match="1000 missing") as refusal:
        check_keys({f"key{index:04}": (1,) for index in range(1000)}, {})
    assert str(refusal.value).count("key0") == NAMED


def test_nothing_is_copied_from_a_state_dict_that_does_not_fit():
    module = make(SHAPES["merged"], 1)
    before, state = copied(module), copied(make(SHAPES["merged"], 2))
    del state["prior.x_out.weight"]
    with pytest.raises(CheckpointError, match=r"1 missing: prior\.x_out\.weight of shape \(24, 16"):
        load_published(module, state)
    after = copied(module)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_tied_pair_that_differs_is_refused():
    module = make(SHAPES["upsampler"])
    state = copied(module)
    state["prior.x_out.weight"][0, 0] += 1
    with pytest.raises(CheckpointError, match=r"prior\.x_emb\.weight and prior\.x_out\.weight"):
        load_published(module, state)


def test_integers_are_no_weights():
    module = make(SHAPES["merged"])
    state = copied(module)
    state["prior.pos_emb.pos_emb"] = state["prior.pos_emb.pos_emb"].long()
    with pytest.raises(CheckpointError, match=r"pos_emb holds torch\.int64"):
        load_published(module, state)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_a_module_without_storage_is_given_the_same_one_tensor_by_tensor(config):
    given, taker = make(config, 1), empty_module(config)
    load_published(taker, copied(given))
    for key, tensor in given.state_dict().items():
        assert torch.equal(taker.state_dict()[key], tensor), key
    held = [*taker.parameters(), *taker.buffers()]
    assert not any(tensor.is_meta for tensor in held)
    assert len(list(taker.parameters())) == len(list(given.parameters())), "a tied head was doubled"


def test_only_the_maps_of_transformers_come_in_the_type_asked_for():
    given, taker = make(SHAPES["upsampler"], 1), empty_module(SHAPES["upsampler"])
    load_published(taker, copied(given), torch.bfloat16)
    kinds = {key: tensor.dtype for key, tensor in taker.state_dict().items()}
    halves = {key for key, kind in kinds.items() if kind == torch.bfloat16}
    assert halves == {key for key in kinds if key.endswith(".w")} != set()
    key = "prior.transformer.layers.0.mlp.enter.w"
    assert torch.equal(taker.state_dict()[key], given.state_dict()[key].bfloat16())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_with_its_key(bad):
    state = copied(make(SHAPES["merged"]))
    state["prior.pos_emb.pos_emb"][3, 2] = bad
    with pytest.raises(CheckpointError, match=r"pos_emb\.pos_emb has 1 numbers .* damaged"):
        load_published(empty_module(SHAPES["merged"]), state)


def test_a_weight_too_large_for_half_precision_is_refused_rather_than_made_infinite():
    state = copied(make(SHAPES["merged"]))
    state["prior.transformer._attn_mods.0.mlp.c_fc.w"][0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"torch\.float16 cannot hold them"):
        load_published(empty_module(SHAPES["merged"]), state, torch.float16)


@pytest.mark.parametrize("config", [SMALL.codec, *SMALL.priors])
def test_a_streaming_model_has_no_published_names(config):
    with pytest.raises(ConfigError, match=r"no published form|never published"):
        published_names(config)
