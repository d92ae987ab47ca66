"""Each kind of attention: whole, through the cache in chunks of every recorded length, its maps."""

import pytest
import torch
from torch import Tensor

from model.config import TransformerConfig
from model.published.cache import StackCache, new_cache
from model.published.linear import Precision, hold
from model.published.stack import PackedAttention, open_stretch, pack_attention
from model.transformer import Attention
from tests.golden.configs import NAMES
from tests.vectors import Case, assert_matches, cases_of, synthetic

PARTS = {"enter": "c_attn", "leave": "c_proj", "encoder_pair": "c_enc_kv"}
ALIGNING = ("dense", "prefix", "encoder")


def loaded(case: Case) -> tuple[TransformerConfig, Attention]:
    kind = NAMES[case["attn_func"]]
    config = TransformerConfig(
        width=case["n_in"],
        depth=1,
        heads=case["heads"],
        frames=case["n_ctx"],
        rows=case["blocks"],
        pattern=(kind,),
        attention_multiplier=case["n_state"] / case["n_in"],
        prefix_frames=case["prime_len"] or 0,
    )
    attention = Attention(config, kind)
    names = {
        f"{PARTS[part]}.{leaf}": f"{part}.{leaf}"
        for part, _, leaf in (key.partition(".") for key in attention.state_dict())
    }
    wanted = {key: tuple(attention.state_dict()[own].shape) for key, own in names.items()}
    state = synthetic(wanted, case)
    attention.load_state_dict({names[key]: tensor for key, tensor in state.items()})
    return config, attention


def opened(case: Case) -> tuple[PackedAttention, StackCache, Tensor]:
    config, attention = loaded(case)
    recorded = case.arrays()
    x, encoded = recorded["x"], recorded.get("encoder_kv")
    maps = hold([attention.enter, attention.leave], Precision.FLOAT32).maps
    packed = pack_attention(attention, *maps, Precision.FLOAT32)
    characters = 0 if encoded is None else encoded.shape[1]
    cache = new_cache(config, batch=len(x), characters=characters)
    if encoded is not None:
        packed.hear(encoded.transpose(0, 1).flatten(0, 1), cache.buffers["encoder"][0])
    return packed, cache, x


def rows_of(x: Tensor, first: int, frames: int) -> Tensor:
    return x[:, first : first + frames].transpose(0, 1).flatten(0, 1)


@cases_of("attention")
@torch.no_grad()
def test_the_whole_sequence_at_once(case):
    _, attention = loaded(case)
    recorded = case.arrays()
    assert_matches(attention(recorded["x"], recorded.get("encoder_kv")), recorded["full"])


@cases_of("attention")
@torch.no_grad()
def test_through_the_cache_in_chunks(case):
    for index, lengths in enumerate(case["chunk_sequences"]):
        attention, cache, x = opened(case)
        made, first = [], 0
        for length in lengths:
            end = first + length
            while first < end:
                frames = min(end - first, cache.room(first))
                rows = rows_of(x, first, frames)
                out = attention.stretch(rows, open_stretch(cache, first, frames))
                made.append(out.view(frames, len(x), -1).transpose(0, 1))
                first += frames
        assert_matches(torch.cat(made, dim=1), case.arrays()[f"chunked{index}"], str(lengths))


@cases_of("attention")
@torch.no_grad()
def test_what_is_attended_to(case):
    if NAMES[case["attn_func"]] not in ALIGNING:
        pytest.skip(f"no map of function {case['attn_func']} was recorded")
    attention, cache, x = opened(case)
    expected = case.arrays()["weights"]
    maps = torch.zeros(len(x), cache.config.heads, cache.config.frames, x.shape[1] + 64)
    for first in range(0, x.shape[1], cache.config.row_frames()):
        frames = cache.room(first)
        made = attention.maps(rows_of(x, first, frames), open_stretch(cache, first, frames))
        maps[:, :, first : first + frames, : made.shape[-1]] = made
    # With lyrics in the sequence only what music positions hear of them was recorded.
    music = maps[:, :, case["prime_len"] or 0 : x.shape[1]]
    assert_matches(music[..., : expected.shape[-1]], expected)
