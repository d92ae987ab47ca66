"""Published state dicts fit, or are refused by name; what they hold computes as published."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from model.checkpoint import (
    NAMED,
    check_keys,
    empty_module,
    load_published,
    published_names,
    published_state,
)
from model.codec import Codec
from model.config import SMALL, CodecConfig, PriorConfig, TransformerConfig
from model.errors import CheckpointError, ConfigError
from model.prior import Prior
from model.released import (
    PRIOR_1B_LYRICS,
    PRIOR_5B,
    PRIOR_5B_LYRICS,
    UPSAMPLER_LEVEL_1,
    VQVAE,
)
from model.transformer import Attention
from model.upsampler import Upsampler
from tests.vectors import (
    NAMES,
    arrays,
    assert_matches,
    cases,
    fill,
    needs_golden,
    prior_config,
    synthetic,
)

Module = Codec | Prior | Upsampler

PRIORS = (
    "up0",
    "up1",
    "top_5b",
    "top_5b_lyrics",
    "top_1b_lyrics",
    "top_sep8",
    "top_uncond",
    "top_dense",
)
FULL_CONTEXT = ("full_top_5b", "full_top_1b_lyrics", "full_up1")
ATTENTIONS = (
    *(f"attn_f{number}" for number in (0, 1, 2, 3, 6, 7)),
    *("attn_f1_wide", "attn_f2_tiny", "attn_f3_oneblock", "attn_f7_exact"),
)


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


@needs_golden
@pytest.mark.parametrize("name", ATTENTIONS)
@torch.no_grad()
def test_each_kind_of_attention_computes_as_published(name):
    case, recorded = cases()[name], arrays(name)
    attention = Attention(
        TransformerConfig(
            width=case["n_in"],
            depth=1,
            heads=case["heads"],
            frames=case["n_ctx"],
            rows=case["blocks"],
            attention_multiplier=case["n_state"] / case["n_in"],
            prefix_frames=case["prime_len"] or 0,
        ),
        NAMES[case["attn_func"]],
    )
    parts = {"enter": "c_attn", "leave": "c_proj", "encoder_pair": "c_enc_kv"}
    names = {
        f"{parts[part]}.{leaf}": f"{part}.{leaf}"
        for part, _, leaf in (key.partition(".") for key in attention.state_dict())
    }
    wanted = {key: tuple(attention.state_dict()[own].shape) for key, own in names.items()}
    state = synthetic(wanted, case)
    attention.load_state_dict({names[key]: tensor for key, tensor in state.items()})
    assert_matches(attention(recorded["x"], recorded.get("encoder_kv")), recorded["full"])


def loaded(name: str) -> tuple[PriorConfig, Module]:
    case = cases()[name]
    config = prior_config(case["hyper_parameters"], case)
    module = make(config)
    fill(module, case)
    return config, module


def conditions_of(name: str, config: PriorConfig, module: Module) -> tuple[torch.Tensor, ...]:
    """Return the start vector, and what is added at every music position."""
    sizes, recorded = cases()[name]["hyper_parameters"], arrays(name)
    prior = module.prior if isinstance(module, Upsampler) else module
    if "y" not in recorded:
        batch, frames = recorded["z"].shape
        nothing = torch.zeros(batch, dtype=torch.long)
        start = prior.start_vector(nothing, nothing[:, None])
        return start, torch.zeros(batch, frames, config.transformer.width)
    label = recorded["y"]
    start = prior.start_vector(label[:, 3], label[:, 4 : 4 + sizes["max_bow_genre_size"]])
    if isinstance(module, Upsampler):
        return start, module.conditioner(recorded["z_cond"])
    frames = sizes["n_ctx"]
    first, last = label[:, 1:2].float(), (label[:, 1:2] + label[:, 2:3]).float()
    position = first + (last - first) * (torch.arange(frames) / frames)
    return start, prior.timing(label[:, :1].float().expand(-1, frames), position)


@needs_golden
@pytest.mark.parametrize("name", [*PRIORS, *FULL_CONTEXT])
@torch.no_grad()
def test_priors_and_upsamplers_compute_as_published(name):
    sizes, recorded = cases()[name]["hyper_parameters"], arrays(name)
    config, module = loaded(name)
    prior = module.prior if isinstance(module, Upsampler) else module
    start, conditions = conditions_of(name, config, module)
    for made, key in ((start[:, None], "y_cond"), (conditions, "x_cond")):
        if key in recorded:
            assert_matches(made, recorded[key])
    codes, encoded = recorded["z"], None
    if sizes["use_tokens"]:
        characters = recorded["y"][:, -sizes["n_tokens"] :]
    if sizes["single_enc_dec"]:
        codes = torch.cat([characters, codes + sizes["n_vocab"]], dim=1)
        conditions = F.pad(conditions, (0, 0, sizes["n_tokens"], 0))
    elif sizes["use_tokens"]:
        encoded = prior.lyrics(characters)
        assert_matches(encoded, recorded["encoder_kv"])
        assert_matches(prior.lyrics.head(encoded), recorded["prime_logits"])
    logits = prior(codes, start, conditions, encoded)
    if "logits" in recorded:
        assert_matches(logits, recorded["logits"])
    else:
        assert_matches(logits[:, recorded["row_index"]], recorded["logits_rows"])


@needs_golden
@pytest.mark.parametrize("name", ["up0", "up1", "top_5b", "top_uncond"])
@pytest.mark.parametrize("whole_rows", [False, True])
@torch.no_grad()
def test_with_caches_priors_compute_as_published(name, whole_rows):
    recorded = arrays(name)
    config, module = loaded(name)
    prior = module.prior if isinstance(module, Upsampler) else module
    start, conditions = conditions_of(name, config, module)
    previous = F.pad(recorded["z"][:, :-1], (1, 0), value=-1)
    frames = config.transformer.row_frames() if whole_rows else 1
    state = (0, prior.transformer.start(len(previous)))
    made = []
    for first in range(0, previous.shape[1], frames):
        span = slice(first, first + frames)
        logits, state = prior.advance(previous[:, span], start, conditions[:, span], state)
        made.append(logits)
    assert_matches(torch.cat(made, dim=1), recorded["inc_logits"])
