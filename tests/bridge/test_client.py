"""The client against our server, against none, and against one that lies."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
from fakes import CountingGenerator

from bridge.client import Client
from bridge.errors import BridgeError, InvalidRequestError, NotReadyError, StoppingError
from bridge.messages import bytes_of
from bridge.ports import Conditions, Plan, StemKind
from bridge.request import Accepted, AudioBlock, Done
from protos import bridge_pb2, bridge_pb2_grpc


def test_a_result_holds_all_that_the_server_said(serve, connect, silence):
    heard = []
    result = connect(serve()).render(silence(2, num_samples=30_003), heard.append)
    assert result.audio.shape == (2, 30_003)
    assert result.audio.dtype == np.float32
    assert result.done.sha256 == hashlib.sha256(bytes_of(result.audio)).hexdigest()
    assert result.done.num_samples == result.accepted.expected_samples == 30_003
    assert sum(block.num_samples for block in result.blocks) == 30_003
    seconds = [block.seconds for block in result.blocks]
    assert seconds == sorted(seconds)
    assert [step.step for step in heard] == sorted(step.step for step in heard)
    assert heard[-1].step == heard[-1].total_steps


def test_bars_become_samples_by_the_tempo_and_the_meter(serve, connect, silence):
    asked = silence(bars=4, tempo_bpm=97.3, meter=(7, 8), sample_rate=96_000)
    result = connect(serve()).render(asked)
    assert result.audio.shape[1] == round(4 * 3.5 * 60 * 96_000 / 97.3)


def test_a_seed_repeats_and_another_one_does_not(serve, connect, silence):
    client = connect(serve(CountingGenerator(follows_seed=True)))

    def sha256(**changes):
        result = client.render(silence(**changes))
        return result.accepted.seed, result.done.sha256

    chosen = {"draw_seed": False, "plan": Plan(seed=2**64 - 1)}
    assert sha256(**chosen) == sha256(**chosen)
    assert sha256(**chosen) != sha256(draw_seed=False, plan=Plan(seed=3))
    assert len({sha256()[0] for _ in range(4)}) == 4


def test_the_counts_tell_what_was_not_computed_again(serve, connect, silence):
    client = connect(serve())

    def told(seed):
        client.render(silence(draw_seed=False, plan=Plan(seed=seed)))
        caches = client.stats().caches
        return caches.prime_hits, caches.prime_misses, caches.take_hits, caches.take_misses

    assert told(1) == (0, 1, 0, 1)
    assert told(2) == (1, 1, 0, 2)
    assert told(2) == (1, 1, 1, 2)
    caches = client.stats().caches
    assert caches.held_states >= 1
    assert 0 < caches.held_bytes <= caches.max_bytes
    assert caches.evictions == 0


def test_closing_the_events_stops_the_computation(serve, connect, silence, eventually):
    served = serve()
    events = connect(served).events(silence(num_samples=44_100 * 600))
    assert isinstance(next(events), Accepted)
    assert any(isinstance(event, AudioBlock) for event in events)
    events.close()
    eventually(lambda: served.engine.stats().cancelled_jobs == 1)


def test_a_callback_that_raises_stops_the_computation(serve, connect, silence, eventually):
    served = serve()

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connect(served).render(silence(num_samples=44_100 * 600), stop)
    eventually(lambda: served.engine.stats().cancelled_jobs == 1)


def test_no_server_is_told_in_words(silence):
    with Client("127.0.0.1:1") as client:
        for ask in (client.models, lambda: client.render(silence())):
            with pytest.raises(StoppingError, match=r"127\.0\.0\.1:1 did not answer.*serve"):
                ask()
        assert client.is_serving() is False
        with pytest.raises(StoppingError, match=r"not ready within 0\.1 s"):
            client.wait_until_serving(0.1)


def test_a_server_that_goes_away_is_told_in_words(serve, connect, silence):
    reached, held = threading.Event(), threading.Event()

    def hold(step):
        if step == 3:
            reached.set()
            held.wait()

    served = serve(CountingGenerator(on_step=hold), drain_seconds=0.0)
    events = connect(served).events(silence(num_samples=44_100 * 600))
    next(events)
    assert reached.wait(30)
    with ThreadPoolExecutor() as pool:
        stopping = pool.submit(served.stop)
        with pytest.raises(StoppingError):
            list(events)
        held.set()
        stopping.result()


def test_a_loading_server_is_waited_for_or_refuses(listen, connect):
    loaded = threading.Event()

    def load():
        loaded.wait()
        return CountingGenerator()

    served = listen(load)
    client = connect(served)
    try:
        assert client.is_serving() is False
        with pytest.raises(NotReadyError, match="loading"):
            client.models()
    finally:
        loaded.set()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.wait_until_serving, 30)
        served.serve()
        waiting.result()
    assert client.is_serving() is True
    assert [model.name for model in client.models()] == ["counting"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bars": 4, "num_samples": 5, "tempo_bpm": 120.0}, "bars=4 and num_samples=5"),
        ({"num_samples": None}, "bars=None and num_samples=None"),
        ({"bars": 4}, "4 bars need a tempo"),
        ({"sample_rate": 8_000}, "8000 Hz"),
        ({"num_channels": 3}, "3 channels"),
        ({"stems": {StemKind.BASS: np.zeros((2, 9), np.float32)}}, "bass stem has 2 channels"),
        ({"suffix": np.zeros((2, 9), np.float32)}, "suffix has 2 channels"),
        ({"conditions": Conditions(suffix=np.zeros(9, np.float32))}, "beside the conditions"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(changes, words, silence):
    with pytest.raises(InvalidRequestError, match=words):
        silence(**changes)


@pytest.mark.parametrize("plan", [Plan(seed=-1), Plan(seed=2**64), Plan(seed=0, temperature=0.0)])
def test_a_plan_outside_its_limits_is_refused_before_the_call(plan, silence):
    with Client("127.0.0.1:1") as client, pytest.raises(InvalidRequestError, match="allowed are"):
        client.render(silence(plan=plan, draw_seed=False))


def accepted(**changes):
    fields = {"splice_sample": 5_000, "expected_samples": 8} | changes
    return bridge_pb2.RenderEvent(accepted=bridge_pb2.Accepted(**fields))


def audio(start_sample, num_samples):
    data = np.zeros(num_samples, np.float32).tobytes()
    block = bridge_pb2.AudioBlock(start_sample=start_sample, samples=data)
    return bridge_pb2.RenderEvent(audio=block)


def done(sha256=None):
    honest = hashlib.sha256(np.zeros(8, np.float32).tobytes()).hexdigest()
    return bridge_pb2.RenderEvent(done=bridge_pb2.Done(sha256=sha256 or honest, num_samples=8))


LIES = {
    "a gap": ([accepted(), audio(5_001, 7), done()], "sample 5001, due was 5000"),
    "a repeat": ([accepted(), audio(5_000, 4), audio(5_000, 4), done()], "due was 5004"),
    "too short": ([accepted(), audio(5_000, 7), done()], "7 samples came, 8 were promised"),
    "other bytes": ([accepted(), audio(5_000, 8), done("00")], "00 was promised"),
    "no end": ([accepted(), audio(5_000, 8)], "before it was done"),
    "no beginning": ([audio(5_000, 8), done()], "before the server had accepted"),
    "nothing known": ([bridge_pb2.RenderEvent()], "does not know"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_does_not_fit_together_is_refused(lie, silence):
    events, words = LIES[lie]
    with (
        lying(events) as address,
        Client(address) as client,
        pytest.raises(BridgeError, match=words),
    ):
        client.render(silence())


def test_the_same_answer_without_a_lie_is_taken(silence):
    with lying([accepted(), audio(5_000, 8), done()]) as address, Client(address) as client:
        result = client.render(silence())
    assert isinstance(result.done, Done)
    assert result.audio.shape == (1, 8)


@contextmanager
def lying(events):
    class Liar(bridge_pb2_grpc.BridgeServicer):
        def Continue(self, request_iterator, context):  # noqa: N802 - named by the proto
            list(request_iterator)
            yield from events

    server = grpc.server(ThreadPoolExecutor(2))
    bridge_pb2_grpc.add_BridgeServicer_to_server(Liar(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
