"""A server whose model is in processes beside it: same bytes, and no call ends with a process."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from bridge.app.places import placed
from bridge.client import Continuation
from bridge.config import private_config
from bridge.ports import Plan
from bridge.request import AudioBlock, Done
from tests.evidence.crash import tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def asked(seed):
    noise = np.random.default_rng(seed).normal(0, 0.1, (2, 30_000)).astype(np.float32)
    return Continuation(
        prime=noise, sample_rate=48_000, num_samples=150_000, plan=Plan(seed=seed), draw_seed=False
    )


def test_a_process_that_is_killed_in_the_stream_costs_no_byte_and_no_call(
    folder, listen, connect, tmp_path
):
    alone = listen(None, model=folder, spool=tmp_path / "alone")
    alone.serve()
    usual = connect(alone).render(asked(1))
    beside = listen(None, model=folder, workers=2)
    beside.serve()
    client = connect(beside)
    assert client.render(asked(2)).audio.shape == (2, 150_000)
    generator = beside.app._places[0].generator
    before = [spot.replica.pid for spot in generator._spots]
    blocks, killed, done = [], 0, None
    for event in client.events(asked(1)):
        if isinstance(event, AudioBlock):
            blocks.append(event.samples)
            if not killed:
                (killed,) = [spot.replica.pid for spot in generator._spots if len(spot.lines)][:1]
                os.kill(killed, signal.SIGKILL)
        if isinstance(event, Done):
            done = event
    assert killed in before
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), usual.audio)
    assert done.sha256 == usual.done.sha256
    # The server lives, with another process in the place of the one that is gone.
    assert client.render(replace(asked(1), request_id="again")).done.sha256 == usual.done.sha256


def test_without_workers_the_model_is_loaded_as_it_is():
    def load():
        raise AssertionError("nothing is loaded before it is asked for")

    assert placed(private_config(), load) is load
    assert placed(replace(private_config(), workers=2), load) is not load
