"""Bytes of a port to messages; what is not heard is dropped by rule."""

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.midi.message import Kind, MidiMessage, parse, words

THEIRS = {
    "note_on": Kind.NOTE_ON,
    "note_off": Kind.NOTE_OFF,
    "control_change": Kind.CONTROL,
    "program_change": Kind.PROGRAM,
    "songpos": Kind.SONG_POSITION,
    "clock": Kind.CLOCK,
    "start": Kind.START,
    "continue": Kind.CONTINUE,
    "stop": Kind.STOP,
}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            mido.Message("note_on", channel=9, note=36, velocity=100),
            MidiMessage(kind=Kind.NOTE_ON, channel=10, number=36, value=100),
        ),
        (
            mido.Message("note_on", channel=0, note=60, velocity=0),
            MidiMessage(kind=Kind.NOTE_OFF, channel=1, number=60),
        ),
        (
            mido.Message("control_change", channel=15, control=7, value=127),
            MidiMessage(kind=Kind.CONTROL, channel=16, number=7, value=127),
        ),
        (
            mido.Message("program_change", channel=2, program=5),
            MidiMessage(kind=Kind.PROGRAM, channel=3, number=5),
        ),
        (mido.Message("songpos", pos=16_383), MidiMessage(kind=Kind.SONG_POSITION, value=16_383)),
        (mido.Message("clock"), MidiMessage(kind=Kind.CLOCK)),
    ],
)
def test_bytes_of_another_implementation_become_messages(message, expected):
    assert parse(message.bytes()) == expected


@given(st.binary(max_size=6))
def test_whatever_comes_is_a_message_of_its_length_or_nothing(data):
    message = parse(data)
    try:
        theirs = mido.Message.from_bytes(data)
    except (ValueError, IndexError):  # what mido raises over damaged bytes
        assert message is None
        return
    if theirs.type not in THEIRS:
        assert message is None
    else:
        kind = THEIRS[theirs.type]
        silent = kind is Kind.NOTE_ON and theirs.velocity == 0
        assert message.kind is (Kind.NOTE_OFF if silent else kind)


def test_a_message_can_be_shown_to_people():
    assert words(MidiMessage(kind=Kind.CONTROL, channel=3, number=7, value=9)) == (
        "control channel 3 number 7 value 9"
    )
    assert words(MidiMessage(kind=Kind.PROGRAM, channel=1, number=4)) == (
        "program channel 1 number 4"
    )
    assert words(MidiMessage(kind=Kind.SONG_POSITION, value=16)) == "song_position 16 sixteenths"
    assert words(MidiMessage(kind=Kind.START)) == "start"
