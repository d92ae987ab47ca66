"""Notes as they are played, laid on session samples."""

from fractions import Fraction

import pytest

from bridge.midi.message import Kind, MidiMessage
from bridge.midi.notes import MAX_PLAYED, LiveNotes, part_of
from bridge.transport import steady

MAP = steady(48_000, 120)
BEAT = 24_000


def note(kind, pitch, channel=1, velocity=90):
    return MidiMessage(kind=kind, channel=channel, number=pitch, value=velocity)


@pytest.fixture
def notes():
    return LiveNotes()


def play(notes, pitch, start, end, **more):
    notes.hear(note(Kind.NOTE_ON, pitch, **more), Fraction(start))
    notes.hear(note(Kind.NOTE_OFF, pitch, **more), Fraction(end))


def spans(part):
    return [(played.pitch, played.start_sample, played.end_sample) for played in part.notes]


def test_notes_are_laid_on_samples_from_the_place_given(notes):
    play(notes, 60, 4, "4.5")
    play(notes, 64, 5, 6)
    part = part_of(notes.played(), (Fraction(4), Fraction(8)), MAP, 1_000)
    assert spans(part) == [(60, 1_000, 1_000 + BEAT // 2), (64, 1_000 + BEAT, 1_000 + 2 * BEAT)]
    assert (part.start_sample, part.end_sample) == (1_000, 1_000 + 4 * BEAT)


def test_notes_over_an_edge_are_cut_there_and_others_left_out(notes):
    play(notes, 60, 1, 5)
    play(notes, 61, 7, 9)
    play(notes, 62, 0, 4)
    play(notes, 63, 8, 9)
    part = part_of(notes.played(), (Fraction(4), Fraction(8)), MAP, 0)
    assert spans(part) == [(60, 0, BEAT), (61, 3 * BEAT, 4 * BEAT)]


def test_a_note_still_held_ends_with_the_part_and_stays_held(notes):
    notes.hear(note(Kind.NOTE_ON, 60), Fraction(1))
    assert spans(part_of(notes.played(), (Fraction(0), Fraction(4)), MAP, 0)) == [
        (60, BEAT, 4 * BEAT)
    ]
    assert notes.num_held == 1


def test_a_key_struck_again_ends_the_older_note(notes):
    notes.hear(note(Kind.NOTE_ON, 60), Fraction(0))
    notes.hear(note(Kind.NOTE_ON, 60), Fraction(1))
    notes.hear(note(Kind.NOTE_OFF, 60), Fraction(2))
    part = part_of(notes.played(), (Fraction(0), Fraction(4)), MAP, 0)
    assert spans(part) == [(60, 0, BEAT), (60, BEAT, 2 * BEAT)]


def test_a_note_of_no_length_lasts_one_sample(notes):
    play(notes, 60, 1, 1)
    assert spans(part_of(notes.played(), (Fraction(0), Fraction(4)), MAP, 0)) == [
        (60, BEAT, BEAT + 1)
    ]


def test_programs_count_from_then_on_and_channel_10_is_drums(notes):
    notes.hear(note(Kind.PROGRAM, 40), Fraction(0))
    play(notes, 60, 0, 1)
    notes.hear(note(Kind.PROGRAM, 41), Fraction(1))
    play(notes, 61, 1, 2)
    play(notes, 36, 2, 3, channel=10)
    part = part_of(notes.played(), (Fraction(0), Fraction(4)), MAP, 0)
    assert [(played.program, played.is_drum) for played in part.notes] == [
        (40, False),
        (41, False),
        (0, True),
    ]


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (MidiMessage(kind=Kind.STOP), 0),
        (MidiMessage(kind=Kind.CONTROL, channel=1, number=123), 1),
        (MidiMessage(kind=Kind.CONTROL, channel=1, number=120), 1),
        (MidiMessage(kind=Kind.CONTROL, channel=1, number=7), 2),
        (MidiMessage(kind=Kind.CLOCK), 2),
    ],
)
def test_stop_and_all_notes_off_end_what_is_held(message, left, notes):
    notes.hear(note(Kind.NOTE_ON, 60), Fraction(0))
    notes.hear(note(Kind.NOTE_ON, 60, channel=2), Fraction(0))
    notes.hear(message, Fraction(1))
    assert notes.num_held == left
    ended = [
        end for _, _, end in spans(part_of(notes.played(), (Fraction(0), Fraction(4)), MAP, 0))
    ]
    assert ended == [BEAT] * (2 - left) + [4 * BEAT] * left


def test_two_ports_do_not_release_each_other_s_keys(notes):
    notes.hear(note(Kind.NOTE_ON, 60), Fraction(0), "left")
    notes.hear(note(Kind.NOTE_OFF, 60), Fraction(1), "right")
    assert notes.num_held == 1


def test_the_oldest_notes_are_forgotten_first(notes):
    for number in range(MAX_PLAYED + 5):
        play(notes, number % 128, number, number + 1)
    assert len(notes) == MAX_PLAYED
    assert spans(part_of(notes.played(), (Fraction(0), Fraction(6)), MAP, 0)) == [
        (5, 5 * BEAT, 6 * BEAT)
    ]
    notes.clear()
    assert len(notes) == 0
