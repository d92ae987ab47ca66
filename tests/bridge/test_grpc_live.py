"""A recording that goes up while it is made, and answers that come down under credits."""

import threading
from contextlib import closing

import grpc
import numpy as np
import pytest
from fakes import CountingGenerator, counting_info, ramp

from bridge import live_talk
from bridge.client import Client
from bridge.errors import (
    BusyError,
    InvalidRequestError,
    NotReadyError,
    OutOfRangeError,
    UnsupportedError,
)
from bridge.live_cost import HEARD_AGAIN, MADE_BESIDE, Cost, Made, Trial
from bridge.live_window import WINDOW_SECONDS
from bridge.ports import Plan
from bridge.request import Accepted, AudioBlock, Done
from protos import bridge_pb2, bridge_pb2_grpc

RATE = 44_100
START = 500


def header(**changes):
    fields = {
        "format": bridge_pb2.AudioFormat(sample_rate=RATE, num_channels=1),
        "start_sample": START,
        "plan": bridge_pb2.Plan(seed=3),
        "credit_samples": 10**9,
    }
    return bridge_pb2.LiveHeader(**(fields | changes))


def asked(splice, num_samples=5_000, **changes):
    target = bridge_pb2.Target(num_samples=num_samples)
    return bridge_pb2.LiveContinuation(splice_sample=splice, target=target, **changes)


def played(num_samples, num_channels=1, seed=0):
    noise = np.random.default_rng(seed).standard_normal((num_channels, num_samples))
    return (0.1 * noise).astype(np.float32)


@pytest.fixture
def following():
    """Return a generator whose result depends on its seed."""
    return CountingGenerator(follows_seed=True)


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("block", [777, 9_000])
def test_a_prefilled_answer_has_the_bytes_of_an_unprefilled_one(
    rate, block, serve, connect, silence, following
):
    audio = played(20_000, 2)
    form = bridge_pb2.AudioFormat(sample_rate=rate, num_channels=2)
    client = connect(serve(following))
    with client.live(header(format=form)) as live:
        for first in range(0, 20_000, block):
            live.play(audio[:, first : first + block])
        live.wait_until_heard(START + 20_000)
        assert START + 15_000 < live.heard.prefilled_sample <= START + 20_000
        fed = len(following.fed)
        answer = live.answer(asked(START + 20_000))
        assert len(following.fed) - fed <= 1, "only the last block was missing"
    whole = silence(
        2,
        prime_samples=20_000,
        sample_rate=rate,
        num_samples=5_000,
        prime_start_sample=START,
        anchor_sample=START,
        draw_seed=False,
        plan=Plan(seed=3),
    )
    whole.prime[:] = audio
    assert client.render(whole).done.sha256 == answer.done.sha256
    assert answer.accepted.anchor_sample == START


@pytest.mark.parametrize("splice", [START + 12_345, START + 19_999, START + 3])
def test_a_splice_that_has_passed_gives_the_same_bytes_too(splice, serve, connect, silence):
    audio = played(20_000)
    client = connect(serve())
    with client.live(header()) as live:
        for first in range(0, 20_000, 1_000):
            live.play(audio[:, first : first + 1_000])
        live.wait_until_heard(START + 20_000)
        answer = live.answer(asked(splice))
    whole = silence(
        prime_samples=splice - START,
        num_samples=5_000,
        prime_start_sample=START,
        anchor_sample=START,
        draw_seed=False,
        plan=Plan(seed=3),
    )
    whole.prime[:] = audio[:, : splice - START]
    assert client.render(whole).done.sha256 == answer.done.sha256


def test_a_splice_may_be_announced_before_the_recording_reaches_it(serve, connect):
    generator = CountingGenerator()
    client = connect(serve(generator))
    with client.live(header()) as live:
        live.play(played(4_000))
        events = live.events(asked(START + 10_000, 2_000))
        live.play(played(9_000, seed=1))
        with closing(events):
            told = list(events)
    accepted = next(event for event in told if isinstance(event, Accepted))
    assert accepted.splice_sample == START + 10_000
    assert isinstance(told[-1], Done)
    assert sum(len(block) for block in generator.fed[-5:]) <= 13_000


def test_call_and_response_goes_on_and_the_answer_counts_as_heard(serve, connect):
    generator = CountingGenerator()
    client = connect(serve(generator))
    with client.live(header()) as live:
        live.play(np.zeros((1, 4_096), np.float32))
        first = live.answer(asked(START + 4_096, 6_000))
        # The player listened to most of the answer, then played on.
        live.next_sample = START + 4_096 + 5_000
        live.play(np.zeros((1, 3_000), np.float32))
        splice = live.next_sample
        second = live.answer(asked(splice, 2_000))
    assert (first.done.num_samples, second.done.num_samples) == (6_000, 2_000)
    assert second.accepted.splice_sample == splice == START + 12_096
    heard = np.concatenate(generator.fed)
    np.testing.assert_array_equal(heard[4_096:9_096], first.audio[0, :5_000])
    np.testing.assert_array_equal(second.audio[0], ramp(12_096, 2_000))


def test_each_answer_is_the_next_variation_unless_it_has_its_own_plan(serve, connect):
    served = serve()
    client = connect(served)
    with client.live(header()) as live:
        live.play(played(4_000))
        takes = [
            live.answer(asked(START + 4_000, 500)).done.take_id,
            live.answer(asked(START + 4_000, 500)).done.take_id,
            live.answer(asked(START + 4_000, 500, plan=bridge_pb2.Plan(seed=9))).done.take_id,
        ]
    plans = [client.take(take).plan for take in takes]
    assert [(plan.seed, plan.variation) for plan in plans] == [(3, 0), (3, 1), (9, 0)]


def test_no_more_comes_than_credit_allows(serve, connect):
    client = connect(serve())
    with client.live(header(credit_samples=1_500)) as live:
        live.play(played(4_000))
        events = live.events(asked(START + 4_000, 5_000))
        came = 0
        for event in events:
            if isinstance(event, AudioBlock):
                came += event.samples.shape[1]
            if came == 1_500:
                break
        live.play(played(100))
        live.wait_until_heard(START + 4_100)  # audio would have come before this
        live.give_credit(700)
        while came < 2_200:
            event = next(events)
            came += event.samples.shape[1] if isinstance(event, AudioBlock) else 0
        assert came == 2_200
        live.give_credit(10_000)
        rest = [event.samples.shape[1] for event in events if isinstance(event, AudioBlock)]
    assert came + sum(rest) == 5_000


def test_a_stop_ends_the_answer_and_the_session_goes_on(serve, connect, eventually):
    served = serve()
    client = connect(served)
    with client.live(header(credit_samples=1_000)) as live:
        live.play(played(4_000))
        events = live.events(asked(START + 4_000, RATE * 60))
        while not isinstance(next(events), AudioBlock):
            pass
        live.stop()
        list(events)
        eventually(lambda: served.engine.stats().cancelled_jobs == 1)
        live.give_credit(10**6)
        assert live.answer(asked(START + 4_000, 800)).done.num_samples == 800


def test_the_server_sets_the_pace_when_asked(serve, connect, monkeypatch):
    waited = []

    async def wait(seconds):
        waited.append(seconds)

    monkeypatch.setattr(live_talk, "SLEEP", wait)
    monkeypatch.setattr(live_talk, "CLOCK", lambda: 100.0)
    with connect(serve()).live(header(pacing=bridge_pb2.PACING_SERVER)) as live:
        live.play(played(4_000))
        result = live.answer(asked(START + 4_000, RATE * 3 // 2))
    # As if no time passed: each block waits until a second before the music reaches it.
    played_s = [(block.start_sample - START - 4_000) / RATE for block in result.blocks]
    assert waited == pytest.approx([max(0.0, seconds - 1.0) for seconds in played_s])
    assert waited[0] == 0.0 < waited[-1]


FAILING = {
    "no length": (bridge_pb2.LiveContinuation(splice_sample=START + 100), "num_samples nor bars"),
    "before the recording": (asked(START), f"sample {START}"),
    "far ahead": (asked(10**9), "the latest now"),
    "bad plan": (asked(START + 9, plan=bridge_pb2.Plan(top_p=3)), "top_p is 3"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_continuation_that_cannot_be_made_leaves_the_session_open(case, serve, connect):
    wrong, words = FAILING[case]
    with connect(serve()).live(header()) as live:
        live.play(played(4_000))
        with pytest.raises((InvalidRequestError, OutOfRangeError), match=words) as caught:
            live.answer(wrong)
        assert caught.value.field.startswith("continuation.")
        assert live.answer(asked(START + 4_000, 300)).done.num_samples == 300


def test_a_second_answer_beside_the_first_is_refused(serve, connect):
    with connect(serve()).live(header(credit_samples=10)) as live:
        live.play(played(4_000))
        events = live.events(asked(START + 4_000, 5_000))
        while not isinstance(next(events), AudioBlock):
            pass
        with pytest.raises(NotReadyError, match="under way"):
            list(live.events(asked(START + 4_000, 5_000)))


BROKEN = {
    "a gap": ([{"start_sample": START + 1}], "starts at sample 501, the next one is due at"),
    "torn": ([{"start_sample": START, "samples": b"xyz"}], "3 bytes"),
    "NaN": ([{"samples": np.float32("nan").tobytes()}], "NaN"),
    "not the prime": ([{"role": bridge_pb2.ROLE_SUFFIX}], "role 3"),
    "too large": ([{"samples": b"\0" * (2**20 + 4)}], "1048580 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_recording_that_does_not_fit_ends_the_call(case, serve):
    blocks, words = BROKEN[case]
    sent = [bridge_pb2.LiveRequest(header=header())]
    for changes in blocks:
        fields = {"role": bridge_pb2.ROLE_PRIME, "start_sample": START, "samples": b"\0" * 8}
        sent.append(bridge_pb2.LiveRequest(audio=bridge_pb2.AudioBlock(**(fields | changes))))
    assert words in refusal(serve().address, sent)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([], "header"),
        ([bridge_pb2.LiveRequest(stop=bridge_pb2.LiveStop())], "header"),
        ([bridge_pb2.LiveRequest(header=header())] * 2, "after the header"),
        ([bridge_pb2.LiveRequest(header=header(credit_samples=-1))], "credit is -1"),
        ([bridge_pb2.LiveRequest(header=header(pacing=7))], "pacing is 7"),
        ([bridge_pb2.LiveRequest(header=header(format=None))], "0 Hz"),
        ([bridge_pb2.LiveRequest(header=header(start_sample=2**60))], str(2**53)),
    ],
)
def test_a_bad_beginning_is_refused(sent, words, serve):
    assert words in refusal(serve().address, sent)


def test_a_recording_that_ends_before_the_splice_fails_its_answer(serve):
    sent = [
        bridge_pb2.LiveRequest(header=header()),
        bridge_pb2.LiveRequest(continuation=asked(START + 50)),
    ]
    with grpc.insecure_channel(serve().address) as channel:
        events = list(bridge_pb2_grpc.BridgeStub(channel).Live(iter(sent)))
    assert "before the splice at sample 550" in events[-1].failed.message
    assert (events[-1].failed.code, events[-1].failed.reason) == (
        "INVALID_ARGUMENT",
        "INVALID_REQUEST",
    )


def test_a_model_that_does_not_stream_is_refused(serve, connect):
    client = connect(serve(CountingGenerator(counting_info(streams=False))))
    with pytest.raises(UnsupportedError, match="cannot play live"):
        client.live(header())


def test_a_recording_longer_than_the_window_is_anchored_anew(serve, connect, silence):
    info = counting_info(feed_samples=1 << 16, frame_samples=1 << 10, block_samples=1 << 12)
    generator = CountingGenerator(info)
    client = connect(serve(generator))
    num_samples = (WINDOW_SECONDS + 3) * RATE
    audio = played(num_samples)
    audio[:, :RATE] = 0
    with client.live(header()) as live:
        live.play(audio)
        live.wait_until_heard(START + num_samples)
        answer = live.answer(asked(START + num_samples))
    assert generator.calls["fidelity"] == 1, "a session tries the codec once, on sound"
    anchor = answer.accepted.anchor_sample
    assert START + (WINDOW_SECONDS - 3) * RATE < anchor < START + num_samples
    whole = silence(
        prime_samples=num_samples + START - anchor,
        num_samples=5_000,
        prime_start_sample=anchor,
        anchor_sample=anchor,
        draw_seed=False,
        plan=Plan(seed=3),
    )
    whole.prime[:] = audio[:, anchor - START :]
    assert client.render(whole).done.sha256 == answer.done.sha256


@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
def test_the_next_window_hears_the_same_blocks_so_that_they_are_encoded_once(
    sample_rate, serve, connect
):
    info = counting_info(feed_samples=1 << 13, frame_samples=1 << 7, block_samples=1 << 12)
    generator = CountingGenerator(info)
    num_samples = (WINDOW_SECONDS + 3) * sample_rate
    told = header(format=bridge_pb2.AudioFormat(sample_rate=sample_rate, num_channels=1))
    with connect(serve(generator)).live(told) as live:
        live.play(played(num_samples))
        live.wait_until_heard(START + num_samples)
    assert len(generator.opened) == 2
    num_distinct = len({block.tobytes() for block in generator.fed})
    assert num_distinct == (WINDOW_SECONDS + 3) * info.sample_rate // info.feed_samples
    assert len(generator.fed) > num_distinct


def test_ending_the_call_stops_the_answer(serve, eventually):
    held = threading.Event()
    served = serve(CountingGenerator(on_step=lambda step: held.wait() if step == 3 else None))
    with Client(served.address) as client:
        live = client.live(header())
        live.play(played(4_000))
        events = live.events(asked(START + 4_000, RATE * 60))
        next(events)
        live.close()
        eventually(lambda: served.engine.stats().cancelled_jobs == 1)
        held.set()
        served.on_loop(served.engine.idle())
    assert served.engine.stats().running_jobs == 0


def refusal(address, sent):
    ended = threading.Event()

    def requests():
        yield from sent
        ended.wait(0.0 if not sent else 30.0)

    with grpc.insecure_channel(address) as channel:
        call = bridge_pb2_grpc.BridgeStub(channel).Live(requests())
        try:
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
        finally:
            ended.set()
    return caught.value.details()


def test_sessions_and_loops_that_the_machine_cannot_carry_are_refused(
    serve, connect, monkeypatch, eventually
):
    made = Made(made_s=0.2 / MADE_BESIDE, sounded_s=0.0)
    cost = Cost(heard_s=0.3 / HEARD_AGAIN, free=made, told=made)
    monkeypatch.setattr(Trial, "cost", lambda trial: cost)
    client = connect(serve(live_share=0.9, threads=1))
    loop = bridge_pb2.LiveLoop(
        tempo_map=[bridge_pb2.TempoChange(tempo_bpm=120, meter_numerator=4, meter_denominator=4)],
        bars=1.0,
        request_id="loop",
    )

    def told(live):
        live.loop(loop)
        live.play(played(2_000))
        while (event := live.next_event()).WhichOneof("event") == "opened":
            pass
        return event

    with client.live(header()) as first, client.live(header()) as second:
        assert told(first).WhichOneof("event") == "heard"
        failed = told(second).failed
        assert (failed.code, failed.request_id) == ("RESOURCE_EXHAUSTED", "loop")
        assert "a live loop takes 0.20" in failed.message
        with pytest.raises(BusyError, match=r"1\.10 would be, the limit is 0\.90") as refused:
            client.live(header())
        assert refused.value.retry_after_s > 0
        first.stop()
        while first.next_event().WhichOneof("event") != "stopped":
            pass
        second.loop(loop)
        second.play(played(2_000, seed=1))
        events = [second.next_event().WhichOneof("event") for _ in range(2)]
        assert "failed" not in events
    eventually(lambda: is_taken(client))


def is_taken(client):
    try:
        client.live(header()).close()
    except BusyError:
        return False
    return True
