"""The shipped model: the same bytes alone, in company, warm, prefilled, thinned, in any process."""

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import Clock

from bridge.admission import EngineLimits
from bridge.app.door import shipped_model
from bridge.commands.demo import load_example
from bridge.engine import Engine
from bridge.ports import Conditions, Plan, Quality
from bridge.request import Prime, RenderRequest
from bridge.store import TakeStore
from tests.bridge.test_same_bytes import prefilled, unheard, whole

ROOT = Path(__file__).parents[2]
PRIME_SECONDS = 4
PLANS = (
    Plan(seed=11),
    Plan(seed=12, variation=1, temperature=0.8).changed(180_000, 1).changed(200_000, 3),
    Plan(seed=13, quality=Quality.EXACT),
)

pytestmark = [pytest.mark.evidence, pytest.mark.slow]


def requests():
    """Return one request a plan: with the notes of the packaged section, without, and exact."""
    example = load_example()
    rate = example.clip.sample_rate
    prime = Prime(samples=example.clip.samples[:, -PRIME_SECONDS * rate :])
    for number, plan in enumerate(PLANS):
        yield RenderRequest(
            request_id=f"small-{number}",
            sample_rate=rate,
            source=prime,
            num_samples=rate // 2 if plan.quality is Quality.EXACT else 2 * rate,
            plan=plan,
            conditions=Conditions(midi=example.part if number == 0 else None),
            anchor_sample=0,
        )


def engine_in(folder, model, cache_bytes):
    limits = EngineLimits(cache_bytes=cache_bytes)
    return Engine(model, store=TakeStore(folder), clock=Clock(), limits=limits)


def alone(folder):
    """Return the hashes of all requests, each alone with empty caches."""

    async def scenario():
        engine = engine_in(Path(folder), shipped_model()(), 0)
        made = [await whole(engine, asked) for asked in requests()]
        await engine.close()
        return [one.sha256 for one in made]

    return asyncio.run(scenario())


def in_a_process(folder):
    """Return what `alone` gives in a process of its own."""
    code = f"from tests.evidence.test_same_bytes import alone; print(*alone({str(folder)!r}))"
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
    )
    return done.stdout.split()


def test_the_shipped_model_gives_the_same_bytes_however_it_is_asked(tmp_path):
    first, second = in_a_process(tmp_path / "one"), in_a_process(tmp_path / "two")

    async def scenario():
        model = shipped_model()()
        engine = engine_in(tmp_path / "warm", model, 2**28)
        live = engine_in(tmp_path / "live", model, 2**28)
        asked = list(requests())
        others = [replace(one, plan=replace(one.plan, seed=1)) for one in asked]
        company = await asyncio.gather(*(whole(engine, one) for one in (*asked, *others)))
        warm = [await unheard(engine, one) for one in asked]
        fed = [await prefilled(live, one, np.random.default_rng(4)) for one in asked]
        hits = engine.stats().cache_hits, engine.stats().take_hits
        for one in (engine, live):
            await one.close()
        return [company[: len(asked)], warm, fed], hits

    ways, hits = asyncio.run(scenario())
    found = [first, second, *([one.sha256 for one in way] for way in ways)]
    sys.stdout.write(f"\nsame bytes, shipped model, {len(found)} ways: {found[0]}, hits {hits}\n")
    assert all(way == first for way in found)
    assert len(set(first)) == len(PLANS)
    assert hits[1] == len(PLANS)
