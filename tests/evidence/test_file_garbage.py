"""Spoilt WAV, AIFF, FLAC and MIDI files by the thousand: each is read or refused, none breaks."""

import asyncio
import io
import itertools
import os
import random
import sys
import time
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from fakes import CountingGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bridge
from bridge.admission import EngineLimits
from bridge.audio_file import AudioClip, Provenance, read_audio, read_time_reference, write_audio
from bridge.engine import Engine
from bridge.errors import InvalidRequestError
from bridge.midi_file import read_messages, read_midi, read_tempo_map, write_midi
from bridge.ports import Conditions, MidiPart, Note, Plan
from bridge.request import MAX_PRIME_SECONDS, SAMPLE_RATES, Done, Prime, RenderRequest
from bridge.store import TakeStore
from bridge.transport import steady
from tests.evidence.spoiling import Memory, no_hang, spoilt

COUNT = int(os.environ.get("JUKEBOX_FILE_GARBAGE", "5000"))
"""Of spoilt files of each of the two kinds, audio and MIDI, when evidence is gathered."""
SHORT_COUNT = 150
SEED = 6
GROWTH_BYTES = 64 * 2**20
PEAK_BYTES = 256 * 2**20
"""More than any file of the corpus may be taken for."""
EXAMPLES = Path(bridge.__file__).parent / "data"


def audio_corpus(folder):
    """Return whole audio files of every container and coding that is read, as bytes."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 900)).astype(np.float32)
    files = []
    for container, codings in {
        "WAV": ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE", "IMA_ADPCM"),
        "WAVEX": ("PCM_16",),
        "AIFF": ("PCM_16", "FLOAT"),
        "FLAC": ("PCM_16", "PCM_24"),
    }.items():
        for coding in codings:
            held = io.BytesIO()
            sf.write(held, noise.T, 48_000, subtype=coding, format=container)
            files.append(held.getvalue())
    nobody = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")
    clip = AudioClip(samples=noise, sample_rate=44_100)
    files.append(write_audio(folder / "ours.wav", clip, 1_000, nobody).read_bytes())
    return files


def midi_corpus(folder):
    """Return whole MIDI files, as bytes."""
    notes = tuple(
        Note(start_sample=n * 999, end_sample=n * 999 + 500, pitch=40 + n, velocity=90, program=n)
        for n in range(9)
    )
    part = MidiPart(notes=notes, start_sample=0, end_sample=20_000)
    ours = write_midi(folder / "ours.mid", part, steady(44_100, 97)).read_bytes()
    two_tracks = (
        b"MThd\0\0\0\6\0\1\0\2\0\x60"
        b"MTrk\0\0\0\x13\0\xff\x51\3\7\xa1\x20\0\xff\x58\4\3\2\x18\x08\0\xff\x2f\0"
        b"MTrk\0\0\0\x0e\0\xc1\5\0\x91\x3c\x40\x60\x3c\0\0\xff\x2f\0\0"
    )
    return [ours, ours, (EXAMPLES / "section.mid").read_bytes(), two_tracks]


def attempted(reads, path):
    """Return what was read, or None if the file was refused by rule."""
    refusal = None
    try:
        return reads(path)
    except InvalidRequestError as error:
        refusal = str(error)
    assert str(path) in refusal or "chunks" in refusal, refusal
    return None


def judged_audio(path):
    """Return the clip of a file, or None if it was refused by rule."""
    attempted(read_time_reference, path)
    clip = attempted(read_audio, path)
    if clip is not None:
        assert clip.sample_rate in SAMPLE_RATES
        assert clip.samples.dtype == np.float32
        assert clip.samples.shape[0] in (1, 2)
        assert 0 < clip.samples.shape[1] <= MAX_PRIME_SECONDS * clip.sample_rate
        assert np.isfinite(clip.samples).all()
    return clip


def judged_midi(path):
    """Return the notes of a file, or None if it was refused by rule."""
    attempted(read_messages, path)
    attempted(lambda path: read_tempo_map(path, 48_000), path)
    part = attempted(lambda path: read_midi(path, 48_000), path)
    if part is not None:
        assert part.notes
        for note in part.notes:
            assert 0 <= note.start_sample < note.end_sample <= part.end_sample
            assert 0 <= note.pitch < 128
            assert 0 < note.velocity < 128
    return part


KINDS = {"audio": (audio_corpus, judged_audio), "MIDI": (midi_corpus, judged_midi)}


def flood(kind, folder, count, seed):
    """Return how many spoilt files were read and how many refused, growth, peak and seconds."""
    corpus, judged = KINDS[kind]
    whole, draws = corpus(folder), random.Random(seed)
    path = folder / "spoilt"
    for data in whole:
        path.write_bytes(data)
        assert judged(path) is not None
    memory, read, slowest_s = Memory(), 0, 0.0
    for number in range(count):
        path.write_bytes(spoilt(draws.choice(whole), draws))
        begun = time.perf_counter()
        with no_hang():
            read += judged(path) is not None
        slowest_s = max(slowest_s, time.perf_counter() - begun)
        if number == count // 10:
            memory.begin()
    return read, memory.grown, memory.peak_grown, slowest_s


async def usual(folder):
    """Return the hash of a normal continuation whose prime is a whole file."""
    clip = read_audio(folder / "ours.wav")
    part = read_midi(folder / "ours.mid", clip.sample_rate)
    ticks = itertools.count()
    engine = Engine(
        CountingGenerator(follows_seed=True),
        store=TakeStore(folder / "spool"),
        clock=lambda: next(ticks) / 1000,
        limits=EngineLimits(),
    )
    asked = RenderRequest(
        request_id="normal",
        sample_rate=clip.sample_rate,
        source=Prime(samples=clip.samples),
        num_samples=3_000,
        plan=Plan(seed=9),
        conditions=Conditions(midi=part),
    )
    async with aclosing(engine.render(asked)) as events:
        (done,) = [event async for event in events if isinstance(event, Done)]
    await engine.close()
    return done.sha256


def usual_around(kind, folder, count):
    """Return what a flood between two normal requests gave; both have the same bytes."""
    for corpus, _ in KINDS.values():
        corpus(folder)
    before = asyncio.run(usual(folder))
    outcome = flood(kind, folder, count, SEED)
    for name in ("ours.wav", "ours.mid"):
        (folder / name).unlink()
    for corpus, _ in KINDS.values():
        corpus(folder)
    assert asyncio.run(usual(folder)) == before
    return outcome


@pytest.mark.parametrize("kind", KINDS)
def test_spoilt_files_are_read_or_refused_and_a_normal_request_gives_its_usual_bytes(
    kind, tmp_path
):
    read, _, _, _ = usual_around(kind, tmp_path, SHORT_COUNT)
    assert 0 < read < SHORT_COUNT


@pytest.mark.evidence
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_spoilt_files(kind, tmp_path):
    read, grown, peak, slowest_s = usual_around(kind, tmp_path, COUNT)
    sys.stdout.write(
        f"\n{kind} files, {COUNT} spoilt with seed {SEED}: {read} read, {COUNT - read} refused by "
        f"rule; memory grew by {grown / 2**20:.1f} MiB, its peak by {peak / 2**20:.1f} MiB; "
        f"the slowest took {1000 * slowest_s:.0f} ms\n"
    )
    assert 0 < read < COUNT
    assert grown < GROWTH_BYTES
    assert peak < PEAK_BYTES


def drawn(kind):
    """Return a strategy of files: a whole one, cut, and whatever follows."""
    heads = {
        "audio": [b"RIFF\xff\xff\xff\xffWAVE", b"FORM\0\0\0\xffAIFF", b"fLaC\0\0\0\x22", b""],
        "MIDI": [b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\x10", b"MThd\0\0\0\6", b""],
    }
    names = [b"fmt \x10\0\0\0\1\0\1\0", b"data\xff\xff\xff\xff", b"bext", b"LIST", b"SSND", b"MTrk"]
    parts = st.lists(st.sampled_from(names) | st.binary(max_size=40), max_size=12)
    return st.builds(
        lambda head, parts: head + b"".join(parts), st.sampled_from(heads[kind]), parts
    )


def search(kind, folder, count):
    judged, path = KINDS[kind][1], folder / "drawn"

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn(kind))
    def holds(data):
        path.write_bytes(data)
        with no_hang():
            judged(path)

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_follows_a_familiar_beginning_is_read_or_refused(kind, tmp_path):
    search(kind, tmp_path, 50)


@pytest.mark.evidence
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_files_of_a_familiar_beginning(kind, tmp_path):
    search(kind, tmp_path, 1_000)
    sys.stdout.write(f"\n{kind} files, 1000 drawn after a familiar beginning: none breaks\n")
