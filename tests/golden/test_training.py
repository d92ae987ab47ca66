"""Published training: what moves weights, rates and scales."""

import math
import re

import pytest

from model.training.downmix import downmix
from model.training.optimizer import Adam, AdamConfig, gradient_norm, gradient_scale
from model.training.schedule import LossScale, RateConfig, rate_factor
from tests.vectors import assert_matches, cases_of, files_of


@cases_of("optimizer")
def test_parameters_and_moments_move_as_published(case):
    recorded = case.arrays()
    parameters = [
        recorded[f"p{index}.step0"].clone().requires_grad_() for index in range(len(case["shapes"]))
    ]
    optimizer = Adam(
        parameters,
        AdamConfig(
            rate=case["lr"],
            betas=tuple(case["betas"]),
            epsilon=case["eps"],
            weight_decay=case["wd"],
        ),
    )
    for step in range(1, case["steps"] + 1):
        for index, parameter in enumerate(parameters):
            parameter.grad = recorded[f"g{index}.step{step}"].clone()
        norm = gradient_norm(parameters, case["loss_scale"])
        assert norm == pytest.approx(case["grad_norms"][step - 1], rel=1e-5)
        scale = gradient_scale(norm, case["clip"], case["loss_scale"])
        assert scale == pytest.approx(case["scale_passed_to_step"][step - 1], rel=1e-5)
        optimizer.step(scale=scale)
        for index, parameter in enumerate(parameters):
            state = optimizer.state[parameter]
            made = {"p": parameter.detach(), "m": state["first"], "v": state["second"]}
            for name, tensor in made.items():
                assert_matches(tensor, recorded[f"{name}{index}.step{step}"], f"{name} {step}")


@files_of("lr_and_loss_scale")
def test_rates_and_loss_scales_follow_the_published_steps(document):
    for row in document.content["lr"]:
        config = RateConfig(
            scale=row["lr_scale"],
            warm_up_steps=row["lr_warmup"],
            gamma=row["lr_gamma"],
            decay_steps=row["lr_decay"],
            linear_from_step=row["lr_start_linear_decay"] if row["lr_use_linear_decay"] else None,
        )
        for step, factor in row["factor_at"].items():
            assert rate_factor(int(step), config) == pytest.approx(factor, rel=1e-5, abs=1e-12)
    recorded = document.content["scaler"]
    scale = LossScale(
        log2=float(recorded["initial_log2"]),
        growth_log2=growth_log2(recorded["scale_factor"]),
        most_log2=float(recorded["max_log2"]),
    )
    made = []
    for overflow in recorded["overflow_sequence"]:
        scale = scale.after(overflow=bool(overflow))
        made.append(scale.log2)
    assert made == pytest.approx(recorded["log2_scale_after"], rel=1e-9)


def growth_log2(factor):
    """Return the exponent of a factor that is recorded as "2**(1/250)"."""
    base, above, below = re.fullmatch(r"(\d+)\*\*\((\d+)/(\d+)\)", factor).groups()
    return math.log2(int(base)) * int(above) / int(below)


@cases_of("audio_preprocess")
def test_stereo_becomes_the_published_mono(case):
    recorded = case.arrays()
    assert_matches(downmix(recorded["stereo"].movedim(-1, 1))[..., None], recorded["mono"])
