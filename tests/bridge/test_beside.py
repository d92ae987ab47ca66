"""Several models behind one server: each by its name, all with the same threads and takes."""

import asyncio
import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest

from bridge.admission import EngineLimits
from bridge.app import App
from bridge.cache import Prefilled
from bridge.client import Client
from bridge.commands.checks import start_findings
from bridge.commands.findings import Verdict
from bridge.config import private_config
from bridge.continuation import Continuation
from bridge.engine import Engine
from bridge.errors import (
    ConflictError,
    NotFoundError,
    NotReadyError,
    UnsupportedError,
)
from bridge.ports import Conditions, Plan
from bridge.request import AudioBlock, Prime, Queued, RenderRequest, TakePoint
from bridge.store import TakeStore
from tests.fakes import CountingGenerator, counting_info

WAIT_SECONDS = 30
RATE = 44_100


def another(name="mine", **options):
    return CountingGenerator(counting_info(name=name, fingerprint=f"{name}-1"), **options)


def request(**changes):
    values = {
        "request_id": "r-1",
        "sample_rate": RATE,
        "source": Prime(samples=np.zeros((1, 5_001), np.float32)),
        "num_samples": 4_001,
        "plan": Plan(seed=1),
        "conditions": Conditions(),
    }
    return RenderRequest(**{**values, **changes})


def engine_on(folder, generator):
    ticks = itertools.count()
    limits = EngineLimits(max_jobs=2)
    store = TakeStore(folder / "spool")
    return Engine(generator, store=store, clock=lambda: next(ticks) / 1000, limits=limits)


async def rendered(engine, asked):
    return [event async for event in engine.render(asked) if not isinstance(event, Queued)]


def audio_of(events):
    return np.concatenate([e.samples for e in events if isinstance(e, AudioBlock)], axis=1)


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, WAIT_SECONDS))


def test_a_request_names_its_model_and_a_take_goes_on_with_its_own(tmp_path):
    first, second = CountingGenerator(), another()

    async def scenario():
        engine = engine_on(tmp_path, first)
        await engine.add(second)
        await engine.warm_up()
        assert [info.name for info in engine.infos] == ["counting", "mine"]
        plain, named = (
            await rendered(engine, request()),
            await rendered(engine, request(model="mine")),
        )
        assert (plain[0].model, named[0].model) == ("counting", "mine")
        assert (plain[0].fingerprint, named[0].fingerprint) == ("counting-1", "mine-1")
        assert first.calls["open"] == second.calls["open"] == 1
        assert first.calls["warm_up"] == second.calls["warm_up"] == 1
        take = named[-1].take_id
        steps = first.calls["step"]
        more = await rendered(engine, request(source=TakePoint(take_id=take)))
        assert (more[0].model, first.calls["step"]) == ("mine", steps)
        again = [event async for event in engine.play(take)]
        np.testing.assert_array_equal(audio_of(again), audio_of(named))
        assert len(await engine.export_codes(take)) > 0
        with pytest.raises(NotReadyError, match="was made by the model mine"):
            await rendered(engine, request(source=TakePoint(take_id=take), model="counting"))
        with pytest.raises(NotFoundError, match="'other'; loaded: counting, mine"):
            await rendered(engine, request(model="other"))
        await engine.close()

    run(scenario())


def test_two_models_of_one_name_are_refused(tmp_path):
    async def scenario():
        engine = engine_on(tmp_path, CountingGenerator())
        with pytest.raises(ConflictError, match="two models are named 'counting'"):
            await engine.add(CountingGenerator())
        await engine.close()

    run(scenario())


def test_a_model_that_goes_ends_its_jobs_first_and_is_not_found_any_more(tmp_path):
    reached, released = threading.Event(), threading.Event()

    def hold(step):
        if step == 0:
            reached.set()
            assert released.wait(WAIT_SECONDS)

    async def scenario():
        engine = engine_on(tmp_path, CountingGenerator())
        await engine.add(another(on_step=hold))
        job = asyncio.create_task(rendered(engine, request(model="mine")))
        assert await asyncio.to_thread(reached.wait, WAIT_SECONDS)
        leaving = asyncio.create_task(engine.remove("mine"))
        await asyncio.sleep(0)
        assert [info.name for info in engine.infos] == ["counting"]
        with pytest.raises(NotFoundError):
            await rendered(engine, request(model="mine"))
        assert not leaving.done()
        released.set()
        events = await job
        await leaving
        assert events[-1].num_samples == 4_001
        with pytest.raises(NotReadyError, match="was made by the model mine"):
            [event async for event in engine.play(events[-1].take_id)]
        with pytest.raises(NotFoundError, match="first model"):
            await engine.remove("counting")
        await engine.close()

    run(scenario())


def test_what_the_first_model_heard_is_not_taken_for_another(tmp_path):
    async def scenario():
        engine = engine_on(tmp_path, CountingGenerator())
        await engine.add(another())
        state = engine._tools.generator.open(Conditions(), 0, None)
        heard = Prefilled(state=state, fed_blocks=0)
        with pytest.raises(UnsupportedError, match="mine is served beside another one"):
            async for _ in engine.render(request(model="mine"), heard):
                pass
        await engine.close()

    run(scenario())


def test_a_job_of_a_model_beside_goes_on_after_a_crash_with_that_model(tmp_path):
    async def before():
        engine = engine_on(tmp_path, CountingGenerator())
        await engine.add(another())
        info = await engine.submit(request(model="mine", detached=True, num_samples=400_000))
        await engine.drain(0)
        await engine.close()
        return info.id

    async def after(job):
        engine = engine_on(tmp_path, CountingGenerator())
        await engine.add(another())
        assert await engine.resume() == 1
        await engine.idle()
        found = await engine.job(job)
        await engine.close()
        return found

    found = run(after(run(before())))
    assert (found.model, found.fingerprint) == ("mine", "mine-1")
    assert found.take_id


def test_a_server_lists_serves_unloads_and_loads_models_by_name(tmp_path):
    made = []

    def load():
        made.append(another())
        return made[-1]

    async def scenario():
        app = App(private_config(tmp_path / "spool"), CountingGenerator, beside=[load])
        await app.listen()
        try:
            await app.serve()
            await asyncio.to_thread(by_client, app.address, made)
        finally:
            await app.stop()

    run(scenario())


def by_client(address, made):
    asked = Continuation(
        prime=np.zeros((1, 5_001), np.float32), sample_rate=RATE, num_samples=4_001
    )
    with Client(address) as client:
        assert loaded(client) == {"counting": True, "mine": True}
        named = Continuation(prime=asked.prime, sample_rate=RATE, num_samples=4_001, model="mine")
        assert client.render(asked).accepted.model == "counting"
        assert client.render(named).accepted.model == "mine"
        assert list(client.styles("mine").artists) == ["Bach"]
        assert not client.unload_model("mine").loaded
        assert loaded(client) == {"counting": True, "mine": False}
        assert client.is_serving()
        with pytest.raises(NotFoundError):
            client.render(named)
        assert client.load_model("mine").loaded
        assert len(made) == 2
        assert client.render(named).accepted.model == "mine"
        client.unload_model()
        assert loaded(client) == {"counting": False, "mine": False}
        assert not client.is_serving()
        assert client.load_model("mine").loaded
        assert loaded(client) == {"counting": True, "mine": True}
        assert client.is_serving()


def loaded(client):
    return {model.name: model.loaded for model in client.models()}


def test_a_server_whose_models_share_a_name_does_not_start(tmp_path):
    async def scenario():
        config = private_config(tmp_path / "spool")
        app = App(config, CountingGenerator, beside=[CountingGenerator])
        await app.listen()
        try:
            with pytest.raises(ConflictError, match="one of them needs another"):
                await app.serve()
        finally:
            await app.stop()

    run(scenario())


def test_a_check_looks_at_every_model(tmp_path):
    config = replace(private_config(tmp_path / "spool"), beside=(tmp_path / "nowhere",))
    found = [
        one for one in start_findings(config, blocked=Verdict.FAIL) if one.name == "model files"
    ]
    assert [one.verdict for one in found] == [Verdict.OK, Verdict.FAIL]
    assert "nowhere" in found[1].found
