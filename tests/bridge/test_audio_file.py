"""What is read is what the file holds; what is written is whole, named and placed."""

import hashlib
import os
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import soundfile as sf

from bridge import audio_file, broadcast_wave
from bridge.audio_file import (
    AudioClip,
    Provenance,
    read_audio,
    read_time_reference,
    sha256_of,
    write_audio,
)
from bridge.errors import InvalidRequestError, NotFoundError, StorageError

RATES = [44_100, 48_000, 88_200, 96_000]
MADE_BY = Provenance(
    model="small",
    fingerprint="f" * 64,
    seed=2**63,
    request_id='r-1 <&"ü\x07',
    licence="CC0-1.0",
    take_id="t-1",
)


def noise(num_channels=2, num_samples=1_001):
    audio = np.random.default_rng(0).uniform(-1, 1, (num_channels, num_samples))
    return audio.astype(np.float32)


def clip(num_channels=2, num_samples=1_001, sample_rate=48_000):
    return AudioClip(samples=noise(num_channels, num_samples), sample_rate=sample_rate)


def chunks_of(path):
    data, found, at = path.read_bytes(), {}, 12
    while at + 8 <= len(data):
        name, num_bytes = struct.unpack_from("<4sI", data, at)
        found[name] = data[at + 8 : at + 8 + num_bytes]
        at += 8 + num_bytes + num_bytes % 2
    assert at == len(data)
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    return found


def wav_claiming(num_bytes, held=b"\0" * 1_000):
    form = struct.pack("<HHIIHH", 1, 2, 48_000, 192_000, 4, 16)
    start = b"RIFF" + struct.pack("<I", min(num_bytes + 36, 2**32 - 1)) + b"WAVE"
    return (
        start
        + b"fmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", num_bytes)
        + held
    )


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("num_samples", [1, 1_001, 48_000])
def test_a_written_clip_is_read_again_bit_for_bit(tmp_path, rate, num_channels, num_samples):
    given = clip(num_channels, num_samples, rate)
    path = write_audio(tmp_path / "take.wav", given, 12_345, MADE_BY)
    read = read_audio(path)
    np.testing.assert_array_equal(read.samples, given.samples)
    assert read.sample_rate == rate
    assert sf.info(path).subtype == "FLOAT"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "subtype", "step"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "DOUBLE", 0),
        ("a.aiff", "PCM_24", 2**-23),
        ("a.aif", "FLOAT", 0),
        ("a.flac", "PCM_16", 2**-15),
        ("a.raw", "PCM_16", 2**-15),
    ],
)
def test_common_formats_are_read_whatever_their_name(tmp_path, name, subtype, step):
    audio = noise()
    container = {"a.flac": "FLAC", "a.aiff": "AIFF", "a.aif": "AIFF"}.get(name, "WAV")
    sf.write(tmp_path / name, audio.T, 48_000, subtype=subtype, format=container)
    read = read_audio(tmp_path / name)
    assert read.samples.dtype == np.float32
    assert read.samples.flags.c_contiguous
    np.testing.assert_allclose(read.samples, audio, atol=step)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match=r"missing\.wav"):
        read_audio(tmp_path / "missing.wav")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidRequestError, match="regular"):
            read_audio(path)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"ID3 something else", b"RF64" + b"\0" * 100])
def test_what_is_no_audio_file_is_refused(tmp_path, data):
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(InvalidRequestError, match=r"a\.wav"):
        read_audio(tmp_path / "a.wav")


def test_a_header_that_claims_3_gb_is_refused_before_memory_is_taken(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav_claiming(3_000_000_000))
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from bridge.audio_file import read_audio\n"
        "from bridge.errors import InvalidRequestError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_audio(Path(sys.argv[1]))\n"
        "except InvalidRequestError as error: print(error)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert after - before < 50_000, (before, after)\n"
    )
    folder = Path(audio_file.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.wav")],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert run.returncode == 0, run.stderr
    assert "claims 3000000000 bytes of audio, 1000 bytes follow it" in run.stdout


@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, container, kept):
    path = tmp_path / "a.audio"
    sf.write(path, noise(2, 20_000).T, 48_000, subtype="PCM_16", format=container)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InvalidRequestError, match="truncated"):
        read_audio(path)


def outcome(path):
    """Return whether the file gave audio or an error that names it."""
    try:
        return read_audio(path).samples.shape[1] > 0
    except InvalidRequestError as error:
        return str(path) in str(error)


@pytest.mark.parametrize("num_bytes", [0, 2**32 - 1])
def test_a_length_that_was_never_filled_in_is_refused(tmp_path, num_bytes):
    (tmp_path / "a.wav").write_bytes(wav_claiming(num_bytes))
    with pytest.raises(InvalidRequestError, match=f"0 samples|{num_bytes} bytes"):
        read_audio(tmp_path / "a.wav")


def test_a_file_of_endless_chunks_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 2_000)
    with pytest.raises(InvalidRequestError, match="1000 chunks"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_file_is_read_or_refused_but_never_breaks(tmp_path, seed):
    random = np.random.default_rng(seed)
    container = ["WAV", "AIFF", "FLAC"][seed % 3]
    sf.write(tmp_path / "a", noise(2, 500).T, 48_000, subtype="PCM_16", format=container)
    data = bytearray((tmp_path / "a").read_bytes())
    for at in random.integers(0, 64, 6):
        data[at] = random.integers(0, 256)
    (tmp_path / "a").write_bytes(data)
    assert outcome(tmp_path / "a")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused_with_their_count(tmp_path, bad):
    audio = noise()
    audio[:, 5:7] = bad
    sf.write(tmp_path / "a.wav", audio.T, 48_000, subtype="FLOAT")
    with pytest.raises(InvalidRequestError, match="4 samples that are NaN"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(("num_channels", "rate"), [(3, 48_000), (6, 48_000), (2, 22_050)])
def test_channels_and_rates_that_are_not_served_are_refused(tmp_path, num_channels, rate):
    sf.write(tmp_path / "a.wav", noise(num_channels).T, rate)
    with pytest.raises(InvalidRequestError, match=r"channels|Hz"):
        read_audio(tmp_path / "a.wav")


def test_a_file_that_is_too_long_is_refused_with_its_length(tmp_path):
    sf.write(tmp_path / "a.wav", noise(1, 48_000 * 2).T, 48_000)
    with pytest.raises(InvalidRequestError, match=r"2\.0 s, the limit is 1\.5 s"):
        read_audio(tmp_path / "a.wav", max_seconds=1.5)


@pytest.mark.parametrize("start", [0, 12_345, 2**40 + 7])
def test_the_broadcast_chunk_places_the_clip_on_the_timeline(tmp_path, start):
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    path = write_audio(tmp_path / "a.wav", clip(), start, MADE_BY, written_at=at)
    assert read_time_reference(path) == start
    bext = chunks_of(path)[b"bext"]
    assert struct.unpack_from("<Q", bext, 338)[0] == start
    assert struct.unpack_from("<H", bext, 346)[0] == 2
    assert bext[320:338] == b"2026-01-0203:04:05"
    assert bext[:256].rstrip(b"\0") == b"small, seed 9223372036854775808, CC0-1.0"
    assert bext[256:288].rstrip(b"\0") == b"jukebox-bridge"
    assert bext[602:].startswith(b"A=PCM,F=48000,W=32,M=stereo")
    assert struct.unpack_from("<5h", bext, 412) == (0x7FFF,) * 5


def test_the_file_says_where_it_comes_from(tmp_path):
    path = write_audio(tmp_path / "a.wav", clip(), 2**33 + 5, MADE_BY)
    found = chunks_of(path)
    root = Xml.fromstring(found[b"iXML"].decode())
    said = {entry.tag: entry.text for entry in root.find("USER")}
    assert said == {
        "MODEL": "small",
        "FINGERPRINT": "f" * 64,
        "SEED": str(2**63),
        "REQUEST_ID": 'r-1 <&"ü\ufffd',
        "LICENCE": "CC0-1.0",
        "TAKE_ID": "t-1",
    }
    assert root.findtext("SPEED/TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI") == "2"
    assert root.findtext("SPEED/TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO") == "5"
    assert struct.unpack("<I", found[b"fact"])[0] == 1_001
    assert struct.unpack_from("<HHI", found[b"fmt "]) == (3, 2, 48_000)


def test_the_hash_is_that_of_the_interleaved_samples_in_the_file(tmp_path):
    given = clip()
    path = write_audio(tmp_path / "a.wav", given, 0, MADE_BY)
    data = chunks_of(path)[b"data"]
    assert data == given.samples.T.astype("<f4").tobytes()
    assert sha256_of(given.samples) == hashlib.sha256(data).hexdigest()


def test_a_file_that_is_there_stays_unless_asked(tmp_path):
    wanted = tmp_path / "take.wav"
    paths = [write_audio(wanted, clip(num_samples=n), 0, MADE_BY) for n in (1, 2, 3)]
    assert [path.name for path in paths] == ["take.wav", "take-2.wav", "take-3.wav"]
    assert [read_audio(path).samples.shape[1] for path in paths] == [1, 2, 3]
    assert write_audio(wanted, clip(num_samples=9), 0, MADE_BY, overwrite=True) == wanted
    assert read_audio(wanted).samples.shape[1] == 9
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_system_without_hard_links_serves_as_well(tmp_path, monkeypatch):
    def refuse(_path, _target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    paths = [write_audio(tmp_path / "a.wav", clip(num_samples=n), 0, MADE_BY) for n in (1, 2)]
    assert [read_audio(path).samples.shape[1] for path in paths] == [1, 2]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.parametrize("step", ["fsync", "open"])
def test_a_failure_leaves_no_file(tmp_path, monkeypatch, step):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises(StorageError, match="the disk is full"):
        write_audio(tmp_path / "a.wav", clip(), 0, MADE_BY)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        write_audio(tmp_path / "nowhere" / "a.wav", clip(), 0, MADE_BY)


@pytest.mark.parametrize("start", [-1, 2**64])
def test_a_start_that_no_time_reference_can_hold_is_refused(tmp_path, start):
    with pytest.raises(InvalidRequestError, match="time reference"):
        write_audio(tmp_path / "a.wav", clip(), start, MADE_BY)
    assert list(tmp_path.iterdir()) == []


def test_more_than_4_gb_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(broadcast_wave, "MAX_FILE_BYTES", 5_000)
    with pytest.raises(InvalidRequestError, match="limit is 5000 bytes"):
        write_audio(tmp_path / "a.wav", clip(), 0, MADE_BY)
    assert list(tmp_path.iterdir()) == []


def test_a_broadcast_chunk_that_is_cut_says_nothing_of_its_place(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVEbext\xff\xff\0\0" + b"x" * 341)
    assert read_time_reference(tmp_path / "a.wav") is None


def test_a_plain_file_says_nothing_of_its_place(tmp_path):
    sf.write(tmp_path / "a.wav", noise().T, 48_000)
    sf.write(tmp_path / "a.flac", noise().T, 48_000)
    assert read_time_reference(tmp_path / "a.wav") is None
    assert read_time_reference(tmp_path / "a.flac") is None
    with pytest.raises(NotFoundError):
        read_time_reference(tmp_path / "b.wav")
