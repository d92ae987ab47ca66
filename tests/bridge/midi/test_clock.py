"""MIDI clock to tempo and beat: under jitter, over tempo changes, seeks and pauses."""

import math
import random
from fractions import Fraction

import pytest

from bridge.config import settings
from bridge.midi.clock import LEAST_TICKS, QUIRKS, Clock, hear
from bridge.midi.message import Kind, MidiMessage


def message(kind, value=0):
    return MidiMessage(kind=kind, value=value)


class Host:
    """Sends clock at a tempo, late by what a function of the tick says."""

    def __init__(self, bpm=120.0, late=lambda tick: 0.0, clock=None):
        self.bpm, self.late, self.clock = bpm, late, clock or Clock()
        self.at, self.tick = 5.0, 0
        self.errors = []

    def send(self, kind, value=0):
        self.clock = hear(self.clock, message(kind, value), self.at)

    def play(self, beats, from_beat=None):
        """Send ticks, and note how far the clock's beat is off, in seconds."""
        for number in range(round(beats * 24)):
            heard_at = self.at + self.late(self.tick)
            self.clock = hear(self.clock, message(Kind.CLOCK), heard_at)
            beat = self.clock.beat_at(self.at)
            if from_beat is not None and self.clock.line is not None:
                true_beat = from_beat + number / 24
                self.errors.append((float(beat) - true_beat) * 60 / self.bpm)
            self.at += 60 / self.bpm / 24
            self.tick += 1


def uniform(most_seconds):
    source = random.Random(7)
    return lambda tick: source.uniform(0, most_seconds)


def quantised(period_seconds, bpm):
    """Return how late a tick is when it comes at the end of its audio period."""

    def late(tick):
        true = tick * 60 / bpm / 24
        return math.ceil(true / period_seconds) * period_seconds - true

    return late


@pytest.mark.parametrize("bpm", [40.0, 97.3, 120.0, 200.0])
@pytest.mark.parametrize("jitter_ms", [0, 2, 5])
def test_tempo_and_beat_come_through_jitter(bpm, jitter_ms):
    host = Host(bpm, uniform(jitter_ms / 1000))
    host.send(Kind.START)
    host.play(16, from_beat=0)
    late_on_average = jitter_ms / 2000
    settled = host.errors[96:]
    # A fit to n ticks has a slope of deviation jitter / n^1.5 seconds a tick: three of them.
    allowed_bpm = 3 * jitter_ms / 1000 / 96**1.5 * 24 * bpm**2 / 60
    assert abs(float(host.clock.tempo_bpm) - bpm) <= 0.006 + allowed_bpm
    assert max(abs(error + late_on_average) for error in settled) <= 1e-9 + jitter_ms * 4e-4


def test_ticks_that_come_by_audio_periods_still_give_the_tempo():
    host = Host(120.0, quantised(1024 / 48_000, 120.0))
    host.send(Kind.START)
    host.play(16, from_beat=0)
    assert abs(float(host.clock.tempo_bpm) - 120) < 0.3
    assert max(abs(error + 512 / 48_000) for error in host.errors[96:]) < 0.004


def test_no_tempo_is_told_before_half_a_beat_and_the_beat_is_that_of_the_last_tick():
    host = Host()
    host.send(Kind.START)
    assert host.clock.beat_at(host.at) == 0
    host.play((LEAST_TICKS - 1) / 24)
    assert host.clock.tempo_bpm is None
    assert host.clock.beat_at(host.at) == Fraction(LEAST_TICKS - 2, 24)
    host.play(1 / 24)
    assert host.clock.tempo_bpm == 120


def test_a_lone_late_tick_changes_nothing():
    host = Host(late=lambda tick: 0.3 if tick == 100 else 0.0)
    host.send(Kind.START)
    host.play(8, from_beat=0)
    assert host.clock.tempo_bpm == 120
    assert max(map(abs, host.errors)) < 1e-9


@pytest.mark.parametrize("bpm", [60.0, 118.0, 124.0, 180.0])
def test_a_new_tempo_is_known_within_two_beats(bpm):
    host = Host(late=uniform(0.001))
    host.send(Kind.START)
    host.play(8)
    host.bpm = bpm
    host.play(2)
    host.play(4, from_beat=10)
    assert abs(float(host.clock.tempo_bpm) - bpm) < bpm * 2e-3
    assert max(map(abs, host.errors)) < 0.003


def test_stop_holds_the_beat_and_continue_goes_on_there():
    host = Host()
    host.send(Kind.START)
    host.play(6)
    host.send(Kind.STOP)
    assert host.clock.beat_at(host.at) == 6
    host.play(3)
    assert host.clock.beat_at(host.at) == 6
    assert host.clock.tempo_bpm == 120
    host.send(Kind.CONTINUE)
    host.play(2, from_beat=6)
    assert max(map(abs, host.errors)) < 1e-9


def test_song_position_says_where_the_next_tick_is_standing_and_rolling():
    host = Host()
    host.play(2)
    host.send(Kind.SONG_POSITION, 4 * 4 * 2)
    assert host.clock.beat_at(host.at) == 8
    host.send(Kind.CONTINUE)
    host.play(4, from_beat=8)
    host.send(Kind.SONG_POSITION, 4)
    host.play(4, from_beat=1)
    assert max(map(abs, host.errors)) < 1e-9


def test_ardour_7_counts_six_times_too_far():
    host = Host(clock=Clock(quirk=QUIRKS["ardour7"]))
    host.play(2)
    host.send(Kind.SONG_POSITION, 96)
    host.send(Kind.CONTINUE)
    host.play(2, from_beat=4)
    assert max(map(abs, host.errors)) < 1e-9


def test_a_clock_that_pauses_begins_anew_and_its_position_is_what_start_says():
    host = Host()
    host.send(Kind.START)
    host.play(4)
    host.send(Kind.STOP)
    host.at += 60
    host.bpm = 90.0
    host.send(Kind.START)
    host.play(4, from_beat=0)
    assert host.clock.tempo_bpm == 90
    assert max(map(abs, host.errors)) < 1e-9


def test_without_a_position_there_is_a_tempo_and_no_beat():
    host = Host()
    host.play(2)
    assert host.clock.tempo_bpm == 120
    assert host.clock.beat_at(host.at) is None
    host.send(Kind.CONTINUE)
    host.play(1)
    assert host.clock.beat_at(host.at) is None


@pytest.mark.parametrize("bpm", [5.0, 1_500.0])
def test_a_tempo_that_no_host_has_is_not_told(bpm):
    host = Host(bpm)
    host.play(4)
    assert host.clock.tempo_bpm is None


def test_time_that_runs_backwards_begins_a_new_line():
    host = Host()
    host.play(2)
    host.at -= 100
    host.play(2)
    assert host.clock.tempo_bpm == 120
    assert host.clock.ticks[0][1] < host.at


def test_notes_do_not_move_the_clock():
    clock = Clock()
    assert hear(clock, message(Kind.NOTE_ON), 1.0) is clock


def test_the_setting_names_every_quirk():
    assert settings()["midi_quirk"].kind.words == tuple(QUIRKS)
