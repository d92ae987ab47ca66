"""Chain files: the documented form and nothing else, each refusal with its value."""

import json

import numpy as np
import pytest

import plugin_host
from plugin_host.chain import load_chain
from plugin_host.errors import (
    ChainFileError,
    ParameterError,
    PluginHostError,
    PluginLoadError,
    UnknownParameterError,
    UnknownPluginError,
)
from plugin_host.loader import MAX_FILE_BYTES, MAX_PLUGINS, PluginSpec, read_chain_file
from plugin_host.parameters import REFUSED


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "chain.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def load(path):
    return load_chain(path, sample_rate=44100, num_channels=2)


def test_a_file_becomes_specs_in_order(written, tmp_path):
    path = written(
        {
            "plugins": [
                {"plugin": "Reverb", "parameters": {"room_size": 0.3}},
                {"plugin": "sub/x.vst3", "name": "one", "parameters": {"on": True}},
                {"plugin": "Invert"},
            ]
        }
    )
    assert read_chain_file(path) == (
        PluginSpec(plugin="Reverb", parameters={"room_size": 0.3}),
        PluginSpec(
            plugin="sub/x.vst3",
            path=tmp_path / "sub/x.vst3",
            name="one",
            parameters={"on": True},
        ),
        PluginSpec(plugin="Invert"),
    )


def test_a_file_becomes_a_chain_that_sounds(written):
    path = written(
        {
            "plugins": [
                {"plugin": "Gain", "parameters": {"gain_db": 6}},
                {"plugin": "LadderFilter", "parameters": {"mode": "HPF24", "cutoff_hz": 100}},
                {
                    "plugin": "BrickwallLimiter",
                    "parameters": {"lookahead_ms": 5, "true_peak": True},
                },
            ]
        }
    )
    chain = load(path)
    assert [plugin.name for plugin in chain.plugins] == ["Gain", "LadderFilter", "BrickwallLimiter"]
    assert chain.latency_samples >= 220
    samples = np.random.default_rng(1).standard_normal((2, 3001)).astype(np.float32)
    out = chain.render(samples)
    assert out.shape == samples.shape
    assert np.abs(out).max() <= 10 ** (-1 / 20) + 1e-6
    assert chain.reports == []


def test_settings_reach_the_effect(written):
    path = written({"plugins": [{"plugin": "Gain", "parameters": {"gain_db": -20}}]})
    ones = np.ones((2, 100), np.float32)
    np.testing.assert_allclose(load(path).render(ones), ones / 10, rtol=1e-5)


def test_no_plugins_is_a_chain_too(written):
    assert load(written({"plugins": []})).latency_samples == 0


def of(**entry):
    return {"plugins": [entry]}


BAD_FILES = {
    "not JSON": ("{", ChainFileError, "not JSON"),
    "too deep": ("[" * 100_000, ChainFileError, "not JSON"),
    "a list": ([], ChainFileError, "must be an object"),
    "no plugins": ({}, ChainFileError, "'plugins' must be a list"),
    "plugins no list": ({"plugins": {}}, ChainFileError, "'plugins' must be a list"),
    "unknown key": ({"plugins": [], "gain": 1}, ChainFileError, "unknown key 'gain'"),
    "unknown key inside": (of(plugin="Gain", wet=1), ChainFileError, "unknown key 'wet'"),
    "a key twice": (
        '{"plugins": [{"plugin": "Gain", "plugin": "Delay"}]}',
        ChainFileError,
        "'plugin' is there more than once",
    ),
    "entry no object": ({"plugins": ["Gain"]}, ChainFileError, r"plugins\[0\] must be an object"),
    "no name": (of(parameters={}), ChainFileError, r"plugins\[0\].plugin must be a text"),
    "name of nothing": (of(plugin="x.vst3", name=""), ChainFileError, "name must be a text"),
    "part of an effect": (of(plugin="Gain", name="x"), ChainFileError, "Gain is no VST3 file"),
    "parameters no object": (of(plugin="Gain", parameters=[]), ChainFileError, "an object"),
    "value no scalar": (
        of(plugin="Gain", parameters={"gain_db": [1]}),
        ChainFileError,
        "parameters.gain_db must be",
    ),
    "too many": (
        {"plugins": [{"plugin": "Gain"}] * (MAX_PLUGINS + 1)},
        ChainFileError,
        f"{MAX_PLUGINS + 1} plugins, at most {MAX_PLUGINS} plugins",
    ),
    "unknown effect": (of(plugin="Vocoder"), UnknownPluginError, "'Vocoder' is not one of: Bit"),
    "not by attribute": (of(plugin="Plugin"), UnknownPluginError, "'Plugin' is not one of"),
    "unknown parameter": (
        of(plugin="Gain", parameters={"volume": 1}),
        UnknownParameterError,
        "no parameter 'volume'",
    ),
    "out of range": (
        of(plugin="Reverb", parameters={"room_size": 1.5}),
        ParameterError,
        "Reverb.room_size is 1.5 fraction, must be at most 1 fraction",
    ),
    "no number": (
        '{"plugins": [{"plugin": "Gain", "parameters": {"gain_db": NaN}}]}',
        ParameterError,
        "finite",
    ),
    "no such VST3": (of(plugin="absent.vst3"), PluginLoadError, "absent.vst3"),
}


@pytest.mark.parametrize(("content", "kind", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused(written, content, kind, message):
    with pytest.raises(PluginHostError, match=message) as caught:
        load(written(content))
    assert type(caught.value) is kind
    assert caught.value.limit is not None


@pytest.mark.parametrize("name", REFUSED)
def test_an_effect_that_cannot_be_used_is_refused_with_the_reason(written, name):
    with pytest.raises(UnknownPluginError) as caught:
        load(written(of(plugin=name)))
    assert REFUSED[name] in str(caught.value)
    assert caught.value.value == name


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ChainFileError, match="No such file"):
        load(tmp_path / "absent.json")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "chain.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ChainFileError, match="not JSON"):
        load(path)


def test_a_huge_file_is_refused_unread(written):
    with pytest.raises(ChainFileError) as caught:
        load(written(" " * (MAX_FILE_BYTES + 1)))
    error = caught.value
    assert (error.value, error.limit, error.unit) == (MAX_FILE_BYTES + 1, MAX_FILE_BYTES, "bytes")


def test_a_file_that_is_no_plugin_is_refused(tmp_path, written):
    (tmp_path / "text.vst3").write_text("not a plugin")
    with pytest.raises(PluginLoadError, match=r"text\.vst3"):
        load(written(of(plugin="text.vst3")))


def test_the_package_hands_out_what_it_names():
    assert all(hasattr(plugin_host, name) for name in plugin_host.__all__)
