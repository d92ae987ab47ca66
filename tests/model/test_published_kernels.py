"""Compiled products: right at every length and precision, the same bits in any company."""

import pytest
import torch

from model.published.linear import Precision, hold, hold_single
from model.transformer import Linear


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def held(inputs, outputs, precision):
    linear = Linear(inputs, outputs)
    linear.w.data, linear.b.data = numbers(inputs, outputs), numbers(outputs, seed=1)
    return hold([linear], precision).maps[0]


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (15, 64), (80, 63), (150, 65), (64, 200)])
@pytest.mark.parametrize("rows", [1, 4, 6])
def test_a_product_is_right_whatever_its_lengths(precision, inputs, outputs, rows):
    made = held(inputs, outputs, precision)
    x, weights = numbers(rows, inputs, seed=2), numbers(inputs, outputs).to(made.weights.dtype)
    expected = x.double() @ weights.double() + made.bias
    torch.testing.assert_close(made(x).double(), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("precision", Precision)
def test_a_row_comes_to_the_same_bits_in_any_company(precision):
    made, x = held(150, 100, precision), numbers(9, 150, seed=2)
    alone = torch.cat([made(row[None]) for row in x])
    for rows in range(1, 10):
        assert torch.equal(made(x[:rows]), alone[:rows])


def test_rows_that_do_not_lie_side_by_side_are_multiplied_too():
    x, weights = numbers(64, 5).t(), numbers(64, 3)
    torch.testing.assert_close(hold_single(weights)(x), x @ weights, rtol=1e-5, atol=1e-5)
