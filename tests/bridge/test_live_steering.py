"""What is told of a session while it plays: stems block by block, as far as they matter."""

import numpy as np
import pytest
from fakes import ramp

from bridge.errors import InvalidRequestError
from bridge.live_setup import KEPT_SECONDS, LiveSetup
from bridge.live_steering import JOINED_BLOCKS, Steering
from bridge.ports import Conditions, Plan, StemKind
from bridge.transport import SampleMap

RATE = 44_100
PERIOD = 1024
BLOCKS = 3 * JOINED_BLOCKS + 5
END = BLOCKS * PERIOD


@pytest.fixture
def steering():
    setup = LiveSetup(
        session_id="one",
        sample_rate=RATE,
        num_channels=1,
        start_sample=0,
        conditions=Conditions(),
        plan=Plan(seed=1),
    )
    return Steering(setup)


def play(steering, kind, blocks=BLOCKS):
    for block in range(blocks):
        steering.add_stem(kind, block * PERIOD, ramp(block * PERIOD, PERIOD))


def test_a_stem_that_comes_every_period_is_one(steering):
    play(steering, StemKind.DRUMS)
    play(steering, StemKind.BASS, 2)
    drums, bass = steering.of_request(0).stems
    assert (drums.kind, bass.kind) == (StemKind.DRUMS, StemKind.BASS)
    np.testing.assert_array_equal(drums.samples, ramp(0, END))
    np.testing.assert_array_equal(bass.samples, ramp(0, 2 * PERIOD))
    assert steering.num_news == BLOCKS + 2
    assert not steering.is_told


def test_an_answer_looks_further_back_than_hearing_does(steering):
    play(steering, StemKind.DRUMS)
    at, here = 3 * RATE, SampleMap(anchor_sample=0, session_rate=RATE, model_rate=RATE)
    (near,) = steering.of_window(here, at).stems
    (far,) = steering.of_window(here, at, 12).stems
    assert (near.start_sample, far.start_sample) == (2 * RATE, 0)
    np.testing.assert_array_equal(near.samples, ramp(2 * RATE, END - 2 * RATE))


def test_what_no_window_looks_at_is_forgotten(steering):
    play(steering, StemKind.DRUMS)
    steering.forget_before(RATE)
    (drums,) = steering.of_request(0).stems
    assert drums.start_sample == RATE
    np.testing.assert_array_equal(drums.samples, ramp(RATE, END - RATE))
    steering.add_stem(StemKind.DRUMS, END, ramp(END, PERIOD))
    assert steering.of_request(0).stems[0].samples.shape[0] == END - RATE + PERIOD


def test_a_block_out_of_place_or_too_much_is_refused_and_nothing_is_lost(steering):
    play(steering, StemKind.DRUMS, 3)
    with pytest.raises(InvalidRequestError, match="sample 5, the next one is due at sample 3072"):
        steering.add_stem(StemKind.DRUMS, 5, ramp(5, PERIOD))
    limit = 2 * KEPT_SECONDS * RATE
    with pytest.raises(InvalidRequestError, match=f"the limit is {limit} samples"):
        steering.add_stem(StemKind.DRUMS, 3 * PERIOD, np.zeros(limit, np.float32))
    np.testing.assert_array_equal(steering.of_request(0).stems[0].samples, ramp(0, 3 * PERIOD))
