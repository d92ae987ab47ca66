"""A MIDI sender of another project, through JACK, presses a pad that continues a section."""

import shutil
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest

from bridge.audio_file import AudioClip, Provenance, read_audio, write_audio
from tests.jackd import RATE, jack_server

pytestmark = pytest.mark.host
NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")
PAD = 60
MAP = """
[presets.verse]
path = "section.wav"
bars = 1
tempo_bpm = 240
seed = 5

[[map]]
source = "note"
number = 60
command = "continue"
preset = "verse"
"""


@pytest.fixture
def jack(tmp_path, monkeypatch):
    """Run a JACK server for the test."""
    pytest.importorskip("rtmidi", reason="python-rtmidi is missing", exc_type=ImportError)
    for name in ("jack_midiseq", "jack_connect"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is missing: it comes with jackd2 or jack-example-tools")
    with jack_server(tmp_path, monkeypatch):
        yield


@contextmanager
def pressing_a_pad_each_second(number):
    """Let `jack_midiseq` play a note of a tenth of a second, once a second."""
    note = map(str, (RATE, RATE // 2, number, RATE // 10))
    process = subprocess.Popen(
        ["jack_midiseq", "pads", *note], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def connected(source, target):
    """Return whether two ports of JACK could be connected."""
    told = subprocess.run(["jack_connect", source, target], capture_output=True, check=False)
    return told.returncode == 0


def test_a_foreign_sender_through_jack_continues_a_section(jack, serve, tmp_path, eventually):
    (tmp_path / "midi.toml").write_text(MAP, "utf-8")
    section = AudioClip(samples=np.zeros((1, 5_000), np.float32), sample_rate=44_100)
    write_audio(tmp_path / "section.wav", section, 9_000, NOBODY)
    served = serve(midi_inputs=("virtual:pads",), midi_map=tmp_path / "midi.toml")
    with pressing_a_pad_each_second(PAD):
        eventually(lambda: connected("pads:out", "Jukebox Bridge:pads"))
        eventually(lambda: served.engine.store.ids())
    (take_id,) = served.engine.store.ids()
    entry = served.engine.store.entry(take_id)
    assert (entry.take.seed, entry.take.start_sample, entry.take.num_samples) == (5, 14_000, 44_100)
    written = read_audio(served.engine.store.audio_path(take_id))
    assert written.samples.shape == (1, 44_100)
