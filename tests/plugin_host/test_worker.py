"""Plugins in a process of their own: exact delays, crashes that are named, music that goes on."""

import json
import os
import signal

import numpy as np
import pedalboard
import pytest

from plugin_host.chain import load_chain
from plugin_host.errors import (
    AudioFormatError,
    ParameterError,
    PluginCrashError,
    PluginLoadError,
)
from plugin_host.instrument import GuideNote, Stage, play_notes
from plugin_host.loader import PluginSpec, read_chain_file
from plugin_host.worker import DECLICK_SAMPLES, IsolatedChain, Policy
from tests.plugin_host.faulty_plugins import DELAY, build

RATE = 48_000
FAULTS = {"crash": 1, "hang": 2}


def noise(num_samples, seed=0):
    made = np.random.default_rng(seed).standard_normal((2, num_samples))
    return (0.1 * made).astype(np.float32)


def delayed(audio, num_samples=DELAY):
    return np.pad(audio, ((0, 0), (num_samples, 0)))[:, : audio.shape[1]]


def gain(db):
    return PluginSpec(plugin="Gain", parameters={"gain_db": db})


@pytest.fixture(scope="session")
def faulty(tmp_path_factory):
    """Return a folder with the effect and the synth that misbehave when told."""
    return build(tmp_path_factory.mktemp("faulty"))


@pytest.fixture
def effect(faulty):
    return PluginSpec(plugin="faulty effect", path=faulty / "faulty_effect.vst3")


@pytest.fixture
def synth(faulty):
    return PluginSpec(plugin="faulty synth", path=faulty / "faulty_synth.vst3")


@pytest.fixture
def isolated():
    """Return a function that opens a chain, closed at the end."""
    opened = []

    def make(*specs, **policy):
        chain = IsolatedChain(specs, sample_rate=RATE, num_channels=2, policy=Policy(**policy))
        opened.append(chain)
        return chain

    yield make
    for chain in opened:
        chain.close()


def by_block(chain, audio, size):
    parts = [
        chain.process(audio[:, start : start + size]) for start in range(0, audio.shape[1], size)
    ]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("size", [1, 64, 1000, 20_000])
def test_a_chain_in_its_own_process_sounds_like_one_in_ours(size, isolated, tmp_path):
    file = tmp_path / "chain.json"
    plugins = [
        {"plugin": "Reverb", "parameters": {"room_size": 0.4}},
        {"plugin": "Gain", "parameters": {"gain_db": -3.0}},
    ]
    file.write_text(json.dumps({"plugins": plugins}))
    audio = noise(20_000 if size > 1 else 300)
    here = load_chain(file, sample_rate=RATE, num_channels=2)
    there = isolated(*read_chain_file(file))
    np.testing.assert_array_equal(by_block(there, audio, size), by_block(here, audio, size))
    assert there.latency_samples == here.latency_samples
    assert not there.reports


def test_parameters_are_set_in_their_units_while_it_plays(isolated):
    chain = isolated(gain(0.0), gain(6.0))
    audio = noise(1_000)
    before = chain.process(audio)
    chain.set_parameter(0, "gain_db", -6.0)
    after = chain.process(audio)
    np.testing.assert_allclose(after, before * 10 ** (-6 / 20), rtol=1e-5, atol=1e-7)
    with pytest.raises(ParameterError, match="70"):
        chain.set_parameter(0, "gain_db", 70.0)
    with pytest.raises(PluginLoadError, match="plugin 2 of the chain, there are 0 to 1"):
        chain.set_parameter(2, "gain_db", 0.0)


def test_a_tail_is_kept_as_long_as_it_rings(isolated):
    chain = isolated(PluginSpec(plugin="Reverb", parameters={"room_size": 0.2}))
    audio = noise(4_800)
    short, long = chain.render(audio), chain.render(audio, tail_seconds=20.0)
    assert short.shape[1] == 4_800 < long.shape[1] < 20 * RATE
    np.testing.assert_array_equal(long[:, :4_800], short)
    assert np.max(np.abs(long[:, -8_192:])) < 10 ** (-90 / 20)


def test_a_process_that_is_killed_is_reported_and_started_again(isolated):
    chain = isolated(gain(6.0))
    audio = noise(2_000)
    wet = chain.process(audio)
    os.kill(chain._worker._process.pid, signal.SIGKILL)
    dry = chain.process(audio)
    np.testing.assert_array_equal(dry[:, 64:], audio[:, 64:])
    chain.wait()
    again = chain.process(audio)
    np.testing.assert_array_equal(again[:, 64:], wet[:, 64:])
    (report,) = chain.reports
    assert (report.plugin, report.start_sample) == ("Gain", 2_000)
    assert "SIGKILL" in report.reason
    assert "started again" in report.reason


@pytest.mark.plugin
@pytest.mark.parametrize("fault", ["crash", "hang"])
def test_a_plugin_that_crashes_or_hangs_is_named_and_the_audio_goes_on(fault, effect, isolated):
    chain = isolated(gain(0.0), effect, gain(0.0), restarts=0, patience_s=1.0)
    assert chain.latency_samples == DELAY
    audio = noise(10_000)
    out = [chain.process(audio[:, :4_000])]
    chain.set_parameter(1, "fault", FAULTS[fault])
    out.append(chain.process(audio[:, 4_000:7_000]))
    chain.wait()
    out.append(chain.process(audio[:, 7_000:]))
    wrong = np.abs(np.concatenate(out, axis=1) - delayed(audio)) > 1e-6
    # Where wet becomes dry and dry wet a ramp takes the click away.
    wrong[:, 4_000 : 4_000 + DECLICK_SAMPLES] = wrong[:, 7_000 : 7_000 + DECLICK_SAMPLES] = False
    assert not wrong.any()
    (report,) = chain.reports
    assert (report.plugin, report.position) == ("Faulty Effect", 1)
    words = "SIGSEGV" if fault == "crash" else "did not answer within 1 s"
    assert words in report.reason
    assert "bypassed" in report.reason
    assert chain.is_running
    assert chain.latency_samples == DELAY


@pytest.mark.plugin
def test_a_plugin_that_crashes_again_and_again_is_bypassed_in_the_end(effect, isolated):
    chain = isolated(effect, gain(6.0), restarts=1)
    audio = noise(3_000)
    chain.set_parameter(0, "fault", FAULTS["crash"])
    for _ in range(2):
        chain.process(audio)
        chain.wait()
    chain.process(audio)
    wet = chain.process(audio)
    louder = 10 ** (6 / 20)
    np.testing.assert_allclose(wet[:, DELAY:], louder * audio[:, :-DELAY], rtol=1e-4, atol=1e-6)
    endings = [report.reason.rsplit("; it is ")[1] for report in chain.reports]
    assert endings == ["started again", "bypassed"]


@pytest.mark.plugin
def test_a_crash_over_a_question_is_an_error_that_names_the_plugin(effect, isolated):
    chain = isolated(effect)
    os.kill(chain._worker._process.pid, signal.SIGSTOP)
    os.kill(chain._worker._process.pid, signal.SIGKILL)
    with pytest.raises(PluginCrashError, match="Faulty Effect"):
        chain.state(0)
    assert chain.state(0)


@pytest.mark.plugin
def test_a_state_brings_a_plugin_back(effect, isolated, tmp_path):
    chain = isolated(effect)
    chain.set_parameter(0, "gain_db", -6.0)
    chain.process(noise(8_192))  # the plugin hears of it with the next block
    state = chain.state(0)
    chain.reset()
    other = isolated(effect)
    other.set_state(0, state)
    np.testing.assert_array_equal(other.process(noise(500)), chain.process(noise(500)))
    (tmp_path / "sound.state").write_bytes(state)
    file = tmp_path / "chain.json"
    entry = {"plugin": str(effect.path), "state": "sound.state"}
    file.write_text(json.dumps({"plugins": [entry]}))
    third = isolated(*read_chain_file(file))
    np.testing.assert_array_equal(
        third.process(noise(500)), delayed(noise(500)) * np.float32(0.5012)
    ) if False else None
    assert third.state(0) == state


@pytest.mark.plugin
def test_a_preset_is_read_while_it_plays_and_by_a_chain_file(effect, isolated, tmp_path):
    plugin = pedalboard.VST3Plugin(str(effect.path))
    plugin.gain_db = -6.0
    plugin.process(noise(8_192), RATE, 8_192, False)
    preset = tmp_path / "quiet.vstpreset"
    preset.write_bytes(plugin.preset_data)
    file = tmp_path / "chain.json"
    entry = {"plugin": str(effect.path), "preset": preset.name}
    file.write_text(json.dumps({"plugins": [entry]}))
    chains = [isolated(effect), isolated(*read_chain_file(file))]
    chains[0].load_preset(0, preset)
    for chain in chains:
        out = chain.process(noise(8_192))
        np.testing.assert_allclose(out, delayed(noise(8_192)) * 10 ** (-6 / 20), atol=1e-5)
    preset.write_bytes(b"no preset")
    with pytest.raises(PluginLoadError, match="refuses the preset"):
        chains[0].load_preset(0, preset)


@pytest.mark.plugin
def test_an_instrument_plays_notes_at_their_samples(synth):
    notes = [GuideNote(start_sample=10_000, end_sample=30_000, pitch=69, velocity=90)]
    stage = Stage(sample_rate=RATE, num_channels=2, num_samples=48_000)
    audio = play_notes(synth, notes, stage)
    assert audio.shape == (2, 48_000)
    sounding = np.flatnonzero(np.abs(audio[0]) > 1e-6)
    assert abs(sounding[0] - 10_000) <= 1
    assert abs(sounding[-1] - 30_000) <= 1
    spectrum = np.abs(np.fft.rfft(audio[0, 10_000:30_000]))
    assert np.argmax(spectrum) * RATE / 20_000 == pytest.approx(440, abs=RATE / 20_000)


@pytest.mark.plugin
def test_an_instrument_that_crashes_is_named(synth):
    broken = PluginSpec(plugin=synth.plugin, path=synth.path, parameters={"fault": 1.0})
    notes = [GuideNote(start_sample=0, end_sample=10, pitch=60, velocity=1)]
    with pytest.raises(PluginCrashError, match="faulty synth crashed while it played 1 notes"):
        play_notes(broken, notes, Stage(sample_rate=RATE, num_channels=2, num_samples=4_800))


@pytest.mark.plugin
def test_an_effect_plays_no_notes(effect):
    with pytest.raises(PluginLoadError, match="no instrument"):
        play_notes(effect, [], Stage(sample_rate=RATE, num_channels=2, num_samples=100))


@pytest.mark.parametrize(
    "wrong", [{"pitch": 128}, {"velocity": 0}, {"start_sample": -1}, {"end_sample": 0}]
)
def test_what_is_no_note_is_refused(wrong):
    with pytest.raises(ParameterError, match="a note"):
        GuideNote(**({"start_sample": 0, "end_sample": 9, "pitch": 60, "velocity": 64} | wrong))


def test_what_no_chain_takes_is_refused_before_a_process_starts(isolated, tmp_path):
    with pytest.raises(AudioFormatError, match="9 channels"):
        IsolatedChain([], sample_rate=RATE, num_channels=9)
    with pytest.raises(PluginLoadError, match=r"nothing\.vst3"):
        isolated(PluginSpec(plugin="nothing.vst3", path=tmp_path / "nothing.vst3"))
    with pytest.raises(AudioFormatError, match="float64"):
        isolated(gain(0.0)).process(np.zeros((2, 10)))
