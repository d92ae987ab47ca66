"""The map of pads and controllers as a file: read, checked, and written by learning."""

import pytest

from bridge.errors import InvalidRequestError, NotFoundError
from bridge.midi.map_file import as_toml, learn, learned, read_map
from bridge.midi.message import Kind, MidiMessage
from bridge.midi.rows import Command, Row, Source

TEXT = """
# my pads
[presets.verse]
path = "verse.wav"
bars = 8
tempo_bpm = 97.3
meter = "7/8"
notes = "played"
program = 2
temperature = 0.9
top_k = 40
quality = "fast"
artist = "Bach"

[presets.jam]
path = "bounces"
tempo_bpm = "off"

[[map]]
source = "note"
number = 36
channel = 10
command = "continue"
preset = "verse"

[[map]]
source = "control"
number = 21
command = "temperature"
least = 0.5
greatest = 1.5
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "midi.toml"
    path.write_text(TEXT, "utf-8")
    return path


def test_rows_and_presets_are_read(file, tmp_path):
    found = read_map(file)
    verse, jam = found.presets
    assert (verse.path, verse.bars, verse.tempo_bpm, verse.meter) == (
        tmp_path / "verse.wav",
        8,
        97.3,
        "7/8",
    )
    assert (verse.notes, verse.program) == ("played", 2)
    assert verse.options == {"temperature": 0.9, "top_k": 40, "quality": "fast", "artist": "Bach"}
    assert (jam.tempo_bpm, jam.bars, jam.notes, jam.program) == (None, 4, "off", None)
    assert found.rows[0] == Row(
        source=Source.NOTE, number=36, channel=10, command=Command.CONTINUE, preset="verse"
    )
    assert found.rows[1].range() == (0.5, 1.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[maps]\n", "the section 'maps' is unknown, did you mean 'map'"),
        ("[presets]\nverse = 1\n", r"presets\.verse must be a table"),
        ("presets = 1\n", "presets must be tables"),
        ("map = 1\n", r"map must be tables \[\[map\]\]"),
        ("[presets.a]\nbars = 4\n", r"presets\.a lacks path"),
        ("[presets.a]\npath = 'x'\nbar = 4\n", "'bar' is unknown, did you mean 'bars'"),
        ("[presets.a]\npath = 'x'\nbars = 0\n", r"presets\.a\.bars is 0, allowed are 0.001 to"),
        ("[presets.a]\npath = 'x'\ntempo_bpm = 5\n", "is 5, allowed are 10 to 999 bpm"),
        ("[presets.a]\npath = 'x'\ntop_k = 1.5\n", r"presets\.a\.top_k is '1\.5'"),
        ("[[map]]\nnumber = 3\n", r"map\[0\] lacks source, command"),
        ("[[map]]\nsource = 'pad'\nnumber = 1\ncommand = 'retry'\n", "'pad', allowed: note"),
        ("[[map]]\nsource = 'note'\nnumber = 128\ncommand = 'retry'\n", "128, allowed are 0 to"),
        ("[[map]]\nsource = 'note'\nnumber = 1\ncommand = 'retry'\nchannel = 0\n", "is 0, allowed"),
        ("[[map]]\nsource = 'note'\nnumber = 1\ncommand = 'temperature'\n", r"map\[0\].*is a knob"),
        (
            "[[map]]\nsource = 'note'\nnumber = 1\ncommand = 'continue'\npreset = 'vers'\n"
            "[presets.verse]\npath = 'x'\n",
            r"map\[0\]: the preset 'vers' is unknown, did you mean 'verse'",
        ),
        (
            "[[map]]\nsource = 'note'\nnumber = 1\ncommand = 'retry'\n" * 2,
            r"map\[1\]: the note 1 of channel any does retry already",
        ),
    ],
)
def test_what_is_wrong_in_a_map_is_told_with_the_file_and_the_place(text, words, file):
    file.write_text(text, "utf-8")
    with pytest.raises(InvalidRequestError, match=words) as caught:
        read_map(file)
    assert "midi.toml" in str(caught.value)


def test_a_map_that_is_missing_is_told(tmp_path):
    with pytest.raises(NotFoundError, match=r"midi\.toml"):
        read_map(tmp_path / "midi.toml")


@pytest.mark.parametrize(
    ("message", "command", "expected"),
    [
        (
            MidiMessage(kind=Kind.NOTE_ON, channel=3, number=40, value=9),
            Command.RETRY,
            Row(source=Source.NOTE, number=40, channel=3, command=Command.RETRY),
        ),
        (
            MidiMessage(kind=Kind.CONTROL, channel=1, number=7, value=9),
            Command.TOP_P,
            Row(source=Source.CONTROL, number=7, channel=1, command=Command.TOP_P),
        ),
        (MidiMessage(kind=Kind.NOTE_ON, channel=3, number=40, value=9), Command.TOP_P, None),
        (MidiMessage(kind=Kind.NOTE_OFF, channel=3, number=40), Command.RETRY, None),
        (MidiMessage(kind=Kind.CLOCK), Command.RETRY, None),
    ],
)
def test_a_message_can_be_learned_where_it_fits_the_command(message, command, expected):
    assert learned(message, command) == expected


def test_learning_adds_a_row_and_keeps_the_rest_of_the_file(file):
    row = Row(source=Source.NOTE, number=40, command=Command.ACCEPT)
    before = read_map(file)
    learn(file, row)
    assert file.read_text("utf-8").startswith(TEXT)
    assert read_map(file).rows == (*before.rows, row)
    with pytest.raises(InvalidRequestError, match="does accept already; take that row out first"):
        learn(file, row)


def test_learning_begins_a_file(tmp_path):
    row = Row(source=Source.CONTROL, number=1, command=Command.TOP_P, least=0.5, channel=2)
    learn(tmp_path / "midi.toml", row)
    assert (tmp_path / "midi.toml").read_text("utf-8") == as_toml(row)
    assert read_map(tmp_path / "midi.toml").rows == (row,)
