"""The codebook: nearest rows, gradients that pass, running means, rows that restart."""

import math

import pytest
import torch

from model.quantizer import (
    Quantizer,
    Tally,
    move_codebook,
    restore_codebook,
    start_codebook,
    tally,
    update_codebook,
)

ROWS, WIDTH = 8, 3


def random(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def quantizer():
    made = Quantizer(ROWS, WIDTH)
    made.codebook.copy_(torch.randn(ROWS, WIDTH, generator=random()))
    return made


def latents(frames=40, batch=2, seed=1):
    return torch.randn(batch, WIDTH, frames, generator=random(seed))


def distances_between(ours, theirs):
    return (ours[:, None] - theirs[None]).norm(dim=-1)


def test_each_latent_gets_its_nearest_row(quantizer):
    given = latents()
    distances = (given.movedim(1, -1)[:, :, None] - quantizer.codebook).norm(dim=-1)
    assert torch.equal(quantizer.encode(given), distances.argmin(-1))
    assert len(quantizer.encode(given).unique()) > ROWS // 2


def test_a_row_is_its_own_code_and_decodes_to_itself(quantizer):
    codes = torch.arange(ROWS)[None]
    rows = quantizer.decode(codes)
    assert torch.equal(rows[0].t(), quantizer.codebook)
    assert torch.equal(quantizer.encode(rows), codes)


def test_of_equal_rows_the_first_is_chosen(quantizer):
    quantizer.codebook[5] = quantizer.codebook[2]
    assert int(quantizer.encode(quantizer.codebook[2][None, :, None])) == 2


def test_half_precision_latents_are_compared_in_single(quantizer):
    given = latents().to(torch.bfloat16)
    assert torch.equal(quantizer.encode(given), quantizer.encode(given.float()))


def test_gradients_pass_straight_through(quantizer):
    given = latents().requires_grad_()
    made, commitment, codes = quantizer.straight_through(given)
    torch.testing.assert_close(made, quantizer.decode(codes))
    weights = torch.randn(made.shape, generator=random(2))
    (made * weights).sum().backward()
    assert torch.equal(given.grad, weights)
    expected = (given - quantizer.decode(codes)).square().mean()
    torch.testing.assert_close(commitment, expected.detach())


def test_commitment_pulls_latents_towards_their_rows(quantizer):
    given = latents().requires_grad_()
    _, commitment, codes = quantizer.straight_through(given)
    commitment.backward()
    away = (given - quantizer.decode(codes)).detach()
    torch.testing.assert_close(given.grad, 2 * away / away.numel())


@pytest.mark.parametrize("frames", [3, 4, 50])
def test_a_codebook_starts_from_latents_tiled_with_little_noise_where_they_are_few(frames):
    quantizer, given = Quantizer(ROWS, WIDTH), latents(frames, batch=1)
    start_codebook(quantizer, given, random())
    rows = given[0].t()
    distances = distances_between(quantizer.codebook, rows)
    assert float(distances.min(1).values.max()) <= (0.05 if frames < ROWS else 0.0)
    assert len(quantizer.codebook.unique(dim=0)) == ROWS
    if frames < ROWS:
        assert len(distances.argmin(1).unique()) == frames
    assert torch.equal(quantizer.sums, quantizer.codebook)
    assert torch.equal(quantizer.counts, torch.ones(ROWS))


def test_the_same_generator_starts_the_same_codebook():
    books = []
    for seed in (3, 3, 4):
        quantizer = Quantizer(ROWS, WIDTH)
        start_codebook(quantizer, latents(), random(seed))
        books.append(quantizer.codebook)
    assert torch.equal(books[0], books[1])
    assert not torch.equal(books[0], books[2])


def test_rows_move_to_the_running_mean_of_those_who_chose_them():
    quantizer, given = Quantizer(2, WIDTH), latents(6, batch=1)
    start_codebook(quantizer, given, random())
    before = quantizer.codebook.clone()
    codes = torch.tensor([[0, 0, 0, 0, 1, 1]])
    restarted = update_codebook(quantizer, given, codes, random(), decay=0.9, threshold=0.5)
    flat = given[0].t()
    for row, chosen in ((0, flat[:4]), (1, flat[4:])):
        total = 0.9 * before[row] + 0.1 * chosen.sum(0)
        count = 0.9 + 0.1 * len(chosen)
        torch.testing.assert_close(quantizer.codebook[row], total / count)
        torch.testing.assert_close(quantizer.counts[row], torch.tensor(count))
    assert restarted == 0


def test_a_constant_latent_becomes_its_row_in_time():
    quantizer = Quantizer(1, WIDTH)
    start_codebook(quantizer, latents(5), random())
    given = torch.full((1, WIDTH, 10), 3.0)
    for _ in range(60):
        codes = quantizer.encode(given)
        update_codebook(quantizer, given, codes, random(), decay=0.9, threshold=0.0)
    torch.testing.assert_close(quantizer.codebook, torch.full((1, WIDTH), 3.0), atol=0.01, rtol=0)


@pytest.mark.parametrize(("threshold", "restarts"), [(1.0, False), (1.0 + 1e-3, True)])
def test_a_row_restarts_only_below_the_threshold(threshold, restarts):
    quantizer, given = Quantizer(ROWS, WIDTH), latents(ROWS, batch=1)
    start_codebook(quantizer, given, random())
    before = quantizer.codebook.clone()
    # Chosen once each from a count of one: the running count stays exactly at one.
    codes = quantizer.encode(quantizer.codebook.t()[None])
    same = quantizer.decode(codes)
    made = update_codebook(quantizer, same, codes, random(5), decay=0.5, threshold=threshold)
    assert made == (ROWS if restarts else 0)
    unmoved = torch.allclose(quantizer.codebook, before)
    assert unmoved != restarts


def test_a_row_nobody_chooses_restarts_at_a_latent_of_the_batch_and_its_count_decays_on():
    quantizer, given = Quantizer(ROWS, WIDTH), latents(50, batch=1)
    start_codebook(quantizer, given, random())
    codes = torch.zeros(1, 50, dtype=torch.long)
    restarted = update_codebook(quantizer, given, codes, random(), decay=0.5, threshold=0.6)
    assert restarted == ROWS - 1
    assert not distances_between(quantizer.codebook[1:], given[0].t()).min(1).values.any()
    torch.testing.assert_close(quantizer.counts[1:], torch.full((ROWS - 1,), 0.5))
    torch.testing.assert_close(quantizer.counts[0], torch.tensor(0.5 + 25))


def test_a_code_used_once_from_a_count_of_one_stays_exactly_at_the_threshold():
    quantizer, given = Quantizer(ROWS, WIDTH), latents(ROWS, batch=1)
    start_codebook(quantizer, given, random())
    rows = quantizer.codebook.t()[None]
    made = move_codebook(quantizer, tally(quantizer, rows, quantizer.encode(rows), random()))
    assert torch.equal(quantizer.counts, torch.ones(ROWS))
    assert made.alive == made.used == ROWS
    assert made.entropy == pytest.approx(math.log(ROWS), rel=1e-5)


def test_a_restored_codebook_stays_where_it_is_while_nobody_chooses():
    quantizer, before = Quantizer(ROWS, WIDTH), torch.randn(ROWS, WIDTH, generator=random(4))
    quantizer.codebook.copy_(before)
    restore_codebook(quantizer, 16.0)
    assert torch.equal(quantizer.counts, torch.full((ROWS,), 16.0))
    nothing = Tally(
        counts=torch.eye(ROWS)[0] * 16,
        sums=16 * before * torch.eye(ROWS)[:1].t(),
        fresh=torch.zeros(ROWS, WIDTH),
    )
    made = move_codebook(quantizer, nothing)
    torch.testing.assert_close(quantizer.codebook, before)
    assert (made.alive, made.used) == (ROWS, 1)
