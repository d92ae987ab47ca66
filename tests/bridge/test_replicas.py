"""Sessions on replicas that are lost: brought back elsewhere, same bytes, nothing kept for long."""

import gc
import threading

import numpy as np
import pytest
from fakes import CountingGenerator, counting_info, ramp

from bridge.app.replicas import ReplicatedGenerator
from bridge.app.resident import Answer, Call, Lane, Resident
from bridge.errors import BridgeError, NotReadyError, UnsupportedError
from bridge.model_info import KeptAnswers
from bridge.ports import Conditions, Plan

PLAN = Plan(seed=1)


class Held:
    """A replica in this process that is lost when told."""

    def __init__(self, generator=None, *, dies_at="", starts=True):
        self.generator = generator or CountingGenerator(follows_seed=True)
        self.resident = Resident(self.generator)
        self.dies_at, self.starts = dies_at, starts
        self.alive, self.closed = True, False
        self.calls: list[Call] = []
        self.started = threading.Event()

    def call(self, lane, call):
        if call.method == self.dies_at:
            self.alive = False
        if not self.alive:
            raise ConnectionError("it was told to go")
        self.calls.append(call)
        return self.resident.answer(call)

    def renewed(self):
        if not self.starts:
            raise OSError("no room")
        self.successor = Held(dies_at=self.dies_at)
        self.started.set()
        return self.successor

    def close(self):
        self.alive, self.closed = False, True

    @property
    def names(self):
        return set(self.resident._states)


def opened(generator, num_samples=5_000):
    state = generator.open(Conditions(), 0, None)
    size = generator.info.feed_samples
    audio = np.zeros(num_samples, np.float32)
    for start in range(0, num_samples, size):
        state = generator.feed(state, audio[start : start + size])
    return state


def stepped(generator, state, count):
    for _ in range(count):
        (result,) = generator.step([state], PLAN)
        state = result.state
    return state


def test_a_session_stays_where_it_is_and_new_ones_go_where_the_fewest_are():
    replicas = [Held(), Held()]
    generator = ReplicatedGenerator(replicas)
    states = [stepped(generator, opened(generator), 3) for _ in range(4)]
    opens = [sum(call.method == "open" for call in held.calls) for held in replicas]
    assert opens == [2, 2]
    assert [held.generator.calls["step"] for held in replicas] == [6, 6]
    assert len({state.settled_sample for state in states}) == 1


@pytest.mark.parametrize("lost_before", ["step", "decode", "rewind", "to_bytes"])
def test_a_session_goes_on_elsewhere_with_the_same_bytes(lost_before):
    replicas = [Held(), Held()]
    generator, alone = ReplicatedGenerator(replicas), CountingGenerator(follows_seed=True)
    state, true = stepped(generator, opened(generator), 30), stepped(alone, opened(alone), 30)
    (home,) = [held for held in replicas if held.names]
    acts = {
        "step": lambda made, state: stepped(made, state, 9).to_bytes(),
        "decode": lambda made, state: made.decode(state, 6).tobytes(),
        "rewind": lambda made, state: made.rewind(state, 6_000).to_bytes(),
        "to_bytes": lambda made, state: state.to_bytes(),
    }
    home.alive = False
    assert acts[lost_before](generator, state) == acts[lost_before](alone, true)
    (other,) = [held for held in replicas if held is not home]
    # The state that was asked for and nothing of its past.
    gc.collect()
    state.to_bytes()
    assert len(other.names) == 1
    assert home.started.wait(30)


def test_what_was_kept_as_bytes_is_not_computed_again():
    replicas = [Held(), Held()]
    generator = ReplicatedGenerator(replicas)
    state = stepped(generator, opened(generator), 30)
    state.to_bytes()
    state = stepped(generator, state, 2)
    (home,) = [held for held in replicas if held.names]
    (other,) = [held for held in replicas if held is not home]
    home.alive = False
    stepped(generator, state, 1)
    methods = [call.method for call in other.calls if call.method != "info"]
    assert methods == ["restore", "step", "step", "step"]


def test_states_that_nobody_holds_are_forgotten():
    held = Held()
    generator = ReplicatedGenerator([held])
    state = stepped(generator, opened(generator), 50)
    gc.collect()
    state = stepped(generator, state, 1)
    gc.collect()
    generator.fidelity(np.zeros(9, np.float32))
    assert len(held.names) == 1
    del state
    gc.collect()
    generator.fidelity(np.zeros(9, np.float32))
    assert held.names == set()


def test_two_states_of_one_past_are_both_brought_back():
    replicas = [Held(), Held()]
    generator = ReplicatedGenerator(replicas)
    early = stepped(generator, opened(generator), 12)
    late = stepped(generator, early, 12)
    branch = generator.rewind(early, 3_000)
    for held in replicas:
        held.alive = not held.names
    start = 6 * generator.info.block_samples
    size = generator.info.block_samples
    np.testing.assert_array_equal(generator.decode(late, 6), ramp(start, size, 1))
    assert generator.decode(early, 1).shape == (size,)
    assert branch.to_bytes() == stepped(generator, branch, 0).to_bytes()
    assert branch.settled_sample == 2_944


def test_with_one_replica_a_call_waits_for_the_next_one():
    held = Held()
    generator = ReplicatedGenerator([held])
    state = stepped(generator, opened(generator), 12)
    held.alive = False
    assert generator.decode(state, 6).shape == (1024,)
    assert held.successor.names
    assert [call.method for call in held.successor.calls][:2] == ["warm_up", "open"]


def test_a_call_that_every_replica_dies_of_fails_alone():
    replicas = [Held(dies_at="decode"), Held(dies_at="decode")]
    generator = ReplicatedGenerator(replicas)
    state = stepped(generator, opened(generator), 12)
    with pytest.raises(BridgeError, match="3 replicas of the model were lost at one call, decode"):
        generator.decode(state, 6)
    assert stepped(generator, state, 3).settled_sample > state.settled_sample


def test_when_none_can_be_started_it_is_said():
    held = Held(starts=False)
    generator = ReplicatedGenerator([held])
    held.alive = False
    with pytest.raises(NotReadyError, match="no replica of the model can be started"):
        generator.fidelity(np.zeros(9, np.float32))


def test_errors_of_the_model_pass_and_lose_nothing():
    generator = ReplicatedGenerator([Held()])
    state = opened(generator)
    with pytest.raises(ValueError, match="block 99 ends after"):
        generator.decode(state, 99)
    with pytest.raises(UnsupportedError):
        generator.adopt(state, (), 0)
    assert stepped(generator, state, 3).settled_sample > state.settled_sample


def test_replicas_of_different_models_are_refused():
    other = CountingGenerator(counting_info(fingerprint="counting-2"))
    with pytest.raises(NotReadyError, match="different models"):
        ReplicatedGenerator([Held(), Held(other)])


def test_speed_is_asked_once_for_all_seeds():
    held = Held()
    generator = ReplicatedGenerator([held])
    speeds = {generator.steps_per_second(Plan(seed=seed)) for seed in range(9)}
    assert speeds == {CountingGenerator().steps_per_second(PLAN)}
    assert [call.method for call in held.calls] == ["info", "steps_per_second"]


def test_closing_ends_all_replicas_and_whoever_waits():
    replicas = [Held(), Held()]
    generator = ReplicatedGenerator(replicas)
    state = opened(generator)
    generator.close()
    assert all(held.closed for held in replicas)
    with pytest.raises(NotReadyError):
        generator.decode(state, 0)


def test_only_calls_of_the_port_are_answered():
    resident = Resident(CountingGenerator())
    with pytest.raises(ValueError, match="'_count' is no call of the port"):
        resident.answer(Call(method="_count", arguments=("x",)))
    assert resident.answer(Call(method="info")) == Answer(value=counting_info())
    assert [str(lane) for lane in Lane] == ["model", "sound", "questions"]


def test_what_replicas_keep_is_told_together_and_a_lost_one_keeps_nothing():
    places = [Held(), Held()]
    for number, place in enumerate(places):
        place.generator.answers = {"codes": KeptAnswers(hits=number + 1, held_bytes=10)}
    generator = ReplicatedGenerator(places)
    assert generator.kept_answers() == {"codes": KeptAnswers(hits=3, held_bytes=20)}
    places[0].alive = False
    assert generator.kept_answers() == {"codes": KeptAnswers(hits=2, held_bytes=10)}
