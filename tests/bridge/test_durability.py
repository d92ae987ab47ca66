"""What the engine keeps, tells again, refuses and takes up again: crashes, keys, queue, takes."""

import asyncio
import itertools
import threading
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from fakes import ALL_CONDITIONS, CountingGenerator, counting_info, ramp

from bridge.admission import EngineLimits
from bridge.audio_file import read_audio, sha256_of
from bridge.engine import Engine
from bridge.errors import (
    BusyError,
    ConflictError,
    DeadlineError,
    InvalidRequestError,
    JobCancelledError,
    NotFoundError,
    NotReadyError,
    StoppingError,
    StorageError,
    UnsupportedError,
)
from bridge.jobs import JobState
from bridge.ports import Conditions, Labels, LevelCodes, Plan, Quality
from bridge.request import (
    Accepted,
    AudioBlock,
    Done,
    Nothing,
    Prime,
    Queued,
    RenderRequest,
    StoredCodes,
    TakePoint,
)
from bridge.store import TakeStore

RATE = 44_100
WAIT_SECONDS = 30
LONG = 400_000


def request(**changes) -> RenderRequest:
    values = {
        "request_id": "r-1",
        "sample_rate": RATE,
        "source": Prime(samples=np.zeros((1, 9_001), np.float32)),
        "num_samples": 20_001,
        "plan": Plan(seed=1),
        "conditions": Conditions(),
    }
    return RenderRequest(**{**values, **changes})


class Hold:
    """A step that waits until it is let go, or breaks then."""

    def __init__(self, at_step: int = 0, *, breaks: bool = False) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        self._at_step = at_step
        self._breaks = breaks

    def __call__(self, step: int) -> None:
        if step == self._at_step:
            self.reached.set()
            assert self.released.wait(WAIT_SECONDS)
            if self._breaks:
                raise RuntimeError("killed")


@pytest.fixture
def engine_of(tmp_path):
    """Return a maker of engines over one folder."""

    def make(generator=None, **limits) -> Engine:
        ticks = itertools.count()
        return Engine(
            generator or CountingGenerator(follows_seed=True),
            store=TakeStore(tmp_path / "spool"),
            clock=lambda: next(ticks) / 1000,
            limits=EngineLimits(**limits),
        )

    return make


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, WAIT_SECONDS))


async def waited(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, WAIT_SECONDS)


async def rendered(engine, asked, seen=None) -> list:
    seen = [] if seen is None else seen
    async for event in engine.render(asked):
        seen.append(event)
    return seen


async def watched(engine, job_id, from_sample=None) -> list:
    return [event async for event in engine.watch(job_id, from_sample)]


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def audio_of(events):
    return np.concatenate([block.samples for block in of(AudioBlock, events)], axis=1)


def undisturbed(engine_of, asked) -> Done:
    async def scenario():
        engine = engine_of()
        done = of(Done, await rendered(engine, replace(asked, idempotency_key="")))[0]
        await engine.close()
        return done

    return run(scenario())


STEREO = Prime(samples=np.random.default_rng(0).normal(0, 0.1, (2, 9_001)).astype(np.float32))


@pytest.mark.parametrize("at_step", [0, 1, 40, 180])
@pytest.mark.parametrize("detached", [True, False])
def test_a_job_that_a_crash_cut_off_ends_as_if_nothing_had_been(engine_of, at_step, detached):
    asked = request(source=STEREO, sample_rate=48_000, num_samples=70_001, detached=detached)

    async def scenario():
        hold = Hold(at_step, breaks=True)
        broken = CountingGenerator(on_step=hold, follows_seed=True)
        dying = engine_of(broken, checkpoint_seconds=0)
        info = await dying.submit(asked)
        await waited(hold.reached)
        # What a killed process does: it holds its lock no more, and writes nothing.
        dying.store.jobs.close()
        generator = CountingGenerator(follows_seed=True)
        heir = engine_of(generator)
        assert await heir.resume() == 1
        events = await watched(heir, info.id)
        await heir.close()
        hold.released.set()
        await dying.idle()
        return events, generator.calls

    events, calls = run(scenario())
    done = of(Done, events)[0]
    assert done == replace(
        undisturbed(engine_of, asked), rtf=done.rtf, first_audio_ms=done.first_audio_ms
    )
    assert sha256_of(audio_of(events)) == done.sha256
    assert calls["open"] + calls["restore"] == 1
    assert calls["step"] <= 192 - max(0, at_step - 3)


def test_a_crash_while_the_prime_is_heard_loses_only_what_was_not_written_down(engine_of):
    class Slow(CountingGenerator):
        hold = Hold(3, breaks=True)

        def feed(self, state, audio):
            self.hold(self.calls["feed"])
            return super().feed(state, audio)

    async def scenario():
        dying = engine_of(Slow(), checkpoint_seconds=0)
        info = await dying.submit(request())
        await waited(Slow.hold.reached)
        dying.store.jobs.close()
        generator = CountingGenerator(follows_seed=True)
        heir = engine_of(generator)
        await heir.resume()
        done = of(Done, await watched(heir, info.id))[0]
        await heir.close()
        Slow.hold.released.set()
        await dying.idle()
        return done, generator.calls

    done, calls = run(scenario())
    assert done.sha256 == undisturbed(engine_of, request()).sha256
    assert calls["feed"] < 5


def test_a_job_that_does_not_keep_what_it_stood_on_ends_with_its_server(engine_of, tmp_path):
    async def scenario():
        hold = Hold(1, breaks=True)
        dying = engine_of(CountingGenerator(on_step=hold), checkpoint_seconds=0)
        info = await dying.submit(request(keep_source=False, live=True))
        await waited(hold.reached)
        assert not list((tmp_path / "spool" / "objects").glob("??/*"))
        dying.store.jobs.close()
        heir = engine_of()
        resumed = await heir.resume()
        ended = await heir.job(info.id)
        done = of(Done, await rendered(heir, request(keep_source=False)))[0]
        again = await watched(heir, (await heir.jobs())[0].id)
        await heir.close()
        hold.released.set()
        await dying.idle()
        return resumed, ended.state, done, again

    resumed, state, done, again = run(scenario())
    assert (resumed, state) == (0, JobState.FAILED)
    assert sha256_of(audio_of(again)) == done.sha256, "its codes are a take all the same"


def test_a_job_of_another_model_is_not_gone_on_with_and_says_so(engine_of):
    async def scenario():
        hold = Hold(1, breaks=True)
        dying = engine_of(CountingGenerator(on_step=hold))
        info = await dying.submit(request())
        await waited(hold.reached)
        dying.store.jobs.close()
        heir = engine_of(CountingGenerator(counting_info(fingerprint="counting-2")))
        resumed = await heir.resume()
        with pytest.raises(NotReadyError, match=r"counting-1.*counting-2"):
            await watched(heir, info.id)
        state = (await heir.job(info.id)).state
        await heir.close()
        hold.released.set()
        await dying.idle()
        return resumed, state

    assert run(scenario()) == (0, JobState.FAILED)


def test_nobody_hears_of_a_job_before_it_is_on_disk(engine_of, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    async def scenario():
        engine = engine_of()
        monkeypatch.setattr("os.fsync", full)
        seen = []
        with pytest.raises(StorageError, match="the disk is full"):
            await rendered(engine, request(), seen)
        with pytest.raises(StorageError, match="the disk is full"):
            await engine.submit(request())
        await engine.idle()
        monkeypatch.undo()
        done = of(Done, await rendered(engine, request()))[0]
        jobs, stats = await engine.jobs(), engine.stats()
        await engine.close()
        return seen, done, jobs, stats

    seen, done, jobs, stats = run(scenario())
    assert seen == []
    assert done.num_samples == 20_001
    assert [job.state for job in jobs] == [JobState.DONE]
    assert (stats.failed_jobs, stats.done_jobs) == (2, 1)


@pytest.mark.parametrize("write_file", [True, False])
def test_a_disk_that_fills_up_fails_the_job_and_the_engine_lives(
    engine_of, monkeypatch, write_file
):
    async def scenario():
        hold = Hold(3)
        engine = engine_of(CountingGenerator(on_step=hold), checkpoint_seconds=0)
        reading = asyncio.create_task(rendered(engine, request(write_file=write_file)))
        await waited(hold.reached)

        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        hold.released.set()
        with pytest.raises(StorageError, match="the disk is full"):
            await reading
        monkeypatch.undo()
        takes = engine.store.ids()
        done = of(Done, await rendered(engine, request()))[0]
        problems = engine.store.check()
        await engine.close()
        return takes, done, problems

    takes, done, problems = run(scenario())
    assert takes == ()
    assert done.take_id
    assert problems == ()


@pytest.mark.parametrize("from_sample", [None, 9_001, 9_002, 20_000, 29_001])
def test_a_job_is_told_again_from_any_sample_while_it_runs_and_when_it_is_done(
    engine_of, from_sample
):
    asked = request(source=STEREO, sample_rate=48_000, detached=True)

    async def scenario():
        hold = Hold(30)
        engine = engine_of(CountingGenerator(on_step=hold, follows_seed=True))
        info = await engine.submit(asked)
        running = asyncio.create_task(watched(engine, info.id, from_sample))
        whole = asyncio.create_task(watched(engine, info.id))
        await waited(hold.reached)
        hold.released.set()
        told = await running, await watched(engine, info.id, from_sample)
        everything = await whole
        await engine.close()
        return everything, told

    everything, told = run(scenario())
    whole = audio_of(everything)
    assert sha256_of(whole) == of(Done, everything)[0].sha256
    start = 9_001 if from_sample is None else from_sample
    for events in told:
        assert of(Accepted, events) == of(Accepted, everything)
        np.testing.assert_array_equal(audio_of(events), whole[:, start - 9_001 :])
        assert of(AudioBlock, events)[0].start_sample == start
        assert of(Done, events) == of(Done, everything)
        lead_in = of(Done, events)[0].lead_in
        np.testing.assert_array_equal(lead_in, of(Done, everything)[0].lead_in)


def test_listening_to_the_end_only_gives_no_audio(engine_of):
    async def scenario():
        engine = engine_of()
        info = await engine.submit(request())
        events = await watched(engine, info.id, 99_999)
        await engine.close()
        return events

    events = run(scenario())
    assert of(AudioBlock, events) == []
    assert of(Done, events)


def test_an_unknown_job_is_not_found(engine_of):
    async def scenario():
        engine = engine_of()
        with pytest.raises(NotFoundError, match="'nowhere'"):
            await watched(engine, "nowhere")
        for call in (engine.cancel, engine.job):
            with pytest.raises(NotFoundError, match="'nowhere'"):
                await call("nowhere")
        await engine.close()

    run(scenario())


def test_a_job_lives_as_long_as_anybody_listens(engine_of):
    async def scenario():
        hold = Hold(5)
        engine = engine_of(CountingGenerator(on_step=hold))
        first = engine.render(request(num_samples=LONG))
        job_id = (await anext(first)).job_id
        second = asyncio.create_task(watched(engine, job_id))
        third = engine.watch(job_id)
        await anext(third)
        await waited(hold.reached)
        await first.aclose()
        await third.aclose()
        running = engine.stats().running_jobs
        hold.released.set()
        done = of(Done, await second)
        await engine.close()
        return running, done

    running, done = run(scenario())
    assert running == 1
    assert done


def test_a_cancelled_job_stops_and_tells_all_who_listen(engine_of, tmp_path):
    async def scenario():
        hold = Hold(5)
        generator = CountingGenerator(on_step=hold)
        engine = engine_of(generator, checkpoint_seconds=0)
        info = await engine.submit(request(num_samples=LONG, detached=True, write_file=True))
        listener = asyncio.create_task(watched(engine, info.id))
        await waited(hold.reached)
        cancelling = asyncio.create_task(engine.cancel(info.id))
        hold.released.set()
        ended = await cancelling
        with pytest.raises(JobCancelledError, match="was cancelled"):
            await listener
        await engine.idle()
        steps = generator.calls["step"]
        await rendered(engine, request())
        again = await engine.cancel(info.id)
        with pytest.raises(JobCancelledError):
            await watched(engine, info.id)
        await engine.close()
        return ended, again, steps

    ended, again, steps = run(scenario())
    assert ended.state is JobState.CANCELLED
    assert again == ended
    assert steps <= 7
    spool = tmp_path / "spool"
    assert not list(spool.glob("checkpoints/*")) + list(spool.glob("results/*"))


def test_a_reader_whose_job_somebody_else_cancels_is_told(engine_of):
    async def scenario():
        hold = Hold(2)
        engine = engine_of(CountingGenerator(on_step=hold))
        events = engine.render(request(num_samples=LONG))
        accepted = await anext(events)
        await waited(hold.reached)
        cancelling = asyncio.create_task(engine.cancel(accepted.job_id))
        hold.released.set()
        with pytest.raises(JobCancelledError, match=accepted.job_id):
            async for _ in events:
                pass
        await cancelling
        await engine.close()

    run(scenario())


def test_the_same_key_and_request_are_computed_once(engine_of):
    asked = request(idempotency_key="k", plan=Plan(seed=5))

    async def scenario():
        hold = Hold(9)
        generator = CountingGenerator(on_step=hold, follows_seed=True)
        engine = engine_of(generator)
        first = asyncio.create_task(rendered(engine, asked))
        await waited(hold.reached)
        second = asyncio.create_task(rendered(engine, replace(asked, request_id="r-2")))
        submitted = await engine.submit(asked)
        hold.released.set()
        told = [await first, await second, await rendered(engine, asked)]
        await engine.close()
        return told, submitted, generator.calls

    told, submitted, calls = run(scenario())
    assert calls["open"] == 1
    assert {event.job_id for events in told for event in of(Accepted, events)} == {submitted.id}
    assert len({of(Done, events)[0].take_id for events in told}) == 1
    assert {sha256_of(audio_of(events)) for events in told} == {of(Done, told[0])[0].sha256}


def test_a_key_outlives_the_server(engine_of):
    asked = request(idempotency_key="k")

    async def scenario(generator):
        engine = engine_of(generator)
        done = of(Done, await rendered(engine, asked))[0]
        await engine.close()
        return done

    first = run(scenario(CountingGenerator()))
    again = CountingGenerator()
    assert run(scenario(again)) == first
    assert not again.calls["step"]


def test_a_drawn_seed_is_no_part_of_what_was_asked(engine_of):
    drawn = [request(idempotency_key="k", plan=Plan(seed=n), seed_drawn=True) for n in (1, 2)]

    async def scenario():
        engine = engine_of()
        told = [await rendered(engine, asked) for asked in drawn]
        await engine.close()
        return told

    told = run(scenario())
    assert [of(Accepted, events)[0].seed for events in told] == [1, 1]


def test_a_key_for_another_request_is_refused_and_free_after_a_cancel(engine_of):
    async def scenario():
        hold = Hold(1)
        engine = engine_of(CountingGenerator(on_step=hold))
        info = await engine.submit(request(idempotency_key="k", detached=True))
        other = request(idempotency_key="k", num_samples=7)
        with pytest.raises(ConflictError, match=f"'k' named another request, the job {info.id}"):
            await rendered(engine, other)
        await waited(hold.reached)
        cancelling = asyncio.create_task(engine.cancel(info.id))
        hold.released.set()
        await cancelling
        done = of(Done, await rendered(engine, other))[0]
        await engine.close()
        return done

    assert run(scenario()).num_samples == 7


def test_a_deadline_that_passes_ends_the_job(engine_of):
    async def scenario():
        hold = Hold(2)
        engine = engine_of(CountingGenerator(on_step=hold))
        events = engine.render(request(num_samples=LONG, deadline_s=0.05, detached=True))
        with pytest.raises(DeadlineError, match=r"within the 0.05 s"):
            async for _ in events:
                pass
        hold.released.set()
        jobs = await engine.jobs()
        await engine.close()
        return jobs

    (job,) = run(scenario())
    assert (job.state, job.error_code) == (JobState.CANCELLED, "DEADLINE_EXCEEDED")


def test_a_deadline_that_is_met_changes_nothing(engine_of):
    assert undisturbed(engine_of, request(deadline_s=3600.0)).num_samples == 20_001


def test_those_who_wait_are_told_their_place_and_when_it_changes(engine_of):
    async def scenario():
        hold = Hold()
        engine = engine_of(CountingGenerator(on_step=hold), max_jobs=1)
        first = asyncio.create_task(rendered(engine, request(num_samples=LONG)))
        await waited(hold.reached)
        others = []
        for waiting in (1, 2):  # the second asks when the first stands in the queue
            others.append(asyncio.create_task(rendered(engine, request())))
            while len(jobs := await engine.jobs()) <= waiting:
                pass
        hold.released.set()
        events = [await first, *[await other for other in others]]
        await engine.close()
        return events, jobs

    events, jobs = run(scenario())
    assert [[event.position for event in of(Queued, one)] for one in events] == [[], [1], [2, 1]]
    second = of(Queued, events[2])
    assert second[0].eta_seconds > of(Queued, events[1])[0].eta_seconds > 0
    assert all(isinstance(one[len(of(Queued, one))], Accepted) for one in events)
    assert sorted(job.position for job in jobs) == [0, 1, 2]
    assert {job.state for job in jobs} == {JobState.QUEUED, JobState.RUNNING}


def order_of(engine_of, asked, **limits) -> list[int]:
    """Return the seeds of the jobs in the order in which they began, after the first."""

    async def scenario():
        hold = Hold()
        generator = CountingGenerator(on_step=hold)
        engine = engine_of(generator, max_jobs=1, **limits)
        first = asyncio.create_task(rendered(engine, request(client_id="first")))
        await waited(hold.reached)
        infos = [await engine.submit(one) for one in asked]
        hold.released.set()
        await asyncio.gather(first, *(watched(engine, info.id) for info in infos))
        await engine.close()
        return list(dict.fromkeys(generator.order))[1:]

    return run(scenario())


def of_client(client: str, seed: int, **changes) -> RenderRequest:
    return request(client_id=client, plan=Plan(seed=seed), **changes)


def test_a_client_that_asks_for_much_waits_behind_its_own_jobs(engine_of):
    asked = [of_client("a", seed) for seed in (11, 12, 13, 14)]
    asked += [of_client("b", 21), of_client("c", 31)]
    assert order_of(engine_of, asked) == [11, 21, 31, 12, 13, 14]


def test_a_long_result_counts_for_more_than_a_short_one(engine_of):
    asked = [of_client("a", 11, num_samples=100_000), of_client("a", 12)]
    asked += [of_client("b", seed) for seed in (21, 22, 23)]
    assert order_of(engine_of, asked) == [11, 21, 22, 23, 12]


def test_a_live_job_does_not_wait_for_the_others(engine_of):
    async def scenario():
        hold = Hold()
        generator = CountingGenerator(on_step=hold)
        engine = engine_of(generator, max_jobs=1)
        offline = asyncio.create_task(rendered(engine, request(num_samples=LONG)))
        await waited(hold.reached)
        waiting = asyncio.create_task(rendered(engine, request(plan=Plan(seed=2))))
        live = asyncio.create_task(rendered(engine, request(plan=Plan(seed=3), live=True)))
        while len([job for job in await engine.jobs() if job.state is JobState.RUNNING]) < 2:
            pass
        hold.released.set()
        events = await live
        order = list(generator.order)
        await asyncio.gather(offline, waiting)
        await engine.close()
        return events, order

    events, order = run(scenario())
    assert of(Queued, events) == []
    steps = [seed for seed in order if seed in (1, 3)]
    first = steps.index(3)
    last = len(steps) - 1 - steps[::-1].index(3)
    assert steps[first : last + 1].count(1) <= 3, "offline steps only where the live job had none"


def test_a_full_queue_says_when_to_try_again(engine_of):
    async def scenario():
        hold = Hold()
        engine = engine_of(CountingGenerator(on_step=hold), max_jobs=1, max_queued=1)
        running = [await engine.submit(request()) for _ in range(2)]
        await waited(hold.reached)
        with pytest.raises(BusyError, match="1 jobs are running and 1 are waiting") as refused:
            await engine.submit(request())
        hold.released.set()
        for info in running:
            await watched(engine, info.id)
        await engine.close()
        return refused.value.retry_after_s

    assert run(scenario()) >= 1.0


def test_one_client_cannot_take_all_places(engine_of):
    async def scenario():
        engine = engine_of(max_jobs=1, max_client_jobs=2)
        infos = [await engine.submit(request(client_id="a", num_samples=LONG)) for _ in range(2)]
        with pytest.raises(BusyError, match="2 jobs of this client"):
            await engine.submit(request(client_id="a"))
        other = await engine.submit(request(client_id="b"))
        for info in (*infos, other):
            await engine.cancel(info.id)
        await engine.close()

    run(scenario())


def test_the_audio_of_those_who_wait_is_bounded(engine_of):
    async def scenario():
        engine = engine_of(max_jobs=1, max_held_bytes=50_000)
        first = await engine.submit(request(num_samples=LONG))
        with pytest.raises(BusyError, match="would hold 72008 bytes of audio, the limit is 50000"):
            await engine.submit(request())
        await engine.cancel(first.id)
        await engine.close()

    run(scenario())


def test_a_job_that_waits_can_be_cancelled(engine_of):
    async def scenario():
        hold = Hold()
        generator = CountingGenerator(on_step=hold)
        engine = engine_of(generator, max_jobs=1)
        first = asyncio.create_task(rendered(engine, request()))
        await waited(hold.reached)
        waiting = await engine.submit(request(plan=Plan(seed=2)))
        ended = await engine.cancel(waiting.id)
        hold.released.set()
        await first
        await engine.close()
        return ended, generator.order

    ended, order = run(scenario())
    assert ended.state is JobState.CANCELLED
    assert 2 not in order


def test_what_is_detached_goes_on_when_the_next_server_starts(engine_of):
    running = request(num_samples=70_001, detached=True)
    waiting = request(plan=Plan(seed=2), detached=True)

    async def scenario():
        hold = Hold(100)
        stopping = engine_of(CountingGenerator(on_step=hold, follows_seed=True), max_jobs=1)
        infos = [await stopping.submit(asked) for asked in (running, waiting)]
        await waited(hold.reached)
        closing = asyncio.create_task(stopping.close())
        hold.released.set()
        await closing
        generator = CountingGenerator(follows_seed=True)
        heir = engine_of(generator)
        assert await heir.resume() == 2
        done = [of(Done, await watched(heir, info.id))[0].sha256 for info in infos]
        await heir.close()
        return done, generator.calls["step"]

    done, steps = run(scenario())
    assert done == [undisturbed(engine_of, asked).sha256 for asked in (running, waiting)]
    assert steps < 280 - 90, "the first one went on from where it was"


def test_draining_lets_jobs_end(engine_of):
    async def scenario():
        engine = engine_of()
        reading = asyncio.create_task(rendered(engine, request()))
        while not await engine.jobs():
            pass
        await engine.drain(WAIT_SECONDS)
        with pytest.raises(StoppingError):
            await rendered(engine, request())
        done = of(Done, await reading)
        await engine.close()
        return done

    assert run(scenario())


def test_a_result_can_be_made_from_nothing(engine_of):
    async def scenario():
        generator = CountingGenerator()
        engine = engine_of(generator)
        source = Nothing(num_channels=2, start_sample=777)
        events = await rendered(engine, request(source=source, sample_rate=48_000))
        await engine.close()
        return events, generator

    events, generator = run(scenario())
    accepted = of(Accepted, events)[0]
    assert (accepted.anchor_sample, accepted.splice_sample) == (777, 777)
    assert audio_of(events).shape == (2, 20_001)
    assert not generator.calls["feed"] + generator.calls["fidelity"]
    due = np.arange(20_001) * (RATE / 48_000)
    off = audio_of(events)[0].astype(np.float64) * 2**24 - due
    assert np.max(np.abs(off[200:])) < 0.25


def test_a_model_is_told_where_the_result_ends(engine_of):
    async def scenario():
        generator = CountingGenerator()
        engine = engine_of(generator)
        await rendered(engine, request(anchor_sample=0))
        await engine.close()
        return generator.ends

    (end,) = run(scenario())
    assert end == 29_002


def test_codes_are_refused_by_a_model_that_cannot_upsample(engine_of):
    codes = StoredCodes(levels=(LevelCodes(level=2, codes=np.zeros(9, np.int16)),))
    with pytest.raises(UnsupportedError, match="source:codes"):
        undisturbed(engine_of, request(source=codes))


async def made_then(engine, asked, then) -> tuple[Done, list]:
    """Return a take, and the events of what departs from it."""
    done = of(Done, await rendered(engine, asked))[0]
    return done, await rendered(engine, then(done.take_id))


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_a_take_gone_on_with_is_the_longer_take(engine_of, rate):
    asked = request(sample_rate=rate, plan=Plan(seed=5))

    async def scenario():
        generator = CountingGenerator(follows_seed=True)
        engine = engine_of(generator)
        first, events = await made_then(
            engine, asked, lambda take: replace(asked, source=TakePoint(take_id=take))
        )
        whole = audio_of(await rendered(engine, replace(asked, num_samples=40_002)))
        entry = engine.store.entry(of(Done, events)[0].take_id)
        await engine.close()
        return first, events, whole, entry, generator

    first, events, whole, entry, generator = run(scenario())
    assert of(Accepted, events)[0].splice_sample == 9_001 + 20_001
    np.testing.assert_allclose(audio_of(events), whole[:, 20_001:], atol=2**-26)
    assert (entry.take.parent, entry.take.departure_sample) == (first.take_id, 29_002)
    assert generator.calls["rewind"] == 0
    assert generator.calls["feed"] == 5 + 1, "what is made is never fed, what was heard is known"


def test_another_seed_departs_from_a_take_at_the_sample(engine_of):
    asked = request(plan=Plan(seed=5), anchor_sample=0)
    departure = 9_001 + 10_000

    def vary(take):
        source = TakePoint(take_id=take, departure_sample=departure)
        return replace(
            asked, source=source, plan=Plan(seed=7), num_samples=5_000, anchor_sample=None
        )

    async def scenario():
        engine = engine_of()
        _, events = await made_then(engine, asked, vary)
        await engine.close()
        return events

    audio = audio_of(run(scenario()))[0]
    boundary = departure // 128 * 128
    assert boundary < departure
    np.testing.assert_array_equal(audio, ramp(departure, 5_000, offset=7))


def test_what_departs_at_the_end_departs_there(engine_of):
    asked = request(plan=Plan(seed=5), anchor_sample=0, num_samples=20_039 + 128 - 120)

    def go_on(take):
        end = 9_001 + asked.num_samples
        source = TakePoint(take_id=take, departure_sample=end)
        return replace(asked, source=source, plan=Plan(seed=7), num_samples=500, anchor_sample=None)

    async def scenario():
        engine = engine_of()
        _, events = await made_then(engine, asked, go_on)
        await engine.close()
        return events

    audio = audio_of(run(scenario()))[0]
    np.testing.assert_array_equal(audio, ramp(9_001 + asked.num_samples, 500, offset=7))


def test_level_and_image_of_a_take_go_on(engine_of):
    class Tone(CountingGenerator):
        def decode(self, state, block):
            positions = np.round(super().decode(state, block) * 2**24)
            return 0.1 * np.sin(2 * np.pi * 441 * positions / RATE).astype(np.float32)

    tone = 0.2 * np.sin(2 * np.pi * 441 * np.arange(9_001) / RATE).astype(np.float32)
    loud = Prime(samples=np.stack([1.4 * tone, 0.6 * tone]))
    asked = request(source=loud, anchor_sample=0)

    async def scenario():
        engine = engine_of(Tone())
        first, events = await made_then(
            engine,
            asked,
            lambda take: replace(asked, source=TakePoint(take_id=take), anchor_sample=None),
        )
        before = [event async for event in engine.play(first.take_id)]
        await engine.close()
        return first, audio_of(before), of(Done, events)[0], audio_of(events)

    first, before, done, after = run(scenario())
    assert done.gain_db == pytest.approx(first.gain_db, abs=1e-6)
    assert first.gain_db == pytest.approx(20 * np.log10(2), abs=0.1)
    # A period later, across the seam, each channel is where it was.
    np.testing.assert_allclose(after[:, :90], before[:, -100:-10], atol=1e-4)
    assert np.max(before[0]) > 2 * np.max(before[1])


REFUSED = {
    "rate": ({"sample_rate": 48_000}, InvalidRequestError, "48000 Hz, the take .* has 44100 Hz"),
    "quality": (
        {"plan": Plan(seed=1, quality=Quality.TEACHER)},
        InvalidRequestError,
        "quality is teacher",
    ),
    "conditions": (
        {"conditions": Conditions(labels=Labels(artist="Bach"))},
        UnsupportedError,
        "its own conditions",
    ),
    "early": ({"departure": 9_000}, InvalidRequestError, "sample 9000, allowed .* 9001 to 29002"),
    "late": ({"departure": 29_003}, InvalidRequestError, "sample 29003"),
    "anchor": ({"anchor_sample": 17}, InvalidRequestError, "at sample 17, the code grid of what"),
    "unknown": ({"take": "nowhere"}, NotFoundError, "'nowhere'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_take_does_not_allow_is_refused(engine_of, case):
    changes, kind, words = REFUSED[case]
    changes = dict(changes)
    take, departure = changes.pop("take", None), changes.pop("departure", None)

    async def scenario():
        engine = engine_of()
        with pytest.raises(kind, match=words):
            await made_then(
                engine,
                request(),
                lambda made: request(
                    source=TakePoint(take_id=take or made, departure_sample=departure), **changes
                ),
            )
        await engine.close()

    run(scenario())


def test_a_model_that_cannot_rewind_goes_on_at_the_end_alone(engine_of):
    able = ALL_CONDITIONS - {"rewind"}

    async def scenario():
        engine = engine_of(CountingGenerator(counting_info(supports=able), follows_seed=True))
        done = of(Done, await rendered(engine, request()))[0]
        source = TakePoint(take_id=done.take_id)
        on = of(Done, await rendered(engine, request(source=source, plan=Plan(seed=9))))
        with pytest.raises(UnsupportedError, match="cannot leave a take at a sample"):
            await rendered(engine, request(source=replace(source, departure_sample=10_000)))
        await engine.close()
        return on

    assert run(scenario())


def test_a_take_is_played_and_exported_as_it_was_made(engine_of, tmp_path):
    async def scenario():
        engine = engine_of()
        done = of(Done, await rendered(engine, request(source=STEREO, sample_rate=48_000)))[0]
        played = [event async for event in engine.play(done.take_id)]
        part = [event async for event in engine.play(done.take_id, 20_000)]
        path = await engine.export(done.take_id)
        again = await engine.export(done.take_id)
        await engine.close()
        return done, played, part, path, again

    done, played, part, path, again = run(scenario())
    whole = audio_of(played)
    assert sha256_of(whole) == done.sha256 == sha256_of(read_audio(path).samples)
    np.testing.assert_array_equal(audio_of(part), whole[:, 20_000 - 9_001 :])
    assert path == again == tmp_path / "spool" / "results" / f"{done.take_id}.wav"


def test_a_take_of_another_model_is_not_played(engine_of):
    async def scenario():
        engine = engine_of()
        done = of(Done, await rendered(engine, request()))[0]
        await engine.close()
        other = engine_of(CountingGenerator(counting_info(fingerprint="counting-2")))
        with pytest.raises(NotReadyError, match=r"counting-1.*counting-2"):
            async with aclosing(other.play(done.take_id)) as events:
                await anext(events)
        with pytest.raises(NotReadyError, match=r"counting-1.*counting-2"):
            await rendered(other, request(source=TakePoint(take_id=done.take_id)))
        await other.close()

    run(scenario())
