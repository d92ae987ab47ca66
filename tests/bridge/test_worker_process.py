"""The model in processes of its own: the same bytes, also when one is killed in the middle."""

import multiprocessing
import os
import signal

import numpy as np
import pytest

from bridge.app import shipped_model
from bridge.app.replicas import ReplicatedGenerator
from bridge.app.worker_process import started
from bridge.errors import NotFoundError, NotReadyError
from bridge.ports import Conditions, Labels, Plan
from tests.evidence.crash import tiny_model

PLAN = Plan(seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def replicas(folder):
    """Return two processes that hold the smallest model, and whatever takes their place."""
    held = started(shipped_model(folder), 2)
    generator = ReplicatedGenerator(held)
    yield generator
    generator.close()


@pytest.fixture(scope="module")
def local(folder):
    return shipped_model(folder)()


def noise(num_samples):
    return np.random.default_rng(1).normal(0, 0.1, num_samples).astype(np.float32)


def made(generator, num_blocks, disturb=lambda number: None):
    """Return so many blocks of a continuation; `disturb` is called before each step."""
    info = generator.info
    state = generator.open(Conditions(), 0, None)
    audio = noise(3 * info.feed_samples + 100)
    for start in range(0, audio.size, info.feed_samples):
        state = generator.feed(state, audio[start : start + info.feed_samples])
    number = 0
    while state.decodable_sample < num_blocks * info.block_samples:
        disturb(number)
        (result,) = generator.step([state], PLAN)
        state, number = result.state, number + 1
    blocks = [generator.decode(state, block) for block in range(num_blocks)]
    return np.concatenate(blocks), state.to_bytes()


@pytest.fixture(scope="module")
def whole(local):
    return made(local, 24)


def pids(generator):
    return [spot.replica.pid for spot in generator._spots]


def test_a_process_gives_the_bytes_of_the_server_itself(replicas, local, whole):
    audio, codes = made(replicas, 24)
    assert replicas.info == local.info
    np.testing.assert_array_equal(audio, whole[0])
    assert codes == whole[1]
    assert replicas.steps_per_second(PLAN) == local.steps_per_second(PLAN)
    assert replicas.fidelity(noise(9_000)) == local.fidelity(noise(9_000))


def test_a_process_that_is_killed_in_the_middle_costs_no_byte(replicas, whole):
    before = set(pids(replicas))

    def kill(number):
        if number in (2, 9):
            (home,) = [spot for spot in replicas._spots if len(spot.lines)][:1]
            os.kill(home.replica.pid, signal.SIGKILL)

    audio, codes = made(replicas, 24, kill)
    np.testing.assert_array_equal(audio, whole[0])
    assert codes == whole[1]
    assert set(pids(replicas)) != before


def test_errors_of_the_model_come_back_as_they_are(replicas):
    with pytest.raises(NotFoundError, match="the artist 'nobody' is unknown"):
        replicas.open(Conditions(labels=Labels(artist="nobody")), 0, None)


def test_a_model_that_cannot_be_loaded_is_said_and_no_process_stays(tmp_path):
    before = set(multiprocessing.active_children())
    with pytest.raises(NotReadyError, match=str(tmp_path)):
        started(shipped_model(tmp_path / "nothing"), 1)
    assert set(multiprocessing.active_children()) <= before
