"""OSC servers on real ports beside an engine whose generator counts."""

from contextlib import ExitStack

import numpy as np
import pytest

from bridge.audio_file import AudioClip, Provenance, write_audio
from bridge.osc.server import OscServer, OscSettings
from tests.bridge.osc.peers import Asker

NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")
PRIME_START = 1_000
PRIME_SAMPLES = 5_000


class Osc:
    """An OSC server on the loop of a served engine."""

    def __init__(self, served, folders, settings, clock):
        self.served = served
        clocks = {} if clock is None else {"clock": clock}
        self.server = OscServer(served.app.engine, folders, **clocks)
        self.ports = served.on_loop(self.server.start(settings))

    def stop(self, drain_seconds=0.0):
        self.served.on_loop(self.server.stop(drain_seconds))


@pytest.fixture
def osc(serve, tmp_path):
    """Return a function that opens OSC ports beside a server."""
    folder = tmp_path / "spool"
    with ExitStack() as stack:

        def start(generator=None, *, served=None, allowed=(), clock=None, **ports):
            served = served or serve(generator, osc_port=None)
            folders = tuple(path.resolve() for path in (folder, *allowed))
            opened = Osc(served, folders, OscSettings(**ports), clock)
            stack.callback(opened.stop)
            return opened

        yield start


@pytest.fixture
def ask():
    """Return a function that opens a client, closed at the end."""
    with ExitStack() as stack:

        def opened(osc):
            asker = Asker(osc.ports.udp)
            stack.callback(asker.socket.close)
            return asker

        yield opened


@pytest.fixture
def prime(tmp_path):
    """Return the path of 5000 samples of silence in the spool, at sample 1000 of a session."""
    folder = tmp_path / "spool"
    folder.mkdir(exist_ok=True)
    clip = AudioClip(samples=np.zeros((2, PRIME_SAMPLES), np.float32), sample_rate=44_100)
    return write_audio(folder / "prime.wav", clip, PRIME_START, NOBODY)
