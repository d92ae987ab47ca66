"""A disk that is really full: a small file system of its own, where the machine allows one."""

import asyncio
import itertools
import subprocess
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from fakes import CountingGenerator

from bridge.admission import EngineLimits
from bridge.engine import Engine
from bridge.errors import StorageError
from bridge.ports import Conditions, Plan
from bridge.request import Done, Prime, RenderRequest
from bridge.store import TakeStore

SIZE_MIB = 8


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    # Lazily: a test that fails may still hold a file of it open.
    subprocess.run(["umount", "-l", str(folder)], check=True)


def request(seed: int) -> RenderRequest:
    noise = np.random.default_rng(seed).normal(0, 0.1, (1, 300_000)).astype(np.float32)
    return RenderRequest(
        request_id=f"r-{seed}",
        sample_rate=44_100,
        source=Prime(samples=noise),
        num_samples=100_000,
        plan=Plan(seed=seed),
        conditions=Conditions(),
        write_file=True,
    )


async def done_of(engine, asked) -> Done:
    async with aclosing(engine.render(asked)) as events:
        return [event async for event in events][-1]


def test_a_full_disk_fails_jobs_one_by_one_and_loses_no_take(small_disk):
    ticks = itertools.count()

    async def scenario():
        engine = Engine(
            CountingGenerator(),
            store=TakeStore(small_disk),
            clock=lambda: next(ticks) / 1000,
            limits=EngineLimits(checkpoint_seconds=0),
        )
        kept: list[Done] = []
        failures: list[str] = []
        for seed in range(12):
            try:
                kept.append(await done_of(engine, request(seed)))
            except StorageError as error:
                failures.append(str(error))
        assert 1 <= len(kept) < 12
        assert len(failures) == 12 - len(kept)
        assert all("is full" in text or "disk I/O" in text for text in failures), failures
        assert engine.store.check() == ()
        for done in kept:
            assert engine.store.load(done.take_id).sha256 == done.sha256
        left = [path.name for path in small_disk.rglob("*") if ".unfinished" in path.name]
        assert left == []
        # Room is made, and the same engine goes on.
        for done in kept:
            engine.store.delete(done.take_id)
        again = await done_of(engine, replace(request(99), num_samples=50_000))
        problems = engine.store.check()
        await engine.close()
        engine.store.close()
        return again, problems

    again, problems = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert again.num_samples == 50_000
    assert problems == ()
