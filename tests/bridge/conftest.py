"""Servers for the tests of wires, client and commands: real channels, a generator that counts."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from bridge.app import App, running
from bridge.client import Client, Continuation
from bridge.config import private_config
from tests.fakes import CountingGenerator

PATIENCE_SECONDS = 30
"""How long a test waits for what must come; never how long something takes."""


class Served:
    """A server in a thread of its own: its app, and a way onto its event loop."""

    def __init__(self, config, load):
        self._stopped = threading.Event()
        self._app: Future[App] = Future()
        self._loop = None
        self._thread = threading.Thread(target=self._run, args=(config, load))
        self._thread.start()
        self.app = self._app.result(PATIENCE_SECONDS)

    @property
    def address(self):
        return self.app.address

    @property
    def engine(self):
        return self.app.engine()

    def on_loop(self, coroutine):
        """Return a coroutine's result, run on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_SECONDS)

    def serve(self):
        """Return once the server is ready."""
        self.on_loop(self.app.serve())

    def stop(self):
        self._stopped.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _run(self, config, load):
        async def live():
            self._loop = asyncio.get_running_loop()
            async with running(config, load) as app:
                self._app.set_result(app)
                await asyncio.to_thread(self._stopped.wait)

        try:
            asyncio.run(live())
        except BaseException as error:
            if self._app.done():
                raise
            self._app.set_exception(error)


@pytest.fixture(autouse=True)
def own_configuration(monkeypatch, tmp_path):
    """Let no test read the configuration of whoever runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))


@pytest.fixture
def listen(tmp_path):
    """Return a function that starts a server which may still be loading."""
    with ExitStack() as stack:

        def start(load=CountingGenerator, **changes):
            spool = tmp_path / "spool"
            config = replace(private_config(spool), **{"osc_port": 0, **changes})
            served = Served(config, load)
            stack.callback(served.stop)
            return served

        yield start


@pytest.fixture
def serve(listen):
    """Return a function that starts a server with a generator and waits until it is ready."""

    def start(generator=None, **changes):
        generator = generator or CountingGenerator()
        served = listen(lambda: generator, **changes)
        served.serve()
        return served

    return start


@pytest.fixture
def connect():
    """Return a function that opens a client, closed at the end."""
    with ExitStack() as stack:
        yield lambda served: stack.enter_context(Client(served.address))


@pytest.fixture
def eventually():
    """Return a function that waits, with a bound, until a condition holds."""
    pause = threading.Event()

    def wait(holds):
        for _ in range(PATIENCE_SECONDS * 200):
            if holds():
                return
            pause.wait(0.005)
        raise AssertionError("it never became true")

    return wait


@pytest.fixture
def silence():
    """Return a function that makes a continuation of silence, which keeps the level as it is."""

    def make(num_channels=1, prime_samples=5_000, **changes):
        prime = np.zeros((num_channels, prime_samples), np.float32)
        changes.setdefault("sample_rate", 44_100)
        if "bars" not in changes:
            changes.setdefault("num_samples", 20_001)
        return Continuation(prime=prime, **changes)

    return make
