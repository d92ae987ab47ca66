"""The table of effects: pedalboard has what it says, and takes every value it allows."""

import numpy as np
import pedalboard
import pytest

from plugin_host.chain import Chain
from plugin_host.errors import ParameterError, UnknownParameterError
from plugin_host.loader import PluginSpec, load_plugin
from plugin_host.parameters import EFFECTS, REFUSED, Choice, Number, check_settings

RATE = 44100
NUMBERS = [
    (name, parameter)
    for name, effect in EFFECTS.items()
    for parameter in effect.parameters
    if isinstance(parameter, Number)
]
IDS = [f"{name}.{parameter.name}" for name, parameter in NUMBERS]


def highest(number):
    return min(number.maximum, RATE / 2) if number.below_nyquist else number.maximum


def rendered(name, parameters):
    plugin = load_plugin(PluginSpec(plugin=name, parameters=parameters), sample_rate=RATE)
    chain = Chain([plugin], sample_rate=RATE, num_channels=2)
    noise = np.random.default_rng(3).standard_normal((2, 6000)).astype(np.float32)
    out = chain.render(noise)
    assert chain.reports == []
    return out


@pytest.mark.parametrize(("name", "number"), NUMBERS, ids=IDS)
def test_both_ends_of_a_range_are_taken_and_kept(name, number):
    for value in (number.minimum, highest(number)):
        rendered(name, {number.name: value})
        effect = EFFECTS[name].kind()
        setattr(effect, number.name, value)
        assert getattr(effect, number.name) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("end", [lambda number: number.minimum, highest])
def test_all_ends_at_once_stay_finite(name, end):
    numbers = [number for owner, number in NUMBERS if owner == name]
    assert np.isfinite(rendered(name, {number.name: end(number) for number in numbers})).all()


@pytest.mark.parametrize(("name", "number"), NUMBERS, ids=IDS)
def test_a_value_past_either_end_is_refused_with_value_limit_and_unit(name, number):
    for value, limit in (
        (number.minimum - 0.5, number.minimum),
        (highest(number) + 1, highest(number)),
    ):
        with pytest.raises(ParameterError) as caught:
            check_settings(name, EFFECTS[name].parameters, {number.name: value}, RATE)
        error = caught.value
        assert (error.value, error.limit, error.unit) == (value, limit, number.unit)
        assert f"{name}.{number.name}" in str(error)


@pytest.mark.parametrize("value", [True, "1", float("nan"), float("inf"), None, [1]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ParameterError) as caught:
        check_settings("Gain", EFFECTS["Gain"].parameters, {"gain_db": value}, RATE)
    assert caught.value.value is value
    assert caught.value.unit == "dB"


def test_a_cutoff_stays_below_half_the_sample_rate():
    parameters = EFFECTS["LowpassFilter"].parameters
    settings = {"cutoff_frequency_hz": 20_000}
    assert check_settings("LowpassFilter", parameters, settings, 48_000) == settings
    with pytest.raises(ParameterError, match="at most 16000 Hz"):
        check_settings("LowpassFilter", parameters, settings, 32_000)


def test_an_unknown_parameter_is_refused_with_the_known_ones():
    with pytest.raises(UnknownParameterError, match="gain_db") as caught:
        check_settings("Gain", EFFECTS["Gain"].parameters, {"volume": 1.0}, RATE)
    assert caught.value.value == "volume"


def test_a_choice_takes_each_of_its_texts_and_nothing_else():
    mode = EFFECTS["LadderFilter"].parameters[0]
    assert isinstance(mode, Choice)
    sounds = {rendered("LadderFilter", {"mode": text}).tobytes() for text in mode.options}
    assert len(sounds) == len(mode.options) == 6
    for wrong in ("lpf12", 0, True):
        with pytest.raises(ParameterError, match="LPF12"):
            check_settings("LadderFilter", [mode], {"mode": wrong}, RATE)


def test_a_flag_takes_true_and_false_and_nothing_else():
    parameters = EFFECTS["BrickwallLimiter"].parameters
    assert check_settings("x", parameters, {"true_peak": True}, RATE) == {"true_peak": True}
    for wrong in (1, 0.0, "true"):
        with pytest.raises(ParameterError, match="true or false"):
            check_settings("x", parameters, {"true_peak": wrong}, RATE)


@pytest.mark.parametrize("name", EFFECTS)
def test_a_row_names_what_the_effect_has(name):
    kind = EFFECTS[name].kind
    assert kind.__name__ == name
    known = {key for key, kept in vars(kind).items() if isinstance(kept, property)}
    assert {parameter.name for parameter in EFFECTS[name].parameters} <= known


def test_what_is_refused_is_an_effect_of_pedalboard_and_not_in_the_table():
    assert not set(REFUSED) & set(EFFECTS)
    assert all(issubclass(getattr(pedalboard, name), pedalboard.Plugin) for name in REFUSED)
