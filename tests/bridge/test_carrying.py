"""What live music costs, and when one more would be too many."""

import itertools

import pytest
from fakes import CountingGenerator, counting_info

from bridge.carrying import (
    HEARD_AGAIN,
    HEARD_BLOCKS,
    MADE_BESIDE,
    RETRY_SECONDS,
    Carrying,
    Cost,
    Demand,
    Room,
    Trial,
)
from bridge.errors import BusyError

COST = Cost(heard_s=0.1, made_s=0.2, sounded_s=0.1)


@pytest.mark.parametrize(
    ("cores", "lanes", "taken"),
    [(8, 1, 0.6), (8, 2, 0.3), (2, 2, 0.4), (1, 1, 0.8)],
)
def test_what_is_scarcest_counts(cores, lanes, taken):
    room = Room(cores=cores, lanes=lanes, share=1.0)
    demands = [Demand(model_s=0.4, sound_s=0.1), Demand(model_s=0.2, sound_s=0.1)]
    assert room.taken(demands) == pytest.approx(taken)
    assert room.taken([]) == 0


def test_a_loop_makes_and_sounds_more_than_is_played():
    assert COST.of_session() == Demand(model_s=HEARD_AGAIN * 0.1)
    assert COST.of_loop() == Demand(model_s=MADE_BESIDE * 0.2, sound_s=MADE_BESIDE * 0.1)


def test_what_would_be_too_much_is_refused_until_something_ends():
    carrying = Carrying(Room(cores=4, lanes=1, share=0.85))
    assert carrying.must_measure
    for name in ("a", "b"):
        carrying.admit(name, "a loop", Demand(model_s=0.4))
    with pytest.raises(BusyError) as refused:
        carrying.admit("c", "a loop", Demand(model_s=0.1))
    text = str(refused.value)
    for words in ("a loop takes 0.10", "4 cores", "0.80 is taken", "0.90", "the limit is 0.85"):
        assert words in text
    assert refused.value.retry_after_s == RETRY_SECONDS
    carrying.leave("c")
    carrying.leave("a")
    carrying.admit("c", "a loop", Demand(model_s=0.1))
    assert not carrying.must_measure


def test_a_machine_that_cannot_carry_one_refuses_it():
    carrying = Carrying(Room(cores=2, lanes=1, share=0.85))
    with pytest.raises(BusyError, match=r"1\.20 would be, the limit is 0\.85"):
        carrying.admit("a", "a loop", Demand(model_s=1.2))
    assert carrying.must_measure, "nothing runs, so the next try measures again"


def test_a_trial_measures_what_a_second_of_music_takes():
    ticks = itertools.count()
    info = counting_info(feed_samples=8_192, frame_samples=64, block_samples=4_096)
    generator = CountingGenerator(info)
    trial = Trial(info, lambda: next(ticks) / 1_000)
    for call in trial.calls:
        call(generator)
    cost = trial.cost()
    # A call takes one tick: a millisecond.
    assert cost.heard_s == pytest.approx(0.001 * info.sample_rate / 8_192)
    assert cost.sounded_s == pytest.approx(0.001 * info.sample_rate / 4_096)
    assert cost.made_s > 0
    assert generator.calls["feed"] == HEARD_BLOCKS
    assert len({fed.tobytes() for fed in generator.fed}) == HEARD_BLOCKS, "no sound comes twice"
