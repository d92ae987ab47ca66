"""A timeline's past as a value: to bytes and back, counted, and garbage refused."""

import io
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from model.errors import CheckpointError
from model.listening import FEATURES
from model.state import STATE_VERSION, Level, TimelineState, restored
from model.streaming import LayerState
from model.values import Known, StemAudio, nothing_known
from tests.model.tiny import sound


def layer(rows, dtype, seed=0):
    random = torch.Generator().manual_seed(seed)
    return LayerState(
        torch.randn(1, rows, 4, 6, generator=random).to(dtype),
        torch.randn(1, 3, 6, generator=random).to(dtype),
    )


def state_of(dtype=torch.float32, **changes):
    stem = StemAudio(kind=3, start_sample=-7, samples=sound(50, seed=2))
    known = Known(
        artist=1,
        genre=2,
        target=3,
        total_samples=2**40,
        offset_samples=-5,
        notes=np.arange(12).reshape(2, 6),
        notes_span=(-3, 900),
        composed_span=(1024, 4096),
        stems=(stem, replace(stem, kind=1, samples=sound(0))),
    )
    lower = tuple(
        Level(
            hop_samples=hop, codes=np.arange(9, dtype=np.int16), seen=hop, memory=(layer(2, dtype),)
        )
        for hop in (8, 32)
    )
    values = {
        "known": known,
        "anchor_sample": -(2**50),
        "audio": sound(100),
        "audio_start": 12,
        "codes": np.arange(30, dtype=np.int16),
        "memory": (layer(1, dtype), layer(5, dtype, seed=1)),
        "remembered_chunks": 2,
        "generating": True,
        "lower": lower,
        "primed_sample": 1280,
        "by_teacher": True,
        "drawn_from": 29,
        "heard": np.ones((3, 128, 2), np.float16),
        "spectra": np.full((5, FEATURES), 0.5, np.float16),
        "frame_samples": 128,
        "lookahead_frames": 5,
    }
    return TimelineState(**{**values, **changes})


def assert_same(ours, theirs):
    if isinstance(ours, torch.Tensor):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    elif isinstance(ours, tuple):
        assert len(ours) == len(theirs)
        for pair in zip(ours, theirs, strict=True):
            assert_same(*pair)
    elif hasattr(ours, "__dataclass_fields__"):
        for field in fields(ours):
            assert_same(getattr(ours, field.name), getattr(theirs, field.name))
    else:
        assert ours == theirs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"generating": False},
        {"lower": (), "memory": ()},
        {"known": nothing_known()},
        {"audio": np.zeros(0, np.float32), "codes": np.zeros(0, np.int16)},
    ],
    ids=["full", "listening", "fast", "unknown", "silent"],
)
def test_bytes_bring_back_every_field(dtype, changes):
    state = state_of(dtype, **changes)
    again = restored(state.to_bytes())
    assert_same(again, state)
    assert again.to_bytes() == state.to_bytes()


def test_a_span_of_notes_and_none_are_told_apart():
    for span in (None, (0, 0), (-9, -4), (5, 10)):
        for name in ("notes_span", "composed_span"):
            known = restored(state_of(known=replace(nothing_known(), **{name: span})).to_bytes())
            assert getattr(known.known, name) == span
            assert known.known.spans() == (() if span is None else (span,))


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04."],
    ids=["empty", "text", "zip", "array", "pickle"],
)
def test_garbage_is_refused(data):
    with pytest.raises(CheckpointError, match=f"{len(data)} bytes are no stored state"):
        restored(data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_state_cut_short_is_refused(share):
    data = state_of().to_bytes()
    with pytest.raises(CheckpointError, match="no stored state"):
        restored(data[: int(share * len(data))])


def test_a_flipped_byte_of_any_array_is_noticed():
    # Of an archive's own headers some bytes, such as times, say nothing; of what it holds all do.
    data = state_of().to_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [one for one in archive.infolist() if one.file_size]
    assert len(members) > 20
    for member in members:
        names = slice(member.header_offset + 26, member.header_offset + 30)
        first = names.stop + sum(np.frombuffer(data[names], "<u2").tolist())
        for place in (first, first + member.compress_size // 2, first + member.compress_size - 1):
            flipped = bytearray(data)
            flipped[place] ^= 0xFF
            with pytest.raises(CheckpointError, match="no stored state"):
                restored(bytes(flipped))


@pytest.mark.parametrize("key", ["codes", "numbers", "known", "memory.1.rows", "lower1.numbers"])
def test_a_missing_array_is_refused_by_name(key):
    with np.load(io.BytesIO(state_of().to_bytes())) as table:
        arrays = {name: value for name, value in table.items() if name != key}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with pytest.raises(CheckpointError, match=key):
        restored(buffer.getvalue())


def test_another_version_is_refused_by_number():
    with np.load(io.BytesIO(state_of().to_bytes())) as table:
        arrays = {**table, "version": np.array(STATE_VERSION + 1)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with pytest.raises(CheckpointError, match=f"version {STATE_VERSION + 1}, expected"):
        restored(buffer.getvalue())


def test_all_that_is_held_is_counted():
    state = state_of()
    held = 100 * 4 + 30 * 2 + 12 * 8 + 50 * 4 + 2 * 9 * 2 + 3 * 128 * 4
    held += 5 * FEATURES * 2
    pages = sum(4 * (rows * 4 * 6 + 3 * 6) for rows in (1, 5, 2, 2))
    assert state.nbytes == held + pages
    assert state_of(torch.bfloat16).nbytes == held + pages // 2


def test_a_fork_shares_every_page():
    state = state_of()
    fork = state.fork()
    assert fork is not state
    assert_same(fork, state)
    assert fork.audio is state.audio
    assert all(a is b for a, b in zip(fork.memory, state.memory, strict=True))


@pytest.mark.parametrize(
    ("changes", "decodable"),
    [
        ({}, 1280),  # the teacher has no more than the prime yet
        ({"primed_sample": 0}, 0),
        ({"lower": (), "codes": np.zeros(30, np.int16)}, 1280),
        ({"by_teacher": False, "lower": (), "codes": np.zeros(30, np.int16)}, 25 * 128),
        # Nothing was made yet: what is composed may still change the frames at the splice.
        ({"by_teacher": False, "lower": (), "codes": np.zeros(29, np.int16)}, 1280),
        ({"by_teacher": False, "lower": (), "codes": np.zeros(3, np.int16)}, 1280),
        ({"lower": (), "codes": np.zeros(30, np.int16), "generating": False}, 1280),
    ],
)
def test_what_may_be_decoded(changes, decodable):
    assert state_of(**changes).decodable_sample == decodable


def test_a_teacher_s_timeline_may_be_decoded_as_far_as_the_finest_codes_go():
    fine = replace(state_of().lower[0], codes=np.zeros(400, np.int16))
    state = state_of(lower=(fine, state_of().lower[1]))
    assert state.decodable_sample == 400 * 8 - 5 * 128
    assert (state.heard_sample, state.settled_sample) == (112, 30 * 128)
