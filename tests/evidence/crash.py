"""A server process that is killed at random moments, and what must be true when it starts again.

Knows the server from outside alone: its command line, gRPC, and its store once it is gone.
"""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import bridge
from bridge.client import Client, Continuation
from bridge.errors import BridgeError
from bridge.ports import Plan
from bridge.request import Accepted, AudioBlock, Done, Queued
from bridge.store import TakeStore
from model.store import Provenance, save_bundle
from tests.model.tiny import tiny_bundle

START_SECONDS = 120
NO_FIGURES = Provenance(
    artists=("bach",),
    genres=("chorale",),
    licence="test",
    output_licence="public domain",
    recipe={},
    figures={},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """What a client was told before the server was killed."""

    error: str | None = None
    job_id: str | None = None
    take_id: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came of all kills."""

    kills: int
    unaccepted: int
    cut_off: int
    acknowledged: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.kills} kills: {self.cut_off} jobs cut off and resumed, {self.acknowledged} "
            f"takes acknowledged before a kill, {self.unaccepted} not yet accepted; "
            f"{len(self.problems)} broken promises {list(self.problems)}"
        )


def tiny_model(folder: Path) -> Path:
    """Return a folder with the smallest model, of random weights."""
    save_bundle(tiny_bundle(), folder, NO_FIGURES)
    return folder


@contextmanager
def server(
    spool: Path, model: Path | None, options: tuple[str, ...] = ("--plugin-port", "off")
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield a server process that is ready, and its address; killed at the end."""
    command = [sys.executable, "-m", "bridge", "serve", "--port", "0", "--osc-port", "off"]
    command += ["--http-port", "off", *options]
    command += ["--spool", str(spool), "--drain-seconds", "0"]
    command += [] if model is None else ["--model", str(model)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "XDG_CONFIG_HOME": str(spool / "config"),
        # The copy that is tested, wherever it lies.
        "PYTHONPATH": str(Path(bridge.__file__).parents[1]),
    }
    spool.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=spool.parent
    )
    guard = threading.Timer(START_SECONDS, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        listening = process.stdout.readline()
        ready = process.stdout.readline()
        guard.cancel()
        assert ready.startswith("ready"), f"the server said {listening!r}, {ready!r}"
        yield process, listening.split("gRPC ")[1].split(",")[0].strip()
    finally:
        guard.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def asked(number: int, num_samples: int) -> Continuation:
    """Return the continuation of a number: stereo at 48 kHz; every other one detached."""
    noise = np.random.default_rng(number).normal(0, 0.1, (2, 40_000 + 1_000 * (number % 7)))
    return Continuation(
        prime=noise.astype(np.float32),
        sample_rate=48_000,
        num_samples=num_samples,
        plan=Plan(seed=1_000 + number),
        draw_seed=False,
        detached=number % 2 == 0,
        idempotency_key=f"key-{number}",
        request_id=f"request-{number}",
    )


def made(client: Client, continuation: Continuation) -> tuple[Promised, bytes]:
    """Return what the server promised until it went away, and the audio that came."""
    told: dict[str, str] = {}
    audio: list[bytes] = []
    try:
        for event in client.events(continuation):
            match event:
                case Accepted() | Queued():
                    told["job_id"] = event.job_id
                case AudioBlock():
                    audio.append(np.ascontiguousarray(event.samples.T, "<f4").tobytes())
                case Done():
                    told |= {"take_id": event.take_id, "sha256": event.sha256}
                case _:
                    pass
    except BridgeError as error:
        told["error"] = f"{type(error).__name__}: {error}"
    return Promised(**told), b"".join(audio)


def killed(
    root: Path, model: Path | None, *, kills: int, num_samples: int, longest_s: float, seed: int
) -> Tally:
    """Kill the server once in each of so many jobs, and return what came of it.

    Args:
        root: An empty folder.
        model: Folder of weights; None is the model in the box.
        kills: How many jobs, with one kill each.
        num_samples: Of each result.
        longest_s: A kill comes between 0 and so many seconds after the request.
        seed: Of the moments.
    """
    moments = random.Random(seed)
    before: list[Promised] = []
    after: list[tuple[Promised, bytes]] = []
    for number in range(kills):
        with server(root / "spool", model) as (process, address), Client(address) as client:
            after += [made(client, asked(number - 1, num_samples))] if number else []
            timer = threading.Timer(moments.uniform(0, longest_s), process.kill)
            timer.start()
            before.append(made(client, asked(number, num_samples))[0])
            timer.join()
    with server(root / "spool", model) as (_, address), Client(address) as client:
        after.append(made(client, asked(kills - 1, num_samples)))
        problems = [
            problem
            for number in range(kills)
            for problem in _broken(client, number, num_samples, before[number], after[number])
        ]
    store = TakeStore(root / "spool")
    problems += store.check()
    unfinished = [job.id for job in store.jobs.newest(10 * kills) if not job.state.ended]
    problems += [f"{name} never ended" for name in unfinished]
    store.close()
    return Tally(
        kills=kills,
        unaccepted=sum(one.job_id is None for one in before),
        cut_off=sum(one.job_id is not None and one.take_id is None for one in before),
        acknowledged=sum(
            one.take_id is not None for one in (*before, *(again for again, _ in after[:-1]))
        ),
        problems=tuple(problems),
    )


def _broken(
    client: Client, number: int, num_samples: int, before: Promised, after: tuple[Promised, bytes]
) -> Iterator[str]:
    """Yield the promises to a job that do not hold, asked of a server that nothing disturbs."""
    again, audio = after
    # Without the key it is computed anew.
    whole, wanted = made(client, replace(asked(number, num_samples), idempotency_key=""))
    for one in (again, whole):
        if one.error is not None:
            yield f"job {number} could not be had: {one.error}"
    if again.job_id == whole.job_id:
        yield f"job {number} was not computed anew to compare it"
    if before.job_id not in (None, again.job_id):
        yield f"job {number} was {before.job_id}, its key now names {again.job_id}"
    if again.sha256 != whole.sha256 or whole.sha256 is None:
        yield f"job {number} ends as {again.sha256}, undisturbed it is {whole.sha256}"
    if audio != wanted or len(audio) != 8 * num_samples:
        yield f"job {number} gave {len(audio)} bytes of audio, others than undisturbed"
    for one in (before, again):
        if one.take_id is not None and client.take(one.take_id).sha256 != one.sha256:
            yield f"the acknowledged take {one.take_id} is another one"
