"""A disk that is really full: a small file system of its own, where the machine allows one."""

import asyncio
import itertools
import os
import subprocess
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import replace

import numpy as np
import pytest
from fakes import CountingGenerator

from bridge.admission import EngineLimits
from bridge.engine import Engine
from bridge.errors import StorageError
from bridge.ports import Conditions, Plan
from bridge.request import Done, Prime, RenderRequest
from bridge.reserve import RESERVE_BYTES
from bridge.store import RESERVE, TakeStore

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
    subprocess.run(["umount", str(folder)], check=True)


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


@asynccontextmanager
async def engine_on(folder):
    """Yield an engine that keeps its takes there; all its files are closed after the block."""
    ticks = itertools.count()
    with closing(TakeStore(folder)) as store:
        engine = Engine(
            CountingGenerator(),
            store=store,
            clock=lambda: next(ticks) / 1000,
            limits=EngineLimits(checkpoint_seconds=0),
        )
        try:
            yield engine
        finally:
            await engine.close()


async def filled(engine, num_requests):
    """Return what was done and the texts of what failed."""
    kept: list[Done] = []
    failures: list[str] = []
    for seed in range(num_requests):
        try:
            kept.append(await done_of(engine, request(seed)))
        except StorageError as error:
            failures.append(str(error))
    return kept, failures


def test_a_full_disk_fails_jobs_one_by_one_and_loses_no_take(small_disk):
    async def scenario():
        async with engine_on(small_disk) as engine:
            kept, failures = await filled(engine, 12)
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
            return again, engine.store.check()

    again, problems = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert again.num_samples == 50_000
    assert problems == ()


def test_the_last_byte_of_a_disk_may_be_taken_and_takes_are_deleted_all_the_same(small_disk):
    async def scenario():
        async with engine_on(small_disk) as engine:
            kept = [await done_of(engine, replace(request(seed), num_samples=9)) for seed in (1, 2)]
            with suppress(OSError), (small_disk / "others").open("wb", buffering=0) as others:
                while others.write(bytes(4096)):
                    pass
            assert os.statvfs(small_disk).f_bavail == 0
            for done in kept:
                engine.store.delete(done.take_id)
            return engine.store.ids(), engine.store.check()

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == ((), ())
    assert (small_disk / RESERVE).stat().st_size == RESERVE_BYTES
