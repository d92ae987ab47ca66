"""Rates, loss scales and averages by step."""

import pytest

from model.errors import ConfigError
from model.training.schedule import LossScale, RateConfig, average_decay, rate_factor


def test_a_rate_warms_up_from_zero_and_stays():
    config = RateConfig(warm_up_steps=10.0, scale=0.5)
    assert [rate_factor(step, config) for step in (0, 5, 10, 10**6)] == [0.0, 0.25, 0.5, 0.5]


def test_a_rate_falls_by_steps_or_in_a_line_to_zero():
    stairs = RateConfig(warm_up_steps=1.0, gamma=0.5, decay_steps=10.0)
    assert [rate_factor(step, stairs) for step in (9, 10, 25)] == [1.0, 0.5, 0.25]
    line = RateConfig(warm_up_steps=1.0, decay_steps=10.0, linear_from_step=20)
    made = [rate_factor(step, line) for step in (20, 25, 30, 31)]
    assert made == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("wrong", [{"warm_up_steps": 0.0}, {"decay_steps": -1.0}])
def test_no_time_is_no_schedule(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigError, match=f"{name} is {value:g} steps"):
        RateConfig(**wrong)


def test_a_loss_scale_grows_to_its_most_and_halves_on_overflow():
    scale = LossScale()
    assert scale.factor() == 2.0**16
    for _ in range(250):
        scale = scale.after(overflow=False)
    assert scale.factor() == pytest.approx(2.0**17)
    assert scale.after(overflow=True).factor() == pytest.approx(2.0**16)
    assert LossScale(log2=23.999).after(overflow=False).factor() == 2.0**24


def test_more_clips_a_step_forget_faster():
    assert average_decay(8) == pytest.approx(0.999)
    assert average_decay(80) == pytest.approx(0.99)
    for clips in (0, 8000):
        with pytest.raises(ConfigError, match=f"{clips} clips a step"):
            average_decay(clips)
