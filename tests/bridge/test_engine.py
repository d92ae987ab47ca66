import asyncio
import itertools
import threading
from contextlib import aclosing
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from fakes import ALL_CONDITIONS, PHASES, CountingGenerator, CountingState, counting_info, ramp

from bridge.audio_file import read_audio, read_time_reference, sha256_of
from bridge.engine import Engine, EngineLimits
from bridge.errors import (
    BusyError,
    InvalidRequestError,
    NotFoundError,
    StoppingError,
    UnsupportedError,
)
from bridge.ports import (
    Conditions,
    Labels,
    MidiPart,
    Plan,
    Quality,
    Section,
    Stem,
    StemKind,
    StepResult,
    Suffix,
    Timing,
)
from bridge.request import (
    SAMPLE_RATES,
    Accepted,
    AudioBlock,
    Done,
    Prime,
    Progress,
    RenderRequest,
)
from bridge.splice import FADE_SECONDS, joined
from bridge.store import TakeStore

MODEL_RATE = 44_100
SCALE = 2**24
WAIT_SECONDS = 30
LONG = 400_000


def request(prime=None, prime_start_sample=0, **changes) -> RenderRequest:
    """Return a request with a silent prime: its level asks for no gain, so positions stay exact."""
    values = {
        "request_id": "r-1",
        "sample_rate": MODEL_RATE,
        "source": Prime(
            samples=np.zeros((1, 5_001), np.float32) if prime is None else prime,
            start_sample=prime_start_sample,
        ),
        "num_samples": 20_001,
        "plan": Plan(seed=1),
        "conditions": Conditions(),
    }
    return RenderRequest(**{**values, **changes})


@pytest.fixture
def engine_of(tmp_path):
    """Return a maker of engines over one store."""

    def make(generator, **limits) -> Engine[CountingState]:
        store = TakeStore(tmp_path / "spool")
        ticks = itertools.count()
        return Engine(
            generator, store=store, clock=lambda: next(ticks) / 1000, limits=EngineLimits(**limits)
        )

    return make


def run(scenario):
    """Run a coroutine to its end, or fail instead of hanging."""
    return asyncio.run(asyncio.wait_for(scenario, WAIT_SECONDS))


async def rendered(engine, asked) -> list:
    return [event async for event in engine.render(asked)]


async def rendered_alone(engine, asked) -> list:
    events = await rendered(engine, asked)
    await engine.close()
    return events


async def waited(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, WAIT_SECONDS)


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def audio_of(events):
    return np.concatenate([block.samples for block in of(AudioBlock, events)], axis=1)


class Hold:
    """A step that waits until it is let go."""

    def __init__(self, at_step: int = 0) -> None:
        self.reached, self.released = threading.Event(), threading.Event()
        self._at_step = at_step

    def __call__(self, step: int) -> None:
        if step == self._at_step:
            self.reached.set()
            assert self.released.wait(WAIT_SECONDS)


def fail_at(step: int):
    def hook(now: int) -> None:
        if now == step:
            raise RuntimeError("the model broke")

    return hook


@pytest.mark.parametrize("num_samples", [1, 9_973, 60_001])
@pytest.mark.parametrize("prime_samples", [1, 127, 5_001, 61_003])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_every_result_sample_lies_where_it_belongs(
    engine_of, rate, channels, prime_samples, num_samples
):
    prime = np.zeros((channels, prime_samples), np.float32)
    start = 1_000_003
    asked = request(
        sample_rate=rate, prime=prime, prime_start_sample=start, num_samples=num_samples
    )
    events = run(rendered_alone(engine_of(CountingGenerator()), asked))
    accepted, done = of(Accepted, events)[0], of(Done, events)[0]
    audio = audio_of(events)
    assert audio.shape == (channels, num_samples) == (channels, done.num_samples)
    assert accepted.splice_sample == start + prime_samples
    due = accepted.splice_sample - accepted.anchor_sample + np.arange(num_samples)
    if rate == MODEL_RATE:
        np.testing.assert_array_equal(audio[0], (due / SCALE).astype(np.float32))
    else:
        # float32 and the filter's ripple leave a part of a sample; a slip would be a whole one.
        off = audio[0].astype(np.float64) * SCALE - due * (MODEL_RATE / rate)
        assert np.max(np.abs(off)) < 0.25
    np.testing.assert_array_equal(audio[0], audio[-1])


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_blocks_follow_each_other_from_the_splice_on(engine_of, rate):
    events = run(rendered_alone(engine_of(CountingGenerator()), request(sample_rate=rate)))
    blocks = of(AudioBlock, events)
    starts = [block.start_sample for block in blocks]
    lengths = [block.samples.shape[1] for block in blocks]
    assert starts == [5_001 + sum(lengths[:n]) for n in range(len(blocks))]
    assert min(lengths) > 0
    assert len(blocks) > 3


@pytest.mark.parametrize("block_samples", [128, 1_000, 4_096, 65_536])
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_the_model_block_size_changes_no_byte(engine_of, rate, block_samples):
    info = counting_info(block_samples=block_samples)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 30_001)).astype(np.float32)
    asked = request(sample_rate=rate, prime=noise)
    events = run(rendered_alone(engine_of(CountingGenerator(info)), asked))
    usual = run(rendered_alone(engine_of(CountingGenerator()), asked))
    assert not np.array_equal(audio_of(events)[0], audio_of(events)[1])
    assert of(Done, events)[0].sha256 == of(Done, usual)[0].sha256


@pytest.mark.parametrize("lookahead_samples", [0, 1, 882])
def test_a_model_that_looks_ahead_still_fills_the_whole_result(engine_of, lookahead_samples):
    info = counting_info(lookahead_samples=lookahead_samples)
    events = run(rendered_alone(engine_of(CountingGenerator(info)), request()))
    assert audio_of(events).shape == (1, 20_001)


def test_the_hash_names_the_bytes_that_were_streamed(engine_of):
    asked = request(prime=np.zeros((2, 5_001), np.float32))
    events = run(rendered_alone(engine_of(CountingGenerator()), asked))
    assert of(Done, events)[0].sha256 == sha256_of(audio_of(events))


def test_the_model_hears_the_mid_of_the_prime_once_and_whole(engine_of):
    generator = CountingGenerator()
    left, right = ramp(0, 5_001), ramp(2_000, 5_001)
    asked = request(prime=np.stack([left, right]), anchor_sample=0)
    run(rendered_alone(engine_of(generator), asked))
    np.testing.assert_array_equal(np.concatenate(generator.fed), (left + right) / 2)
    assert [part.shape[0] for part in generator.fed] == [2_048, 2_048, 905]


@pytest.mark.parametrize("rate", SAMPLE_RATES)
@pytest.mark.parametrize("prime_samples", [129, 5_001, 200_001])
def test_the_chosen_anchor_ends_the_prime_on_a_frame(engine_of, rate, prime_samples):
    info = counting_info(context_samples=50_000)
    generator = CountingGenerator(info)
    asked = request(sample_rate=rate, prime=np.zeros((1, prime_samples), np.float32), num_samples=9)
    events = run(rendered_alone(engine_of(generator), asked))
    fed = sum(part.shape[0] for part in generator.fed)
    whole = min(info.context_samples, prime_samples * Fraction(MODEL_RATE, rate))
    frames = int(whole // info.frame_samples)
    lost = fed - frames * info.frame_samples
    assert frames == 0 or 0 <= lost <= 1
    assert fed <= info.context_samples
    assert of(Accepted, events)[0].anchor_sample >= 0


@pytest.mark.parametrize("anchor", [-1, 5_001, 5_002])
def test_an_anchor_outside_the_prime_is_refused(engine_of, anchor):
    generator = CountingGenerator()
    with pytest.raises(InvalidRequestError, match=f"at sample {anchor}, .* 0 to 5000"):
        run(rendered_alone(engine_of(generator), request(anchor_sample=anchor)))
    assert not generator.calls


def test_a_given_anchor_is_kept(engine_of):
    generator = CountingGenerator()
    events = run(rendered_alone(engine_of(generator), request(anchor_sample=123)))
    assert of(Accepted, events)[0].anchor_sample == 123
    assert [anchor for _, anchor in generator.opened] == [123]
    np.testing.assert_array_equal(audio_of(events)[0], ramp(5_001 - 123, 20_001))


def test_only_blocks_that_are_heard_are_decoded_and_each_once(engine_of):
    generator = CountingGenerator(counting_info(context_samples=400_000))
    asked = request(prime=np.zeros((1, 300_001), np.float32))
    events = run(rendered_alone(engine_of(generator), asked))
    anchor = of(Accepted, events)[0].anchor_sample
    first = (300_001 - anchor - MODEL_RATE) // 1_024
    last = (300_001 + 20_000 - anchor) // 1_024
    assert generator.decoded == list(range(first, last + 1))


def test_prime_lead_in_and_result_join_without_touching_the_prime(engine_of):
    prime = ramp(0, 5_001)[None]
    events = run(
        rendered_alone(engine_of(CountingGenerator()), request(prime=prime, anchor_sample=0))
    )
    lead_in = of(Done, events)[0].lead_in
    fade = round(FADE_SECONDS * 44_100)
    assert lead_in.shape == (1, fade)
    whole = joined(prime, lead_in, audio_of(events), fade)
    np.testing.assert_array_equal(whole[:, : 5_001 - fade], prime[:, : 5_001 - fade])
    np.testing.assert_array_equal(whole[:, 5_001:], audio_of(events))
    np.testing.assert_allclose(whole[0] * SCALE, np.arange(25_002), atol=0.01)


def test_the_same_request_and_seed_give_the_same_bytes_and_another_seed_others(engine_of):
    def made(seed):
        generator = CountingGenerator(follows_seed=True)
        asked = request(sample_rate=48_000, plan=Plan(seed=seed))
        return of(Done, run(rendered_alone(engine_of(generator), asked)))[0]

    assert made(7).sha256 == made(7).sha256
    assert made(7).take_id == made(7).take_id
    assert made(7).sha256 != made(8).sha256


def test_jobs_beside_each_other_take_turns_and_give_the_bytes_they_give_alone(engine_of):
    asked = [
        request(plan=Plan(seed=seed), sample_rate=rate, num_samples=LONG)
        for seed, rate in ((1, 44_100), (2, 48_000), (3, 96_000))
    ]

    def alone(one):
        generator = CountingGenerator(follows_seed=True)
        return of(Done, run(rendered_alone(engine_of(generator), one)))[0].sha256

    async def together():
        hold = Hold()
        generator = CountingGenerator(follows_seed=True, on_step=hold)
        engine = engine_of(generator)
        tasks = [asyncio.create_task(rendered(engine, one)) for one in asked]
        await waited(hold.reached)
        hold.released.set()
        results = [of(Done, await task)[0].sha256 for task in tasks]
        await engine.close()
        return results, generator.order

    results, order = run(together())
    assert results == [alone(one) for one in asked]
    counts = [order.count(seed) for seed in (1, 2, 3)]
    together = order[max(order.index(seed) for seed in (1, 2, 3)) :]
    shared = together[: 2 * min(counts)]
    assert len(shared) > min(counts)
    assert all(abs(shared.count(a) - shared.count(b)) <= 8 for a, b in ((1, 2), (2, 3), (1, 3)))


def test_the_model_goes_on_while_a_block_is_decoded(engine_of):
    stepped = threading.Event()

    def on_step(step: int) -> None:
        if step == 6:
            stepped.set()

    def on_decode(block: int) -> None:
        del block
        assert stepped.wait(WAIT_SECONDS), "no step while the first block was decoded"

    generator = CountingGenerator(on_step=on_step, on_decode=on_decode)
    events = run(rendered_alone(engine_of(generator), request()))
    assert of(Done, events)
    assert generator.threads["step"].isdisjoint(generator.threads["decode"])


def test_no_model_call_runs_on_the_event_loop(engine_of):
    generator = CountingGenerator()

    async def scenario():
        engine = engine_of(generator)
        await engine.warm_up()
        await rendered_alone(engine, request())

    run(scenario())
    called = {"open", "feed", "step", "decode", "fidelity", "warm_up"}
    assert called <= set(generator.threads)
    for name in called:
        assert threading.current_thread().name not in generator.threads[name]
        assert len(generator.threads[name]) == 1


def test_a_slow_reader_holds_its_own_job_and_no_other(engine_of):
    async def scenario():
        generator = CountingGenerator()
        engine = engine_of(generator, max_events=4)
        slow = engine.render(request(plan=Plan(seed=1), num_samples=LONG))
        await anext(slow)
        quick = await rendered(engine, request(plan=Plan(seed=2)))
        ahead = generator.order.count(1)
        await rendered(engine, request(plan=Plan(seed=3)))
        later = generator.order.count(1)
        await slow.aclose()
        await engine.close()
        return of(Done, quick), ahead, later

    done, ahead, later = run(scenario())
    assert done
    assert ahead == later < LONG * len(PHASES) // 1_024


def test_closing_a_call_stops_the_step_loop(engine_of):
    async def scenario():
        hold = Hold(at_step=10)
        generator = CountingGenerator(on_step=hold)
        engine = engine_of(generator)
        events = engine.render(request(num_samples=LONG))
        assert isinstance(await anext(events), Accepted)
        reading = asyncio.create_task(read_on(events))
        await waited(hold.reached)
        reading.cancel()
        await asyncio.wait([reading])
        await events.aclose()
        assert engine.stats().running_jobs == 0
        hold.released.set()
        await engine.idle()
        steps, decodes = generator.calls["step"], generator.calls["decode"]
        # Another job comes and goes; of the first one nothing moves any more.
        await rendered(engine, request(plan=Plan(seed=2)))
        stats = engine.stats()
        await engine.close()
        return steps, decodes, generator.order.count(1), stats

    steps, decodes, ended_at, stats = run(scenario())
    assert steps == ended_at == 11
    assert decodes < 20
    assert (stats.cancelled_jobs, stats.done_jobs, stats.failed_jobs) == (1, 1, 0)


async def read_on(events) -> None:
    async for _ in events:
        pass


def test_closing_a_call_while_the_prime_is_fed_stops_the_feeding(engine_of):
    info = counting_info(context_samples=10**7, feed_samples=256)

    async def scenario():
        generator = CountingGenerator(info)
        engine = engine_of(generator)
        events = engine.render(request(prime=np.zeros((1, LONG), np.float32)))
        await anext(events)
        await events.aclose()
        await engine.idle()
        fed = generator.calls["feed"]
        await engine.close()
        return fed, generator.calls

    fed, calls = run(scenario())
    assert fed == calls["feed"] < LONG // 256 // 2
    assert not calls["step"]


def test_a_detached_job_ends_without_a_listener_and_is_kept(engine_of, tmp_path):
    async def scenario():
        generator = CountingGenerator()
        engine = engine_of(generator, max_events=2)
        async with aclosing(engine.render(request(detached=True))) as events:
            await anext(events)
        assert engine.stats().running_jobs == 1
        await engine.idle()
        stats = engine.stats()
        await engine.close()
        return stats

    stats = run(scenario())
    assert (stats.done_jobs, stats.cancelled_jobs) == (1, 0)
    store = TakeStore(tmp_path / "spool")
    kept = [store.load(name) for name in store.ids()]
    usual = run(rendered_alone(engine_of(CountingGenerator()), request()))
    assert [take.sha256 for take in kept] == [of(Done, usual)[0].sha256]


def test_a_closing_engine_ends_its_jobs_and_takes_no_more(engine_of):
    async def scenario():
        hold = Hold(at_step=3)
        engine = engine_of(CountingGenerator(on_step=hold))
        running = asyncio.create_task(rendered(engine, request(num_samples=LONG)))
        left = engine.render(request(plan=Plan(seed=2), num_samples=LONG, detached=True))
        await anext(left)
        await left.aclose()
        await waited(hold.reached)
        closing = asyncio.create_task(engine.close())
        hold.released.set()
        with pytest.raises(StoppingError, match="closed before"):
            await running
        await closing
        with pytest.raises(StoppingError, match="no more requests"):
            await anext(engine.render(request()))
        return engine.stats(), engine.ready

    stats, ready = run(scenario())
    assert (stats.running_jobs, stats.cancelled_jobs, ready) == (0, 2, False)


@pytest.mark.parametrize("where", ["on_step", "on_decode"])
def test_a_failure_of_the_model_reaches_the_caller_and_leaves_the_engine_usable(engine_of, where):
    async def scenario():
        generator = CountingGenerator(**{where: fail_at(4)})
        engine = engine_of(generator)
        with pytest.raises(RuntimeError, match="the model broke"):
            await rendered(engine, request(num_samples=10 * LONG))
        await engine.idle()
        steps = generator.calls["step"]
        events = await rendered(engine, request(num_samples=9))
        stats = engine.stats()
        await engine.close()
        return steps, events, stats

    steps, events, stats = run(scenario())
    assert steps < 10 * LONG * len(PHASES) // 1_024 // 2
    assert of(Done, events)[0].num_samples == 9
    assert (stats.failed_jobs, stats.done_jobs) == (1, 1)


def test_a_failure_without_a_listener_is_logged(engine_of, caplog):
    async def scenario():
        hold = Hold(at_step=0)
        generator = CountingGenerator(on_step=lambda step: (hold(step), fail_at(1)(step)))
        engine = engine_of(generator)
        events = engine.render(request(detached=True))
        await anext(events)
        await events.aclose()
        hold.released.set()
        await engine.idle()
        await engine.close()

    run(scenario())
    assert "nobody listens" in caplog.text
    assert "the model broke" in caplog.text


def test_an_unknown_label_is_the_generators_to_refuse(engine_of):
    class Strict(CountingGenerator):
        def open(self, conditions, anchor_sample, end_sample):
            raise NotFoundError(f"no artist is named {conditions.labels.artist!r}")

    generator = Strict()
    asked = request(conditions=Conditions(labels=Labels(artist="Nobody")))
    with pytest.raises(NotFoundError, match="'Nobody'"):
        run(rendered_alone(engine_of(generator), asked))
    assert not generator.calls["feed"]


def test_a_generator_that_never_gets_on_is_a_fault_and_no_endless_loop(engine_of):
    class Stalled(CountingGenerator):
        def step(self, states, plan):
            super().step(states, plan)
            return [StepResult(state=state, phase="top") for state in states]

    with pytest.raises(RuntimeError, match=r"settled \d+ model samples in \d+ steps"):
        run(rendered_alone(engine_of(Stalled()), request(num_samples=9)))


SILENCE = np.zeros(64, np.float32)
DEMANDS = {
    "artist": Conditions(labels=Labels(artist="Bach")),
    "genre": Conditions(labels=Labels(genre="Chorale")),
    "timing": Conditions(timing=Timing(total_samples=99, offset_samples=1)),
    "midi": Conditions(midi=MidiPart(notes=(), start_sample=0, end_sample=9)),
    "stems": Conditions(stems=(Stem(kind=StemKind.BASS, start_sample=0, samples=SILENCE),)),
    "target:drums": Conditions(target=StemKind.DRUMS),
    "target:mix": Conditions(),
    "suffix": Conditions(suffix=Suffix(start_sample=9, samples=SILENCE)),
    "energy": Conditions(energy_per_bar=(0.5,)),
    "density": Conditions(density_per_bar=(0.5,)),
    "sections": Conditions(sections=(Section(name="A", start_sample=0, end_sample=9),)),
    "lyrics": Conditions(lyrics="la"),
}
PLANS = {
    "guidance": Plan(seed=1, guidance=2.0),
    "quality:fast": Plan(seed=1),
    "quality:teacher": Plan(seed=1, quality=Quality.TEACHER),
}


@pytest.mark.parametrize("name", [*DEMANDS, *PLANS])
def test_what_the_model_cannot_use_is_refused_by_name_before_any_work(engine_of, name):
    asked = request(conditions=DEMANDS.get(name, Conditions()), plan=PLANS.get(name, Plan(seed=1)))
    able = CountingGenerator()
    assert of(Done, run(rendered_alone(engine_of(able), asked)))
    unable = CountingGenerator(counting_info(supports=ALL_CONDITIONS - {name}))
    with pytest.raises(UnsupportedError, match=f"counting cannot use: {name};"):
        run(rendered_alone(engine_of(unable), asked))
    assert not unable.calls


def test_all_that_is_missing_is_named_at_once(engine_of):
    generator = CountingGenerator(counting_info(supports=frozenset({"quality:fast"})))
    asked = request(conditions=replace(DEMANDS["midi"], lyrics="la"))
    with pytest.raises(
        UnsupportedError, match="midi, target:mix, lyrics, source:prime; it can use: qua"
    ):
        run(rendered_alone(engine_of(generator), asked))


def test_more_jobs_than_the_limit_are_refused_until_one_ends(engine_of):
    async def scenario():
        hold = Hold()
        engine = engine_of(CountingGenerator(on_step=hold), max_jobs=2, max_queued=0)
        running = [asyncio.create_task(rendered(engine, request())) for _ in range(2)]
        await waited(hold.reached)
        with pytest.raises(
            BusyError, match="2 jobs are running and 0 are waiting, the limit is 0 w"
        ):
            await rendered(engine, request())
        hold.released.set()
        await asyncio.gather(*running)
        events = await rendered(engine, request())
        await engine.close()
        return events

    assert of(Done, run(scenario()))


def test_another_model_is_not_found(engine_of):
    with pytest.raises(NotFoundError, match="'other'; loaded: counting"):
        run(rendered_alone(engine_of(CountingGenerator()), request(model="other")))


def test_a_file_before_sample_0_is_refused_before_any_work(engine_of):
    generator = CountingGenerator()
    asked = request(prime_start_sample=-9_999, write_file=True)
    with pytest.raises(InvalidRequestError, match="begin at sample -4998"):
        run(rendered_alone(engine_of(generator), asked))
    assert not generator.calls


@pytest.mark.parametrize("name", ["max_jobs", "max_events"])
def test_a_limit_below_one_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0, at least 1"):
        EngineLimits(**{name: 0})


def test_accepted_comes_first_and_done_last(engine_of):
    events = run(rendered_alone(engine_of(CountingGenerator()), request(plan=Plan(seed=2**64 - 1))))
    kinds = [type(event) for event in events]
    assert kinds[0] is Accepted
    assert kinds[-1] is Done
    assert set(kinds[1:-1]) == {Progress, AudioBlock}
    accepted = events[0]
    assert accepted.seed == 2**64 - 1
    assert accepted.expected_samples == 20_001
    assert (accepted.model, accepted.fingerprint) == ("counting", "counting-1")


def test_progress_counts_up_to_its_total(engine_of):
    events = run(rendered_alone(engine_of(CountingGenerator()), request(num_samples=LONG)))
    steps = of(Progress, events)
    counts = [progress.step for progress in steps]
    assert counts == sorted(counts)
    assert {progress.total_steps for progress in steps} == {counts[-1]}
    assert steps[-1].eta_seconds == 0
    assert set(PHASES) <= {progress.phase for progress in steps}
    middle = steps[len(steps) // 2]
    assert middle.eta_seconds > 0
    assert 0.3 < middle.step / middle.total_steps < 0.7


@pytest.mark.parametrize(("known", "warned"), [(0.2, True), (0.9, False)])
def test_a_sound_outside_of_what_the_model_knows_is_told(engine_of, known, warned):
    generator = CountingGenerator()
    generator.known = known
    accepted = of(Accepted, run(rendered_alone(engine_of(generator), request())))[0]
    assert accepted.codec_fidelity == known
    assert ("0.20 of 1" in accepted.advice) is warned
    assert bool(accepted.advice) is warned


def test_figures_come_from_the_clock_that_was_given(tmp_path):
    now = itertools.count()

    async def scenario():
        engine = Engine(
            CountingGenerator(),
            store=TakeStore(tmp_path),
            clock=lambda: float(next(now)),
            limits=EngineLimits(),
        )
        return await rendered_alone(engine, request(num_samples=MODEL_RATE))

    done = of(Done, run(scenario()))[0]
    seconds = 1 / done.rtf
    assert 10 < seconds < next(now)
    assert 1_000 < done.first_audio_ms < 1_000 * seconds


def test_a_take_holds_what_makes_it_again(engine_of, tmp_path):
    generator = CountingGenerator(follows_seed=True)
    done = of(Done, run(rendered_alone(engine_of(generator), request(plan=Plan(seed=5)))))[0]
    take = TakeStore(tmp_path / "spool").load(done.take_id)
    assert (take.seed, take.sha256, take.num_samples) == (5, done.sha256, 20_001)
    assert take.fingerprint == "counting-1"
    restored = generator.restore(take.codes)
    np.testing.assert_array_equal(generator.decode(restored, 7), ramp(7 * 1_024, 1_024, offset=5))


@pytest.mark.parametrize("channels", [1, 2])
def test_the_file_holds_the_streamed_bytes_at_the_splice(engine_of, channels):
    prime = np.zeros((channels, 5_001), np.float32)
    asked = request(prime=prime, prime_start_sample=777, write_file=True, sample_rate=48_000)
    events = run(rendered_alone(engine_of(CountingGenerator()), asked))
    done = of(Done, events)[0]
    clip = read_audio(done.path)
    assert sha256_of(clip.samples) == done.sha256
    assert clip.sample_rate == 48_000
    assert read_time_reference(done.path) == 777 + 5_001
    assert [path.name for path in done.path.parent.iterdir()] == [f"{done.take_id}.wav"]


def test_no_file_is_written_unasked(engine_of, tmp_path):
    done = of(Done, run(rendered_alone(engine_of(CountingGenerator()), request())))[0]
    assert done.path is None
    assert not list((tmp_path / "spool").rglob("*.wav"))


def test_the_engine_is_ready_once_it_is_warm(engine_of):
    async def scenario():
        generator = CountingGenerator()
        engine = engine_of(generator)
        before = engine.ready
        await engine.warm_up()
        after = engine.ready
        await engine.close()
        return before, after, engine.ready, generator.calls["warm_up"]

    assert run(scenario()) == (False, True, False, 1)


def test_live_work_with_patience_lets_go_first_what_is_due_sooner(engine_of):
    order = []

    async def scenario():
        engine = engine_of(CountingGenerator())
        held = threading.Event()
        first = asyncio.create_task(engine.on_model("held", lambda model: held.wait(5)))
        await asyncio.sleep(0)
        asked = [
            asyncio.create_task(engine.on_model(name, lambda model, it=name: order.append(it), s))
            for name, s in (("patient", 60.0), ("less", 30.0), ("urgent", 0.0))
        ]
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(first, *asked)
        await engine.close()

    run(scenario())
    assert order == ["urgent", "less", "patient"]
