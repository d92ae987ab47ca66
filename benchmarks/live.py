"""Measures live hand-overs: bar after bar, each made from what sounded up to a lead before it.

    python benchmarks/live.py [--handovers 50] [--virtual 1000] [--sessions 1 2 4]
                              [--loads idle busy] [--lead-ms 800] [--workers 0] [--threads 0]
                              [--share 0.75] [--sound] [--json FILE] [--replay FILE]

Sessions play endless loops at 120 bpm, 4/4, 48 kHz stereo, in periods of 1024, with the default
plan; a musician plays along at a quarter of the level. First so many hand-overs of each session
are paced in real time, over gRPC, against a server in a process of its own; then so many, of all
sessions together, on a virtual clock: the same sessions and the same engine, its model's calls
taking times drawn from those that were recorded in the paced run (--sound computes them too, which
takes long; without it the music of those bars is noise and is not listened to). Both are done idle
and beside a process that keeps one core busy. A session or a loop that the server refuses, because
the machine could not carry it, is counted and not played; on the virtual clock only as many play.

`gaps` are samples of an answer that were missing when they were due, `late` blocks that came after
they were due, `error` the samples by which hand-overs missed their bar lines. `lead` is how long
before the bar line the last input was needed, `slack` how much earlier than needed the answer was
there. `thinned` is the share of chunks with fewer passes than asked, `cores` how many cores the
server and its model's processes kept busy. A bar is `silent` below -60
dBFS, and a `copy` if it correlates over 0.95 with the bar before it, shifted by up to 10 ms.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import soxr
from live_clock import HollowGenerator, Recorder, Replayer, Times, VirtualLoop
from live_host import RATE, Seen, Setting, play_paced, play_virtual
from rich.console import Console
from rich.table import Table

from bridge.admission import EngineLimits
from bridge.app import running
from bridge.app.door import shipped_model
from bridge.app.limits import calls_at_once
from bridge.app.places import end_model, placed
from bridge.commands.demo import load_example
from bridge.config import ServerConfig, private_config
from bridge.engine import Engine
from bridge.live_setup import Margins
from bridge.model_info import ModelInfo
from bridge.ports import Audio, Mono
from bridge.ports import Generator as ModelGenerator
from bridge.store import TakeStore

MAX_LIVE: Final = ServerConfig().max_live
THROUGH: Final = 0.25
CORES: Final = len(os.sched_getaffinity(0))
COLUMNS: Final = (
    "load",
    "clock",
    "sessions",
    "refused",
    "hand_overs",
    "gaps",
    "late",
    "blocks",
    "error",
    "missed",
    "lead_p50_ms",
    "lead_p99_ms",
    "slack_p1_ms",
    "slack_p50_ms",
    "thinned",
    "cores",
    "silent",
    "copies",
    "listened",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a server measured of its model while it was played.

    Attributes:
        times: Of the model's calls, by kind.
        info: Of the model.
        thinned_chunks: Given fewer passes than asked.
        cores: Seconds that all processors worked for the server, in a second; None on a
            virtual clock.
    """

    times: Times
    info: ModelInfo
    thinned_chunks: int
    cores: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How the server is set up.

    Attributes:
        model: Folder of weights; None: the shipped ones.
        workers: Processes that hold the model; 0: the server's own.
        threads: Calls of the model at once in the server's own; 0: as a server has by itself.
        share: Of the machine that live music may take; 0: no session is refused.
    """

    model: Path | None
    workers: int
    threads: int
    share: float

    def config(self, spool: Path) -> ServerConfig:
        """Return it as a server is told."""
        return replace(
            private_config(spool),
            workers=self.workers,
            threads=self.threads,
            live_share=self.share,
        )


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; return 0 if nothing was missing, late by a bar line, or failed."""
    arguments = _parser().parse_args(given)
    prime = _prime()
    rows: list[dict[str, Any]] = []
    kept: dict[str, Times] = {}
    refused: dict[str, int] = {}
    if arguments.replay is not None:
        before = json.loads(arguments.replay.read_text())
        kept, refused = before["times"], before["refused"]
    for load in arguments.loads:
        for sessions in arguments.sessions:
            facts, name = {"load": load, "sessions": sessions}, f"{load} {sessions}"
            if arguments.replay is not None:
                info = shipped_model(arguments.model)().info
                recorded = Recorded(times=kept[name], info=info, thinned_chunks=0)
            else:
                with _busy_core() if load == "busy" else nullcontext():
                    seen, recorded = _paced(arguments, prime, sessions)
                kept[name] = recorded.times
                refused[name] = sum(bool(one.refused) for one in seen)
                rows.append(facts | {"clock": "paced"} | _row(arguments, seen, recorded))
            if arguments.virtual and (carried := sessions - refused[name]):
                seen, virtual = _virtual(arguments, prime, carried, recorded)
                rows.append(facts | {"clock": "virtual"} | _row(arguments, seen, virtual))
            _show(rows[-2:])
    report = {
        "machine": {"cores": CORES, "load_average": os.getloadavg()},
        "asked": {name: str(value) for name, value in vars(arguments).items()},
        "rows": rows,
        "times": kept,
        "refused": refused,
    }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1))
    return 1 if any(row["gaps"] or row["error"] or row["failed"] for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure live hand-overs at bar lines.")
    parser.add_argument("--handovers", type=int, default=50, help="of each session (%(default)s)")
    parser.add_argument("--virtual", type=int, default=1000, help="of all (%(default)s)")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--loads", nargs="+", choices=("idle", "busy"), default=["idle", "busy"])
    parser.add_argument("--lead-ms", type=float, default=800.0, help="(%(default)s)")
    parser.add_argument("--fade-ms", type=float, default=20.0, help="(%(default)s)")
    parser.add_argument("--reserve-ms", type=float, default=250.0, help="(%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes of the model (0: none)")
    parser.add_argument("--threads", type=int, default=0, help="model calls at once (0: by itself)")
    parser.add_argument(
        "--share", type=float, default=ServerConfig().live_share, help="0: none is refused"
    )
    parser.add_argument("--no-keep-up", action="store_true", help="rather late than fewer passes")
    parser.add_argument("--stem", action="store_true", help="drums run a bar ahead of each session")
    parser.add_argument("--sound", action="store_true", help="make the virtual bars' music too")
    parser.add_argument("--model", type=Path, metavar="DIR", help="weights; else the shipped ones")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="of --json: the virtual clock alone, its times"
    )
    return parser


def _prime() -> Audio:
    """Return the packaged four bars at the host's rate."""
    clip = load_example().clip
    return np.ascontiguousarray(soxr.resample(clip.samples.T, clip.sample_rate, RATE).T)


def _setting(arguments: argparse.Namespace, hand_overs: int, number: int) -> Setting:
    def samples(milliseconds: float) -> int:
        return round(milliseconds * RATE / 1000)

    margins = Margins(
        lead=samples(arguments.lead_ms),
        fade=samples(arguments.fade_ms),
        reserve=samples(arguments.reserve_ms),
    )
    return Setting(
        hand_overs=hand_overs,
        margins=margins,
        keep_up=not arguments.no_keep_up,
        through=THROUGH,
        seed=number,
        stem=arguments.stem,
    )


def _paced(
    arguments: argparse.Namespace, prime: Audio, sessions: int
) -> tuple[list[Seen], Recorded]:
    settings = [_setting(arguments, arguments.handovers, number) for number in range(sessions)]
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        served = _served(arguments)
        server = context.Process(target=_serve, args=(there, Path(folder), served))
        server.start()
        try:
            seen = play_paced(here.recv(), prime, settings)
            here.send("stop")
            return seen, here.recv()
        finally:
            server.join()


def _served(arguments: argparse.Namespace) -> Served:
    return Served(
        model=arguments.model,
        workers=arguments.workers,
        threads=arguments.threads,
        share=arguments.share,
    )


def _serve(pipe: Connection, spool: Path, served: Served) -> None:
    recorders: list[Recorder] = []
    config = served.config(spool)
    model = placed(config, shipped_model(served.model))()

    def load() -> Recorder:
        recorders.append(Recorder(model))
        return recorders[0]

    async def serve() -> None:
        async with running(config, load) as app:
            await app.serve()
            recorders[0].times.clear()
            begun_s, worked_s = time.monotonic(), _worked_s()
            pipe.send(app.address)
            await asyncio.to_thread(pipe.recv)
            engine, spent_s = app.engine(), time.monotonic() - begun_s
            made = Recorded(
                times=dict(recorders[0].times),
                info=engine.info,
                thinned_chunks=engine.stats().thinned_chunks,
                cores=round((_worked_s() - worked_s) / spent_s, 2),
            )
            pipe.send(made)

    asyncio.run(serve())
    end_model(model)


def _worked_s() -> float:
    """Return how long all processors have worked for this process and its model's."""
    own = psutil.Process()
    times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _virtual(
    arguments: argparse.Namespace, prime: Audio, sessions: int, recorded: Recorded
) -> tuple[list[Seen], Recorded]:
    each = -(-arguments.virtual // sessions)
    settings = [_setting(arguments, each, number) for number in range(sessions)]
    replayer = Replayer(_model(arguments, recorded), recorded.times, seed=sessions)
    counted = Recorder(replayer)
    lanes = calls_at_once(_served(arguments).config(Path()), CORES)
    loop = VirtualLoop(replayer.spent)

    async def play(folder: Path) -> tuple[list[Seen], int]:
        engine: Engine[Any] = Engine(
            counted,
            store=TakeStore(folder),
            clock=loop.time,
            limits=EngineLimits(max_live=MAX_LIVE, calls_at_once=lanes),
        )
        tasks = []
        for number, setting in enumerate(settings):
            await asyncio.sleep(2.0 / sessions if number else 0.0)
            playing = play_virtual(engine, prime, setting, has_sound=arguments.sound)
            tasks.append(asyncio.create_task(playing))
        seen = await asyncio.gather(*tasks)
        await engine.close()
        return seen, engine.stats().thinned_chunks

    with tempfile.TemporaryDirectory() as folder:
        try:
            seen, thinned = loop.run_until_complete(play(Path(folder)))
        finally:
            loop.close()
    made = Recorded(times=dict(counted.times), info=recorded.info, thinned_chunks=thinned)
    return seen, made


def _model(arguments: argparse.Namespace, recorded: Recorded) -> ModelGenerator[Any]:
    if arguments.sound:
        return shipped_model(arguments.model)()
    counts = {kind: len(values) for kind, values in recorded.times.items()}
    passes = 1 + round(counts.get("pass", 0) / max(1, counts.get("closing", 0)))
    return HollowGenerator(recorded.info, passes, composes="notes" in counts)


def _row(arguments: argparse.Namespace, seen: list[Seen], recorded: Recorded) -> dict[str, Any]:
    slack_ms = 1000 * np.array([slack for one in seen for slack in one.slack_s])
    needed_ms = arguments.lead_ms - slack_ms
    chunks = len(recorded.times.get("closing", ()))

    def at(values: Mono, percent: float) -> float | None:
        return round(float(np.percentile(values, percent)), 1) if len(values) else None

    return {
        "hand_overs": len(slack_ms),
        "gaps": sum(one.gap_samples for one in seen),
        "late": sum(one.late_blocks for one in seen),
        "blocks": sum(one.blocks for one in seen),
        "error": max((abs(error) for one in seen for error in one.errors), default=0),
        "off_the_line": sum(error != 0 for one in seen for error in one.errors),
        "missed": sum(one.missed for one in seen),
        "lead_p50_ms": at(needed_ms, 50),
        "lead_p99_ms": at(needed_ms, 99),
        "slack_p1_ms": at(slack_ms, 1),
        "slack_p50_ms": at(slack_ms, 50),
        "thinned": round(recorded.thinned_chunks / max(1, chunks), 4),
        "cores": recorded.cores,
        "silent": sum(one.silent for one in seen),
        "copies": sum(one.copies for one in seen),
        "listened": sum(one.checked for one in seen),
        "refused": sum(bool(one.refused) for one in seen),
        "refusal": next((one.refused for one in seen if one.refused), ""),
        "failed": [text for one in seen for text in one.failed],
        "model_ms": {
            kind: [round(1000 * float(np.percentile(values, share)), 1) for share in (50, 99)]
            for kind, values in sorted(recorded.times.items())
        },
    }


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(str(row[name]) for name in COLUMNS))
    console = Console(width=220)
    console.print(table)
    for row in rows:
        told = {name: row[name] for name in ("model_ms", "refusal")}
        console.print(told | {"failed": row["failed"][:3]})


@contextmanager
def _busy_core() -> Generator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
