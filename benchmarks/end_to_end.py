"""Measures the product as a user meets it: a server process, a real channel, a recorded section.

    python benchmarks/end_to_end.py [--repeats 5] [--seconds 180] [--json] [--model DIR]

For each length asked (4 bars and 10 s with notes told, 10 s free; 48 kHz stereo after an 8 s prime)
it reports, idle and beside a process that keeps one core busy: RTF (seconds of audio / seconds from
the last request byte sent to the last audio byte received; higher is faster, 1 is real time), first
audio, cancel to idle, peak memory of the server with its children, and cold start to SERVING. Every
request has its own seed and its own prime (a change far below hearing), so no cache can help. Each
figure is measured once whatever it takes, then again round by round until all repeats are done or
the time is spent; the table says how many values it has. `fast` against `teacher` comes last, some
20 s more.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from serving import (
    Server,
    Steps,
    TimeBox,
    busy_core,
    machine,
    peak_rss_mb,
    planned,
    serving,
    unheard_request,
    weights_mb,
)

from bridge.client import Client
from bridge.commands.demo import Example, load_example
from bridge.ports import Conditions, Plan, Quality
from bridge.request import AudioBlock

FREE: Final = "10 s free"
"""No notes told: the prime's own beats go on."""
LENGTHS: Final = ("4 bars", "10 s", FREE)
FREE_SEED: Final = 2000
WATCH_SECONDS: Final = 1.5
"""How long a cancelled server is watched; it must have come to rest before."""
LOOK_SECONDS: Final = 0.02
BUSY_SECONDS: Final = 0.002
"""A look before which the server used more processor time than this found it working. A timer of
the server at rest takes 0.6 ms now and then, a chunk of a request that goes on over 3 ms."""
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
    say = Steps()
    for load in ("idle", "one core busy"):
        box = TimeBox(arguments.seconds / 2)
        with busy_core() if load != "idle" else nullcontext():
            rows += _measure(load, example, arguments, box, say)
    report = {
        "machine": machine(),
        "rows": [row.as_row() for row in rows],
        "fast_against_teacher": _fast_and_teacher(example, arguments, say),
        "weights_mb": weights_mb(arguments.model),
    }
    sys.stdout.write((json.dumps(report, indent=1) if arguments.json else _as_text(report)) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measure a continuation end to end: speed, first audio, cancelling, memory."
    )
    parser.add_argument("--repeats", type=int, default=5, help="of each figure (%(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="cold starts (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=180.0, help="after which nothing is repeated (%(default)s)"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="weights; else the shipped ones")
    parser.add_argument("--no-teacher", action="store_true", help="leave the slow sampler out")
    parser.add_argument("--json", action="store_true")
    return parser


def _measure(
    load: str, example: Example, arguments: argparse.Namespace, box: TimeBox, say: Steps
) -> list[Measured]:
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    with serving(arguments.model) as server, Client(server.address) as client:
        values["-", "cold_start_s"].append(server.cold_start_s)
        for number in box.rounds(arguments.repeats):
            for length in LENGTHS:
                say(f"{load}: {length}, {number + 1} of {arguments.repeats}")
                rtf, first_ms = _rendered(client, example, length, number)
                values[length, "rtf"].append(rtf)
                values[length, "first_audio_ms"].append(first_ms)
            say(f"{load}: cancel to idle, {number + 1} of {arguments.repeats}")
            stopped_ms = _cancel_to_idle_ms(client, server, example, number)
            values["10 s", "cancel_to_idle_ms"].append(stopped_ms)
        values["all", "peak_rss_mb"].append(peak_rss_mb(server.process))
    for number in box.rounds(arguments.starts - 1):
        say(f"{load}: cold start, {number + 2} of {arguments.starts}")
        with serving(arguments.model) as server:
            values["-", "cold_start_s"].append(server.cold_start_s)
    return [
        Measured(load=load, length=length, figure=figure, values=tuple(found))
        for (length, figure), found in values.items()
    ]


def _rendered(client: Client, example: Example, length: str, seed: int) -> tuple[float, float]:
    """Return the RTF of one render, and its first audio in milliseconds."""
    num_samples = _num_samples(example, length)
    request = unheard_request(example, num_samples, seed)
    if length == FREE:
        # With a prime of its own: what was heard of another one is kept.
        request = unheard_request(example, num_samples, FREE_SEED + seed)
        request = replace(request, conditions=Conditions())
    result = client.render(request)
    seconds = result.audio.shape[1] / request.sample_rate
    return seconds / result.blocks[-1].seconds, 1000 * result.blocks[0].seconds


def _num_samples(example: Example, length: str) -> int:
    return example.expected_samples if length == "4 bars" else 10 * example.clip.sample_rate


def _cancel_to_idle_ms(client: Client, server: Server, example: Example, seed: int) -> float:
    """Return how long after the call was ended the server process still worked."""
    events = client.events(
        unheard_request(example, _num_samples(example, "10 s"), seed=1000 + seed)
    )
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


def _fast_and_teacher(
    example: Example, arguments: argparse.Namespace, say: Steps
) -> dict[str, float] | None:
    """Return the RTF of generation alone of both samplers, and their ratio; None if one lacks."""
    if arguments.no_teacher:
        return None
    with serving(arguments.model) as server, Client(server.address) as client:
        supports = client.models()[0].supports
        if any(f"quality:{quality}" not in supports for quality in LONGER_SECONDS):
            return None
        speeds: dict[str, float] = {}
        for quality, longer in LONGER_SECONDS.items():
            say(f"generation alone: {quality}")
            speeds[quality] = longer / _seconds_for(longer, quality, client, example)
    return {**speeds, "ratio": speeds[Quality.FAST] / speeds[Quality.TEACHER]}


def _seconds_for(longer: int, quality: Quality, client: Client, example: Example) -> float:
    """Return how much longer a render takes that makes so many more seconds than 1."""
    taken: list[float] = []
    for seconds in (1, 1 + longer):
        asked = unheard_request(example, seconds * example.clip.sample_rate, seed=7 + seconds)
        asked = planned(asked, Plan(seed=0, quality=quality))
        taken.append(client.render(asked).blocks[-1].seconds)
    return max(taken[1] - taken[0], 1e-3)


def _as_text(report: dict[str, Any]) -> str:
    machine = report["machine"]
    lines = [
        f"{machine['cores']} cores, load average {machine['load_before'][0]:.1f}, "
        f"{machine['memory_mb']} MiB; p95: 95 % are not worse",
        f"{'load':15}{'length':10}{'figure':20}{'median':>10}{'p95':>10}{'n':>4}  budget",
    ]
    lines += [
        f"{row['load']:15}{row['length']:10}{row['figure']:20}"
        f"{row['median']:>10.2f}{row['p95']:>10.2f}{len(row['values']):>4}  {row['budget']}"
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


if __name__ == "__main__":
    sys.exit(main())
