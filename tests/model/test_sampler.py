"""From logits to codes: filters, temperature, and frequencies that follow the distribution."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.errors import ConditionError
from model.sampler import filtered, sample
from model.values import SamplingPlan

PLAN = SamplingPlan(seed=3)
INF = float("inf")


def logits_of(*probabilities):
    return torch.tensor([probabilities]).log()


def kept(logits, **filters):
    return torch.isfinite(filtered(logits, **filters))[0].tolist()


@pytest.mark.parametrize(
    ("top_k", "expected"),
    [
        (0, [True] * 5),
        (1, [False, True, False, False, False]),
        (2, [True, True, False, True, False]),  # two are second: both stay
        (3, [True, True, False, True, False]),
        (5, [True] * 5),
        (999, [True] * 5),
    ],
)
def test_top_k_keeps_ties_with_the_last_one(top_k, expected):
    assert kept(torch.tensor([[2.0, 5.0, -1.0, 2.0, 0.0]]), top_k=top_k) == expected


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (1.0, [True] * 4),
        (0.95, [True] * 4),
        (0.85, [True, True, False, True]),
        (0.7, [True, False, False, True]),
        (0.49, [False, False, False, True]),
        (0.001, [False, False, False, True]),
    ],
)
def test_the_nucleus_keeps_the_code_that_crosses(top_p, expected):
    assert kept(logits_of(0.25, 0.15, 0.1, 0.5), top_p=top_p) == expected


def test_filters_leave_what_they_keep_as_it_was():
    logits = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    made = filtered(logits, top_k=20, top_p=0.8)
    stays = torch.isfinite(made)
    assert torch.equal(made[stays], logits[stays])
    assert bool((stays.sum(-1) >= 1).all())
    assert bool((stays.sum(-1) <= 20).all())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_distribution(temperature):
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0, 0.5, -INF]])
    frames = 20_000
    plan = replace(PLAN, temperature=temperature)
    codes = sample(logits.expand(frames, -1), plan, level=2, turn=0, first_frame=0)
    expected = (logits[0] / temperature).softmax(-1).double().numpy() * frames
    counts = np.bincount(codes, minlength=6)
    assert counts[5] == 0
    # 99.9 % point of chi-square with 4 degrees of freedom.
    assert ((counts - expected)[:5] ** 2 / expected[:5]).sum() < 18.5


def test_filters_bound_what_is_drawn():
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(1)).expand(2000, -1)
    codes = sample(logits, replace(PLAN, top_k=3), level=2, turn=0, first_frame=0)
    assert set(codes.tolist()) == set(logits[0].topk(3).indices.tolist())


@pytest.mark.parametrize("pieces", [[1] * 12, [5, 7]])
def test_codes_depend_on_their_place_and_not_on_the_cut(pieces):
    logits = torch.randn(12, 9, generator=torch.Generator().manual_seed(2))
    whole = sample(logits, PLAN, level=2, turn=1, first_frame=100)
    at, made = 0, []
    for size in pieces:
        part = logits[at : at + size]
        made.append(sample(part, PLAN, level=2, turn=1, first_frame=100 + at))
        at += size
    assert np.array_equal(np.concatenate(made), whole)
    assert not np.array_equal(sample(logits, PLAN, level=2, turn=1, first_frame=101), whole)


def test_half_precision_logits_are_drawn_from_in_single():
    logits = torch.randn(50, 9, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
    ours = sample(logits, PLAN, level=2, turn=0, first_frame=0)
    assert np.array_equal(ours, sample(logits.float(), PLAN, level=2, turn=0, first_frame=0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"top_k": -1},
        {"passes": -1},
    ],
    ids=str,
)
def test_a_plan_no_draw_can_be_made_with_is_refused_with_its_value(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConditionError, match=f"{name} is {value:g}"):
        SamplingPlan(seed=0, **wrong)
