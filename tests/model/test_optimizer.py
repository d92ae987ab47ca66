"""The published Adam: scales, decay, and states that are taken up again."""

from math import inf, sqrt

import pytest
import torch

from model.training.optimizer import Adam, AdamConfig, gradient_norm, gradient_scale

CONFIG = AdamConfig(rate=0.1, betas=(0.5, 0.75), epsilon=1e-3, weight_decay=0.2)


def parameter(*values):
    return torch.tensor(values).requires_grad_()


def test_a_first_step_is_the_formula_by_hand():
    given = parameter(2.0)
    optimizer = Adam([given], CONFIG)
    given.grad = torch.tensor([6.0])
    optimizer.step(scale=2.0)
    size = 0.1 * sqrt(1 - 0.75) / (1 - 0.5)
    expected = 2.0 - size * (0.5 * 3 / (sqrt(0.25 * 9) + 1e-3) + 0.2 * 2.0)
    assert float(given.detach()) == pytest.approx(expected, rel=1e-6)


def test_a_scaled_gradient_moves_as_the_gradient_itself():
    plain, scaled = parameter(1.0, -2.0), parameter(1.0, -2.0)
    plain.grad, scaled.grad = torch.tensor([0.3, 0.1]), torch.tensor([0.3, 0.1]) * 64
    Adam([plain], CONFIG).step()
    Adam([scaled], CONFIG).step(scale=64.0)
    assert torch.equal(plain, scaled)


def test_a_parameter_without_gradient_stays():
    moved, still = parameter(1.0), parameter(1.0)
    moved.grad = torch.tensor([1.0])
    Adam([moved, still], CONFIG).step()
    assert float(moved.detach()) != 1.0
    assert float(still.detach()) == 1.0


def test_a_state_that_is_taken_up_goes_on_as_if_never_put_down():
    whole, halves = parameter(1.0), parameter(1.0)
    one, two = Adam([whole], CONFIG), Adam([halves], CONFIG)
    for step in range(4):
        if step == 2:
            kept = two.state_dict()
            two = Adam([halves], CONFIG)
            two.load_state_dict(kept)
        for given, optimizer in ((whole, one), (halves, two)):
            given.grad = torch.tensor([float(step + 1)])
            optimizer.step()
    assert torch.equal(whole, halves)


@pytest.mark.parametrize(
    ("norm", "loss_scale", "scale"), [(0.5, 1.0, 1.0), (4.0, 1.0, 2.0), (4.0, 8.0, 16.0)]
)
def test_long_gradients_are_divided_down_to_the_clip(norm, loss_scale, scale):
    assert gradient_scale(norm, 2.0, loss_scale) == scale


def test_the_length_is_over_all_gradients_and_shows_an_overflow():
    one, two = parameter(0.0), parameter(0.0)
    assert gradient_norm([one, two]) == 0.0
    one.grad, two.grad = torch.tensor([6.0]), torch.tensor([8.0])
    assert gradient_norm([one, two], loss_scale=2.0) == pytest.approx(5.0)
    one.grad = torch.tensor([inf])
    assert gradient_norm([one, two]) == inf
