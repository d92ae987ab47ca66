"""A batch through the published codec: terms that vanish, gradients, and codebooks of processes."""

from dataclasses import replace

import pytest
import torch

from model.codec import Codec
from model.config import BlockConfig, CodecConfig
from model.errors import ConditionError
from model.quantizer import Tally
from model.training.codec_pass import (
    CodebookConfig,
    codec_pass,
    learn_codebooks,
    start_codebooks,
)
from model.training.downmix import downmix, random_downmix
from model.training.published_losses import (
    Bandwidth,
    CodecLossConfig,
    level_losses,
    wave_figures,
    wave_loss,
)
from tests.model.tiny import randomised

BLOCK = BlockConfig(stride=2, repeats=2, width=4, depth=2)
SHAPE = CodecConfig(levels=((BLOCK,), (BLOCK, BLOCK)), latent_width=4, codebook_size=6)
WIDTH = Bandwidth(l1=0.1, l2=0.02, spectrum=10.0)
LOSSES = CodecLossConfig()
BOOKS = CodebookConfig(threshold=0.9)


def noise(clips=2, samples=2048, seed=1):
    return torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed)) * 0.2


@pytest.fixture
def codec():
    made = randomised(Codec(SHAPE))
    start_codebooks(made, noise(), torch.Generator().manual_seed(0))
    return made


@pytest.mark.parametrize("relative", [False, True])
def test_nothing_is_lost_where_nothing_differs_and_gradients_stay_numbers(relative):
    made = noise().requires_grad_()
    config = replace(LOSSES, relative=relative, spectral=1.0)
    terms = level_losses(made, noise(), torch.zeros(()), WIDTH, config)
    (terms.reconstruction + terms.spectral + terms.multispectral).backward()
    assert [float(term.detach()) for term in (terms.reconstruction, terms.spectral)] == [0, 0]
    assert float(terms.multispectral.detach()) == 0
    assert torch.isfinite(made.grad).all()


def test_silence_is_reproduced_by_anything_as_far_as_relative_spectra_tell():
    figures = wave_figures(noise(), torch.zeros(2, 2048), WIDTH, LOSSES)
    assert float(figures.convergence) == 0
    assert float(figures.l1) > 0


def test_the_largest_errors_are_those_of_each_clip():
    made, true = torch.zeros(2, 8), torch.zeros(2, 8)
    made[0, 3], made[1, 5] = 1.0, 3.0
    config = replace(LOSSES, largest=2)
    loss = wave_loss(made, true, "linf", replace(WIDTH, l2=0.5), config)
    assert float(loss) == pytest.approx((1 + 9) / 4 / 0.5)
    assert float(wave_loss(made, true, "lmix", WIDTH, replace(LOSSES, mix=(0.0, 0.0, 0.0)))) == 0


def test_every_parameter_learns_and_a_shorter_error_is_a_smaller_loss(codec):
    passed = codec_pass(codec, noise(), WIDTH, LOSSES)
    passed.loss.backward()
    assert all(float(value.grad.abs().sum()) > 0 for value in codec.parameters())
    assert len(passed.levels) == len(passed.codes) == 2
    assert passed.codes[0].shape == (2, 512)
    wider = codec_pass(codec, noise(), replace(WIDTH, l2=2.0, spectrum=1e3), LOSSES)
    assert float(wider.loss.detach()) < float(passed.loss.detach())


def test_codes_are_those_of_the_codebook_before_it_moves(codec):
    passed = codec_pass(codec, noise(), WIDTH, LOSSES)
    before = [codec.level(index).quantizer.codebook.clone() for index in range(2)]
    again = codec_pass(codec, noise(), WIDTH, LOSSES)
    assert all(map(torch.equal, passed.codes, again.codes))
    figures = learn_codebooks(codec, passed, torch.Generator().manual_seed(3), BOOKS)
    for index, (old, made) in enumerate(zip(before, figures, strict=True)):
        moved = (codec.level(index).quantizer.codebook - old).square().mean().sqrt()
        assert made.moved == pytest.approx(float(moved), rel=1e-5)
        assert made.moved > 0
        assert 0 < made.entropy < 2
        assert 0 < made.alive <= 6


def test_two_processes_that_share_tallies_learn_one_codebook(codec):
    twin = Codec(SHAPE)
    twin.load_state_dict(codec.state_dict())
    for index in range(2):
        ours, theirs = codec.level(index).quantizer, twin.level(index).quantizer
        theirs.sums.copy_(ours.sums)
        theirs.counts.copy_(ours.counts)
    batch = noise(clips=4)
    whole = codec_pass(codec, batch, WIDTH, LOSSES)
    half = codec_pass(twin, batch[:2], WIDTH, LOSSES)
    rest = codec_pass(twin, batch[2:], WIDTH, LOSSES)
    tallies = []
    learn_codebooks(
        codec, whole, torch.Generator().manual_seed(3), BOOKS, lambda _, used: keep(tallies, used)
    )
    others = []
    learn_codebooks(
        Codec(SHAPE),
        rest,
        torch.Generator().manual_seed(9),
        BOOKS,
        lambda _, used: keep(others, used),
    )

    def share(_: int, used: Tally) -> Tally:
        other, fresh = others.pop(0), tallies.pop(0).fresh
        return Tally(counts=used.counts + other.counts, sums=used.sums + other.sums, fresh=fresh)

    learn_codebooks(twin, half, torch.Generator().manual_seed(5), BOOKS, share)
    for index in range(2):
        ours, theirs = codec.level(index).quantizer, twin.level(index).quantizer
        torch.testing.assert_close(ours.codebook, theirs.codebook)
        assert torch.equal(ours.counts, theirs.counts)


def keep(tallies, used):
    tallies.append(used)
    return used


@pytest.mark.parametrize("samples", [0, 2047])
def test_clips_that_are_no_whole_frames_are_refused(codec, samples):
    with pytest.raises(ConditionError, match=f"{samples} samples long, a multiple of 16"):
        codec_pass(codec, torch.zeros(1, samples), WIDTH, LOSSES)


def test_a_downmix_takes_shares_of_both_channels():
    stereo = torch.stack([noise(3, 8, 1), noise(3, 8, 2)], 1)
    torch.testing.assert_close(downmix(stereo), stereo.mean(1))
    assert torch.equal(downmix(stereo, torch.tensor([1.0, 0.0, 1.0]))[1], stereo[1, 1])
    made = random_downmix(stereo, torch.Generator().manual_seed(0))
    shares = ((made - stereo[:, 1]) / (stereo[:, 0] - stereo[:, 1])).mean(1)
    assert len(shares.unique()) == 3
    assert bool(((shares > 0) & (shares < 1)).all())
