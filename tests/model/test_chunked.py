"""In pieces the codec says what it says of the whole, at the published reach and at ours."""

from dataclasses import replace

import pytest
import torch

from model.chunked import (
    decode,
    decoder_layers,
    encode,
    encode_latents,
    encoder_layers,
    in_window,
    reach_of,
)
from model.codec import Codec
from model.released import VQVAE
from model.shipped import SMALL_CODEC

ROUNDING = 1e-5
"""The bound for a long file; what is measured is under 1e-6."""


def narrow(config):
    """Return a codec of few channels whose strides, depths and dilations are the real ones."""
    levels = tuple(tuple(replace(block, width=4) for block in level) for level in config.levels)
    return replace(config, levels=levels, latent_width=4, codebook_size=64)


@pytest.fixture(scope="module", params=["released", "shipped"])
def codec(request):
    torch.manual_seed(0)
    made = Codec(narrow({"released": VQVAE, "shipped": SMALL_CODEC}[request.param]))
    for index in range(len(made.levels)):
        made.level(index).quantizer.codebook.normal_(0, 0.3)
    return made.eval()


LONG = 3 * 44_100 + 57
"""Longer than the released level 0 sees on both sides, and no whole number of frames."""


@pytest.fixture(scope="module")
def audio():
    return torch.randn(1, LONG, generator=torch.Generator().manual_seed(1)) * 0.3


@pytest.mark.parametrize("samples", [44_100, 10_007])
@pytest.mark.parametrize("index", [0, 1, 2])
@torch.no_grad()
def test_encoding_in_pieces_equals_the_whole(codec, audio, index, samples):
    level = codec.level(index)
    whole = level.latents(audio)
    pieces = torch.cat(list(encode_latents(level, audio.split(samples, dim=-1))), dim=-1)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=ROUNDING)
    codes = torch.cat(list(encode(level, audio.split(samples, dim=-1))), dim=-1)
    assert torch.equal(codes, level.quantizer.encode(pieces))


@pytest.mark.parametrize("frames", [5000, 333])
@pytest.mark.parametrize("index", [0, 1, 2])
@torch.no_grad()
def test_decoding_in_pieces_equals_the_whole(codec, index, frames):
    level = codec.level(index)
    draw = torch.Generator().manual_seed(2)
    codes = torch.randint(0, 64, (1, LONG // level.hop), generator=draw)
    pieces = torch.cat(list(decode(level, codes.split(frames, dim=-1))), dim=-1)
    torch.testing.assert_close(pieces, level.decode(codes), rtol=0, atol=ROUNDING)


@torch.no_grad()
def test_pieces_of_one_sample_and_of_one_frame_are_enough(codec):
    level = codec.level(2)
    audio = torch.randn(2, 3 * level.hop + 5, generator=torch.Generator().manual_seed(3))
    latents = torch.cat(list(encode_latents(level, audio.split(1, dim=-1))), dim=-1)
    torch.testing.assert_close(latents, level.latents(audio), rtol=0, atol=ROUNDING)
    codes = level.encode(audio)
    made = torch.cat(list(decode(level, codes.split(1, dim=-1))), dim=-1)
    torch.testing.assert_close(made, level.decode(codes), rtol=0, atol=ROUNDING)


@torch.no_grad()
def test_audio_is_answered_while_more_is_to_come(codec, audio):
    """What a piece makes is given before the next is asked for, so memory stays bounded."""
    level, asked = codec.level(2), 0

    def source():
        nonlocal asked
        for piece in audio.split(level.hop * 64, dim=-1):
            asked += 1
            yield piece

    answered = [asked for _ in encode_latents(level, source())]
    assert answered[0] < 5
    assert answered == sorted(answered)
    assert len(set(answered)) > 10


@torch.no_grad()
def test_nothing_gives_nothing(codec):
    level = codec.level(1)
    assert list(encode(level, [])) == []
    assert list(encode(level, [torch.zeros(1, level.hop - 1)])) == []
    assert list(decode(level, [])) == []


@pytest.mark.parametrize("index", [0, 1, 2])
@torch.no_grad()
def test_a_window_says_what_the_whole_says_of_it(index):
    """Of the streaming codec, whose layers' reach a window holds exactly."""
    torch.manual_seed(0)
    level = Codec(narrow(SMALL_CODEC)).eval().level(index)
    audio = torch.randn(1, 300 * 128, generator=torch.Generator().manual_seed(4)) * 0.3
    layers = encoder_layers(level)
    behind, ahead = (int(samples) for samples in reach_of(layers))
    first, last = 150 * 128, 200 * 128
    window = audio[:, first - behind : last + ahead][:, None, None]
    made = in_window(layers, window, begins=False, ends=False)[:, :, 0]
    whole = level.latents(audio)[:, :, first // level.hop : last // level.hop]
    assert made.shape == whole.shape
    torch.testing.assert_close(made, whole, rtol=0, atol=ROUNDING)
    begun = in_window(layers, audio[:, : last + ahead][:, None, None], begins=True, ends=False)
    torch.testing.assert_close(begun[:, :, 0], level.latents(audio)[:, :, : last // level.hop])


@pytest.mark.parametrize("index", [0, 1, 2])
@torch.no_grad()
def test_the_last_two_linear_steps_may_be_one(index):
    torch.manual_seed(0)
    level = Codec(narrow(SMALL_CODEC)).eval().level(index)
    level.quantizer.codebook.normal_(0, 0.3)
    codes = torch.randint(0, 64, (1, 200), generator=torch.Generator().manual_seed(5))
    latents = level.quantizer.decode(codes)[:, :, None]
    made = in_window(decoder_layers(level), latents, begins=True, ends=True)[:, 0, 0]
    whole = level.decode(codes)
    assert made.shape == whole.shape
    torch.testing.assert_close(made[:, 2:], whole[:, 2:], rtol=0, atol=ROUNDING)
    behind, ahead = reach_of(decoder_layers(level))
    inner = in_window(decoder_layers(level), latents, begins=False, ends=False)[:, 0, 0]
    first, last = behind * level.hop, 200 * level.hop - ahead * level.hop
    torch.testing.assert_close(inner, whole[:, int(first) : int(last)], rtol=0, atol=ROUNDING)


@torch.no_grad()
def test_no_layer_is_handed_frames_that_lie_the_other_way(codec, audio):
    handed = []

    def watched(layer):
        def run(piece):
            handed.append(piece.is_contiguous(memory_format=torch.channels_last))
            return layer.run(piece)

        return replace(layer, run=run)

    layers = [watched(layer) for layer in encoder_layers(codec.level(0))]
    in_window(layers, audio[:, None, None, :10_240], begins=True, ends=True)
    assert handed == [True] * len(layers)
