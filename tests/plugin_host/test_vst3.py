"""The chain with real VST3 files: those of Debian's zam-plugins, where they are installed."""

import json
from pathlib import Path

import numpy as np
import pytest

from plugin_host.chain import load_chain
from plugin_host.errors import (
    ParameterError,
    PluginLoadError,
    UnknownParameterError,
)
from plugin_host.parameters import Choice, Number

FOLDER = Path("/usr/lib/vst3")
LIMITER = FOLDER / "ZaMaximX2.vst3"  # stereo, looks 480 samples ahead at any rate
DELAY = FOLDER / "ZamDelay.vst3"  # mono, not late

pytestmark = [
    pytest.mark.plugin,
    pytest.mark.skipif(
        not LIMITER.exists() or not DELAY.exists(),
        reason="no real VST3 here: install Debian's zam-plugins",
    ),
]


@pytest.fixture
def load(tmp_path):
    def from_json(path, num_channels, sample_rate=48_000, **entry):
        file = tmp_path / "chain.json"
        file.write_text(json.dumps({"plugins": [{"plugin": str(path), **entry}]}))
        return load_chain(file, sample_rate=sample_rate, num_channels=num_channels)

    return from_json


def noise(num_channels, num_samples=6000):
    made = np.random.default_rng(5).standard_normal((num_channels, num_samples))
    return (0.1 * made).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 96_000])
def test_the_latency_counted_is_the_delay_heard(load, sample_rate):
    chain = load(LIMITER, 2, sample_rate)
    latency = chain.latency_samples
    assert latency == 480
    click = np.zeros((2, 5000), np.float32)
    click[:, 700] = 0.5
    for out, place in ((chain.render(click), 700), (chain.process(click), 700 + latency)):
        assert np.abs(out).argmax(axis=1).tolist() == [place, place]


@pytest.mark.parametrize(("path", "num_channels"), [(LIMITER, 2), (DELAY, 1)])
@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_blocks_of_any_size_sound_like_the_whole(load, path, num_channels, size):
    chain = load(path, num_channels)
    samples = noise(num_channels)
    whole = chain.process(samples)
    chain.reset()
    starts = range(0, samples.shape[1], size)
    parts = [chain.process(samples[:, start : start + size]) for start in starts]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)
    assert chain.reports == []


def test_rendering_twice_gives_the_same(load):
    chain = load(LIMITER, 2)
    samples = noise(2)
    np.testing.assert_array_equal(chain.render(samples), chain.render(samples))


def test_parameters_are_described_and_heard(load):
    plain = load(LIMITER, 2)
    (plugin,) = plain.plugins
    by_name = {parameter.name: parameter for parameter in plugin.parameters}
    ceiling = Number(name="output_ceiling_db", unit="dB", minimum=-30.0, maximum=0.0)
    assert by_name["output_ceiling_db"] == ceiling
    assert isinstance(by_name["current_program"], Choice)
    quiet = load(LIMITER, 2, parameters={"output_ceiling_db": -20.0, "threshold_db": -20.0})
    loud = 5 * noise(2)
    assert np.abs(quiet.render(loud)).max() < 0.12 < np.abs(plain.render(loud)).max()


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"ceiling": 1.0}, UnknownParameterError, "output_ceiling_db"),
        ({"output_ceiling_db": 1.0}, ParameterError, "at most 0 dB"),
        ({"output_ceiling_db": "low"}, ParameterError, "must be a number"),
        ({"current_program": "None"}, ParameterError, "must be one of"),
    ],
)
def test_a_bad_parameter_is_refused(load, parameters, kind, message):
    with pytest.raises(ParameterError, match=message) as caught:
        load(LIMITER, 2, parameters=parameters)
    assert type(caught.value) is kind


def test_a_value_that_the_plugin_rounds_away_is_refused(load):
    with pytest.raises(ParameterError, match=r"the plugin has set 2\.0") as caught:
        load(DELAY, 1, parameters={"divisor": 2.5})
    assert (caught.value.value, caught.value.limit) == (2.5, 2.0)


def test_a_channel_count_that_the_plugin_does_not_take_is_refused(load):
    with pytest.raises(PluginLoadError, match="with 2 channels"):
        load(DELAY, 2)


def test_a_part_that_the_file_does_not_hold_is_refused(load):
    assert load(LIMITER, 2, name="ZaMaximX2").plugins[0].name == "ZaMaximX2"
    with pytest.raises(PluginLoadError, match="is not one of: ZaMaximX2"):
        load(LIMITER, 2, name="Other")
