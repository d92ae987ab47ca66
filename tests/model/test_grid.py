"""The whole way from a sample heard to a sample made, and how far back the stacks reach."""

from dataclasses import replace

import pytest
import torch

from model import chunked
from model.bundle import TOP, empty_bundle
from model.codec import Level
from model.finisher import Finisher, Material, played_by_ear
from model.grid import grid_of
from model.listening import FEATURES
from model.shipped import SMALL, SMALL_CODEC
from model.transformer import Transformer
from tests.model.tiny import CARD, randomised, reach_of

MAX_LOOKAHEAD = 882
"""20 ms at 44.1 kHz."""
HOP = 128
FRAMES, FRAME = 112, 100


@pytest.fixture(scope="module")
def grid():
    return grid_of(empty_bundle(SMALL, CARD))


def material(codes, played, decoded):
    return Material(
        codes=codes,
        played=played,
        drawn=torch.zeros_like(codes, dtype=torch.bool),
        trusted=torch.ones_like(codes, dtype=torch.bool),
        decoded=decoded,
        memory=torch.zeros(1, 3, FEATURES),
        remembered=torch.ones(1, 3, dtype=torch.bool),
    )


@pytest.fixture(scope="module")
def way():
    """Return SMALL's way from sound to sound: encode, quantise, hear notes, decode, finish.

    The quantiser is bridged straight-through. The finisher looks its codes up
    in a codebook: here the codebook *is* the stretch of latents, and code t is t.
    """
    level = randomised(Level(SMALL_CODEC, TOP)).eval()
    finisher = randomised(Finisher(SMALL.finisher, codebook_size=FRAMES), gain=0.5).eval()
    torch.nn.init.constant_(finisher.ear.leave.bias, 1.0)
    codes = torch.arange(FRAMES)[None]

    def made(samples):
        latents = level.quantizer.straight_through(level.latents(samples))[0]
        finisher.codebook = latents[0].t()
        played = played_by_ear(finisher.hear(codes))
        return finisher(material(codes, played, level.render(latents)), 7)

    return made, finisher


def test_no_sample_that_is_made_depends_on_one_more_than_20_ms_later(way, grid, record_property):
    made, _ = way
    sound = 0.3 * torch.randn(1, FRAMES * HOP, generator=torch.Generator().manual_seed(0))
    offsets = (0, 31, 63, 64, 65, 66, 80, 96, 112, 127)
    ahead = [
        reach_of(made, sound, at)[1] - at for at in (FRAME * HOP + offset for offset in offsets)
    ]
    record_property("lookahead_samples", max(ahead))
    # The window begins with a zero, so that its first sample needs nothing of its frame.
    assert grid.lookahead_samples - 2 <= max(ahead) <= grid.lookahead_samples
    assert offsets[ahead.index(max(ahead))] == HOP // 2 + 1
    assert grid.lookahead_samples <= MAX_LOOKAHEAD


def test_a_block_needs_no_code_beyond_the_finisher_s_reach(way, grid):
    _, finisher = way
    latents = torch.randn(FRAMES, 64, generator=torch.Generator().manual_seed(1))
    level = randomised(Level(SMALL_CODEC, TOP)).eval()
    codes = torch.arange(FRAMES)[None]

    def made(rows):
        finisher.codebook = rows.t()
        played = played_by_ear(finisher.hear(codes))
        return finisher(material(codes, played, level.render(rows[None])), 7)

    reaches = [reach_of(made, latents.t(), FRAME * HOP + offset) for offset in (0, 65, 127)]
    first, last = min(r[0] for r in reaches), max(r[1] for r in reaches)
    assert last - FRAME == grid.finisher_after_frames
    assert FRAME - first <= grid.finisher_before_frames
    # The codec's decoding is asked for with one frame more on each side.
    _, ahead = chunked.reach_of(chunked.decoder_layers(level))
    assert ahead + 1 <= grid.finisher_after_frames


@pytest.mark.parametrize(
    ("shape", "frame_rate", "positions_per_frame", "seconds"),
    [
        (SMALL.priors[TOP].transformer, SMALL_CODEC.frame_rate(TOP), 1, 8.0),
        (SMALL.student.transformer, SMALL_CODEC.frame_rate(TOP), SMALL.student.group_frames, 8.0),
        (SMALL.priors[1].transformer, SMALL_CODEC.frame_rate(1), 1, 1.5),
        (SMALL.priors[0].transformer, SMALL_CODEC.frame_rate(0), 1, 0.35),
    ],
    ids=["top", "student", "level1", "level0"],
)
def test_the_context_is_long_enough_and_its_first_frame_is_heard(
    shape, frame_rate, positions_per_frame, seconds
):
    assert shape.frames * positions_per_frame / frame_rate >= seconds
    # Narrower alike: reach is a matter of the pattern, not of the width.
    narrow = replace(shape, width=8 * shape.heads)
    stack = randomised(Transformer(narrow)).eval()
    row = shape.row_frames()
    x = torch.randn(
        1, shape.frames + row, narrow.width, generator=torch.Generator().manual_seed(2)
    ).requires_grad_()
    made = stack(x)
    for last in (shape.frames, shape.frames + row // 2, shape.frames + row - 1):
        x.grad = None
        made[0, last].sum().backward(retain_graph=True)
        assert float(x.grad[0, last - shape.frames + 1].abs().max()) > 0
        if shape.causal_rows:
            assert not x.grad[0, last + 1 :].any()


def test_the_grid_of_the_shipped_sizes(grid):
    assert (grid.frame_samples, grid.chunk_samples) == (128, 8192)
    assert grid.encoder_after_samples == (8, 40, 144)
    assert grid.context_chunks * grid.chunk_samples >= 8 * 44_100
    assert grid.block_frames * grid.frame_samples <= grid.chunk_samples
