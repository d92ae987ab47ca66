"""Jobs and takes over gRPC: watched, cancelled, listed, marked, exported, varied, upsampled."""

import hashlib
import threading
from contextlib import closing

import numpy as np
import pytest
from fakes import ALL_CONDITIONS, CountingGenerator, counting_info

from bridge.audio_file import read_audio, read_time_reference
from bridge.errors import (
    ConflictError,
    InvalidRequestError,
    JobCancelledError,
    NotFoundError,
    UnsupportedError,
)
from bridge.gathering import Gathering
from bridge.ports import Plan
from bridge.request import Accepted, AudioBlock, Done
from protos import bridge_pb2

KEPT, REJECTED = bridge_pb2.MARK_KEPT, bridge_pb2.MARK_REJECTED
UNKNOWN = "nothing-of-this-name"


@pytest.fixture
def held():
    """Return a generator that stops at its third step until it is let go, and what lets it."""
    free = threading.Event()
    yield CountingGenerator(on_step=lambda step: free.wait() if step == 3 else None), free
    free.set()


def started(client, continuation):
    """Return the job of a call that has begun; the call is ended."""
    with closing(client.events(continuation)) as events:
        return next(event for event in events if isinstance(event, Accepted)).job_id


def test_a_detached_job_outlives_its_call_and_is_watched_from_a_sample(
    serve, connect, silence, held
):
    generator, free = held
    client = connect(serve(generator))
    job_id = started(client, silence(detached=True))
    assert [job.job_id for job in client.jobs(bridge_pb2.JOB_STATE_RUNNING)] == [job_id]
    free.set()
    gathering = Gathering(1)
    for event in client.watch(job_id, 1):
        if isinstance(event, Accepted | AudioBlock | Done):
            gathering.add(event, 0.0)
    whole = gathering.result()
    rest = [event for event in client.watch(job_id, 1, 12_000) if isinstance(event, AudioBlock)]
    assert rest[0].start_sample == 12_000
    late = np.concatenate([block.samples for block in rest], axis=1)
    np.testing.assert_array_equal(late, whole.audio[:, 12_000 - 5_000 :])
    (job,) = client.jobs()
    assert (job.state, job.take_id) == (bridge_pb2.JOB_STATE_DONE, whole.done.take_id)
    assert job.client_id.startswith("grpc:local/")
    assert client.jobs(bridge_pb2.JOB_STATE_FAILED) == ()


def test_cancel_ends_a_detached_job_and_tells_whoever_watches(serve, connect, silence, held):
    generator, free = held
    served = serve(generator)
    client = connect(served)
    job_id = started(client, silence(detached=True))
    watching = client.watch(job_id, 1)
    next(watching)
    threading.Timer(0.0, free.set).start()
    job = client.cancel(job_id)
    assert job.state == bridge_pb2.JOB_STATE_CANCELLED
    with pytest.raises(JobCancelledError, match=job_id):
        list(watching)
    assert client.cancel(job_id).state == bridge_pb2.JOB_STATE_CANCELLED
    assert list(client.takes()) == []


def test_once_a_job_is_cancelled_nothing_more_is_decoded_for_whoever_watches(
    serve, connect, silence
):
    made, free, decoding, go_on = (threading.Event() for _ in range(4))

    def at_step(step):
        if step == 300:
            made.set()
            free.wait()

    def at_decode(_):
        if made.is_set():
            decoding.set()
            go_on.wait()

    generator = CountingGenerator(on_step=at_step, on_decode=at_decode)
    client = connect(serve(generator))
    job_id = started(client, silence(detached=True, num_samples=2_000_000))
    assert made.wait(30)
    # A hundred blocks are there for the taking; one of them is being decoded.
    watching = client.watch(job_id, 1)
    assert isinstance(next(watching), Accepted)
    assert decoding.wait(30)
    before = generator.calls["decode"]
    assert client.cancel(job_id).state == bridge_pb2.JOB_STATE_CANCELLED
    go_on.set()
    free.set()
    with pytest.raises(JobCancelledError):
        list(watching)
    assert generator.calls["decode"] <= before + 1


def test_the_same_key_and_request_mean_the_same_job(serve, connect, silence):
    generator = CountingGenerator()
    client = connect(serve(generator))
    first = client.render(silence(idempotency_key="k"))
    steps = generator.calls["step"]
    again = client.render(silence(idempotency_key="k"))
    assert again.accepted == first.accepted
    assert again.done.sha256 == first.done.sha256
    assert generator.calls["step"] == steps
    with pytest.raises(ConflictError, match="named another request"):
        client.render(silence(idempotency_key="k", num_samples=7))


def test_takes_are_listed_page_by_page_marked_named_and_told(serve, connect, silence):
    client = connect(serve())
    made = [
        client.render(silence(draw_seed=False, plan=Plan(seed=seed))).done.take_id
        for seed in range(5)
    ]
    assert [take.take_id for take in client.takes()] == made[::-1]
    page = client._ask("ListTakes", bridge_pb2.ListTakesRequest(page_size=2))
    assert [take.take_id for take in page.takes] == made[:2:-1]
    page = client._ask(
        "ListTakes", bridge_pb2.ListTakesRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [take.take_id for take in page.takes] == made[2:0:-1]
    assert client.tag(made[1], KEPT, "the good one").mark == KEPT
    assert client.tag(made[2], REJECTED).mark == REJECTED
    assert client.tag(made[1], name="better").mark == KEPT
    assert [take.take_id for take in client.takes(KEPT)] == [made[1]]
    take = client.take(made[1])
    assert (take.name, take.mark) == ("better", KEPT)
    assert (take.plan.seed, take.splice_sample, take.num_samples) == (1, 5_000, 20_001)
    assert take.format == bridge_pb2.AudioFormat(sample_rate=44_100, num_channels=1)
    assert (take.model, take.licence, take.parent_id) == ("counting", "public domain", "")
    assert not take.HasField("departure_sample")
    assert client.tag(made[1], bridge_pb2.MARK_NONE, "").name == ""
    stats = client.stats()
    assert (stats.takes, stats.kept_takes, stats.done_jobs) == (5, 0, 5)
    assert stats.stored_bytes > 0
    assert stats.uptime_seconds > 0


def test_a_take_is_exported_here_and_on_the_server(serve, connect, silence, tmp_path):
    client = connect(serve())
    result = client.render(silence(2))
    path = client.export(result.done.take_id, tmp_path / "take.wav")
    np.testing.assert_array_equal(read_audio(path).samples, result.audio)
    assert read_time_reference(path) == 5_000
    assert list(tmp_path.glob(".*")) == []
    told = client.export_on_server(result.done.take_id)
    assert told.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told.size_bytes == path.stat().st_size
    assert told.path.endswith(told.file_name)


def test_variations_come_one_after_the_other_as_children_of_the_take(serve, connect, silence):
    client = connect(serve(CountingGenerator(follows_seed=True)))
    parent = client.render(silence(num_samples=30_000, draw_seed=False, plan=Plan(seed=5)))
    take_id = parent.done.take_id
    request = bridge_pb2.VaryRequest(take_id=take_id, from_sample=20_000, variations=3)
    results = list(client.vary(request))
    assert [result.accepted.splice_sample for result in results] == [20_000] * 3
    assert [result.done.num_samples for result in results] == [15_000] * 3
    children = [client.take(result.done.take_id) for result in results]
    assert [(one.parent_id, one.departure_sample) for one in children] == [(take_id, 20_000)] * 3
    assert [(one.plan.seed, one.plan.variation) for one in children] == [(5, 1), (5, 2), (5, 3)]
    listed = {take.take_id for take in client.takes(parent_id=take_id)}
    assert listed == {one.take_id for one in children}


def test_a_variation_leaves_at_a_bar_and_may_go_on_past_the_end(serve, connect, silence):
    client = connect(serve())
    take_id = client.render(silence(num_samples=200_000)).done.take_id
    tempo = [bridge_pb2.TempoChange(sample=5_000, tempo_bpm=120)]
    target = bridge_pb2.Target(bars=2, tempo_map=tempo)
    plan = bridge_pb2.Plan(seed=9, variation=4)
    request = bridge_pb2.VaryRequest(
        take_id=take_id, from_bar=1, variations=1, target=target, plan=plan
    )
    (result,) = client.vary(request)
    assert result.accepted.splice_sample == 5_000 + 2 * 44_100
    assert result.done.num_samples == 4 * 44_100
    child = client.take(result.done.take_id).plan
    assert (child.seed, child.variation) == (9, 4)
    onward = bridge_pb2.VaryRequest(
        take_id=take_id, from_sample=205_000, variations=1, target=target
    )
    (result,) = client.vary(onward)
    assert result.accepted.splice_sample == 205_000


REFUSED = {
    "no count": ({}, "0 variations", "variations"),
    "too many": ({"variations": 65}, "65 variations", "variations"),
    "before": ({"variations": 1, "from_sample": 4_999}, "sample 4999", "from_sample"),
    "after": ({"variations": 1, "from_sample": 25_002}, "sample 25002", "from_sample"),
    "bar without tempo": ({"variations": 1, "from_bar": 1}, "0 entries", "from_bar"),
    "bad plan": (
        {"variations": 1, "plan": bridge_pb2.Plan(top_p=2)},
        "top_p is 2",
        "plan.top_p",
    ),
    "long id": ({"variations": 1, "request_id": "x" * 129}, "129 characters", "request_id"),
}


@pytest.fixture
def one_take(serve, connect, silence):
    client = connect(serve())
    return client, client.render(silence()).done.take_id


@pytest.mark.parametrize("case", REFUSED)
def test_a_variation_that_cannot_be_is_refused_by_its_field(case, one_take):
    client, take_id = one_take
    changes, words, field = REFUSED[case]
    with pytest.raises(InvalidRequestError, match=words) as caught:
        list(client.vary(bridge_pb2.VaryRequest(take_id=take_id, **changes)))
    assert caught.value.field == field


def test_what_nobody_knows_is_not_found_and_bad_questions_are_refused(one_take, tmp_path):
    client, take_id = one_take
    for ask in (
        lambda: client.take(UNKNOWN),
        lambda: client.tag(UNKNOWN, KEPT),
        lambda: client.export(UNKNOWN, tmp_path / "x.wav"),
        lambda: client.cancel(UNKNOWN),
        lambda: list(client.watch(UNKNOWN, 1)),
        lambda: list(client.vary(bridge_pb2.VaryRequest(take_id=UNKNOWN, variations=1))),
    ):
        with pytest.raises(NotFoundError, match=UNKNOWN):
            ask()
    assert list(tmp_path.glob("*.wav*")) == []
    for verb, request, field in (
        ("ListTakes", bridge_pb2.ListTakesRequest(page_size=1_001), "page_size"),
        ("ListTakes", bridge_pb2.ListTakesRequest(page_token="x"), "page_token"),
        ("ListTakes", bridge_pb2.ListTakesRequest(mark=9), "mark"),
        ("TagTake", bridge_pb2.TagTakeRequest(take_id=take_id, mark=9), "mark"),
        ("TagTake", bridge_pb2.TagTakeRequest(take_id=take_id, name="x" * 129), "name"),
        ("ListJobs", bridge_pb2.ListJobsRequest(states=[9]), "states"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            client._ask(verb, request)
        assert caught.value.field == field


def upsampling(**changes):
    fields = {
        "format": bridge_pb2.AudioFormat(sample_rate=44_100, num_channels=2),
        "levels": [bridge_pb2.LevelCodes(level=2, codes=range(100))],
        "target": bridge_pb2.Target(num_samples=9_000),
        "start_sample": 700,
    }
    return bridge_pb2.UpsampleRequest(**(fields | changes))


def test_codes_are_upsampled_to_audio(serve, connect):
    class Adopting(CountingGenerator):
        def adopt(self, state, codes, finest_level):
            self.adopted = codes, finest_level
            return state

    generator = Adopting(counting_info(supports=ALL_CONDITIONS | {"source:codes"}))
    result = connect(serve(generator)).upsample(upsampling())
    assert result.audio.shape == (2, 9_000)
    assert result.accepted.splice_sample == 700
    ((level,), finest_level) = generator.adopted
    assert (level.level, finest_level) == (2, 0)
    np.testing.assert_array_equal(level.codes, np.arange(100, dtype=np.int16))


def test_a_model_that_takes_no_codes_says_so(serve, connect):
    with pytest.raises(UnsupportedError, match="source:codes"):
        connect(serve()).upsample(upsampling())


@pytest.mark.parametrize(
    ("changes", "words", "field"),
    [
        ({"levels": []}, "0 levels", ""),
        (
            {"levels": [bridge_pb2.LevelCodes(level=2, codes=[1, 40_000])]},
            "code 40000",
            "levels[0].codes",
        ),
        ({"target": None}, "num_samples nor bars", "target"),
        ({"plan": bridge_pb2.Plan(temperature=99)}, "temperature is 99", "plan.temperature"),
        ({"request_id": "x" * 129}, "129 characters", "request_id"),
        ({"finest_level": 3}, "level 3", ""),
    ],
)
def test_codes_that_no_model_could_take_are_refused(changes, words, field, serve, connect):
    with pytest.raises(InvalidRequestError, match=words) as caught:
        connect(serve()).upsample(upsampling(**changes))
    assert caught.value.field == field
