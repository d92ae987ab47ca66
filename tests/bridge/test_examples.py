"""The scripts of `examples/`, run as their readers would run them."""

import json
import runpy
import threading
from pathlib import Path

import numpy as np
import pytest
from fakes import CountingGenerator, ramp
from mido import Message, MidiFile, MidiTrack

from bridge.app import embedded_server
from bridge.audio_file import AudioClip, Provenance, read_audio, read_time_reference, write_audio
from bridge.config import private_config
from plugin_host.errors import PluginCrashError
from tests.jackd import jack_server
from tests.plugin_host.faulty_plugins import build

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 44_100
NOBODY = Provenance(model="", fingerprint="", seed=0, request_id="", licence="")


def script(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.fixture
def address(tmp_path):
    with embedded_server(private_config(tmp_path / "spool"), CountingGenerator) as address:
        yield address


@pytest.fixture
def section(tmp_path):
    prime = np.linspace(-0.5, 0.5, 2 * RATE).astype(np.float32).reshape(2, -1)
    clip = AudioClip(samples=prime, sample_rate=RATE)
    return write_audio(tmp_path / "section.wav", clip, 0, NOBODY)


def test_a_midi_file_is_played_in_the_timbre_of_a_recording(address, section, tmp_path, capsys):
    track = MidiTrack([Message("note_on", note=60, velocity=80, time=0)])
    track.append(Message("note_off", note=60, time=960))
    midi = MidiFile(ticks_per_beat=480)
    midi.tracks.append(track)
    midi.save(tmp_path / "part.mid")
    out = tmp_path / "out.wav"
    files = [str(tmp_path / "part.mid"), str(section), str(out)]
    script("render_midi")["main"]([*files, "--server", address])
    assert read_audio(out).samples.shape[1] == RATE
    assert "1 notes" in capsys.readouterr().out


def test_variations_go_through_a_chain_and_keep_their_place(address, section, tmp_path, capsys):
    plugins = [{"plugin": "Gain", "parameters": {"gain_db": -6.0}}]
    chain = tmp_path / "chain.json"
    chain.write_text(json.dumps({"plugins": plugins}))
    out = tmp_path / "out"
    arguments = [str(section), "120", str(chain), str(out), "--variations", "2"]
    script("vary_through_plugins")["main"]([*arguments, "--server", address])
    for number in range(2):
        path = out / f"variation-{number}.wav"
        assert read_time_reference(path) == RATE
        audio = read_audio(path).samples
        assert audio.shape[1] >= 4 * 4 * RATE // 2
    assert capsys.readouterr().out.count("variation-") == 2


@pytest.mark.plugin
@pytest.mark.slow
def test_variations_go_through_a_real_vst3_whose_crash_is_named(address, section, tmp_path, capsys):
    effect = str(build(tmp_path) / "faulty_effect.vst3")

    def varied(name, **plugin):
        """Return the variation that comes out of a plugin, and what was told."""
        chain, out = tmp_path / "chain.json", tmp_path / name
        chain.write_text(json.dumps({"plugins": [plugin]}))
        names = [str(section), "120", str(chain), str(out)]
        script("vary_through_plugins")["main"]([*names, "--variations", "1", "--server", address])
        return read_audio(out / "variation-0.wav").samples, capsys.readouterr().out

    dry, _ = varied("dry", plugin="Gain", parameters={"gain_db": 0.0})
    wet, told = varied("wet", plugin=effect, parameters={"gain_db": -6.0})
    assert "faulty" not in told
    np.testing.assert_allclose(wet, dry * 10 ** (-6 / 20), atol=1e-5)
    with pytest.raises(PluginCrashError, match=r"faulty_effect\.vst3 crashed with SIG"):
        varied("crashed", plugin=effect, parameters={"fault": 1.0})


class Fed:
    """Sound in about real time, until two answers were heard."""

    sample_rate = RATE

    def __init__(self):
        self.out = []

    def run(self, player, sent):
        pause = threading.Event()
        for _ in range(5_000):
            self.out.append(player.play(np.zeros((2, 1_024), np.float32)))
            sent.put(self.out[-1])
            if len(player.hand_overs) == 2 and player.next_sample > heard_at(player, 1) + 4_096:
                return
            pause.wait(0.02)
        raise AssertionError("two answers never came")


def heard_at(player, number):
    return player.hand_overs[number].heard_sample


def test_a_live_loop_hands_over_on_bar_lines(address):
    sound = Fed()
    player = script("live_loop")["main"](["120", "--server", address], sound)
    out = np.concatenate(sound.out, axis=1)
    bar = 2 * RATE
    assert all(one.start_sample % bar == 0 for one in player.hand_overs)
    start = heard_at(player, 0)
    np.testing.assert_array_equal(out[0, start : start + 1_000], ramp(start, 1_000))


@pytest.mark.host
def test_a_live_loop_runs_on_jack(address, tmp_path, monkeypatch):
    with jack_server(tmp_path, monkeypatch):
        loop = script("live_loop")
        sound = loop["JackSound"]()
        players = []

        class Watched(loop["LivePlayer"]):
            def __init__(self, *given, **named):
                super().__init__(*given, **named)
                players.append(self)

        def end_when_heard():
            pause = threading.Event()
            for _ in range(12_000):
                if players and players[0].hand_overs:
                    break
                pause.wait(0.005)
            sound.ended.set()

        watching = threading.Thread(target=end_when_heard)
        watching.start()
        monkeypatch.setitem(loop["main"].__globals__, "LivePlayer", Watched)
        player = loop["main"](["120", "--server", address], sound)
        watching.join()
    (taken, *_) = player.hand_overs
    assert taken.start_sample % (2 * sound.sample_rate) == 0
