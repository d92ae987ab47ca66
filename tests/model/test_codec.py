"""The codec: hops, lengths, and how far each part looks, measured through gradients."""

from dataclasses import replace
from math import ceil

import pytest
import torch

from model import chunked
from model.codec import Codec, Level
from model.config import BlockConfig, CodecConfig
from model.grid import (
    DECODER_AFTER_FRAMES,
    DECODER_BEFORE_FRAMES,
    ENCODER_REACH_FRAMES,
)
from model.shipped import SMALL_CODEC, TINY_CODEC
from tests.model.tiny import randomised, reach_of

TOP_HOP = 128
ENCODER_AFTER = (8, 40, 144)
"""Samples after its own frame that each level's encoder hears."""
LOOKAHEAD = (31, 151, 559)
"""From a sample that goes in to the first that comes out because of it, by level."""
MAX_LOOKAHEAD = 882
"""20 ms at 44.1 kHz."""


@pytest.fixture(scope="module", params=[0, 1, 2], ids="level{}".format)
def small(request):
    return randomised(Level(SMALL_CODEC, request.param)).eval(), request.param


@pytest.mark.parametrize("config", [TINY_CODEC, SMALL_CODEC], ids=["tiny", "small"])
def test_hops_are_8_32_and_128_samples(config):
    assert [config.hop(level) for level in range(3)] == [8, 32, 128]
    assert [round(config.frame_rate(level), 1) for level in range(3)] == [5512.5, 1378.1, 344.5]


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("samples", [128, 255, 1000, 4096])
def test_whole_frames_become_codes_and_codes_whole_frames(bundle, level, samples):
    part = bundle.codec.level(level)
    codes = part.encode(torch.randn(2, samples))
    assert codes.shape == (2, samples // part.hop)
    assert part.decode(codes).shape == (2, samples // part.hop * part.hop)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_codes_and_sound_follow_the_input(bundle, level):
    part, random = bundle.codec.level(level), torch.Generator().manual_seed(0)
    sounds = 0.3 * torch.randn(2, 4096, generator=random)
    ours, theirs = part.encode(sounds)
    assert len(ours.unique()) > 4
    assert not torch.equal(ours, theirs)
    made = part.decode(torch.stack([ours, theirs]))
    assert not torch.allclose(made[0], made[1])


def test_levels_share_nothing():
    codec = Codec(TINY_CODEC)
    owned = [id(value) for index in range(3) for value in codec.level(index).parameters()]
    assert len(set(owned)) == len(owned) == len(list(codec.parameters()))


def test_an_encoder_hears_little_after_its_frame_and_not_too_long_before(small):
    level, index = small
    frames = 50 * TOP_HOP // level.hop
    frame = frames - 8 * TOP_HOP // level.hop
    audio = torch.randn(4, frames * level.hop, generator=torch.Generator().manual_seed(1))
    first, last = reach_of(level.latents, audio, frame)
    end = (frame + 1) * level.hop
    assert last + 1 - end == ENCODER_AFTER[index]
    before = frame * level.hop - first
    assert before <= ENCODER_REACH_FRAMES * TOP_HOP
    assert before > level.hop


def test_a_decoder_looks_one_frame_and_one_unit_ahead(small):
    level, index = small
    frames, frame = 90, 80
    latents = torch.randn(2, 64, frames, generator=torch.Generator().manual_seed(2))
    reaches = [
        reach_of(level.render, latents, frame * level.hop + offset)
        for offset in range(0, level.hop, 8 if level.hop < 128 else 16)
    ]
    after = max(last for _, last in reaches) - frame
    before = frame - min(first for first, _ in reaches)
    assert after == (2, 3, 3)[index]
    if index == 0:
        assert after <= DECODER_AFTER_FRAMES
        assert before <= DECODER_BEFORE_FRAMES
    behind, ahead = chunked.reach_of(chunked.decoder_layers(level))
    assert (before, after) == (ceil(behind), ceil(ahead))


def test_from_sample_to_sample_no_level_looks_further_ahead_than_20_ms(small, record_property):
    level, index = small
    frames, frame = 64, 54
    audio = torch.randn(2, frames * level.hop, generator=torch.Generator().manual_seed(3))

    def bridged(samples):
        return level.render(level.quantizer.straight_through(level.latents(samples))[0])

    ahead = max(
        reach_of(bridged, audio, at)[1] - at
        for at in range(frame * level.hop, (frame + 1) * level.hop, level.hop // 8)
    )
    record_property(f"lookahead_level{index}_samples", ahead)
    assert ahead == LOOKAHEAD[index]
    assert ahead <= MAX_LOOKAHEAD


def test_a_published_level_looks_both_ways():
    block = BlockConfig(stride=2, repeats=2, width=4, depth=2)
    config = CodecConfig(levels=((block,),), latent_width=4, codebook_size=8)
    level = randomised(Level(config, 0)).eval()
    audio = torch.randn(4, 400, generator=torch.Generator().manual_seed(1))
    first, last = reach_of(level.latents, audio, 50)
    assert abs((200 - first) - (last - 203)) <= level.hop
    assert last - 203 > 20
    streaming = randomised(Level(replace(config, streams=True), 0)).eval()
    assert reach_of(streaming.latents, audio, 50)[1] - 203 < 20
