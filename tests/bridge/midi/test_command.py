"""`jukebox-bridge midi`, and `serve --midi-in`: ports, what comes in, learning, a pad's result."""

import mido
import numpy as np
import pytest

from bridge.__main__ import main
from bridge.audio_file import AudioClip, Provenance, write_audio
from bridge.commands import midi
from bridge.midi.map_file import read_map
from bridge.midi.rows import Command, Row, Source

PAD = mido.Message("note_on", channel=9, note=36, velocity=100)
KNOB = mido.Message("control_change", channel=0, control=21, value=5)
NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")


@pytest.fixture
def file(tmp_path):
    """Return a function that writes messages to a MIDI file and returns its name as a port."""

    def write(*messages):
        # 480 ticks a beat of 120 bpm: a message every tenth of a second.
        track = mido.MidiTrack([message.copy(time=96) for message in messages])
        path = tmp_path / "played.mid"
        mido.MidiFile(tracks=[track], ticks_per_beat=480).save(path)
        return f"file:{path}"

    return write


def test_ports_are_listed(monkeypatch, capsys):
    monkeypatch.setattr(midi, "input_names", lambda: ("Jack: pads", "ALSA: keys"))
    assert main(["midi", "ports"]) == 0
    assert capsys.readouterr().out == "Jack: pads\nALSA: keys\n"
    monkeypatch.setattr(midi, "input_names", lambda: ())
    assert main(["midi", "ports"]) == 0
    assert capsys.readouterr().out == "no MIDI input is there\n"


def test_monitor_shows_what_comes_in(file, capsys):
    assert main(["midi", "monitor", "--midi-in", file(PAD, KNOB), "--seconds", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "note_on channel 10 number 36 value 100",
        "control channel 1 number 21 value 5",
    ]


def test_monitor_tells_the_tempo_once_a_beat(file, capsys, monkeypatch):
    class Clocked:
        name = "clocked"

        def __init__(self, spec, hear):
            hear(b"\xfa", 0.0)
            for tick in range(49):
                hear(b"\xf8", 10 + tick * 60 / 125 / 24)

        def close(self):
            pass

    incoming = midi._Incoming(("clocked",), 0.2, Clocked)
    assert midi._monitor(incoming, midi.Clock()) == 0
    assert capsys.readouterr().out.splitlines() == [
        "start",
        "clock 125.00 bpm, beat 1.00",
        "clock 125.00 bpm, beat 2.00",
    ]


def test_learn_takes_the_first_message_that_fits_and_keeps_the_file(file, tmp_path, capsys):
    where = tmp_path / "maps" / "midi.toml"
    usual = ["midi", "learn", "--midi-in", file(PAD, KNOB), "--midi-map", str(where)]
    assert main([*usual, "temperature", "--any-channel"]) == 0
    told = capsys.readouterr()
    assert "note_on channel 10 number 36 value 100 cannot do temperature" in told.err
    assert "control channel 1 number 21 value 5 does temperature" in told.out
    assert main([*usual, "continue"]) == 0
    assert read_map(where).rows == (
        Row(source=Source.CONTROL, number=21, command=Command.TEMPERATURE),
        Row(source=Source.NOTE, number=36, channel=10, command=Command.CONTINUE),
    )
    assert main([*usual, "continue"]) == 2
    assert "does continue already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["monitor"], 2, "name a port with --midi-in"),
        (["monitor", "--midi-in", "file:gone.mid"], 2, "there is no file gone.mid"),
        (["monitor", "--midi-in", "x", "--seconds", "-1"], 2, "--seconds is -1, allowed are"),
    ],
)
def test_what_cannot_be_listened_to_is_told(arguments, code, words, capsys):
    assert main(["midi", *arguments]) == code
    assert words in capsys.readouterr().err


def test_learning_gives_up_in_time(file, capsys):
    assert main(["midi", "learn", "retry", "--midi-in", file(), "--seconds", "0.2"]) == 1
    assert "nothing that can do retry came in 0.2 s" in capsys.readouterr().err


def test_a_server_that_hears_a_pad_leaves_a_result_in_its_spool(serve, file, tmp_path, eventually):
    clip = AudioClip(samples=np.zeros((1, 5_001), np.float32), sample_rate=44_100)
    write_audio(tmp_path / "section.wav", clip, 0, NOBODY)
    (tmp_path / "midi.toml").write_text(
        '[presets.a]\npath = "section.wav"\nbars = 1\ntempo_bpm = 240\n'
        '[[map]]\nsource = "note"\nnumber = 36\ncommand = "continue"\n'
    )
    # The model is ready before the last of the presses.
    served = serve(midi_inputs=(file(*[PAD] * 8),), midi_map=tmp_path / "midi.toml")
    eventually(lambda: list((tmp_path / "spool" / "results").glob("*.wav")))
    assert "played.mid: no clock" in served.on_loop(served.app.status()).wires["MIDI"]
