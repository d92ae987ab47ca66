"""Where MIDI comes from: names, times, files, the loopback, and a real sender through JACK."""

import threading
import time

import mido
import pytest

from bridge.errors import InvalidRequestError, NotFoundError, NotReadyError
from bridge.midi import ports
from bridge.midi.clock import Clock, hear
from bridge.midi.message import parse
from bridge.midi.ports import FilePort, Loopback, arrival, chosen, open_input
from tests.jackd import jack_server

NAMES = ("Jack: ardour:MIDI Clock out", "Jack: pads", "ALSA: pads two", "ALSA: keys")


@pytest.mark.parametrize(
    ("spec", "place"),
    [("clock", 0), ("Jack: pads", 1), ("pads", 1), ("PADS TWO", 2), ("keys", 3)],
)
def test_a_port_is_found_by_a_part_of_its_name_and_an_equal_name_comes_first(spec, place):
    assert chosen(spec, NAMES) == place


def test_a_port_that_is_missing_or_not_the_only_one_is_told_with_those_there_are():
    with pytest.raises(NotFoundError, match="'drums'; there are: Jack: ardour"):
        chosen("drums", NAMES)
    with pytest.raises(NotFoundError, match="there are: none"):
        chosen("drums", ())
    with pytest.raises(InvalidRequestError, match="name of 2 inputs: Jack: pads; ALSA: pads two"):
        chosen("pad", NAMES)


def test_the_system_s_intervals_count_as_long_as_they_fit_the_clock():
    assert arrival(10.0, 0.02, 10.03) == 10.02
    assert arrival(10.0, 0.05, 10.03) == 10.03
    assert arrival(0.0, 0.0, 10.0) == 10.0
    assert arrival(10.0, 0.0, 10.4) == 10.4


def test_without_rtmidi_it_is_said_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(ports.importlib, "import_module", missing)
    with pytest.raises(NotReadyError, match=r"pip install 'jukebox-bridge\[midi\]'"):
        open_input("pads", print)


def test_a_file_plays_its_messages_with_their_times(tmp_path):
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=100_000))
    track.append(mido.Message("note_on", note=60, velocity=9, time=0))
    track.append(mido.Message("control_change", control=7, value=3, time=480))
    track.append(mido.Message("note_off", note=60, time=480))
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(tmp_path / "part.mid")
    heard = []
    port = open_input(f"file:{tmp_path / 'part.mid'}", lambda *got: heard.append(got))
    assert isinstance(port, FilePort)
    port.wait()
    assert [mido.Message.from_bytes(data).type for data, _ in heard] == [
        "note_on",
        "control_change",
        "note_off",
    ]
    times = [at for _, at in heard]
    assert [round(at - times[0], 6) for at in times] == [0, 0.1, 0.2]
    port.close()


def test_a_file_stops_where_it_is_closed_and_a_missing_one_is_told(tmp_path):
    track = mido.MidiTrack([mido.Message("note_on", note=60, time=480 * 1_000)])
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(tmp_path / "late.mid")
    heard = []
    open_input(f"file:{tmp_path / 'late.mid'}", lambda *got: heard.append(got)).close()
    assert heard == []
    with pytest.raises(NotFoundError, match=r"gone\.mid"):
        open_input(f"file:{tmp_path / 'gone.mid'}", print)


def test_the_loopback_is_heard_while_it_is_open():
    heard = []
    loopback = Loopback("pads")
    loopback.send(b"\xf8", 1.0)
    port = loopback.open("pads", lambda *got: heard.append(got))
    loopback.send([0x90, 60, 1], 2.0)
    port.close()
    loopback.send(b"\xf8", 3.0)
    assert heard == [(b"\x90\x3c\x01", 2.0)]
    with pytest.raises(NotFoundError):
        loopback.open("keys", print)


@pytest.fixture
def jack(tmp_path, monkeypatch):
    """Return a client of a JACK server without a sound card."""
    pytest.importorskip("rtmidi", reason="python-rtmidi is missing", exc_type=ImportError)
    with jack_server(tmp_path, monkeypatch) as module:
        yield module.Client("sender", no_start_server=True)


class Sender:
    """Sends MIDI clock at a tempo, to the frame, and a note after so many ticks."""

    def __init__(self, client, bpm, num_ticks):
        self.done = threading.Event()
        self.port = client.midi_outports.register("out")
        interval = client.samplerate * 60 / bpm / 24
        events = [(0, b"\xfa")]
        events += [(round(n * interval) + 1, b"\xf8") for n in range(num_ticks)]
        events.append((round(num_ticks * interval) + 2, b"\x99\x24\x64"))
        client.set_process_callback(self._process)
        self.events, self.frame, self.begun = events, 0, threading.Event()
        self.sent = []

    def _process(self, frames):
        self.port.clear_buffer()
        if not self.begun.is_set():
            return
        while self.events and self.events[0][0] < self.frame + frames:
            at, data = self.events.pop(0)
            self.port.write_midi_event(at - self.frame, data)
            self.sent.append((parse(data), time.monotonic()))
        self.frame += frames
        if not self.events:
            self.done.set()


@pytest.mark.host
def test_a_real_sender_through_jack_is_followed_in_tempo_and_beat(jack):
    client = jack
    heard, last = [], threading.Event()

    def take(data, at):
        heard.append((parse(data), at))
        if data[0] == 0x99:
            last.set()

    port = open_input("virtual:in", take)
    sender = Sender(client, bpm=100.0, num_ticks=97)
    with client:
        (target,) = client.get_ports("Jukebox Bridge:in", is_midi=True, is_input=True)
        client.connect(sender.port, target)
        sender.begun.set()
        assert last.wait(60)
    assert sender.done.is_set()
    port.close()
    client.close()
    assert [message for message, _ in heard] == [message for message, _ in sender.sent]
    followed, true = clock_of(heard), clock_of(sender.sent)
    assert followed.count == true.count == 97
    # JACK without a card runs late on a busy machine, so what is true is when it was sent.
    assert float(followed.tempo_bpm) == pytest.approx(float(true.tempo_bpm), rel=0.05)
    end = heard[-1][1]
    assert float(followed.beat_at(end)) == pytest.approx(float(true.beat_at(end)), abs=0.25)


def clock_of(messages):
    clock = Clock()
    for message, at in messages:
        clock = hear(clock, message, at)
    return clock
