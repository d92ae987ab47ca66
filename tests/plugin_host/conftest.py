"""The plugin, built once, a CLAP host that is told what to do, and a server that counts."""

import asyncio
import os
import subprocess
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from bridge.admission import EngineLimits
from bridge.audio_file import read_audio
from bridge.engine import Engine
from bridge.hosts.plugin import build_plugin, missing_packages
from bridge.plugin_service import PluginServer
from bridge.store import TakeStore
from tests.bridge.conftest import eventually  # noqa: F401 - a fixture
from tests.fakes import CountingGenerator

PATIENCE_SECONDS = 60
"""How long a test waits for what must come; never how long something takes."""
LIMITS = EngineLimits()
RATE = 48_000
BAR = 96_000
"""Samples of a bar of 4/4 at 120 bpm."""
BUILD = Path(__file__).parents[2] / "plugin_host/native/build"
SANITIZERS = ("address", "thread")


def noise(num_samples, seed=0):
    made = np.random.default_rng(seed).standard_normal((2, num_samples))
    return (0.1 * made).astype(np.float32)


def make(*targets):
    """Build targets of the plugin; skip where a tool is missing."""
    if missing := missing_packages():
        pytest.skip(f"the plugin cannot be built: install Debian's {', '.join(missing)}")
    assert "warning:" not in build_plugin(BUILD, *targets)
    return BUILD


@pytest.fixture(scope="session")
def built():
    """Return the folder of the built plugin and tools."""
    return make("plugin", "tools")


@dataclass
class Bench:
    """A server for plugins in a thread of its own."""

    folder: Path
    generator: CountingGenerator = field(default_factory=CountingGenerator)
    host: str = "127.0.0.1"
    port: int = 0

    def __post_init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.midi = []
        self.start()

    @property
    def address(self):
        return self.host if self.host.startswith("unix:") else f"{self.host}:{self.port}"

    def start(self):
        self.store = TakeStore(self.folder / "spool")
        self.engine = Engine(self.generator, store=self.store, clock=time.monotonic, limits=LIMITS)
        self.server = PluginServer(lambda: self.engine, on_midi=self.midi.append)
        self._on_loop(self.engine.warm_up())
        self.port = self._on_loop(self.server.start(self.host, self.port))

    def wait_for_takes(self, count):
        """Return the stored takes, newest first, once there are so many."""
        end_s = time.monotonic() + PATIENCE_SECONDS
        while len(entries := self.store.entries()) < count:
            assert time.monotonic() < end_s, f"{len(entries)} takes"
        return entries

    def audio(self, take_id):
        """Return a take as the server exports it, float32 (2, samples)."""
        return read_audio(self._on_loop(self.engine.export(take_id))).samples

    def newest_audio(self):
        return self.audio(self.wait_for_takes(1)[0].take.id)

    def wait_for_verdict(self, verdict):
        """Return once the newest take is judged so."""
        end_s = time.monotonic() + PATIENCE_SECONDS
        while self.store.entries()[0].verdict != verdict:
            assert time.monotonic() < end_s

    def cut(self):
        """Drop the connections, as a server does that is killed."""
        self._on_loop(self.server.stop())

    def end(self):
        """End what is left after `cut`."""
        self._on_loop(self.engine.close())
        self.store.close()

    def stop(self):
        self.cut()
        self.end()

    def close(self):
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self.loop.close()

    def _on_loop(self, coroutine):
        made: Future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return made.result(PATIENCE_SECONDS)


@pytest.fixture
def bench(tmp_path):
    with ExitStack() as stack:

        def started(**settings):
            made = Bench(folder=tmp_path, **settings)
            stack.callback(made.close)
            return made

        yield started


class ClapHost:
    """A process that plays files through a plugin, and is spoken to line by line."""

    def __init__(self, built, plugin, folder, server, wrapper=()):
        self.folder = folder
        environment = os.environ | {"JUKEBOX_BRIDGE_PLUGIN_SERVER": server}
        self.process = subprocess.Popen(
            [*wrapper, str(built / "clap_host"), str(plugin)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def tell(self, *lines):
        """Send commands that answer nothing."""
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def ask(self, line):
        """Send a command and return its answer."""
        self.tell(line)
        answer = self.process.stdout.readline().strip()
        assert answer, self.process.stderr.read()
        return answer

    def value(self, name):
        return float(self.ask(f"get {name}").split()[-1])

    def wait(self, name, value):
        """Return once a parameter has a value."""
        answer = self.ask(f"until {name}: {value} {PATIENCE_SECONDS * 1000}")
        assert answer == "met", f"{name}: {answer}; {self.texts().get('status')}"

    def texts(self):
        """Return the texts of the plugin's state."""
        file = self.folder / "state"
        self.tell(f"save {file}")
        self.value("Status")  # answers after the save
        return texts_of(file.read_bytes())

    def wait_for_text(self, key, part):
        """Return once a text of the state holds a part."""
        end_s = time.monotonic() + PATIENCE_SECONDS
        while part not in (text := self.texts()[key]):
            assert time.monotonic() < end_s, text

    def load_texts(self, **texts):
        """Set texts of the state, as a host does that restores a session."""
        self.texts()
        file = self.folder / "state"
        data = file.read_bytes()
        for key, text in texts.items():
            head, tail = data.split(f"\0{key}\0".encode(), 1)
            data = head + f"\0{key}\0{text}\0".encode() + tail.split(b"\0", 1)[1]
        file.write_bytes(data)
        self.tell(f"load {file}")

    def play(self, samples):
        """Name the input, float32 (2, samples), and where the output goes."""
        samples.T.astype("<f4").tofile(self.folder / "in.f32")
        self.tell(f"input {self.folder / 'in.f32'}", f"output {self.folder / 'out.f32'}")

    def output(self):
        """End the host; return what came out, float32 (2, samples)."""
        self.end()
        return np.fromfile(self.folder / "out.f32", "<f4").reshape(-1, 2).T

    def end(self):
        """End the host, which must end well."""
        _, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0, errors
        return errors


def texts_of(state):
    """Return the texts in a state as DPF writes it: keys and values between marks."""
    part = state.split(b"__dpf_state_begin__\0", 1)[1].split(b"__dpf_state_end__", 1)[0]
    words = [word.decode() for word in part.split(b"\0")[:-1]]
    return dict(zip(words[::2], words[1::2], strict=False))


@contextmanager
def hosts(folder, files):
    """Yield a function that starts CLAP hosts of a build, which end at the end."""
    # The thread sanitizer needs memory where it expects it.
    wrapper = ("setarch", "-R") if folder.name in SANITIZERS else ()
    with ExitStack() as stack:

        def started(server="127.0.0.1:1", plugin="bin/jukebox_bridge.clap"):
            made = ClapHost(folder, folder / plugin, files, server, wrapper)
            stack.callback(made.process.kill)
            return made

        yield started


@pytest.fixture(
    params=["plain", *(pytest.param(kind, marks=pytest.mark.evidence) for kind in SANITIZERS)]
)
def clap(request, built, tmp_path):
    """Yield a function that starts CLAP hosts; a sanitizer that finds something ends them."""
    folder = built if request.param == "plain" else make("sanitize") / request.param
    with hosts(folder, tmp_path) as started:
        yield started


@pytest.fixture
def probe(built, tmp_path):
    """Yield the same of hosts that count what the audio thread does."""
    with hosts(built, tmp_path) as started:
        yield started
