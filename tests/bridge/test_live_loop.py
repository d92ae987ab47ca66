"""Loops of answers: handed over on bar lines, after the tempo, stopped at the bar."""

import itertools
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from fakes import CountingGenerator, counting_info, ramp

from bridge import messages
from bridge.errors import BridgeError, NotReadyError
from bridge.live_window import WINDOW_SECONDS
from bridge.ports import StemKind
from bridge.request import AudioBlock
from bridge.resample import to_model
from bridge.splice import FADE_SECONDS
from bridge.stereo import measured_image
from protos import bridge_pb2

RATE = 44_100
BAR = 88_200
LEAD, FADE, RESERVE = 20_000, 1_000, 3_000
BLOCK = 2_205


def header(**changes):
    fields = {
        "format": bridge_pb2.AudioFormat(sample_rate=RATE, num_channels=1),
        "plan": bridge_pb2.Plan(seed=3),
        "credit_samples": 10**9,
    }
    return bridge_pb2.LiveHeader(**(fields | changes))


def tempo(bpm=120.0, sample=0):
    return bridge_pb2.TempoChange(
        sample=sample, tempo_bpm=bpm, meter_numerator=4, meter_denominator=4
    )


def asked(**changes):
    fields = {
        "tempo_map": [tempo()],
        "bars": 1.0,
        "lead_samples": LEAD,
        "fade_samples": FADE,
        "reserve_samples": RESERVE,
        "request_id": "loop",
    }
    return bridge_pb2.LiveLoop(**(fields | changes))


class Listener:
    """Plays silence as the recording, and keeps what was told of each answer."""

    def __init__(self, live):
        self.live = live
        self.turns, self.audio, self.failed, self.done = {}, {}, [], []
        self.stopped = None

    def play_to(self, sample):
        """Play on until a sample, waiting until all of it was heard."""
        while self.live.next_sample < sample:
            block = min(BLOCK, sample - self.live.next_sample)
            self.live.play(np.zeros((1, block), np.float32))
        while self.live.heard.received_sample < sample:
            self.take(self.live.next_event())

    def play_to_answer(self, line, number, name="loop"):
        """Play until an answer for a bar line is due, and wait until it is made."""
        self.play_to(line - LEAD)
        self.wait_for(lambda: f"{name}/{number}" in self.done)

    def wait_for(self, holds):
        while not holds():
            self.take(self.live.next_event())

    def take(self, event):
        match event.WhichOneof("event"):
            case "turn":
                turn = event.turn
                self.turns[turn.request_id] = (turn.start_sample, turn.end_sample)
                assert turn.fade_samples == FADE
            case "render":
                self._render(event)
            case "failed":
                self.failed.append(event.failed)
            case "stopped":
                self.stopped = event.stopped
            case _:
                pass

    def _render(self, event):
        told = messages.event_of(event.render, 1)
        if isinstance(told, AudioBlock):
            self.audio.setdefault(event.request_id, []).append(told)
        if event.render.WhichOneof("event") == "done":
            self.done.append(event.request_id)

    def heard(self, name):
        """Return where an answer's audio begins, and all of it."""
        blocks = self.audio[name]
        for before, after in itertools.pairwise(blocks):
            assert after.start_sample == before.start_sample + before.samples.shape[1]
        return blocks[0].start_sample, np.concatenate([one.samples[0] for one in blocks])


@contextmanager
def listening(client, **changes):
    with client.live(header(**changes)) as live:
        yield Listener(live)


def test_an_endless_loop_hands_over_on_every_bar_line(serve, connect):
    generator = CountingGenerator()
    with listening(connect(serve(generator))) as one:
        one.live.loop(asked(first_sample=100))
        for number in range(4):
            name = f"loop/{number}"
            line = (number + 1) * BAR
            one.play_to_answer(line, number)
            assert one.turns[name] == (line, line + BAR)
            start, audio = one.heard(name)
            assert start == line - FADE
            np.testing.assert_array_equal(audio, ramp(start, FADE + BAR + RESERVE))
        assert not one.failed


def test_an_answer_is_made_from_what_was_heard_up_to_the_lead(serve, connect):
    generator = CountingGenerator()
    with listening(connect(serve(generator))) as one:
        one.live.loop(asked())
        one.play_to(BAR - LEAD)
        one.wait_for(lambda: one.done == ["loop/0"])
        assert sum(len(block) for block in generator.fed) == BAR - LEAD
        assert one.live.heard.received_sample == BAR - LEAD


def test_what_is_not_heard_of_an_answer_is_not_decoded(serve, connect):
    generator = CountingGenerator()
    with listening(connect(serve(generator))) as one:
        one.live.loop(asked())
        one.play_to_answer(BAR, 0)
    size = generator.info.block_samples
    first = round(BAR - FADE - FADE_SECONDS * RATE) // size
    unheard = [block for block in generator.decoded if (BAR - LEAD) // size < block < first]
    assert unheard == []
    assert first in generator.decoded


def test_call_and_response_listens_between_the_answers(serve, connect):
    with listening(connect(serve())) as one:
        one.live.loop(asked(listen_bars=2.0, first_sample=BAR + 1))
        for number, line in enumerate((2 * BAR, 5 * BAR, 8 * BAR)):
            one.play_to_answer(line, number)
    lines = [(2 * BAR, 3 * BAR), (5 * BAR, 6 * BAR), (8 * BAR, 9 * BAR)]
    assert [one.turns[f"loop/{number}"] for number in range(3)] == lines


def test_whoever_listened_in_silence_has_heard_the_answer(serve, connect):
    generator = CountingGenerator()
    with listening(connect(serve(generator))) as one:
        one.live.loop(asked(listen_bars=1.0))
        one.play_to_answer(BAR, 0)
        one.play_to(BAR)
        # The player stops playing for the bar of the answer.
        one.live.next_sample = 2 * BAR
        one.play_to_answer(3 * BAR, 1)
    # Shorter blocks are the last ones that the answers heard.
    size = generator.info.feed_samples
    heard = np.concatenate([block for block in generator.fed if len(block) == size])
    np.testing.assert_array_equal(heard[BAR : 2 * BAR], ramp(BAR, BAR))
    assert one.turns["loop/1"] == (3 * BAR, 4 * BAR)


@pytest.mark.parametrize(("bpm", "bar"), [(100.0, 105_840), (160.0, 66_150)])
def test_hand_overs_follow_a_tempo_that_changes_on_the_way(bpm, bar, serve, connect):
    with listening(connect(serve())) as one:
        one.live.loop(asked(reserve_samples=30_000))
        one.play_to_answer(BAR, 0)
        one.play_to_answer(2 * BAR, 1)
        one.play_to(2 * BAR)
        assert one.turns["loop/1"] == (2 * BAR, 3 * BAR)
        # From the second bar line on, while the answer there sounds.
        one.live.follow([tempo(), tempo(bpm, 2 * BAR)])
        one.play_to_answer(2 * BAR + bar, 2)
        assert one.turns["loop/1"] == (2 * BAR, 2 * BAR + bar)
        assert one.turns["loop/2"] == (2 * BAR + bar, 2 * BAR + 2 * bar)


def test_an_answer_that_has_become_too_short_is_taken_over_where_it_ends(serve, connect):
    with listening(connect(serve())) as one:
        one.live.loop(asked())
        one.play_to_answer(BAR, 0)
        one.play_to(BAR)
        one.live.follow([tempo(), tempo(60.0, BAR)])
        one.play_to_answer(2 * BAR + RESERVE, 1)
        one.play_to_answer(3 * BAR, 2)
        made = 2 * BAR + RESERVE
        assert one.turns["loop/0"] == (BAR, made)
        assert one.turns["loop/1"] == (made, 3 * BAR), "and it lasts until the bar line"
        assert one.turns["loop/2"] == (3 * BAR, 5 * BAR)


def test_a_loop_stops_at_the_bar(serve, connect):
    with listening(connect(serve())) as one:
        one.live.loop(asked(bars=2.0))
        one.play_to_answer(BAR, 0)
        one.play_to(BAR + 30_000)
        assert one.turns["loop/0"] == (BAR, 3 * BAR)
        one.live.stop(at_bar=True)
        one.play_to(2 * BAR + BLOCK)
        one.wait_for(lambda: one.stopped is not None)
        assert one.turns == {"loop/0": (BAR, 2 * BAR)}
        assert one.stopped.end_sample == 2 * BAR
        one.play_to(4 * BAR)
        assert len(one.turns) == 1
        one.live.loop(asked(request_id="again"))
        one.play_to_answer(5 * BAR, 0, "again")
        assert one.turns["again/0"] == (5 * BAR, 6 * BAR)


def test_a_loop_goes_on_after_an_answer_that_failed(serve, connect):
    hold = threading.Event()

    def fail(step):
        if not hold.is_set():
            hold.set()
            raise NotReadyError("once")

    with listening(connect(serve(CountingGenerator(on_step=fail)))) as one:
        one.live.loop(asked())
        one.play_to(BAR - LEAD)
        one.wait_for(lambda: one.failed)
        one.play_to_answer(2 * BAR, 1)
        assert [(failed.request_id, failed.code) for failed in one.failed] == [
            ("loop/0", "FAILED_PRECONDITION")
        ]


def test_a_fault_of_the_model_ends_the_session(serve, connect):
    def fail(_):
        raise MemoryError("broken")

    with listening(connect(serve(CountingGenerator(on_step=fail)))) as one:
        one.live.loop(asked())
        with pytest.raises(BridgeError, match="internal error"):
            one.play_to_answer(BAR, 0)


def test_a_long_loop_hears_nothing_twice_at_once(serve, connect):
    info = counting_info(feed_samples=1 << 16, frame_samples=1 << 10, block_samples=1 << 12)
    generator = CountingGenerator(info)
    bars = WINDOW_SECONDS // 2 + 3
    with listening(connect(serve(generator))) as one:
        one.live.loop(asked())
        fed = []
        for number in range(bars):
            one.play_to_answer((number + 1) * BAR, number)
            fed.append(sum(len(block) for block in generator.fed))
    anchors = [anchor for _, anchor in generator.opened]
    assert len(anchors) == 2
    assert anchors[1] > (WINDOW_SECONDS - 2) * RATE
    # While two windows hear, twice as much is fed; never a window's worth at once.
    assert max(np.diff(fed)) <= 3 * BAR


@pytest.mark.parametrize("keeps_level", [True, False])
def test_nothing_is_decoded_beside_a_recording_whose_level_the_model_keeps(
    keeps_level, serve, connect
):
    generator = CountingGenerator(counting_info(keeps_level=keeps_level))
    with listening(connect(serve(generator))) as one:
        one.play_to(2 * BAR)
    assert bool(generator.decoded) is not keeps_level


def test_answers_of_a_loop_measure_no_image_and_single_ones_do(serve, connect, monkeypatch):
    measured = []

    def counted(prime, sample_rate):
        measured.append(prime.shape[1])
        return measured_image(prime, sample_rate)

    monkeypatch.setattr("bridge.render.measured_image", counted)
    with connect(serve(CountingGenerator())).live(header()) as live:
        one = Listener(live)
        live.loop(asked(first_sample=100))
        one.play_to_answer(BAR, 0)
        assert measured == [], "it was looked at before"
        live.stop()
        one.wait_for(lambda: one.stopped is not None)
        live.answer(
            bridge_pb2.LiveContinuation(
                splice_sample=BAR, target=bridge_pb2.Target(num_samples=500), lead_samples=LEAD
            )
        )
    assert len(measured) == 1, "what may be begun again has nothing but its request"


def test_an_answer_of_a_loop_hears_the_end_of_what_was_played_and_no_more(serve, connect):
    rate, info = 48_000, counting_info(feed_samples=8_192)
    generator = CountingGenerator(info)
    audio = (0.1 * np.random.default_rng(0).standard_normal((1, 3 * rate))).astype(np.float32)
    form = bridge_pb2.AudioFormat(sample_rate=rate, num_channels=1)
    with listening(connect(serve(generator)), format=form) as one:
        one.live.loop(asked(first_sample=2 * rate))
        one.live.play(audio)
        one.wait_for(lambda: "loop/0" in one.done)
    rest = [fed for fed in generator.fed if fed.shape[0] < 8_192]
    whole = to_model(audio[:, : 2 * rate - LEAD], rate, RATE)[0]
    assert len(rest) == 1
    assert rest[0].shape[0] == whole.shape[0] % 8_192
    np.testing.assert_allclose(rest[0], whole[-rest[0].shape[0] :], atol=1e-6)


def test_notes_and_stems_that_come_live_steer_what_is_made(serve, connect):
    generator = CountingGenerator()
    with listening(connect(serve(generator))) as one:
        note = bridge_pb2.Note(start_sample=BAR, end_sample=BAR + 100, pitch=60, velocity=90)
        one.live.tell_notes(bridge_pb2.MidiPart(start_sample=0, end_sample=BAR))
        one.live.tell_notes(bridge_pb2.MidiPart(notes=[note], start_sample=BAR, end_sample=3 * BAR))
        one.live.play_stem(StemKind.DRUMS, 0, ramp(0, 2 * BAR))
        one.live.loop(asked())
        one.play_to_answer(BAR, 0)
    known, fed = generator.steered[-1]
    assert fed <= BAR - LEAD
    assert (known.midi.start_sample, known.midi.end_sample) == (0, 3 * BAR)
    assert [(note.start_sample, note.pitch) for note in known.midi.notes] == [(BAR, 60)]
    (stem,) = known.stems
    first = stem.start_sample
    assert (stem.kind, first + len(stem.samples)) == (StemKind.DRUMS, 2 * BAR)
    np.testing.assert_array_equal(stem.samples, ramp(first, 2 * BAR - first))


def test_what_is_composed_is_told_of_the_beats_that_the_loop_keeps_to(serve, connect):
    generator = CountingGenerator()
    with listening(connect(serve(generator))) as one:
        one.live.loop(asked(tempo_map=[tempo(bpm=100.0)]))
        one.play_to_answer(105_840, 0)
        one.live.follow([tempo(bpm=120.0)])
        one.play_to_answer(2 * BAR, 1)
    beats = [known.pulse[0].samples_per_beat for known, _ in generator.steered]
    assert beats[0] == pytest.approx(26_460)
    assert beats[-1] == pytest.approx(22_050)
    assert {known.pulse[0].beats_per_bar for known, _ in generator.steered} == {4.0}


WRONG = {
    "no tempo": (asked(tempo_map=[]), "tempo"),
    "half a bar": (asked(bars=0.5), "whole bars, 1 to 64"),
    "no bars": (asked(bars=0.0), "bars is 0"),
    "too many": (asked(listen_bars=65.0), "listen_bars is 65"),
    "a fade before the lead": (asked(fade_samples=LEAD + 1), "20001 samples begins before"),
    "a negative lead": (asked(lead_samples=-1, fade_samples=0), "lead is -1"),
    "a long lead": (asked(lead_samples=21 * RATE), "20 s"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_loop_that_cannot_be_is_refused_and_the_session_goes_on(case, serve, connect):
    wrong, words = WRONG[case]
    with listening(connect(serve())) as one:
        one.live.loop(wrong)
        one.wait_for(lambda: one.failed)
        assert words in one.failed[0].message
        assert one.failed[0].field.startswith("loop")
        one.live.loop(asked())
        one.play_to_answer(BAR, 0)


def test_only_a_loop_follows_a_tempo_and_stops_at_a_bar(serve, connect):
    with listening(connect(serve()), credit_samples=10) as one:
        one.live.follow([tempo()])
        one.play_to(BAR)
        target = bridge_pb2.Target(num_samples=BAR)
        one.live.ask(bridge_pb2.LiveContinuation(splice_sample=BAR, target=target))
        one.wait_for(lambda: one.audio)
        one.live.stop(at_bar=True)
        one.wait_for(lambda: len(one.failed) == 2)
        assert "no loop" in one.failed[0].message
        assert "only a loop" in one.failed[1].message


def test_a_continuation_with_a_lead_begins_with_its_fade(serve, connect):
    with listening(connect(serve())) as one:
        one.live.play(np.zeros((1, 50_000), np.float32))
        asked_for = bridge_pb2.LiveContinuation(
            splice_sample=60_000,
            target=bridge_pb2.Target(num_samples=5_000),
            lead_samples=10_000,
            fade_samples=500,
            request_id="one",
        )
        one.live.ask(asked_for)
        one.wait_for(lambda: one.done)
        start, audio = one.heard("one")
        np.testing.assert_array_equal(audio, ramp(59_500, 5_500))
        assert start == 59_500
