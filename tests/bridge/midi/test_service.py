"""Pads, keys and clock to the engine: through a loopback port, with a generator that counts."""

import asyncio
import itertools
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import CountingGenerator

from bridge.admission import EngineLimits
from bridge.audio_file import AudioClip, Provenance, read_audio, read_time_reference, write_audio
from bridge.edge import INTERNAL_TEXT
from bridge.engine import Engine
from bridge.entries import Verdict
from bridge.errors import InvalidRequestError, NotFoundError, NotReadyError
from bridge.midi.ports import Loopback
from bridge.midi.service import MAX_RUNNING, MidiServer, MidiSettings
from bridge.store import TakeStore

RATE = 44_100
NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")
CLOCK, START, STOP = b"\xf8", b"\xfa", b"\xfc"
STARTS = ("continue", "go_on", "retry", "variation")
OTHERS = ("accept", "reject", "cancel", "panic", "next_preset", "previous_preset")
PADS = {name: 36 + place for place, name in enumerate((*STARTS, *OTHERS))}
MAP = """
[presets.verse]
path = "section.wav"
bars = 1
tempo_bpm = 240
notes = "played"
seed = 5
temperature = 0.9
program = 3

[presets.gone]
path = "gone.wav"
tempo_bpm = 240
program = 4

[presets.clock]
path = "section.wav"
bars = 1
tempo_bpm = "off"
notes = "played"
program = 5

[[map]]
source = "control"
number = 20
command = "temperature"
least = 0.5
greatest = 1.5
"""
WAIT_SECONDS = 30


def pad(name):
    return bytes([0x99, PADS[name], 100])


class Rig:
    """A server on a loopback port, and time that is told."""

    def __init__(self, folder, generator):
        self.port, self.now = Loopback("pads"), 100.0
        self.store = TakeStore(folder / "spool")
        ticks = itertools.count()
        self.generator = generator
        self.engine = Engine(
            generator,
            store=self.store,
            clock=lambda: next(ticks) / 1000,
            limits=EngineLimits(max_jobs=16),
        )
        self.midi = MidiServer(
            lambda: self.engine, open_port=self.port.open, clock=lambda: self.now
        )
        self.settings = MidiSettings(inputs=("pads",), map_file=folder / "midi.toml")

    async def send(self, *messages):
        """Send messages, and let the event loop take them."""
        for message in messages:
            self.port.send(message, self.now)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def until(self, holds):
        async with asyncio.timeout(WAIT_SECONDS):
            while not holds():  # noqa: ASYNC110 - what is waited for sets no event
                await asyncio.sleep(0.005)

    async def finish(self):
        await self.until(lambda: not self.midi.status().running)

    async def play_clock(self, beats, bpm=120.0):
        for _ in range(round(beats * 24)):
            await self.send(CLOCK)
            self.now += 60 / bpm / 24


@pytest.fixture
def rig(tmp_path):
    """Return a function that runs a scenario on a rig."""
    rows = [
        f'[[map]]\nsource = "note"\nchannel = 10\nnumber = {number}\ncommand = "{name}"\n'
        for name, number in PADS.items()
    ]
    (tmp_path / "midi.toml").write_text(MAP + "".join(rows), "utf-8")
    clip = AudioClip(samples=np.zeros((1, 5_001), np.float32), sample_rate=RATE)
    write_audio(tmp_path / "section.wav", clip, 9_000, NOBODY)

    def run(scenario, generator=None):
        async def whole():
            built = Rig(tmp_path, generator or CountingGenerator(follows_seed=True))
            await built.engine.warm_up()
            await built.midi.start(built.settings)
            try:
                return await asyncio.wait_for(scenario(built), WAIT_SECONDS)
            finally:
                await built.midi.stop(0.0)
                await built.engine.close()

        return asyncio.run(whole())

    return run


def test_a_pad_continues_the_preset_s_section_into_the_spool(rig):
    async def scenario(rig):
        await rig.send(pad("continue"))
        await rig.finish()
        status = rig.midi.status()
        entry = rig.store.entry(status.last_take)
        return status, entry.take, read_audio(status.last_path), status.last_path

    status, take, clip, path = rig(scenario)
    assert (status.preset, status.last_error) == ("verse", "")
    assert (take.seed, take.plan.temperature) == (5, 0.9)
    assert clip.samples.shape == (1, RATE)
    assert read_time_reference(path) == 9_000 + 5_001


def test_retry_variation_and_go_on_follow_the_last_request(rig):
    async def scenario(rig):
        takes = []
        for name in ("continue", "variation", "retry", "go_on"):
            await rig.send(pad(name))
            await rig.finish()
            takes.append(rig.store.entry(rig.midi.status().last_take).take)
        return takes

    first, varied, retried, gone_on = rig(scenario)
    assert [take.plan.variation for take in (first, varied, retried)] == [0, 1, 0]
    assert first.seed == varied.seed == 5 != retried.seed
    assert gone_on.parent == retried.id
    assert gone_on.request.num_samples == RATE


def test_a_take_can_be_kept_and_rejected(rig):
    async def scenario(rig):
        await rig.send(pad("continue"))
        await rig.finish()
        take, verdicts = rig.midi.status().last_take, []
        for name, verdict in (("accept", Verdict.KEEP), ("reject", Verdict.REJECT)):
            await rig.send(pad(name))
            await rig.until(lambda wanted=verdict: rig.store.entry(take).verdict is wanted)
            verdicts.append(rig.store.entry(take).verdict)
        return verdicts

    assert rig(scenario) == [Verdict.KEEP, Verdict.REJECT]


@pytest.mark.parametrize("name", ["cancel", "panic"])
def test_cancel_and_panic_stop_what_runs(name, rig):
    reached, held = threading.Event(), threading.Event()

    def hold(step):
        if step == 2:
            reached.set()
            held.wait(WAIT_SECONDS)

    async def scenario(rig):
        await rig.send(b"\x90\x3c\x64", pad("continue"), pad("continue"))
        assert await asyncio.to_thread(reached.wait, WAIT_SECONDS)
        await rig.send(pad(name))
        held.set()
        await rig.finish()
        await rig.engine.idle()
        return rig.engine.stats(), rig.midi._notes.num_held, rig.generator.calls["step"]

    stats, num_held, steps = rig(scenario, CountingGenerator(on_step=hold))
    assert (stats.cancelled_jobs, stats.done_jobs) == (2, 0)
    assert num_held == (0 if name == "panic" else 1)
    assert steps <= 4


def test_played_notes_lie_over_the_result_and_pads_are_no_notes(rig):
    async def scenario(rig):
        await rig.send(b"\x90\x3c\x64")
        rig.now += 0.25
        await rig.send(b"\x80\x3c\x00")
        rig.now += 0.75
        await rig.send(pad("continue"))
        await rig.finish()
        return rig.generator.opened[-1][0].midi

    part = rig(scenario)
    assert [note.pitch for note in part.notes] == [60]
    assert part.notes[0].end_sample - part.notes[0].start_sample == round(0.25 * RATE)


def test_the_clock_gives_tempo_and_bars_to_a_preset_without_its_own(rig):
    async def scenario(rig):
        await rig.send(b"\xc0\x05", pad("continue"))
        await rig.finish()
        refused = rig.midi.status().last_error
        await rig.send(START)
        await rig.play_clock(4)
        await rig.send(b"\x90\x3c\x64")
        await rig.play_clock(1)
        await rig.send(b"\x80\x3c\x00")
        await rig.play_clock(3)
        await rig.send(pad("continue"))
        await rig.finish()
        return refused, rig.midi.status(), rig.generator.opened[-1][0].midi

    refused, status, part = rig(scenario)
    assert "tempo of the MIDI clock, and none is heard" in refused
    assert (status.tempo_bpm, status.rolling, status.last_error) == (120.0, True, "")
    assert status.beat == pytest.approx(8)
    (note,) = part.notes
    assert note.start_sample == part.start_sample
    assert note.end_sample - note.start_sample == pytest.approx(RATE / 2, abs=2)


def test_programs_and_pads_select_presets_and_knobs_change_the_plan(rig):
    async def scenario(rig):
        names = [rig.midi.status().preset]
        for message in (b"\xc3\x05", pad("next_preset"), pad("previous_preset"), b"\xc0\x03"):
            await rig.send(message)
            names.append(rig.midi.status().preset)
        await rig.send(b"\xb0\x14\x32", b"\xb0\x14\x40", pad("continue"))
        await rig.finish()
        return names, rig.store.entry(rig.midi.status().last_take).take.plan.temperature

    names, temperature = rig(scenario)
    assert names == ["verse", "clock", "verse", "clock", "verse"]
    assert temperature == pytest.approx(0.5 + 64 / 127)


def test_what_cannot_be_done_is_told_and_the_next_pad_works(rig):
    async def scenario(rig):
        told = []
        for name in ("go_on", "retry", "accept"):
            await rig.send(pad(name))
            await rig.finish()
            told.append(rig.midi.status().last_error)
        await rig.send(b"\xc0\x04", pad("continue"))
        await rig.finish()
        told.append(rig.midi.status().last_error)
        await rig.send(b"\xc0\x03", pad("continue"))
        await rig.finish()
        return told, rig.midi.status()

    told, status = rig(scenario)
    assert [words.split(";")[0] for words in told[:3]] == [
        "there is no request yet for go_on to go by",
        "there is no request yet for retry to go by",
        "no take was finished over MIDI yet",
    ]
    assert "gone.wav" in told[3]
    assert status.last_error == ""
    assert status.last_take


def test_a_hammered_pad_does_not_fill_the_queue(rig):
    held = threading.Event()

    async def scenario(rig):
        await rig.send(*[pad("continue")] * (MAX_RUNNING + 3))
        status = rig.midi.status()
        held.set()
        await rig.finish()
        return status, rig.engine.stats().done_jobs

    generator = CountingGenerator(on_step=lambda step: held.wait(WAIT_SECONDS))
    status, done = rig(scenario, generator)
    assert (status.running, done) == (MAX_RUNNING, MAX_RUNNING)
    assert f"the limit is {MAX_RUNNING} requests" in status.last_error


def test_an_engine_that_loads_and_one_that_stops_are_told(rig):
    async def scenario(rig):
        def loading():
            raise NotReadyError("the model is still loading")

        engine, rig.midi._engine = rig.midi._engine, loading
        await rig.send(pad("continue"))
        first, rig.midi._engine = rig.midi.status().last_error, engine
        await rig.midi.stop(0.0)
        rig.midi._act(SimpleNamespace(command="continue", preset=""), 0.0)
        return first, rig.midi.status().last_error

    first, second = rig(scenario)
    assert first == "the model is still loading"
    assert "is stopping" in second


def test_a_failure_of_the_model_is_told_without_its_details(rig, caplog):
    def fail(step):
        raise RuntimeError("secret")

    async def scenario(rig):
        await rig.send(pad("continue"))
        await rig.finish()
        return rig.midi.status().last_error

    assert rig(scenario, CountingGenerator(on_step=fail)) == INTERNAL_TEXT
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"map_file": "gone.toml"}, NotFoundError),
        ({"inputs": ("keys",)}, NotFoundError),
        ({"map_file": "bad.toml"}, InvalidRequestError),
    ],
)
def test_a_map_or_a_port_that_is_wrong_stops_the_start(settings, error, rig, tmp_path):
    (tmp_path / "bad.toml").write_text("[maps]\n")

    async def scenario(rig):
        given = {"inputs": ("pads",), "map_file": tmp_path / "midi.toml", **settings}
        given["map_file"] = tmp_path / given["map_file"]
        server = MidiServer(lambda: rig.engine, open_port=Loopback("pads").open)
        with pytest.raises(error):
            await server.start(MidiSettings(**given))
        await server.stop(0.0)

    rig(scenario)
