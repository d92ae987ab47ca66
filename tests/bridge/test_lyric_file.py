"""Times of words as files: LRC and markers come back as they were written."""

import struct

import numpy as np
import pytest

from bridge.audio_file import AudioClip, Provenance, read_audio, read_markers, write_audio
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.lyric_file import MAX_LRC_BYTES, from_lrc, markers_of, read_lyrics, to_lrc
from bridge.markers import Marker, marker_chunks
from bridge.markers import markers_of as parsed
from bridge.ports import TimedWord

RATE = 48_000
WORDS = (
    TimedWord(text="hello", line=0, start_sample=48_000, end_sample=72_000),
    TimedWord(text="there,", line=0, start_sample=72_000, end_sample=96_000),
    TimedWord(text="world", line=2, start_sample=4_800_000, end_sample=4_900_800),
)
PROVENANCE = Provenance(model="m", fingerprint="f", seed=1, request_id="r", licence="l")


def test_words_come_back_from_lrc_at_the_hundredth():
    text = to_lrc(WORDS, 0, RATE, {"ti": "A [song]"})
    assert text.splitlines() == [
        "[ti:A [song)]",
        "[00:01.00] <00:01.00> hello <00:01.50> there, <00:02.00>",
        "[01:40.00] <01:40.00> world <01:42.10>",
    ]
    back = from_lrc(text, RATE)
    assert [word.text for word in back] == ["hello", "there,", "world"]
    assert [word.line for word in back] == [0, 0, 1]
    for word, was in zip(back, WORDS, strict=True):
        assert abs(word.start_sample - was.start_sample) <= RATE / 200
        assert abs(word.end_sample - was.end_sample) <= RATE / 200


def test_times_count_from_the_result():
    assert "[00:00.50] <00:00.50> hello" in to_lrc(WORDS, 24_000, RATE, {})
    assert from_lrc("no times\n[00:01.00] none\n", RATE) == ()
    with pytest.raises(InvalidRequestError, match="the limit is"):
        from_lrc("x" * (MAX_LRC_BYTES + 1), RATE)


def test_markers_lie_in_the_file_and_are_read_back(tmp_path):
    markers = markers_of(WORDS, 48_000, 60_000)
    assert markers == (
        Marker(text="hello", sample=0, num_samples=24_000),
        Marker(text="there,", sample=24_000, num_samples=24_000),
    )
    samples = np.random.default_rng(0).random((2, 60_000)).astype(np.float32) - 0.5
    clip = AudioClip(samples=samples, sample_rate=RATE, markers=markers)
    path = write_audio(tmp_path / "a.wav", clip, 48_000, PROVENANCE)
    assert read_markers(path) == markers
    back = read_audio(path)
    assert np.array_equal(back.samples, samples)
    data = path.read_bytes()
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    cue = data.index(b"cue ")
    assert struct.unpack_from("<II", data, cue + 4) == (4 + 2 * 24, 2)


def test_a_file_without_markers_is_as_it_was_and_damage_is_passed_over(tmp_path):
    clip = AudioClip(samples=np.zeros((1, 9), np.float32), sample_rate=RATE)
    path = write_audio(tmp_path / "a.wav", clip, 0, PROVENANCE)
    assert b"cue " not in path.read_bytes()
    assert read_markers(path) == ()
    assert marker_chunks(()) == b""
    assert parsed([(b"cue ", b"\x01"), (b"LIST", b"adtl" + b"labl\xff\xff\xff\xff")]) == ()
    with pytest.raises(NotFoundError):
        read_markers(tmp_path / "none.wav")


def test_a_label_of_odd_length_does_not_shift_the_next():
    markers = tuple(Marker(text=text, sample=at) for at, text in enumerate(("a", "bb", "é")))
    data = marker_chunks(markers)
    size = struct.unpack_from("<I", data, 4)[0]
    notes = data[8 + size + 8 :]
    assert parsed([(b"cue ", data[8 : 8 + size]), (b"LIST", notes)]) == markers


def test_lyrics_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    for name in ("bad", "none"):
        with pytest.raises(InvalidRequestError, match="no lyrics can be read"):
            read_lyrics(tmp_path / name)
