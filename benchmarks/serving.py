"""What benchmarks of a running server share: the server, its memory, a busy neighbour, requests.

Not a benchmark itself. A server is a process of its own with an empty spool and no caches, so that
what was asked before is computed again.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from bridge.client import Client, Continuation
from bridge.commands.demo import Example
from bridge.errors import BridgeError, StoppingError
from bridge.ports import Conditions, Plan

PRIME_SECONDS: Final = 8
START_TIMEOUT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server process that serves."""

    process: psutil.Process
    address: str
    cold_start_s: float


class TimeBox:
    """How long repeats may go on; what was not measured at all is measured whatever it takes."""

    def __init__(self, seconds: float) -> None:
        self._end_s = time.monotonic() + seconds

    def rounds(self, wanted: int) -> Generator[int]:
        """Yield 0, then the next numbers as long as there is time."""
        for number in range(wanted):
            if number and time.monotonic() >= self._end_s:
                return
            yield number


class Steps:
    """Says what is being done, a line each, so that a log shows where a run stands."""

    def __init__(self) -> None:
        self._begun_s = time.monotonic()

    def __call__(self, words: str) -> None:
        """Say it, with the seconds so far."""
        sys.stderr.write(f"{time.monotonic() - self._begun_s:6.1f} s  {words}\n")
        sys.stderr.flush()


@contextmanager
def serving(model: Path | None) -> Generator[Server]:
    """Yield a fresh server process with an empty spool, once it serves."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        command = [sys.executable, "-m", "bridge", "serve", "--port", "0", "--osc-port", "0"]
        command += ["--http-port", "0", "--plugin-port", "0"]
        # Caches off: what was asked before must be computed again, for it is measured. None is
        # refused, however late it comes: that is measured too.
        settings = Path(folder) / "config.toml"
        settings.write_text("[limits]\ncache_bytes = 0\nlive_jobs = 8\nlive_share = 0.0\n", "utf-8")
        command += ["--config", str(settings)]
        command += ["--spool", f"{folder}/spool", *(["--model", str(model)] if model else [])]
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            address = _address_of(process)
            with Client(address) as client:
                client.wait_until_serving(START_TIMEOUT_SECONDS)
            cold_start_s = time.monotonic() - started
            yield Server(
                process=psutil.Process(process.pid), address=address, cold_start_s=cold_start_s
            )
        except BridgeError as error:
            log.seek(0)
            raise SystemExit(f"{error}\n{log.read()}") from error
        finally:
            process.terminate()
            process.communicate()


@contextmanager
def busy_core() -> Generator[None]:
    """Keep one core busy meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def unheard_request(example: Example, num_samples: int, seed: int) -> Continuation:
    """Return a request whose prime no other seed or length has: its change is far below hearing."""
    rate = example.clip.sample_rate
    prime = example.clip.samples[:, -PRIME_SECONDS * rate :]
    random = np.random.default_rng((seed, num_samples))
    unheard = random.normal(0, 1e-6, prime.shape).astype(np.float32)
    return Continuation(
        prime=prime + unheard,
        sample_rate=rate,
        num_samples=num_samples,
        conditions=Conditions(midi=example.part),
        plan=Plan(seed=seed),
        draw_seed=False,
        prime_start_sample=example.splice_sample - prime.shape[1],
    )


def planned(asked: Continuation, plan: Plan) -> Continuation:
    """Return the request with another plan, its seed kept."""
    return replace(asked, plan=replace(plan, seed=asked.plan.seed))


def peak_rss_mb(process: psutil.Process) -> float:
    """Return the most memory that a process and its children held, in MiB."""
    return sum(_one_peak_mb(member) for member in (process, *process.children(recursive=True)))


def weights_mb(model: Path | None) -> dict[str, float]:
    """Return the size of each part of the model, as its manifest states it."""
    folder = model
    if folder is None:
        spec = find_spec("model")
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent / "weights"
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except OSError:
        return {}
    return {name: part["bytes"] / 2**20 for name, part in manifest["files"].items()}


def machine() -> dict[str, Any]:
    """Return what a figure depends on besides the program."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load_before": list(os.getloadavg()),
        "memory_mb": psutil.virtual_memory().total // 2**20,
    }


def _one_peak_mb(process: psutil.Process) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return float(process.memory_info().rss) / 2**20
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("listening: gRPC "):
        raise StoppingError(f"the server did not start, it said {line.strip()!r}")
    return line.removeprefix("listening: gRPC ").split(",")[0]
