"""Two replicas as Ray actors on this machine: one is killed in the stream, the bytes stay."""

import os
import sys

import numpy as np
import pytest

from bridge.app import shipped_model
from bridge.app.ray_workers import RayReplica, connected, ray_actors
from bridge.errors import NotFoundError, NotReadyError
from bridge.ports import Conditions, Labels, Plan
from tests.evidence.crash import tiny_model

pytestmark = [pytest.mark.ray, pytest.mark.slow]
PLAN = Plan(seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def replicas(folder):
    """Return two actors on a cluster of this machine alone."""
    ray = pytest.importorskip("ray", reason="Ray is missing: pip install '.[ray]'")
    # Ray's workers are nicer than all others by default, and on a busy machine never load.
    os.environ.setdefault("RAY_worker_niceness", "0")
    generator = ray_actors(shipped_model(folder), 2, "local")()
    yield generator
    generator.close()
    ray.shutdown()


def streamed(generator, num_blocks, disturb=lambda number: None):
    """Yield blocks of a generation as they are made."""
    state, size = generator.open(Conditions(), 0, None), generator.info.block_samples
    noise = np.random.default_rng(1).normal(0, 0.1, generator.info.feed_samples)
    state = generator.feed(state, noise.astype(np.float32))
    for block in range(num_blocks):
        while state.decodable_sample < (block + 1) * size:
            (result,) = generator.step([state], PLAN)
            state = result.state
        yield generator.decode(state, block)
        disturb(block)


def test_one_of_two_actors_is_killed_in_the_stream_and_the_bytes_are_the_same(replicas, folder):
    usual = list(streamed(shipped_model(folder)(), 16))

    def kill(block):
        if block == 5:
            (home,) = [spot for spot in replicas._spots if len(spot.lines)][:1]
            home.replica.close()

    np.testing.assert_array_equal(list(streamed(replicas, 16, kill)), usual)
    np.testing.assert_array_equal(list(streamed(replicas, 16)), usual)


def test_errors_of_the_model_come_back_as_they_are(replicas):
    with pytest.raises(NotFoundError, match="the artist 'nobody' is unknown"):
        replicas.open(Conditions(labels=Labels(artist="nobody")), 0, None)


def test_a_model_that_cannot_be_loaded_is_said(replicas, tmp_path):
    del replicas
    with pytest.raises(NotReadyError, match="could not load the model"):
        RayReplica(connected("local"), shipped_model(tmp_path / "nothing"))


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NotReadyError, match=r"pip install 'jukebox-bridge\[ray\]'"):
        ray_actors(shipped_model(), 1, "auto")()
