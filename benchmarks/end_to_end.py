"""Measures the product as a user meets it: a server process, a real channel, a recorded section.

    python benchmarks/end_to_end.py [--repeats 5] [--json] [--model DIR]

For each length asked (4 bars, 10 s; 48 kHz stereo after an 8 s prime) it reports, idle and beside
a process that keeps one core busy: RTF (seconds of audio / seconds from the last request byte sent
to the last audio byte received; higher is faster, 1 is real time), first audio, cancel to idle,
peak memory of the server with its children, and cold start to SERVING. Every request has its own
seed and its own prime (a change far below hearing), so no cache can help.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bridge.client import Client, Continuation
from bridge.commands.demo import Example, load_example
from bridge.errors import BridgeError, StoppingError
from bridge.ports import Conditions, Plan, Quality
from bridge.request import AudioBlock

PRIME_SECONDS: Final = 8
LENGTHS: Final = ("4 bars", "10 s")
START_TIMEOUT_SECONDS: Final = 60
WATCH_SECONDS: Final = 1.5
"""How long a cancelled server is watched; it must have come to rest before."""
LOOK_SECONDS: Final = 0.004
BUSY_SECONDS: Final = 0.0005
"""A look before which the server used more processor time than this found it working."""
CANCEL_AFTER_BLOCKS: Final = 3
LONGER_SECONDS: Final = {Quality.FAST: 8, Quality.TEACHER: 1}
"""What a second render is longer than one of 1 s, so that hearing the prime does not count."""
FLOORS: Final = {
    "rtf": "floor 2, aim 6",
    "first_audio_ms": "(floor 500, aim 150 hold for a prime streamed before)",
    "cancel_to_idle_ms": "floor 250, aim 100",
    "peak_rss_mb": "floor 2048, aim 1024",
    "cold_start_s": "floor 10, aim 4",
}
LOWER_IS_WORSE: Final = frozenset({"rtf"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server process that serves."""

    process: psutil.Process
    address: str
    cold_start_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Values of one figure, one for each repeat."""

    load: str
    length: str
    figure: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the middle value."""
        return float(np.median(self.values))

    @property
    def bad(self) -> float:
        """Return the value that 95 % are not worse than."""
        return float(np.quantile(self.values, 0.05 if self.figure in LOWER_IS_WORSE else 0.95))

    def as_row(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            "load": self.load,
            "length": self.length,
            "figure": self.figure,
            "median": self.median,
            "p95": self.bad,
            "values": list(self.values),
            "budget": FLOORS[self.figure],
        }


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print a table or JSON; return 0."""
    arguments = _parser().parse_args(given)
    example = load_example()
    rows: list[Measured] = []
    with _progress(arguments) as advance:
        for load in ("idle", "one core busy"):
            with _busy_core() if load != "idle" else nullcontext():
                rows += _measure(load, example, arguments, advance)
    qualities = _fast_and_teacher(example, arguments)
    report = {
        "machine": _machine(),
        "rows": [row.as_row() for row in rows],
        "fast_against_teacher": qualities,
        "weights_mb": _weights_mb(arguments.model),
    }
    sys.stdout.write((json.dumps(report, indent=1) if arguments.json else _as_text(report)) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measure a continuation end to end: speed, first audio, cancelling, memory."
    )
    parser.add_argument("--repeats", type=int, default=5, help="of each figure (%(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="cold starts (%(default)s)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="weights; else the shipped ones")
    parser.add_argument("--no-teacher", action="store_true", help="leave the slow sampler out")
    parser.add_argument("--json", action="store_true")
    return parser


def _measure(
    load: str, example: Example, arguments: argparse.Namespace, advance: "Advance"
) -> list[Measured]:
    rows: list[Measured] = []
    starts: list[float] = []
    for _ in range(arguments.starts - 1):
        with _server(arguments.model) as server:
            starts.append(server.cold_start_s)
        advance(f"{load}: cold start")
    with _server(arguments.model) as server, Client(server.address) as client:
        starts.append(server.cold_start_s)
        advance(f"{load}: cold start")
        for length in LENGTHS:
            rows += _renders(load, length, client, example, arguments.repeats, advance)
        stops: list[float] = []
        for number in range(arguments.repeats):
            stops.append(_cancel_to_idle_ms(client, server, example, number))
            advance(f"{load}: cancel to idle")
        peak_mb = _peak_rss_mb(server.process)
    rows.append(_measured(load, "10 s", "cancel_to_idle_ms", stops))
    rows.append(_measured(load, "all", "peak_rss_mb", [peak_mb]))
    rows.append(_measured(load, "-", "cold_start_s", starts))
    return rows


def _renders(
    load: str, length: str, client: Client, example: Example, repeats: int, advance: "Advance"
) -> list[Measured]:
    speeds: list[float] = []
    firsts: list[float] = []
    for number in range(repeats):
        request = _request(example, length, seed=number)
        result = client.render(request)
        seconds = result.audio.shape[1] / request.sample_rate
        speeds.append(seconds / result.blocks[-1].seconds)
        firsts.append(1000 * result.blocks[0].seconds)
        advance(f"{load}: {length}")
    return [
        _measured(load, length, "rtf", speeds),
        _measured(load, length, "first_audio_ms", firsts),
    ]


def _measured(load: str, length: str, figure: str, values: Sequence[float]) -> Measured:
    return Measured(load=load, length=length, figure=figure, values=tuple(values))


def _request(example: Example, length: str, seed: int) -> Continuation:
    """Return the request for a length, with a prime that was never heard before."""
    rate = example.clip.sample_rate
    prime = example.clip.samples[:, -PRIME_SECONDS * rate :]
    unheard = np.random.default_rng(seed).normal(0, 1e-6, prime.shape).astype(np.float32)
    asked = Continuation(
        prime=prime + unheard,
        sample_rate=rate,
        num_samples=10 * rate,
        conditions=Conditions(midi=example.part),
        plan=Plan(seed=seed),
        draw_seed=False,
        prime_start_sample=example.splice_sample - prime.shape[1],
    )
    if length == "4 bars":
        return replace(asked, num_samples=example.expected_samples)
    return asked


def _cancel_to_idle_ms(client: Client, server: Server, example: Example, seed: int) -> float:
    """Return how long after the call was ended the server process still worked."""
    events = client.events(_request(example, "10 s", seed=1000 + seed))
    with closing(events):
        blocks = 0
        while blocks < CANCEL_AFTER_BLOCKS:
            blocks += isinstance(next(events), AudioBlock)
        cancelled = time.monotonic()
    return 1000 * _busy_until(server.process, cancelled)


def _busy_until(process: psutil.Process, since: float) -> float:
    """Return the seconds after `since` at which the process was last seen working."""
    last, seen, used = 0.0, since, _cpu_seconds(process)
    while seen - since < WATCH_SECONDS:
        time.sleep(LOOK_SECONDS)
        now, used_now = time.monotonic(), _cpu_seconds(process)
        if used_now - used > BUSY_SECONDS:
            last = now - since
        seen, used = now, used_now
    return last


def _cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time of a process, to the nanosecond where Linux tells it."""
    tasks = Path(f"/proc/{process.pid}/task")
    try:
        spent = [int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()]
    except OSError:
        times = process.cpu_times()
        return times.user + times.system
    return sum(spent) / 1e9


def _peak_rss_mb(process: psutil.Process) -> float:
    return sum(_one_peak_mb(member) for member in (process, *process.children(recursive=True)))


def _one_peak_mb(process: psutil.Process) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return float(process.memory_info().rss) / 2**20
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def _server(model: Path | None) -> Generator[Server]:
    """Yield a fresh server process with an empty spool, once it serves."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        command = [sys.executable, "-m", "bridge", "serve", "--port", "0", "--osc-port", "0"]
        command += ["--http-port", "0", "--plugin-port", "0"]
        # Caches off: what was asked before must be computed again, for it is measured.
        settings = Path(folder) / "config.toml"
        settings.write_text("[limits]\ncache_bytes = 0\n", "utf-8")
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


def _address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("listening: gRPC "):
        raise StoppingError(f"the server did not start, it said {line.strip()!r}")
    return line.removeprefix("listening: gRPC ").split(",")[0]


@contextmanager
def _busy_core() -> Generator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _fast_and_teacher(example: Example, arguments: argparse.Namespace) -> dict[str, float] | None:
    """Return the RTF of generation alone of both samplers, and their ratio; None if one lacks."""
    if arguments.no_teacher:
        return None
    with _server(arguments.model) as server, Client(server.address) as client:
        supports = client.models()[0].supports
        if any(f"quality:{quality}" not in supports for quality in LONGER_SECONDS):
            return None
        speeds = {
            quality.value: longer / _seconds_for(longer, quality, client, example)
            for quality, longer in LONGER_SECONDS.items()
        }
    return {**speeds, "ratio": speeds[Quality.FAST] / speeds[Quality.TEACHER]}


def _seconds_for(longer: int, quality: Quality, client: Client, example: Example) -> float:
    """Return how much longer a render takes that makes so many more seconds than 1."""
    taken: list[float] = []
    for seconds in (1, 1 + longer):
        asked = _request(example, "10 s", seed=7 + seconds)
        plan = replace(asked.plan, quality=quality)
        asked = replace(asked, num_samples=seconds * asked.sample_rate, plan=plan)
        taken.append(client.render(asked).blocks[-1].seconds)
    return max(taken[1] - taken[0], 1e-3)


def _weights_mb(model: Path | None) -> dict[str, float]:
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


def _machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load_before": list(os.getloadavg()),
        "memory_mb": psutil.virtual_memory().total // 2**20,
    }


def _as_text(report: dict[str, Any]) -> str:
    machine = report["machine"]
    lines = [
        f"{machine['cores']} cores, load average {machine['load_before'][0]:.1f}, "
        f"{machine['memory_mb']} MiB; p95: 95 % are not worse",
        f"{'load':15}{'length':8}{'figure':20}{'median':>10}{'p95':>10}  budget",
    ]
    lines += [
        f"{row['load']:15}{row['length']:8}{row['figure']:20}"
        f"{row['median']:>10.2f}{row['p95']:>10.2f}  {row['budget']}"
        for row in report["rows"]
    ]
    pair = report["fast_against_teacher"]
    if pair is not None:
        lines.append(
            f"generation alone: fast {pair['fast']:.2f}x, teacher {pair['teacher']:.3f}x real "
            f"time, fast is {pair['ratio']:.0f} times as fast (floor 20, aim 100)"
        )
    sizes = ", ".join(f"{name} {mb:.1f}" for name, mb in report["weights_mb"].items())
    return "\n".join([*lines, f"weights in MiB: {sizes or 'unknown'}"])


class Advance:
    """Counts what is done on a progress bar."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=total)

    def __call__(self, words: str) -> None:
        """Show one more as done."""
        self._progress.update(self._task, advance=1, description=words)


@contextmanager
def _progress(arguments: argparse.Namespace) -> Generator[Advance]:
    total = 2 * (arguments.starts + (len(LENGTHS) + 1) * arguments.repeats)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Advance(progress, total)


if __name__ == "__main__":
    sys.exit(main())
