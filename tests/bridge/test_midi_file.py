"""Notes lie where the file's tempo map puts them, and no file breaks the reader."""

import os
from fractions import Fraction
from io import BytesIO

import mido
import numpy as np
import pytest
from mido import Message, MetaMessage

from bridge import midi_file
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.midi_file import read_midi, read_tempo_map, write_midi
from bridge.ports import MidiPart, Note
from bridge.transport import Meter, Tempo, TempoMap, exact, nearest, steady

RATES = [44_100, 48_000, 88_200, 96_000]


def on(note, time=0, velocity=80, channel=0):
    return Message("note_on", note=note, velocity=velocity, time=time, channel=channel)


def off(note, time=0, channel=0):
    return Message("note_off", note=note, time=time, channel=channel)


def program(number, channel=0, time=0):
    return Message("program_change", program=number, channel=channel, time=time)


def saved(path, *tracks, ticks_per_beat=480):
    kept = [mido.MidiTrack(track) for track in tracks]
    mido.MidiFile(type=int(len(kept) > 1), ticks_per_beat=ticks_per_beat, tracks=kept).save(path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "part.mid"


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("start", [0, -5_001, 123_457])
def test_notes_lie_on_their_samples(path, rate, start):
    saved(path, [on(60), off(60, 480), on(64, 240, velocity=1), off(64, 720)])
    part = read_midi(path, rate, start)
    beat = rate // 2
    assert part == MidiPart(
        notes=(
            Note(start_sample=start, end_sample=start + beat, pitch=60, velocity=80),
            Note(
                start_sample=start + nearest(Fraction(3 * beat, 2)),
                end_sample=start + 3 * beat,
                pitch=64,
                velocity=1,
            ),
        ),
        start_sample=start,
        end_sample=start + 3 * beat,
    )


def test_tempo_changes_move_what_follows_in_every_track(path):
    tempos = [
        MetaMessage("set_tempo", tempo=600_000),
        MetaMessage("set_tempo", tempo=300_000, time=480),
    ]
    saved(path, tempos, [on(60, 480), off(60, 480), on(62), off(62, 480)])
    part = read_midi(path, 48_000)
    assert [(note.start_sample, note.end_sample) for note in part.notes] == [
        (28_800, 43_200),
        (43_200, 57_600),
    ]


def test_rounding_does_not_add_up(path):
    events = [MetaMessage("set_tempo", tempo=616_650)]
    for _ in range(2_000):
        events += [on(60), off(60, 7)]
    part = read_midi(saved(path, events), 44_100)
    for index, note in enumerate(part.notes):
        assert note.start_sample == nearest(Fraction(7 * index * 616_650 * 441, 480 * 10_000))


def test_hanging_notes_end_with_the_file(path):
    saved(path, [on(60), on(62, 480), off(62, 480), MetaMessage("end_of_track", time=480)])
    part = read_midi(path, 48_000)
    assert [(note.pitch, note.end_sample) for note in part.notes] == [(60, 72_000), (62, 48_000)]
    assert part.end_sample == 72_000


def test_a_note_without_length_lasts_a_sample(path):
    part = read_midi(saved(path, [on(60, 480), off(60)]), 48_000)
    note = part.notes[0]
    assert (note.start_sample, note.end_sample) == (24_000, 24_001)
    assert part.end_sample == 24_001


def test_a_note_on_of_no_velocity_ends_a_note(path):
    part = read_midi(saved(path, [on(60), on(60, 480, velocity=0)]), 48_000)
    assert [note.end_sample for note in part.notes] == [24_000]


def test_two_notes_on_one_key_end_in_the_order_they_began(path):
    part = read_midi(saved(path, [on(60), on(60, 480), off(60, 480), off(60, 480)]), 48_000)
    spans = [(note.start_sample, note.end_sample) for note in part.notes]
    assert spans == [(0, 48_000), (24_000, 72_000)]


def test_an_end_without_a_note_changes_nothing(path):
    part = read_midi(saved(path, [off(60), on(62), off(62, 480), off(62, 480)]), 48_000)
    assert [note.pitch for note in part.notes] == [62]


@pytest.mark.parametrize("control", [120, 123])
def test_all_notes_off_ends_the_notes_of_its_channel(path, control):
    silence = Message("control_change", control=control, channel=1, time=480)
    events = [on(60), on(62, channel=1), silence, off(60, 480), off(62, 0, channel=1)]
    part = read_midi(saved(path, events), 48_000)
    assert {note.pitch: note.end_sample for note in part.notes} == {60: 48_000, 62: 24_000}


def test_programs_are_followed_and_channel_10_is_drums(path):
    saved(
        path,
        [program(40, 1), on(60, channel=1), program(41, 1, time=10), off(60, 10, channel=1)],
        [on(62, 20, channel=1), off(62, 480, channel=1), on(63, channel=2), off(63, 9, channel=2)],
        [program(25, 9), on(36, channel=9), off(36, 480, channel=9)],
    )
    part = read_midi(path, 48_000)
    assert {(note.pitch, note.program, note.is_drum) for note in part.notes} == {
        (60, 40, False),
        (62, 41, False),
        (63, 0, False),
        (36, 0, True),
    }


def test_equal_channels_of_two_ports_are_two_channels(path):
    saved(
        path,
        [MetaMessage("midi_port", port=0), program(1), on(60), off(60, 100)],
        [MetaMessage("midi_port", port=1), program(2), on(60, 10), off(60, 50)],
    )
    part = read_midi(path, 48_000)
    assert [(note.program, note.end_sample) for note in part.notes] == [(1, 5_000), (2, 3_000)]


def test_the_tempo_map_of_a_file_has_its_tempos_and_meters(path):
    saved(
        path,
        [
            MetaMessage("time_signature", numerator=7, denominator=8),
            MetaMessage("set_tempo", tempo=500_000),
            MetaMessage("set_tempo", tempo=400_000),
            MetaMessage("set_tempo", tempo=600_000, time=480 * 7),
            MetaMessage("time_signature", numerator=3, denominator=4),
        ],
    )
    tempo_map = read_tempo_map(path, 48_000, 99)
    assert [(tempo.beat, tempo.bpm) for tempo in tempo_map.tempos] == [(0, 150), (7, 100)]
    assert tempo_map.meters[0] == Meter(numerator=7, denominator=8)
    assert tempo_map.meters[1] == Meter(numerator=3, denominator=4, beat=Fraction(7))
    assert tempo_map.origin_sample == 99


def test_a_file_without_tempo_and_meter_has_120_bpm_in_four_four(path):
    assert read_tempo_map(saved(path, [on(60)]), 48_000) == steady(48_000, 120)


@pytest.fixture
def winding_part():
    notes = [
        Note(start_sample=s, end_sample=s + n, pitch=p, velocity=v, program=g, is_drum=d)
        for s, n, p, v, g, d in [
            (1_000, 24_000, 60, 80, 0, False),
            (1_000, 9_000, 36, 127, 0, True),
            (25_000, 40_001, 67, 1, 33, False),
            (25_000, 1, 67, 64, 0, False),
            (170_003, 5_000, 67, 64, 0, False),
        ]
    ]
    return MidiPart(
        notes=tuple(sorted(notes, key=lambda note: (note.start_sample, note.pitch, note.program))),
        start_sample=1_000,
        end_sample=200_000,
    )


def test_a_written_part_is_read_again_within_half_a_tick(path, winding_part):
    tempo_map = TempoMap(
        sample_rate=48_000,
        tempos=(Tempo(bpm=exact(100)), Tempo(bpm=exact(150), beat=Fraction(3))),
        meters=(Meter(numerator=3),),
        origin_sample=1_000,
    )
    assert write_midi(path, winding_part, tempo_map) == path
    again = read_midi(path, 48_000, 1_000)
    tick_samples = 48_000 * 60 / 100 / midi_file.TICKS_PER_BEAT
    assert read_tempo_map(path, 48_000, 1_000) == tempo_map
    assert len(again.notes) == len(winding_part.notes)
    for note, wanted in zip(again.notes, winding_part.notes, strict=True):
        assert (note.pitch, note.velocity, note.program, note.is_drum) == (
            wanted.pitch,
            wanted.velocity,
            wanted.program,
            wanted.is_drum,
        )
        assert abs(note.start_sample - wanted.start_sample) <= tick_samples / 2 + 1
        assert abs(note.end_sample - wanted.end_sample) <= tick_samples + 1
    assert abs(again.end_sample - 200_000) <= tick_samples


def test_a_part_that_begins_late_carries_the_tempo_in_force(path, winding_part):
    tempo_map = TempoMap(
        sample_rate=48_000,
        tempos=(Tempo(bpm=exact(60)), Tempo(bpm=exact(150), beat=Fraction(1, 2))),
        origin_sample=-48_000,
    )
    write_midi(path, winding_part, tempo_map)
    assert [tempo.bpm for tempo in read_tempo_map(path, 48_000).tempos] == [150]


def test_sixteen_programs_do_not_fit(path):
    notes = tuple(
        Note(start_sample=0, end_sample=9, pitch=60, velocity=9, program=n) for n in range(16)
    )
    part = MidiPart(notes=notes, start_sample=0, end_sample=9)
    with pytest.raises(InvalidRequestError, match="16 programs, a MIDI file holds 15"):
        write_midi(path, part, steady(48_000, 120))
    assert not path.exists()


def smf(track, division=b"\x01\xe0", kind=b"\0\0"):
    header = b"MThd\0\0\0\x06" + kind + b"\0\x01" + division
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Standard MIDI"),
        (b"RIFF\0\0\0\0WAVE", "Standard MIDI"),
        (b"MThd", "truncated"),
        (smf(b"\0\x90\x3c\x40")[:-2], "truncated"),
        (smf(b"\0\xff\x2f\0") + b"", "0 notes"),
        (smf(b"\0\xff\x2f\0", kind=b"\0\x02"), "type 2"),
        (smf(b"\0\xff\x2f\0", division=b"\xe7\x28"), "SMPTE"),
        (smf(b"\0\xff\x2f\0", division=b"\0\0"), "SMPTE|ticks"),
        (smf(b"\0\xff\x51\x03\0\0\0\0\x90\x3c\x40\0\xff\x2f\0"), "0 microseconds"),
        (smf(b"\0\xff\x51\x03\xff\xff\xff\0\x90\x3c\x40\0\xff\x2f\0"), "10 to 999 bpm"),
        (smf(b"\xff\xff\xff\x7f\x90\x3c\x40\0\xff\x2f\0", division=b"\0\x60"), "86400 s"),
        (smf(b"\xff" * 20_000), "4 bytes"),
        (smf(b"\0\xff\x59\x02\x55\x55\0\xff\x2f\0"), "damaged"),
    ],
)
def test_damaged_and_odd_files_are_refused_by_name(path, data, reason):
    path.write_bytes(data)
    with pytest.raises(InvalidRequestError, match=reason) as caught:
        read_midi(path, 48_000)
    assert str(path) in str(caught.value)


def test_every_truncation_is_refused(path):
    saved(path, [program(3), on(60), off(60, 480), on(62), off(62, 480)])
    data = path.read_bytes()
    for num_bytes in range(len(data)):
        path.write_bytes(data[:num_bytes])
        with pytest.raises(InvalidRequestError):
            read_midi(path, 48_000)


def outcome(path):
    """Return whether the file gave notes or an error that names it."""
    try:
        return bool(read_midi(path, 48_000).notes)
    except InvalidRequestError as error:
        return str(path) in str(error)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_is_read_or_refused_but_never_breaks(path, seed):
    random = np.random.default_rng(seed)
    meta = [MetaMessage("key_signature", key="C"), MetaMessage("text", text="x" * 20)]
    saved(path, [*meta, program(3), on(60), off(60, 480), on(62), off(62, 480)], [on(64)])
    whole = path.read_bytes()
    for _ in range(20):
        data = bytearray(whole)
        for at in random.integers(0, len(data), 4):
            data[at] = random.integers(0, 256)
        path.write_bytes(data)
        assert outcome(path)


def test_sizes_and_counts_are_bounded(path, monkeypatch):
    saved(path, [on(60), off(60, 480), on(62), off(62, 480)])
    with monkeypatch.context() as patched:
        patched.setattr(midi_file, "MAX_NOTES", 1)
        with pytest.raises(InvalidRequestError, match="over 1 notes"):
            read_midi(path, 48_000)
    monkeypatch.setattr(midi_file, "MAX_FILE_BYTES", 20)
    with pytest.raises(InvalidRequestError, match=r"bytes, the limit is 20 bytes"):
        read_midi(path, 48_000)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match="no file"):
        read_midi(tmp_path / "none.mid", 48_000)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidRequestError, match="regular"):
            read_midi(path, 48_000)


def test_what_is_written_plays_in_mido(path, winding_part):
    write_midi(path, winding_part, steady(48_000, 120))
    file = mido.MidiFile(file=BytesIO(path.read_bytes()))
    kinds = [message.type for message in file.merged_track]
    assert kinds.count("note_on") == 2 * len(winding_part.notes)
    assert file.length == pytest.approx(199_000 / 48_000, abs=1e-3)
