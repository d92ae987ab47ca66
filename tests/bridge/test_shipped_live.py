"""The model in the box, live: notes, a stem and a tempo that arrive while the music plays."""

import asyncio
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soxr

import bridge
from bridge.admission import EngineLimits
from bridge.app.door import shipped_model
from bridge.audio_file import read_audio
from bridge.engine import Engine
from bridge.evaluation.sound import spectral_flux
from bridge.figures import Heard, correlation, note_f1
from bridge.live import LiveSession
from bridge.live_loop import LiveLoop, LoopPlan, Told, Turn
from bridge.live_player import LivePlayer
from bridge.live_setup import Answer, LiveSetup, Margins
from bridge.midi_file import read_midi
from bridge.ports import Conditions, MidiPart, Plan, StemKind
from bridge.request import AudioBlock, Done
from bridge.spectra import ANALYSIS_RATE
from bridge.store import TakeStore
from bridge.transport import Tempo, nearest, pulse_of, steady

pytestmark = pytest.mark.slow

EXAMPLE = Path(bridge.__file__).parent / "data"
RATE = 48_000
BAR = 115_200
"""Samples of a bar of the packaged section: 4/4 at 100 bpm."""
PRIME_BARS, ANSWER_BARS = 4, 2
BLOCK = BAR // 4
PERIOD = 1024
PLAN = Plan(seed=5)
WAIT_SECONDS = 1_800
"""What takes longer hangs; at low priority beside others it takes minutes."""


@pytest.fixture(scope="module")
def prime():
    clip = read_audio(EXAMPLE / "prime.flac", max_seconds=60)
    assert (clip.sample_rate, clip.samples.shape[1]) == (RATE, PRIME_BARS * BAR)
    return clip.samples


@pytest.fixture(scope="module")
def notes():
    return read_midi(EXAMPLE / "section.mid", RATE).notes


@pytest.fixture(scope="module")
def model():
    return shipped_model()()


@pytest.fixture
def engine(model, tmp_path):
    return Engine(
        model, store=TakeStore(tmp_path), clock=time.monotonic, limits=EngineLimits(calls_at_once=2)
    )


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, WAIT_SECONDS))


def session_of(engine, conditions=None):
    setup = LiveSetup(
        session_id="live",
        sample_rate=RATE,
        num_channels=2,
        start_sample=0,
        conditions=conditions or Conditions(),
        plan=PLAN,
    )
    return LiveSession(engine, setup)


def bar_of(notes, number):
    """Return the notes that begin in a bar."""
    first, end = number * BAR, (number + 1) * BAR
    inside = tuple(note for note in notes if first <= note.start_sample < end)
    return MidiPart(notes=inside, start_sample=first, end_sample=end)


async def answered(engine, prime, notes=(), stem=None, plan=PLAN, conditions=None):
    """Return an answer to a recording; notes come a bar ahead of it, a stem a beat ahead."""
    session = session_of(engine, conditions)
    await session.open()
    for bar in range(PRIME_BARS + ANSWER_BARS):
        if notes:
            session.hear_notes(bar_of(notes, bar))
        for first in range(bar * BAR, (bar + 1) * BAR, BLOCK):
            if stem is not None:
                session.hear_stem(StemKind.DRUMS, first, stem[first : first + BLOCK])
            if first < prime.shape[1]:
                await session.hear(first, prime[:, first : first + BLOCK])
    answer = Answer(
        request_id="answer",
        splice_sample=prime.shape[1],
        num_samples=ANSWER_BARS * BAR,
        plan=plan,
    )
    async with aclosing(session.answer(answer)) as events:
        made = [event.samples async for event in events if isinstance(event, AudioBlock)]
    await session.close()
    return np.concatenate(made, axis=1)


def test_notes_that_arrive_live_are_heard_in_the_answer(engine, prime, notes):
    async def scenario():
        both = [await answered(engine, prime, told) for told in (notes, ())]
        await engine.close()
        return both

    told, untold = (
        note_f1(heard := Heard(made, RATE, start_sample=prime.shape[1], notes=notes), heard)
        for made in run(scenario())
    )
    sys.stdout.write(f"\nnotes heard: {told:.2f} told live, {untold:.2f} without\n")
    assert told > 0.5
    assert told > untold + 0.1


def strokes(num_samples):
    """Return bursts of noise, three to two beats: where the music of the section has few."""
    made = np.zeros(num_samples, np.float32)
    burst = np.random.default_rng(1).standard_normal(RATE // 20) * np.geomspace(1, 0.01, RATE // 20)
    for first in range(0, num_samples - burst.size, BAR // 6):
        made[first : first + burst.size] += 0.2 * burst.astype(np.float32)
    return made


def flux_of(audio):
    return spectral_flux(soxr.resample(audio.astype(np.float32), RATE, ANALYSIS_RATE))


def test_a_stem_that_arrives_live_changes_what_is_drawn(engine, prime):
    stem = strokes((PRIME_BARS + ANSWER_BARS) * BAR)
    # Both drawn: without a stem it would be put together from the recording's beats.
    plan = replace(PLAN, reprise=False)

    async def scenario():
        both = [await answered(engine, prime, stem=told, plan=plan) for told in (stem, None)]
        await engine.close()
        return both

    beside, alone = (made.mean(0) for made in run(scenario()))
    apart_db = 10 * np.log10(np.mean(np.square(beside - alone)) / np.mean(np.square(alone)))
    wanted = flux_of(stem[PRIME_BARS * BAR :])
    agreement = [correlation(flux_of(made), wanted) for made in (beside, alone)]
    sys.stdout.write(
        f"\na stem told live: {apart_db:.1f} dB apart; "
        f"onsets {agreement[0]:.2f}, {agreement[1]:.2f} without\n"
    )
    assert apart_db > -20


SOUNDS = (0, 1, 1, 0, 2, 0, 1, 2, 2, 0, 1, 2, 1, 0, 2, 2, 2, 0, 1, 2, 1, 1, 0, 2)
"""Which of three sounds is on each beat, of the recording and then of what shall be made."""


def on_beats(frequencies):
    """Return a decaying tone on every beat, of its sound's frequency."""
    at = np.arange(BLOCK)
    tones = [np.sin(2 * np.pi * hertz / RATE * at) for hertz in frequencies]
    beats = [0.4 * tones[sound] * np.exp(-at / 7000) for sound in SOUNDS]
    return np.concatenate(beats).astype(np.float32)


@pytest.mark.parametrize("target", [StemKind.MIX, StemKind.BASS])
def test_beside_a_stem_that_runs_ahead_an_answer_plays_what_was_played_beside_it(engine, target):
    pitches = (110, 165, 247)
    recording, drums = on_beats(pitches)[: PRIME_BARS * BAR], on_beats((523, 880, 1480))
    pulse = pulse_of(steady(RATE, 100))
    conditions = Conditions(target=target, pulse=pulse)

    async def scenario():
        prime = np.stack([recording, recording])
        return await answered(engine, prime, stem=drums, conditions=conditions)

    made = run(scenario())[0, -ANSWER_BARS * BAR :].reshape(-1, BLOCK)
    hertz = np.fft.rfftfreq(BLOCK, 1 / RATE)
    found = [hertz[np.abs(np.fft.rfft(beat)).argmax()] for beat in made]
    wanted = [pitches[sound] for sound in SOUNDS[PRIME_BARS * 4 :]]
    same = np.isclose(found, wanted, rtol=0.05)
    sys.stdout.write(f"\nbeats that go with a stem live: {same.sum()} of {len(same)}\n")
    assert same.mean() > 0.8


async def played(engine, prime, tempo_map, changed, num_bars):
    """Return what sounds, and the turns, of a loop whose tempo changes in its third answer."""
    session, player = session_of(engine), LivePlayer(2, through=0.25)
    await session.open()
    asked = LoopPlan(
        request_id="loop",
        tempo_map=tempo_map,
        first_sample=PRIME_BARS * BAR,
        bars=Fraction(1),
        listen_bars=Fraction(0),
        margins=Margins(lead=RATE // 2, fade=RATE // 50, reserve=RATE // 4),
        plan=PLAN,
    )
    loop, whole, turns, out = LiveLoop(session, asked), {}, {}, []

    async def follow():
        async for event in loop.events():
            match event:
                case Turn():
                    whole.setdefault(event.request_id, asyncio.Event())
                    turns[event.request_id] = event
                    player.plan(
                        event.request_id, event.start_sample, event.end_sample, event.fade_samples
                    )
                case Told(event=AudioBlock() as block):
                    player.add(event.request_id, block.start_sample, block.samples)
                case Told(event=Done()):
                    whole[event.request_id].set()
                case _:
                    pass

    following = asyncio.create_task(follow())
    while len(turns) <= num_bars:
        at = player.next_sample
        if changed is not None and len(turns) == 3:
            loop.follow(changed)
            changed = None
        for name, turn in list(turns.items()):
            if turn.start_sample - turn.fade_samples <= at + PERIOD:
                # The recording is the clock: it stands still until the answer is there.
                await whole[name].wait()
        dry = prime[:, np.arange(at, at + PERIOD) % prime.shape[1]]
        out.append(player.play(np.ascontiguousarray(dry)))
        await session.hear(session.received_sample, out[-1])
        await asyncio.sleep(0)
    following.cancel()
    await asyncio.wait([following])
    await session.close()
    return np.concatenate(out, axis=1), list(turns.values()), player


def test_a_loop_follows_a_change_of_tempo_bar_by_bar(engine, prime):
    before = steady(RATE, 100)
    quick = Tempo(beat=Fraction(4 * (PRIME_BARS + 3)), bpm=Fraction(125))
    after = replace(before, tempos=(*before.tempos, quick))

    async def scenario():
        made = await played(engine, prime, before, after, 6)
        await engine.close()
        return made

    out, turns, player = run(scenario())
    lines = [nearest(after.sample_of_bar(Fraction(bar))) for bar in range(PRIME_BARS, 20)]
    assert [turn.start_sample for turn in turns] == lines[: len(turns)]
    assert lines[4] - lines[3] == RATE * 4 * 60 // 125
    assert [one.late_samples for one in player.hand_overs] == [0] * len(player.hand_overs)
    assert player.gap_samples == 0
    mono = out.mean(0)
    bars = [mono[first:end] for first, end in pairwise(lines) if end <= mono.size]
    assert len(bars) >= 5
    assert min(np.sqrt(np.mean(np.square(bar))) for bar in bars) > 1e-3
    for first, second in pairwise(bars):
        size = min(first.size, second.size)
        assert correlation(first[:size], second[:size]) < 0.95
