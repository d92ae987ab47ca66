"""An imported model through the real engine: whole pieces, stopped, resumed, refused in time."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from bridge.admission import EngineLimits
from bridge.app.door import TranslatedGenerator
from bridge.app.published import load_published
from bridge.codes_file import from_bytes
from bridge.engine import Engine
from bridge.errors import (
    InvalidRequestError,
    JobCancelledError,
    NotFoundError,
    UnsupportedError,
)
from bridge.jobs import JobState
from bridge.live import LiveSession, LiveSetup
from bridge.ports import (
    Conditions,
    Labels,
    LevelPlan,
    MidiPart,
    Note,
    Plan,
    Quality,
    Stem,
    StemKind,
    Timing,
    Voice,
)
from bridge.request import (
    Accepted,
    AudioBlock,
    Done,
    Nothing,
    Prime,
    Progress,
    RenderRequest,
    StoredCodes,
    TakePoint,
)
from bridge.store import TakeStore
from model.importing import import_model
from tests.published import CONTEXT, RATE, imported_folder, shrink, trained_folder, write_files

PLAN = Plan(seed=7, quality=Quality.TEACHER, temperature=3.0)
SAMPLES = 1_300


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Return what imports a small model under a released name and gives its folder."""

    def make(name="5b", ids=None):
        shrink(monkeypatch, name)
        if ids is None:
            return imported_folder(name)
        files = write_files(tmp_path / f"files-{name}", name)
        return import_model(files, tmp_path / "models", name, ids=ids).folder

    return make


@pytest.fixture
def port(imported):
    """Return what gives an imported model behind the port."""
    return lambda name="5b", ids=None: TranslatedGenerator(load_published(imported(name, ids)))


def request(**changes):
    facts = {
        "request_id": "r",
        "sample_rate": RATE,
        "source": Nothing(),
        "num_samples": SAMPLES,
        "plan": PLAN,
        "conditions": Conditions(),
    }
    return RenderRequest(**facts | changes)


def tune(samples):
    return (0.3 * np.sin(np.arange(samples) / 9)).astype(np.float32)[None]


def on_engine(generator, folder, scenario, **limits):
    """Return what a scenario gives that has an engine on a folder."""

    async def run():
        store = TakeStore(folder)
        engine = Engine(
            generator, store=store, clock=lambda: 0.0, limits=EngineLimits(max_jobs=1, **limits)
        )
        try:
            return await scenario(engine)
        finally:
            await engine.close()
            store.close()

    return asyncio.run(run())


async def told(events, hear):
    async for event in events:
        hear(event)


async def events_of(engine, asked):
    return [event async for event in engine.render(asked)]


def audio_of(events):
    return np.concatenate([one.samples for one in events if isinstance(one, AudioBlock)], axis=1)


def done_of(events):
    return next(event for event in events if isinstance(event, Done))


def made(generator, folder, asked):
    return on_engine(generator, folder, lambda engine: events_of(engine, asked))


def refused(generator, folder, asked, kind):
    """Return why a request is refused; nothing of it is accepted and no step is taken."""
    seen = []

    async def scenario(engine):
        with pytest.raises(kind) as error:
            await told(engine.render(asked), seen.append)
        return str(error.value)

    text = on_engine(generator, folder, scenario)
    assert not [event for event in seen if isinstance(event, Accepted | Progress | AudioBlock)]
    return text


@pytest.mark.parametrize("name", ["5b", "5b_lyrics", "1b_lyrics"])
def test_a_piece_is_made_from_nothing_but_its_labels(port, tmp_path, name):
    labels = Labels(artist="#3", genre="#2")
    conditions = Conditions(labels=labels, lyrics=None if name == "5b" else "la la la\nfa")
    events = made(port(name), tmp_path / "spool", request(conditions=conditions))
    assert audio_of(events).shape == (1, SAMPLES)
    done = done_of(events)
    assert "non-commercial" in done.licence
    steps = [event for event in events if isinstance(event, Progress)]
    phases = list(dict.fromkeys(step.phase for step in steps))
    assert [one for one in phases if one not in ("loading", "align")] == [
        "top",
        "level1",
        "level0",
        "decode",
    ]
    assert ("align" in phases) == (name != "5b")
    assert [step.step for step in steps] == sorted(step.step for step in steps)
    # What was promised is what was done: the total moves by a step or two at most.
    assert abs(steps[0].total_steps - steps[-1].total_steps) <= 4
    assert steps[-1].step == steps[-1].total_steps


def test_the_same_request_gives_the_same_bytes_and_another_seed_others(port, tmp_path):
    generator = port()
    one, two, other = (
        done_of(made(generator, tmp_path / str(turn), request(plan=replace(PLAN, seed=seed))))
        for turn, seed in enumerate((1, 1, 2))
    )
    assert one.sha256 == two.sha256 != other.sha256


def test_a_prime_goes_on_from_its_last_whole_frame(port, tmp_path):
    prime = Prime(samples=tune(2_000), start_sample=500)
    generator = port()
    events = made(generator, tmp_path / "spool", request(source=prime, anchor_sample=500))
    accepted = next(event for event in events if isinstance(event, Accepted))
    assert accepted.splice_sample == 2_500
    assert audio_of(events).shape == (1, SAMPLES)
    take = TakeStore(tmp_path / "spool").load(done_of(events).take_id)
    state = generator.restore(take.codes)
    assert [codes.codes.size for codes in generator.codes(state)] == [26, 104, 416]


def test_a_take_goes_on_and_keeps_its_codes(port, tmp_path):
    generator = port()

    async def scenario(engine):
        first = done_of(await events_of(engine, request()))
        more = request(source=TakePoint(take_id=first.take_id), num_samples=700)
        second = done_of(await events_of(engine, more))
        back = TakePoint(take_id=first.take_id, departure_sample=500)
        third = done_of(await events_of(engine, request(source=back, plan=replace(PLAN, seed=9))))
        takes = [engine.store.load(done.take_id) for done in (first, second, third)]
        return [generator.codes(generator.restore(take.codes)) for take in takes], takes

    (first, second, third), takes = on_engine(generator, tmp_path / "spool", scenario)
    assert takes[1].start_sample == SAMPLES
    assert takes[1].num_samples == 700
    for level, longer in zip(first, second, strict=True):
        assert np.array_equal(longer.codes[: level.codes.size], level.codes)
        assert longer.codes.size > level.codes.size
    kept = 500 // 128
    assert np.array_equal(third[0].codes[:kept], first[0].codes[:kept])
    assert not np.array_equal(third[0].codes[: first[0].codes.size], first[0].codes)


def test_coarse_codes_are_saved_and_upsampled_later_to_the_same_music(port, tmp_path):
    generator = port()

    async def scenario(engine):
        whole = done_of(await events_of(engine, request()))
        coarse = replace(PLAN, finest_level=2)
        top = done_of(await events_of(engine, request(plan=coarse)))
        file = from_bytes(await engine.export_codes(top.take_id))
        assert [level.level for level in file.levels] == [2]
        codes = StoredCodes(levels=file.levels)
        fine = done_of(await events_of(engine, request(source=codes)))
        only = StoredCodes(levels=file.levels, finest_level=1)
        half = done_of(await events_of(engine, request(source=only)))
        return whole, top, fine, half, file

    whole, top, fine, half, file = on_engine(generator, tmp_path / "spool", scenario)
    assert fine.sha256 == whole.sha256
    assert len({whole.sha256, top.sha256, half.sha256}) == 3
    assert file.hops == (8, 32, 128)
    assert file.facts["seed"] == 7
    assert file.licence == whole.licence


def test_what_is_planned_for_a_level_changes_that_level_and_those_below(port, tmp_path):
    generator = port()

    async def scenario(engine):
        plans = (
            PLAN,
            replace(PLAN, levels=(LevelPlan(level=1, temperature=0.5),)),
            replace(PLAN, levels=(LevelPlan(level=0, top_k=2),)),
        )
        dones = [done_of(await events_of(engine, request(plan=plan))) for plan in plans]
        takes = [engine.store.load(done.take_id) for done in dones]
        assert takes[1].plan == plans[1]
        return [generator.codes(generator.restore(take.codes)) for take in takes]

    plain, cold, narrow = on_engine(generator, tmp_path / "spool", scenario)
    same = [
        [np.array_equal(a.codes, b.codes) for a, b in zip(plain, other, strict=True)]
        for other in (cold, narrow)
    ]
    assert same == [[True, False, False], [True, True, False]]


def test_a_cancelled_piece_stops_within_a_window(port, tmp_path):
    generator = port()

    async def scenario(engine):
        info = await engine.submit(request(detached=True))
        steps = []

        def hear(event):
            steps.extend([event] if isinstance(event, Progress) else [])
            if len(steps) == 5:
                steps.append(asyncio.ensure_future(engine.cancel(info.id)))

        with pytest.raises(JobCancelledError):
            await told(engine.watch(info.id), hear)
        return await engine.job(info.id), len(steps)

    info, seen = on_engine(generator, tmp_path / "spool", scenario)
    assert info.state is JobState.CANCELLED
    assert 5 <= seen < 30


def test_a_piece_that_was_written_down_anywhere_ends_with_the_same_bytes(port):
    generator = port("5b_lyrics")
    conditions = Conditions(lyrics="one two three")

    def run(stops):
        state = generator.open(conditions, 0, SAMPLES)
        state = generator.begin(state, PLAN, SAMPLES)
        steps = 0
        while state.decodable_sample < SAMPLES:
            (result,) = generator.step([state], PLAN)
            state, steps = result.state, steps + 1
            if steps in stops:
                state = generator.restore(state.to_bytes())
        blocks = range(-(-SAMPLES // generator.info.block_samples))
        return steps, b"".join(generator.decode(state, block).tobytes() for block in blocks)

    steps, whole = run(())
    again, stopped = run({3, 9, steps // 2, steps - 2})
    assert stopped == whole
    assert again > steps


def test_audio_comes_as_soon_as_the_finest_level_has_windows(port):
    generator = port()
    state = generator.begin(generator.open(Conditions(), 0, SAMPLES), PLAN, SAMPLES)
    early = {}
    while state.decodable_sample < SAMPLES:
        (result,) = generator.step([state], PLAN)
        state = result.state
        for block in range(state.decodable_sample // generator.info.block_samples):
            early.setdefault(block, generator.decode(state, block))
    assert len(early) == -(-SAMPLES // generator.info.block_samples)
    for block, audio in early.items():
        assert np.array_equal(audio, generator.decode(state, block))
    with pytest.raises(ValueError, match="decodable"):
        generator.decode(state, len(early))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"num_samples": 600}, InvalidRequestError, "level 1 is made in windows of 0.02 s"),
        ({"plan": replace(PLAN, quality=Quality.FAST)}, UnsupportedError, "quality:fast"),
        (
            {"plan": replace(PLAN, levels=(LevelPlan(level=1, hop_fraction=0.3),))},
            InvalidRequestError,
            "the nearest fraction is 0.25",
        ),
        (
            {"plan": replace(PLAN, top_p=0.9, top_k=4)},
            UnsupportedError,
            "choose one of the two filters",
        ),
        ({"conditions": Conditions(lyrics="la")}, UnsupportedError, "lyrics"),
        (
            {"conditions": Conditions(labels=Labels(artist="#9"))},
            NotFoundError,
            "the artist's id is 9, this model has 9 rows",
        ),
        (
            {"conditions": Conditions(labels=Labels(artist="Nina"))},
            NotFoundError,
            "import it again with --ids",
        ),
        (
            {"conditions": Conditions(timing=Timing(total_samples=600, offset_samples=0))},
            InvalidRequestError,
            "0.01 s in all, this model knows pieces of 0.02 to below 60 s",
        ),
        (
            {"source": StoredCodes(levels=())},
            InvalidRequestError,
            "0 levels",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_before_the_first_code(port, tmp_path, changes, kind, words):
    if isinstance(changes.get("source"), StoredCodes):
        with pytest.raises(kind, match=words):
            request(**changes)
        return
    assert words in refused(port(), tmp_path / "spool", request(**changes), kind)


def test_codes_without_their_upper_level_cannot_become_longer(port, tmp_path):
    from bridge.ports import LevelCodes

    codes = StoredCodes(levels=(LevelCodes(level=1, codes=np.zeros(33, np.int16)),))
    generator = port()
    told = refused(generator, tmp_path / "spool", request(source=codes), InvalidRequestError)
    assert "the codes of level 1 last 0.02 s" in told
    wrong = StoredCodes(levels=(LevelCodes(level=2, codes=np.full(11, 24, np.int16)),))
    told = refused(generator, tmp_path / "spool", request(source=wrong), UnsupportedError)
    assert "allowed are 0 to 23" in told


def test_a_live_session_is_refused_with_the_reason(port, tmp_path):
    async def scenario(engine):
        setup = LiveSetup(
            session_id="s",
            sample_rate=RATE,
            num_channels=1,
            start_sample=0,
            conditions=Conditions(),
            plan=PLAN,
        )
        with pytest.raises(UnsupportedError, match="cannot play live"):
            LiveSession(engine, setup)

    generator = port()
    on_engine(generator, tmp_path / "spool", scenario)
    with pytest.raises(UnsupportedError, match="hears what comes after a sample"):
        generator.open(Conditions(), 0, None)


def test_names_are_looked_up_in_each_level_s_own_list_and_blends_are_sums(port, tmp_path):
    ids = tmp_path / "ids"
    ids.mkdir()
    (ids / "v2_artist_ids.txt").write_text("unknown;0\nnina_simone;2\nabba;4\n311;5\n")
    (ids / "v2_genre_ids.txt").write_text("unknown;0\nsoul;1\njazz;3\n")
    generator = port("5b", ids)
    assert generator.info.artists == ("311", "abba", "nina_simone", "unknown")

    def song(**changes):
        return generator.open(Conditions(**changes), 0, SAMPLES).song

    named = song(labels=Labels(artist="Nina Simone", genre="Soul jazz"))
    assert named.artists == (2, 2, 2)
    assert named.genres == ((1, 3),) * 3
    assert song(labels=Labels(artist="311")).artists == (5, 5, 5)
    assert song(labels=Labels(artist="#3", genre="#6 #1")).genres[2] == (6, 1)
    with pytest.raises(NotFoundError, match="near: nina_simone"):
        song(labels=Labels(artist="nina simon"))
    one = Voice(artist="abba", genre="soul", weight=1.0)
    alone = made(generator, tmp_path / "a", request(conditions=Conditions(blend=(one,))))
    labels = Labels(artist="abba", genre="soul")
    plain = made(generator, tmp_path / "b", request(conditions=Conditions(labels=labels)))
    assert done_of(alone).sha256 == done_of(plain).sha256
    both = (replace(one, weight=0.5), Voice(artist="nina simone", weight=0.5))
    mixed = made(generator, tmp_path / "c", request(conditions=Conditions(blend=both)))
    assert done_of(mixed).sha256 != done_of(plain).sha256


def test_one_level_is_in_memory_at_a_time_and_contexts_are_whole(port):
    generator = port()
    info = generator.info
    assert info.context_samples == CONTEXT[2]
    assert not info.streams
    assert info.block_samples % info.frame_samples == 0
    assert generator.steps_per_second(PLAN) > generator.steps_per_second(
        replace(PLAN, finest_level=2)
    )


def part_of(pitch, end=4_000):
    note = Note(start_sample=0, end_sample=end, pitch=pitch, velocity=100, program=33)
    return MidiPart(notes=(note,), start_sample=0, end_sample=end)


def test_a_trained_model_that_plays_follows_notes_stems_and_the_part_wanted(tmp_path):
    generator = TranslatedGenerator(load_published(trained_folder(tmp_path)))
    kinds = {f"target:{kind}" for kind in StemKind}
    assert {"midi", "stems", *kinds} <= generator.info.supports
    stem = Stem(kind=StemKind.DRUMS, start_sample=-100, samples=tune(3_000)[0])
    asked = {
        "nothing": Conditions(),
        "low": Conditions(midi=part_of(40)),
        "high": Conditions(midi=part_of(76)),
        "drums": Conditions(stems=(stem,)),
        "bass": Conditions(target=StemKind.BASS),
    }
    plan = replace(PLAN, finest_level=2)
    audio = {}
    for name, conditions in [*asked.items(), ("drums again", asked["drums"])]:
        events = made(generator, tmp_path / name, request(conditions=conditions, plan=plan))
        audio[name] = audio_of(events).tobytes()
    assert audio.pop("drums again") == audio["drums"]
    assert len(set(audio.values())) == len(asked), "each is heard"


def test_a_published_model_refuses_notes_stems_and_parts_by_name(port, tmp_path):
    for conditions, named in (
        (Conditions(midi=part_of(60)), "midi"),
        (
            Conditions(stems=(Stem(kind=StemKind.BASS, start_sample=0, samples=tune(99)[0]),)),
            "stems",
        ),
        (Conditions(target=StemKind.BASS), "target:bass"),
    ):
        text = refused(port(), tmp_path / named, request(conditions=conditions), UnsupportedError)
        assert named in text
