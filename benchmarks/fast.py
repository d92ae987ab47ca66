"""Measures how fast the shipped model is: by stage, end to end, live, and how long it stays so.

    python benchmarks/fast.py [--parts stages,whole,live] [--seconds 150] [--model DIR] [--json]

Parts, each measured once whatever it takes and again as long as its share of the time lasts:

- *stages*: as `stages.py` tells, in this process: RTF by stage, and the roofline.
- *whole*: over gRPC at 48 kHz stereo after an 8 s prime, cold caches: RTF from the last request
  byte to the last audio byte, for `fast`, `exact` and `teacher`, and first audio, idle and beside
  a process that keeps one core busy; first audio once more with the prime streamed before.
- *live*: 1, 2 and 4 sessions at once, answers paced by the server: how late blocks come after the
  first one began to play (p50, p95, p99), and the share of audio made with fewer passes.
- *first* (only if named): over gRPC after an 8 s prime, from the last request byte to the first
  audio byte, sent at once and streamed before: the median of 12 and the longest, idle and beside a
  busy core.
- *long* (only if named): as `length.py` tells: RTF of 10 s, 1 min and 10 min, and memory.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import grpc.aio
import length
import numpy as np
import stages
from serving import (
    PRIME_SECONDS,
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
from bridge.messages import bytes_of
from bridge.ports import Conditions, Plan, Quality
from protos import bridge_pb2, bridge_pb2_grpc

PARTS: Final = ("stages", "whole", "live")
SECONDS_OF: Final = {Quality.FAST: 10.0, Quality.EXACT: 2.0, Quality.TEACHER: 1.0}
"""How long a result of each quality is: the slow ones are measured on short ones."""
SESSIONS: Final = (1, 2, 4)
LIVE_SECONDS: Final = 8
LIVE_PRIME_SECONDS: Final = 4
FIRST_REPEATS: Final = 12
FIRST_SECONDS: Final = 2
MODEL_RATE: Final = 44_100
PASSES: Final = 2
"""The default, said, so that a take tells what is fewer."""
UNLIKE: Final = 1000
"""Added to the seed of a request whose prime shall be another than that of one before."""
BLOCK_SECONDS: Final = 0.02
LIVE_CREDIT: Final = 2**40


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print lines or JSON; return 0."""
    parser = argparse.ArgumentParser(description="Measure the shipped model's speed.")
    parser.add_argument(
        "--parts", default=",".join(PARTS), help="of them, first and long (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=150.0, help="after which nothing is repeated (%(default)s)"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="weights; else the shipped ones")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(given)
    parts = arguments.parts.split(",")
    say, example = Steps(), load_example()
    report: dict[str, Any] = {"machine": machine(), "weights_mb": weights_mb(arguments.model)}
    for part in parts:
        box = TimeBox(arguments.seconds / len(parts))
        report[part] = _PARTS[part](example, arguments.model, box, say)
    sys.stdout.write((json.dumps(report, indent=1) if arguments.json else _text(report)) + "\n")
    return 0


def _stages(example: Example, model: Path | None, box: TimeBox, say: Steps) -> dict[str, Any]:
    """Return what each stage costs; one run is enough."""
    del box
    return stages.measured(example, model, say)


def _whole(example: Example, model: Path | None, box: TimeBox, say: Steps) -> dict[str, Any]:
    """Return RTF and first audio of every quality, idle and beside a busy core."""
    found: dict[str, Any] = {}
    for load in ("idle", "one core busy"):
        with (
            busy_core() if load != "idle" else nullcontext(),
            serving(model) as server,
            Client(server.address) as client,
        ):
            qualities = SECONDS_OF if load == "idle" else {Quality.FAST: SECONDS_OF[Quality.FAST]}
            rows: dict[str, list[float]] = defaultdict(list)
            for number in box.rounds(3):
                for quality, seconds in qualities.items():
                    say(f"whole: {load}, {quality}, {number + 1} of 3")
                    num_samples = round(seconds * example.clip.sample_rate)
                    asked = unheard_request(example, num_samples, number)
                    asked = planned(asked, Plan(seed=0, quality=quality))
                    ways = {str(quality): asked}
                    if quality is Quality.FAST:
                        free = unheard_request(example, num_samples, UNLIKE + number)
                        ways["fast, nothing told,"] = replace(free, conditions=Conditions())
                    for way, one in ways.items():
                        blocks = client.render(one).blocks
                        rows[f"{way} rtf"].append(seconds / blocks[-1].seconds)
                        rows[f"{way} first_ms"].append(1000 * blocks[0].seconds)
                say(f"whole: {load}, prefilled, {number + 1} of 3")
                answer = asyncio.run(
                    _answered(server, example, seconds=2, seed=number, paced=False)
                )
                rows["fast prefilled first_ms"].append(1000 * answer["first_s"])
            found[load] = {name: float(np.median(values)) for name, values in rows.items()}
            found[load]["repeats"] = len(rows["fast rtf"])
            found[load]["peak_rss_mb"] = peak_rss_mb(server.process)
            found[load]["cold_start_s"] = server.cold_start_s
            found["fingerprint"] = client.models()[0].fingerprint
    return found


def _live(example: Example, model: Path | None, box: TimeBox, say: Steps) -> dict[str, Any]:
    """Return how late blocks come, by the number of sessions."""
    found: dict[str, Any] = {}
    for load in ("idle", "one core busy"):
        with busy_core() if load != "idle" else nullcontext(), serving(model) as server:
            for sessions in SESSIONS:
                late: list[float] = []
                thinned: list[float] = []
                underruns = 0
                for number in box.rounds(2):
                    say(f"live: {load}, {sessions} sessions, {number + 1} of 2")
                    answers = asyncio.run(_at_once(server, example, sessions, 100 * number))
                    late += [value for answer in answers for value in answer["late_s"]]
                    thinned += [answer["thinned"] for answer in answers]
                    underruns += sum(answer["underruns"] for answer in answers)
                late_ms = 1000 * np.array(late)
                found[f"{load}, {sessions}"] = {
                    **{f"p{q}_ms": float(np.percentile(late_ms, q)) for q in (50, 95, 99)},
                    "blocks": len(late),
                    "underruns": underruns,
                    "thinned": float(np.mean(thinned)),
                }
            found[f"{load}, peak_rss_mb"] = peak_rss_mb(server.process)
    return found


async def _at_once(
    server: Server, example: Example, sessions: int, seed: int
) -> list[dict[str, Any]]:
    asked = (
        _answered(server, example, seconds=LIVE_SECONDS, seed=seed + number, paced=True)
        for number in range(sessions)
    )
    return await asyncio.gather(*asked)


async def _answered(
    server: Server,
    example: Example,
    *,
    seconds: int,
    seed: int,
    paced: bool,
    prime_seconds: int = LIVE_PRIME_SECONDS,
) -> dict[str, Any]:
    """Return what became of one live answer, asked for when all of its prime was heard."""
    rate = example.clip.sample_rate
    prime = example.clip.samples[:, -prime_seconds * rate :]
    # Another one each time, by a change far below hearing: nothing of it was heard before.
    prime = prime + np.random.default_rng(seed).normal(0, 1e-6, prime.shape).astype(np.float32)
    heard, asked_s, arrivals = asyncio.Event(), [0.0], list[tuple[int, float, bool]]()

    async def talk() -> AsyncGenerator[bridge_pb2.LiveRequest]:
        pacing = bridge_pb2.PACING_SERVER if paced else bridge_pb2.PACING_FAST
        yield bridge_pb2.LiveRequest(
            header=bridge_pb2.LiveHeader(
                format=bridge_pb2.AudioFormat(sample_rate=rate, num_channels=prime.shape[0]),
                plan=bridge_pb2.Plan(seed=seed, passes=PASSES),
                pacing=pacing,
                credit_samples=LIVE_CREDIT,
            )
        )
        step = round(BLOCK_SECONDS * rate)
        for first in range(0, prime.shape[1], step):
            yield bridge_pb2.LiveRequest(
                audio=bridge_pb2.AudioBlock(
                    role=bridge_pb2.ROLE_PRIME,
                    start_sample=first,
                    samples=bytes_of(prime[:, first : first + step]),
                )
            )
        await heard.wait()
        asked_s[0] = time.monotonic()
        yield bridge_pb2.LiveRequest(
            continuation=bridge_pb2.LiveContinuation(
                splice_sample=prime.shape[1],
                target=bridge_pb2.Target(num_samples=seconds * rate),
            )
        )

    take_id = ""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = bridge_pb2_grpc.BridgeStub(channel)
        async for event in stub.Live(talk()):
            if event.HasField("heard") and event.heard.received_sample == prime.shape[1]:
                heard.set()
            if event.HasField("failed"):
                raise SystemExit(f"the answer failed: {event.failed.message}")
            if event.render.HasField("audio"):
                audio = event.render.audio
                arrivals.append((audio.start_sample, time.monotonic(), audio.underrun))
            if event.render.HasField("done"):
                take_id = event.render.done.take_id
        take = await stub.GetTake(bridge_pb2.GetTakeRequest(take_id=take_id))
    begun_s, splice = arrivals[0][1], arrivals[0][0]
    return {
        "first_s": begun_s - asked_s[0],
        "late_s": [max(0.0, at - begun_s - (start - splice) / rate) for start, at, _ in arrivals],
        "underruns": sum(underrun for _, _, underrun in arrivals),
        "thinned": _thinned(take.plan, seconds, prime_seconds),
    }


def _thinned(plan: bridge_pb2.Plan, seconds: int, prime_seconds: int) -> float:
    """Return which share of an answer was made with fewer passes than its plan asks for."""
    first, end = (MODEL_RATE * at for at in (prime_seconds, prime_seconds + seconds))
    ends = [*(change.from_sample for change in plan.changes[1:]), end]
    less = [
        max(0, min(after, end) - max(first, change.from_sample))
        for change, after in zip(plan.changes, ends, strict=False)
        if change.passes < plan.passes
    ]
    return sum(less) / (end - first)


def _first(example: Example, model: Path | None, box: TimeBox, say: Steps) -> dict[str, Any]:
    """Return how soon the first audio is there, with and without the prime streamed before."""
    del box
    found: dict[str, Any] = {}
    for load in ("idle", "one core busy"):
        rows: dict[str, list[float]] = defaultdict(list)
        with (
            busy_core() if load != "idle" else nullcontext(),
            serving(model) as server,
            Client(server.address) as client,
        ):
            for number in range(FIRST_REPEATS):
                say(f"first: {load}, {number + 1} of {FIRST_REPEATS}")
                asked = unheard_request(example, FIRST_SECONDS * example.clip.sample_rate, number)
                rows["sent at once"].append(client.render(asked).blocks[0].seconds)
                answered = _answered(
                    server,
                    example,
                    seconds=FIRST_SECONDS,
                    seed=FIRST_REPEATS + number,
                    paced=False,
                    prime_seconds=PRIME_SECONDS,
                )
                rows["streamed before"].append(asyncio.run(answered)["first_s"])
        for way, seconds in rows.items():
            found[f"{load}, {way}"] = {
                "p50_ms": 1000 * float(np.median(seconds)),
                "longest_ms": 1000 * max(seconds),
                "repeats": len(seconds),
            }
    return found


def _long(example: Example, model: Path | None, box: TimeBox, say: Steps) -> dict[str, Any]:
    del box
    return length.measured(example, model, say)


_PARTS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "stages": _stages,
    "whole": _whole,
    "live": _live,
    "first": _first,
    "long": _long,
}


def _text(report: dict[str, Any]) -> str:
    state = report["machine"]
    sizes = ", ".join(f"{name} {mb:.1f}" for name, mb in report["weights_mb"].items())
    lines = [
        f"{state['cores']} cores, load average {state['load_before'][0]:.1f}",
        f"weights in MiB: {sizes}",
    ]
    for part, text in _TEXTS.items():
        if part in report:
            lines += text(report[part])
    return "\n".join(lines)


def _whole_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"over gRPC, 48 kHz stereo, model {found['fingerprint']}:"]
    for load, row in found.items():
        if load != "fingerprint":
            lines += [f"  {load}: {name} {value:.3g}" for name, value in row.items()]
    return lines


def _live_lines(found: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, row in found.items():
        if isinstance(row, dict):
            lines.append(
                f"live {name} sessions: late p50 {row['p50_ms']:.0f}, p95 {row['p95_ms']:.0f}, "
                f"p99 {row['p99_ms']:.0f} ms of {row['blocks']} blocks, {row['underruns']} told as "
                f"underruns, {row['thinned']:.1%} of the audio with fewer passes"
            )
        else:
            lines.append(f"live {name}: {row:.0f}")
    return lines


def _first_lines(found: dict[str, Any]) -> list[str]:
    return [
        f"first audio, {name}: p50 {row['p50_ms']:.0f} ms, at most {row['longest_ms']:.0f} ms, "
        f"{row['repeats']} times"
        for name, row in found.items()
    ]


_TEXTS: Final = {
    "stages": stages.lines_of,
    "whole": _whole_lines,
    "live": _live_lines,
    "first": _first_lines,
    "long": length.lines_of,
}


if __name__ == "__main__":
    sys.exit(main())
