"""The same request gives the same bytes: alone or in company, cold or warm, whole or streamed."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np
import pytest
from fakes import Clock

from bridge.admission import EngineLimits
from bridge.app.door import ShippedGenerator
from bridge.audio_file import sha256_of
from bridge.engine import Engine
from bridge.live import Answer, LiveSession, LiveSetup
from bridge.ports import Conditions, Labels, MidiPart, Note, Plan, PlanChange, Quality
from bridge.request import AudioBlock, Done, Prime, RenderRequest
from bridge.store import TakeStore
from model.generator import StreamingGenerator
from tests.model.tiny import tiny_bundle

NUM_REQUESTS = 20
RATES = (44_100, 48_000)
WAIT_SECONDS = 500
QUALITIES = {6: Quality.EXACT, 13: Quality.TEACHER}
CHANGES = (PlanChange(from_sample=0, passes=1), PlanChange(from_sample=17_000, passes=2))
"""As a live answer would have made them that had to keep up."""


@dataclass(frozen=True)
class Result:
    """What an engine gave."""

    sha256: str
    take_id: str
    audio_sha256: str


@pytest.fixture(scope="module")
def model():
    return ShippedGenerator(StreamingGenerator(tiny_bundle()))


@pytest.fixture
def engine_of(model, tmp_path):
    """Return a maker of engines over one model, each with a store of its own."""

    def make(name, cache_bytes, calls_at_once=1):
        limits = EngineLimits(cache_bytes=cache_bytes, calls_at_once=calls_at_once)
        return Engine(model, store=TakeStore(tmp_path / name), clock=Clock(), limits=limits)

    return make


def requests():
    """Return random requests: lengths, rates, seeds, notes, labels, channels."""
    random = np.random.default_rng(20)
    for number in range(NUM_REQUESTS):
        rate = RATES[number % 2]
        length = int(random.integers(9_500, 18_000))
        samples = 0.2 * random.standard_normal((1 + number % 3 // 2, length))
        yield RenderRequest(
            request_id=f"r-{number}",
            sample_rate=rate,
            source=Prime(samples=samples.astype(np.float32)),
            num_samples=int(random.integers(1_000, 4_000)),
            plan=Plan(
                seed=int(random.integers(2**63)),
                quality=QUALITIES.get(number, Quality.FAST),
                variation=number % 3,
                temperature=float(random.uniform(0.6, 1.2)),
                changes=CHANGES if number % 4 == 3 else (),
            ),
            conditions=conditions(random, number, length),
            anchor_sample=0,
        )


def conditions(random, number, length):
    notes = tuple(
        Note(start_sample=start, end_sample=start + 4_000, pitch=int(pitch), velocity=90)
        for start, pitch in zip(range(0, length, 4_000), random.integers(40, 80, 100), strict=False)
    )
    midi = MidiPart(notes=notes, start_sample=0, end_sample=length + 20_000)
    return Conditions(
        labels=Labels(artist="bach" if number % 4 == 0 else None), midi=midi if number % 5 else None
    )


async def whole(engine, asked):
    """Return the result of a request, read as it streams."""
    async with aclosing(engine.render(asked)) as events:
        return await gathered(events)


async def gathered(events):
    audio, done = [], None
    async for event in events:
        if isinstance(event, AudioBlock):
            audio.append(event.samples)
        if isinstance(event, Done):
            done = event
    assert done is not None
    joined = np.ascontiguousarray(np.concatenate(audio, axis=1))
    return Result(done.sha256, done.take_id, sha256_of(joined))


async def unheard(engine, asked):
    """Return the result of a request that nobody listens to, played once it is a take."""
    info = await engine.submit(replace(asked, detached=True))
    watched = await gathered(engine.watch(info.id))
    played = await gathered(engine.play(watched.take_id))
    assert played == watched
    return watched


async def prefilled(engine, asked, pieces):
    """Return the result of a live continuation whose prime came in pieces."""
    prime = asked.source.samples
    setup = LiveSetup(
        session_id=asked.request_id,
        sample_rate=asked.sample_rate,
        num_channels=prime.shape[0],
        start_sample=0,
        conditions=asked.conditions,
        plan=asked.plan,
    )
    session = LiveSession(engine, setup)
    await session.open()
    position = 0
    while position < prime.shape[1]:
        size = int(pieces.integers(1_000, 9_000))
        await session.hear(position, prime[:, position : position + size])
        position = session.received_sample
    answer = Answer(
        request_id=asked.request_id,
        splice_sample=prime.shape[1],
        num_samples=asked.num_samples,
        plan=asked.plan,
    )
    made = await gathered(session.answer(answer))
    await session.close()
    return made


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, WAIT_SECONDS))


@pytest.mark.slow
def test_the_same_request_gives_the_same_bytes_however_it_is_made(engine_of):
    """Twenty random requests, each cold and alone, then in every other way."""
    asked = list(requests())

    async def scenario():
        cold, live = engine_of("cold", 0), engine_of("live", 2**26)
        warm = engine_of("warm", 2**26, calls_at_once=3)
        pieces = np.random.default_rng(3)
        found = {}
        for first in range(0, len(asked), 4):
            four = asked[first : first + 4]
            alone = [await whole(cold, one) for one in four]
            others = [replace(one, plan=replace(one.plan, seed=1)) for one in four]
            await asyncio.gather(*(whole(warm, one) for one in others))
            company = await asyncio.gather(*(whole(warm, one) for one in four))
            again = [await unheard(warm, one) for one in four]
            fed = [await prefilled(live, one, pieces) for one in four]
            for one, *made in zip(four, alone, company, again, fed, strict=True):
                found[one.request_id] = {result.sha256 for result in made}
                assert all(result.sha256 == result.audio_sha256 for result in made)
        stats = cold.stats(), warm.stats(), live.stats()
        for engine in (cold, warm, live):
            await engine.close()
        return found, stats

    found, (cold, warm, _live) = run(scenario())
    assert {name: len(made) for name, made in found.items()} == dict.fromkeys(found, 1)
    assert len(found) == NUM_REQUESTS
    # Both kinds of warmth were tried: every prime was known, every request answered once.
    assert (cold.cache_hits, cold.take_hits) == (0, 0)
    assert (warm.cache_hits, warm.take_hits) == (NUM_REQUESTS, NUM_REQUESTS)
    assert 0 < warm.cached_bytes <= warm.cache_limit_bytes


def made(model, seed, plan):
    """Return the bytes of a timeline's state, and of the blocks sounded on its way."""
    noise, blocks = np.random.default_rng(seed), []
    state = model.open(Conditions(), 0, None)
    for _ in range(6):
        audio = 0.2 * noise.standard_normal(model.info.feed_samples)
        state = model.feed(state, audio.astype(np.float32))
    for _ in range(12):
        state = model.step([state], replace(plan, seed=seed))[0].state
        last = state.decodable_sample // model.info.block_samples - 1
        blocks.append(model.decode(state.fork(), last).tobytes())
    return state.to_bytes(), blocks


@pytest.mark.parametrize("reprise", [True, False])
def test_calls_beside_each_other_make_the_bytes_of_calls_one_by_one(model, reprise):
    plan = Plan(seed=0, reprise=reprise)
    alone = [made(model, seed, plan) for seed in range(3)]
    # Another model of the same weights: nothing is remembered.
    fresh = ShippedGenerator(StreamingGenerator(tiny_bundle()))
    with ThreadPoolExecutor(3) as threads:
        beside = list(threads.map(lambda seed: made(fresh, seed, plan), range(3)))
    assert beside == alone


def test_fewer_passes_from_a_sample_on_make_other_bytes_and_the_same_ones_again(engine_of):
    asked = replace(next(requests()), num_samples=30_000)
    thinned = replace(asked, plan=replace(asked.plan, changes=CHANGES[1:]))

    async def scenario():
        engine = engine_of("one", 2**26)
        results = [await whole(engine, one) for one in (asked, thinned)]
        take = engine.store.load(results[1].take_id)
        again = await whole(engine_of("two", 0), replace(asked, plan=take.plan))
        await engine.close()
        return results, again

    (full, thin), again = run(scenario())
    assert thin == again
    assert thin.sha256 != full.sha256


def test_an_equal_request_is_answered_without_a_step_and_another_seed_without_hearing(engine_of):
    asked = next(requests())

    async def scenario():
        engine = engine_of("one", 2**26)
        first = await whole(engine, asked)
        turns = engine.stats().model_turns
        again = await whole(engine, replace(asked, request_id="again", client_id="somebody"))
        answered = engine.stats().model_turns - turns
        other = await whole(engine, replace(asked, plan=replace(asked.plan, seed=5)))
        drawn = await whole(engine, replace(asked, seed_drawn=True))
        stats = engine.stats()
        await engine.close()
        return first, again, answered, other, drawn, stats

    first, again, answered, other, drawn, stats = run(scenario())
    assert first == again
    assert answered <= 2, "the take is read, and nothing is made"
    assert other.sha256 != first.sha256
    assert drawn.sha256 == first.sha256
    assert (stats.take_hits, stats.take_misses, stats.cache_hits) == (1, 2, 2)


def test_a_longer_prime_is_heard_from_where_the_shorter_one_ended(engine_of):
    asked = next(requests())
    more = 0.2 * np.random.default_rng(1).standard_normal((1, 30_000)).astype(np.float32)
    longer = replace(asked, source=Prime(samples=np.concatenate([asked.source.samples, more], 1)))

    async def scenario():
        cold, warm = engine_of("cold", 0), engine_of("warm", 2**26)
        alone = await whole(cold, longer)
        await whole(warm, asked)
        known = await whole(warm, longer)
        hits = warm.stats().cache_hits
        await cold.close()
        await warm.close()
        return alone, known, hits

    alone, known, hits = run(scenario())
    assert alone == known
    assert hits == 1


def test_a_take_whose_codes_are_gone_is_made_again(engine_of, tmp_path):
    asked = next(requests())

    async def scenario():
        engine = engine_of("one", 2**26)
        first = await whole(engine, asked)
        take = engine.store.load(first.take_id)
        for path in (tmp_path / "one" / "objects").rglob("*"):
            if path.is_file() and path.read_bytes() == take.codes:
                path.write_bytes(b"damaged")
        again = await whole(engine, asked)
        stats = engine.stats()
        await engine.close()
        return first, again, stats

    first, again, stats = run(scenario())
    assert first == again
    assert (stats.take_hits, stats.take_misses, stats.cache_hits) == (0, 2, 1)
