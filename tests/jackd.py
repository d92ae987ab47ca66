"""A JACK server without a sound card, for tests."""

import os
import shutil
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

RATE = 48_000
PERIOD = 1024


@contextmanager
def jack_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str
) -> Generator[ModuleType]:
    """Yield JACK-Client's module while a server runs; the environment names it. Skips without."""
    if shutil.which("jackd") is None:
        pytest.skip("jackd is missing (Debian: jackd2)")
    module = pytest.importorskip("jack", reason="JACK-Client is missing", exc_type=ImportError)
    name = f"jukebox-{os.getpid()}"
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    monkeypatch.setenv("JACK_NO_AUDIO_RESERVATION", "1")
    driver = ["-d", "dummy", "-r", str(RATE), "-p", str(PERIOD)]
    command = ["jackd", *options, "--no-realtime", "-n", name, *driver]
    with (folder / "jackd.log").open("wb") as told:
        server = subprocess.Popen(command, stdout=told, stderr=told)
    try:
        _await(module, server)
        yield module
    finally:
        server.terminate()
        server.wait(30)


def _await(module: ModuleType, server: subprocess.Popen[bytes]) -> None:
    pause = threading.Event()
    for _ in range(200):
        try:
            module.Client("knock", no_start_server=True).close()
        except module.JackOpenError:
            if server.poll() is not None:
                pytest.skip(f"jackd ends with {server.returncode} on this machine")
            pause.wait(0.05)
        else:
            return
    pytest.skip("jackd does not answer on this machine")
