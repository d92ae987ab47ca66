"""Loads a server through both wires at once and counts what its callers were told.

    python benchmarks/load.py [--seconds 60] [--clients 64] [--osc-rate 2000] [--model DIR] [--json]

So many gRPC clients, each on a connection of its own, ask for one continuation after the other,
while an OSC peer sends so many messages a second, a continuation among them every second. Counted
are: calls without a last word (lost), results of each client (the fewest against the median), OSC
messages that were answered, OSC jobs without a last word, also after asking again (a job that the
server never heard of is sent again, as UDP wants it), and the server's memory. Without --model the
smallest model with random weights makes the sound, so that the wires are loaded and not the
arithmetic. Exit status 1 if a last word is lost, a client starved or memory grows on.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import grpc.aio
import numpy as np
import psutil

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the smallest model is made as the tests make it

from bridge.audio_file import AudioClip, Provenance, write_audio  # noqa: E402
from bridge.client import Client, Continuation  # noqa: E402
from bridge.continuation import audio_of, header_of  # noqa: E402
from bridge.osc.packet import Argument, decode, encode  # noqa: E402
from bridge.osc.server import RECEIVE_BYTES  # noqa: E402
from bridge.ports import Plan  # noqa: E402
from protos import bridge_pb2, bridge_pb2_grpc  # noqa: E402
from tests.evidence.crash import tiny_model  # noqa: E402

RATE: Final = 44_100
PRIME_SAMPLES: Final = 20_000
RESULT_SAMPLES: Final = 16_000
START_SECONDS: Final = 120
GRACE_SECONDS: Final = 300
"""How long after the load the calls under way may still take, with nothing new asked."""
OSC_BURST_SECONDS: Final = 0.005
OSC_JOB_SECONDS: Final = 1.0
ASK_AGAIN_SECONDS: Final = 1.0
BACK_OFF_SECONDS: Final = 0.5
STARVED_SHARE: Final = 0.25
"""A client with fewer results than this share of the median is starved."""
GROWTH_MB: Final = 64
NOBODY: Final = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")


@dataclass(slots=True, kw_only=True)
class Served:
    """What one gRPC client was told."""

    done: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list[str])
    lost: int = 0
    slowest_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Heard:
    """What the OSC peer was told."""

    seconds: float = 0.0
    sent: int = 0
    answered: int = 0
    jobs: int = 0
    ends: dict[str, int] = field(default_factory=dict[str, int])
    asked_again: int = 0
    sent_again: int = 0
    lost: int = 0


def main(given: Sequence[str] | None = None) -> int:
    """Load, print figures; return 0 if all promises were held."""
    arguments = _parser().parse_args(given)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = arguments.model or tiny_model(root / "model")
        with _server(root, model) as (process, address, osc_port):
            report = asyncio.run(_load(arguments, process, address, osc_port))
    broken = _broken(report)
    report["broken"] = broken
    sys.stdout.write((json.dumps(report, indent=1) if arguments.json else _as_text(report)) + "\n")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Load a server through gRPC and OSC at once.")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load (%(default)s)")
    parser.add_argument("--clients", type=int, default=64, help="of gRPC (%(default)s)")
    parser.add_argument("--osc-rate", type=float, default=2000.0, help="a second (%(default)s)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="weights; else the smallest")
    parser.add_argument("--json", action="store_true")
    return parser


async def _load(
    arguments: argparse.Namespace, process: psutil.Process, address: str, osc_port: int
) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    heard, telling = context.Pipe(duplex=False)
    peer = context.Process(
        target=_osc_peer, args=(telling, osc_port, arguments.osc_rate, arguments.seconds)
    )
    peer.start()
    telling.close()
    end_s = time.monotonic() + arguments.seconds
    memory: list[float] = []
    watching = asyncio.create_task(_watch(process, memory))
    clients = [_client(number, address, end_s) for number in range(arguments.clients)]
    served = await asyncio.gather(*clients)
    report = await asyncio.to_thread(heard.recv)
    await asyncio.to_thread(peer.join)
    watching.cancel()
    return {
        "load_average": list(os.getloadavg()),
        "cores": len(os.sched_getaffinity(0)),
        "asked": vars(arguments) | {"model": str(arguments.model or "smallest, random weights")},
        "clients": [asdict(one) for one in served],
        "osc": asdict(report),
        "memory_mb": memory,
    }


async def _client(number: int, address: str, end_s: float) -> Served:
    """Ask for one continuation after the other until the load is over."""
    served = Served()
    # Without an own pool all channels of this process would be one connection.
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub: Any = bridge_pb2_grpc.BridgeStub(channel)
        asked = _asked(number)
        while time.monotonic() < end_s:
            begun_s = time.monotonic()
            await _call(stub, asked, served)
            served.slowest_s = max(served.slowest_s, time.monotonic() - begun_s)
            seed = asked.plan.seed + 1
            asked = replace(asked, plan=Plan(seed=seed), request_id=f"{number}-{seed}")
    return served


async def _call(stub: Any, asked: Continuation, served: Served) -> None:  # noqa: ANN401 - grpc
    messages = [bridge_pb2.ContinueRequest(header=header_of(asked))]
    messages += [bridge_pb2.ContinueRequest(audio=block) for block in audio_of(asked)]
    samples, last = 0, ""
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            async for event in stub.Continue(iter(messages)):
                last = event.WhichOneof("event")
                samples += len(event.audio.samples) // 4
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            served.refused += 1
            await asyncio.sleep(BACK_OFF_SECONDS)
        else:
            served.failed.append(f"{error.code().name}: {error.details()}")
        return
    except TimeoutError:
        last = "nothing"
    if last == "done" and samples == RESULT_SAMPLES:
        served.done += 1
    else:
        served.lost += 1


def _asked(number: int) -> Continuation:
    noise = np.random.default_rng(number).normal(0, 0.1, (1, PRIME_SAMPLES))
    return Continuation(
        prime=noise.astype(np.float32),
        sample_rate=RATE,
        num_samples=RESULT_SAMPLES,
        plan=Plan(seed=1000 * number),
        draw_seed=False,
        request_id=f"{number}-first",
    )


async def _watch(process: psutil.Process, memory: list[float]) -> None:
    while True:
        family = [process, *process.children(recursive=True)]
        memory.append(sum(one.memory_info().rss for one in family) / 2**20)
        await asyncio.sleep(1)


def _osc_peer(telling: Any, port: int, rate: float, seconds: float) -> None:  # noqa: ANN401 - a pipe
    """Send and count in a process of its own, so that the gRPC clients do not slow it down."""
    telling.send(asyncio.run(_OscPeer(rate, seconds).run(port)))
    telling.close()


class _OscPeer(asyncio.DatagramProtocol):
    """Sends messages at a rate and remembers what came back."""

    def __init__(self, rate: float, seconds: float) -> None:
        self._rate = rate
        self._seconds = seconds
        self._transport: Any = None
        self._heard = Heard()
        self._open: set[str] = set()
        self._ends: Counter[str] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way out."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ANN401 - as declared
        """Count an answer; a job's last word is noted once."""
        del addr
        (message,) = decode(data)
        values = [argument.value for argument in message.arguments]
        if message.address == "/jukebox/pong":
            self._heard.answered += 1
        elif message.address in ("/jukebox/done", "/jukebox/fail") and values[1] in self._open:
            asked_in_vain = message.address.endswith("fail") and values[0] == "/jukebox/query"
            if asked_in_vain and values[2] == "NOT_FOUND":
                self._heard.sent_again += 1
                self._send_job(str(values[1]))
            else:
                self._open.discard(str(values[1]))
                self._ends[message.address if len(values) > 4 else str(values[2])] += 1

    async def run(self, port: int) -> Heard:
        """Return what was heard when all is over."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, remote_addr=("127.0.0.1", port)
        )
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES
        )
        begun_s = time.monotonic()
        while (elapsed_s := time.monotonic() - begun_s) < self._seconds:
            for _ in range(int(elapsed_s * self._rate) - self._heard.sent):
                self._send("/jukebox/ping", f"p{self._heard.sent}")
                self._heard.sent += 1
            if elapsed_s > self._heard.jobs * OSC_JOB_SECONDS:
                self._ask_for_a_job()
            await asyncio.sleep(OSC_BURST_SECONDS)
        self._heard.seconds = time.monotonic() - begun_s
        await self._ask_again()
        self._heard.ends, self._heard.lost = dict(self._ends), len(self._open)
        return self._heard

    async def _ask_again(self) -> None:
        """Ask for last words that UDP may have lost; a job that it lost is sent again."""
        end_s = time.monotonic() + GRACE_SECONDS
        while self._open and time.monotonic() < end_s:
            for name in sorted(self._open):
                self._send("/jukebox/query", name)
                self._heard.asked_again += 1
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    def _ask_for_a_job(self) -> None:
        name = f"job-{self._heard.jobs}"
        self._open.add(name)
        self._heard.jobs += 1
        self._heard.sent += 1
        self._send_job(name)

    def _send_job(self, name: str) -> None:
        more = ("num_samples", str(RESULT_SAMPLES), "seed", name.removeprefix("job-"))
        self._send("/jukebox/continue", name, "prime.wav", *more)

    def _send(self, address: str, *texts: str) -> None:
        self._transport.sendto(encode(address, [Argument("s", text) for text in texts]))


@contextmanager
def _server(root: Path, model: Path) -> Generator[tuple[psutil.Process, str, int]]:
    """Yield a fresh server that serves, its address and its OSC port."""
    spool = root / "spool"
    spool.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, (1, PRIME_SAMPLES)).astype(np.float32)
    write_audio(spool / "prime.wav", AudioClip(samples=noise, sample_rate=RATE), 0, NOBODY)
    command = [sys.executable, "-m", "bridge", "serve", "--port", "0", "--osc-port", "0"]
    command += ["--http-port", "off", "--plugin-port", "off"]
    command += ["--spool", str(spool), "--model", str(model)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(root)}
    with (root / "log").open("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("listening: gRPC "):
                log.seek(0)
                raise SystemExit(f"the server said {line.strip()!r}\n{log.read()}")
            address = line.removeprefix("listening: gRPC ").split(",")[0]
            osc_port = int(line.split("OSC")[1].split(",")[0].rpartition(":")[2])
            with Client(address) as client:
                client.wait_until_serving(START_SECONDS)
            yield psutil.Process(process.pid), address, osc_port
        finally:
            process.terminate()
            process.communicate()


def _broken(report: dict[str, Any]) -> list[str]:
    """Return the promises that were not held."""
    results = [one["done"] for one in report["clients"]]
    median = statistics.median(results)
    lost = sum(one["lost"] for one in report["clients"])
    failed = [text for one in report["clients"] for text in one["failed"]]
    memory = report["memory_mb"]
    growth = memory[-1] - memory[len(memory) // 2]
    promises = {
        f"{lost} gRPC calls had no last word": lost == 0,
        f"{len(failed)} gRPC calls failed: {failed[:3]}": not failed,
        f"a client had {min(results)} results, the median is {median:g}": min(results)
        >= max(1, STARVED_SHARE * median),
        f"{report['osc']['lost']} OSC jobs had no last word": report["osc"]["lost"] == 0,
        f"memory grew by {growth:.0f} MiB in the second half": growth < GROWTH_MB,
    }
    return [text for text, held in promises.items() if not held]


def _as_text(report: dict[str, Any]) -> str:
    clients, osc, memory = report["clients"], report["osc"], report["memory_mb"]
    results = sorted(one["done"] for one in clients)
    refused = sum(one["refused"] for one in clients)
    slowest_s = max(one["slowest_s"] for one in clients)
    pings = osc["sent"] - osc["jobs"]
    return "\n".join(
        (
            f"{report['cores']} cores, load average {report['load_average'][0]:.1f}",
            f"gRPC: {len(clients)} clients had {sum(results)} results, {refused} refusals with a "
            f"time to try again, {sum(one['lost'] for one in clients)} calls without a last word",
            f"  results of a client: fewest {results[0]}, median {statistics.median(results):g}, "
            f"most {results[-1]}; slowest call {slowest_s:.1f} s",
            f"OSC: {osc['sent']} messages in {osc['seconds']:.1f} s "
            f"({osc['sent'] / osc['seconds']:.0f}/s), {osc['answered'] / max(1, pings):.2%} of "
            "the pings were answered",
            f"  {osc['jobs']} jobs ended {osc['ends']}, asked again {osc['asked_again']} times, "
            f"sent again {osc['sent_again']} times, {osc['lost']} without a last word",
            f"memory: {memory[0]:.0f} MiB at first, {memory[len(memory) // 2]:.0f} half-way, "
            f"{max(memory):.0f} at most, {memory[-1]:.0f} at the end",
            f"broken promises: {'; '.join(report['broken']) or 'none'}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
