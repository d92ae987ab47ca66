"""Codes as files: what is written comes back, what is none of ours is refused."""

from dataclasses import replace

import numpy as np
import pytest

from bridge.codes_file import CodesFile, from_bytes, read_codes, to_bytes
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.ports import LevelCodes

FILE = CodesFile(
    levels=(
        LevelCodes(level=2, codes=np.arange(40, dtype=np.int16)),
        LevelCodes(level=1, codes=np.arange(160, dtype=np.int16)),
    ),
    model="5b",
    fingerprint="f",
    model_rate=44_100,
    hops=(8, 32, 128),
    sample_rate=48_000,
    anchor_sample=7,
    splice_sample=9,
    num_samples=5_000,
    licence="non-commercial",
    facts={"seed": 3, "conditions": {"labels": {"artist": "x", "genre": None}}},
)


def test_codes_come_back_with_all_that_is_known_of_them():
    back = from_bytes(to_bytes(FILE))
    assert replace(back, levels=()) == replace(FILE, levels=())
    for level, was in zip(back.levels, FILE.levels, strict=True):
        assert level.level == was.level
        assert np.array_equal(level.codes, was.codes)
    assert to_bytes(back) == to_bytes(FILE)
    assert back.seconds() == pytest.approx(40 * 128 / 44_100)


def test_a_stretch_lies_on_the_grid_of_the_coarsest_level():
    frame = 128 / 44_100
    top, below = FILE.cut(2.5 * frame, 5.5 * frame)
    assert top.codes.tolist() == [2, 3, 4, 5]
    assert below.codes.tolist() == list(range(8, 24))
    assert FILE.cut(0, None)[0].codes.size == 40
    for stretch in ((-1, None), (1, 0.5), (0, 9), (0.2, 0.2)):
        with pytest.raises(InvalidRequestError, match=r"the codes last 0\.116 s"):
            FILE.cut(*stretch)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"levels": ()}, "an empty level or none"),
        ({"sample_rate": 8_000}, "8000 Hz"),
        ({"hops": (0, 32, 128)}, "which no model has"),
        (
            {"levels": (LevelCodes(level=2, codes=np.zeros(4, np.float32)),)},
            "expected int16",
        ),
    ],
)
def test_what_no_model_made_is_refused(changes, words):
    with pytest.raises(InvalidRequestError, match=words):
        from_bytes(to_bytes(replace(FILE, **changes)))


def test_damage_and_strangers_are_refused(tmp_path):
    data = to_bytes(FILE)
    for wrong in (b"", data[:30], data[:-2], b"\xff" * 99, b"\x02" + b"\0" * 7 + b"{}"):
        with pytest.raises(InvalidRequestError, match="no codes of ours"):
            from_bytes(wrong)
    with pytest.raises(NotFoundError):
        read_codes(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"hello")
    with pytest.raises(InvalidRequestError, match="bad: 5 bytes"):
        read_codes(tmp_path / "bad")
