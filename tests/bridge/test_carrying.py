"""What live music costs, and when one more would be too many."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from fakes import CountingGenerator, counting_info

from bridge.admission import EngineLimits
from bridge.carrying import RETRY_SECONDS, Room
from bridge.engine import Engine
from bridge.errors import BusyError
from bridge.live_cost import (
    BAR_SECONDS,
    BESIDE_S,
    FIRST_BLOCKS,
    HEARD_AGAIN,
    HEARD_BLOCKS,
    MADE_BESIDE,
    Cost,
    Demand,
    Made,
    Trial,
    mean_cost,
)
from bridge.store import TakeStore

COST = Cost(heard_s=0.1, free=Made(made_s=0.2, sounded_s=0.1), told=Made(made_s=0.3, sounded_s=0.2))


@pytest.mark.parametrize(
    ("cores", "lanes", "taken"),
    [(8, 1, 0.6), (8, 2, 0.3), (2, 2, 0.4), (1, 1, 0.8)],
)
def test_what_is_scarcest_counts(cores, lanes, taken):
    room = Room(cores=cores, lanes=lanes, share=1.0)
    demands = [Demand(model_s=0.4, sound_s=0.1), Demand(model_s=0.2, sound_s=0.1)]
    assert room.taken(demands) == pytest.approx(taken)
    assert room.taken([]) == 0
    crowded = [*demands, Demand(model_s=0.0, beside_s=cores)]
    assert room.taken(crowded) == pytest.approx(1 + 0.8 / cores)


def test_a_loop_makes_and_sounds_more_than_is_played():
    assert COST.of_session() == Demand(model_s=HEARD_AGAIN * 0.1, beside_s=BESIDE_S)
    for told, demand in (
        (False, Demand(model_s=MADE_BESIDE * 0.2, sound_s=MADE_BESIDE * 0.1)),
        (True, Demand(model_s=MADE_BESIDE * 0.3, sound_s=MADE_BESIDE * 0.2)),
    ):
        assert COST.of_loop(told=told) == demand
    slow = replace(COST.free, begun_s=0.5)
    begins = replace(COST, free=slow).of_loop(told=False)
    assert begins.model_s == pytest.approx(MADE_BESIDE * 0.2 + 0.5 / BAR_SECONDS)


@pytest.fixture
def carrying_of(tmp_path, monkeypatch):
    """Return a function that gives what an engine with so many lanes carries, and its model."""
    monkeypatch.setattr(Trial, "cost", lambda trial: COST)

    def make(room):
        generator = CountingGenerator()
        limits = EngineLimits()
        engine = Engine(
            generator, store=TakeStore(tmp_path), clock=lambda: 0.0, limits=limits, live_room=room
        )
        return engine.carrying, generator

    return make


def test_what_would_be_too_much_is_refused_until_something_ends(carrying_of):
    async def scenario():
        carrying, generator = carrying_of(Room(cores=4, lanes=1, share=0.75))
        for name in ("a", "b"):
            await carrying.session(name)
        assert generator.calls["open"] == 1, "one measures while nothing runs"
        carrying.loop("a/loop", told=False)
        with pytest.raises(BusyError) as refused:
            carrying.loop("b/loop", told=False)
        carrying.leave("b/loop")
        carrying.leave("a/loop")
        carrying.loop("b/loop", told=False)
        return refused.value

    refused = asyncio.run(scenario())
    words = "a live loop takes 0.30", "4 cores", "0.53 is taken", "0.83", "the limit is 0.75"
    assert [word for word in words if word not in str(refused)] == []
    assert refused.retry_after_s == RETRY_SECONDS


def test_a_machine_that_cannot_carry_one_refuses_it_and_measures_again(carrying_of):
    async def scenario():
        carrying, generator = carrying_of(Room(cores=2, lanes=1, share=0.1))
        for _ in range(2):
            with pytest.raises(BusyError, match=r"0\.15 would be, the limit is 0\.10"):
                await carrying.session("a")
        return generator.calls["open"]

    assert asyncio.run(scenario()) == 2


def test_a_loop_that_is_told_notes_later_goes_on_and_leaves_less_to_others(carrying_of):
    async def scenario():
        carrying, _ = carrying_of(Room(cores=4, lanes=1, share=0.9))
        for name in ("a", "b"):
            await carrying.session(name)
        carrying.is_told("a/loop")
        carrying.loop("a/loop", told=False)
        carrying.is_told("a/loop")
        with pytest.raises(BusyError, match=r"0\.68 is taken, with it 0\.98 would be"):
            carrying.loop("b/loop", told=False)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("cores", "lanes", "trials"), [(1, 1, 1), (2, 2, 1), (4, 1, 1), (4, 4, 2), (16, 4, 4)]
)
def test_the_cost_is_measured_as_crowded_as_it_will_be(carrying_of, cores, lanes, trials):
    async def scenario():
        carrying, generator = carrying_of(Room(cores=cores, lanes=lanes, share=1.0))
        await carrying.session("a")
        return generator.calls["open"]

    assert asyncio.run(scenario()) == trials


def test_the_cost_of_several_trials_is_their_mean():
    other = Cost(heard_s=0.3, free=Made(made_s=0.4, sounded_s=0.1), told=COST.told)
    assert mean_cost([COST, other]) == Cost(
        heard_s=pytest.approx(0.2),
        free=Made(made_s=pytest.approx(0.3), sounded_s=pytest.approx(0.1)),
        told=Made(made_s=pytest.approx(0.3), sounded_s=pytest.approx(0.2)),
    )


def test_without_a_limit_nothing_is_measured_and_nothing_refused(carrying_of):
    async def scenario():
        carrying, generator = carrying_of(None)
        for number in range(9):
            await carrying.session(str(number))
            carrying.loop(f"{number}/loop", told=True)
        return generator.calls

    assert not asyncio.run(scenario())


def test_a_trial_measures_what_a_second_of_music_takes():
    ticks = itertools.count()
    info = counting_info(feed_samples=8_192, frame_samples=64, block_samples=4_096)
    generator = CountingGenerator(info)
    trial = Trial(info, lambda: next(ticks) / 1_000)
    for call in (*trial.before, *trial.model, *trial.sound):
        call(generator)
    cost = trial.cost()
    # A call takes one tick: a millisecond.
    assert cost.heard_s == pytest.approx(0.001 * info.sample_rate / 8_192)
    for made in (cost.free, cost.told):
        assert made.sounded_s == pytest.approx(0.001 * info.sample_rate / 4_096)
        assert made.made_s > 0
    assert len({fed.tobytes() for fed in generator.fed}) == FIRST_BLOCKS + HEARD_BLOCKS
