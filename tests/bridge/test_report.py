"""The report: one table for the result and the toys, files that are whole, a picture."""

import json
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from bridge import report, report_picture
from bridge.errors import NotFoundError
from bridge.figures import FIGURES
from bridge.ports import Note, TimedWord

RATE = 48_000
CANDIDATES = [report.CONTINUATION, report.REPEATED, report.SYNTH]


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Draw small, which takes less time."""
    monkeypatch.setattr(report_picture, "DOTS_PER_INCH", 30)


@pytest.fixture(scope="module")
def scene():
    notes = tuple(
        Note(start_sample=at, end_sample=at + RATE // 3, pitch=60 + at * 7 % 12, velocity=90)
        for at in range(1_000, 1_000 + 4 * RATE, RATE // 2)
    )
    prime = 0.3 * np.random.default_rng(0).standard_normal((2, 2 * RATE)).astype(np.float32)
    return report.Scene(
        prime=prime,
        sample_rate=RATE,
        splice_sample=1_000 + 2 * RATE,
        bar_samples=RATE,
        notes=notes,
    )


@pytest.fixture(scope="module")
def candidates(scene):
    result = 0.1 * np.random.default_rng(1).standard_normal((2, 2 * RATE)).astype(np.float32)
    return report.with_toys(result, scene)


@pytest.fixture(scope="module")
def table(candidates, scene):
    return report.compare(candidates, scene)


def test_the_toys_have_the_shape_of_the_result(candidates):
    assert list(candidates) == CANDIDATES
    assert {audio.shape for audio in candidates.values()} == {(2, 2 * RATE)}
    assert len({audio.tobytes() for audio in candidates.values()}) == 3


def test_all_candidates_are_measured_by_the_same_figures(table):
    assert list(table) == CANDIDATES
    assert all(list(row) == list(FIGURES) for row in table.values())
    assert table[report.REPEATED]["copy_score"] > 0.95 > table[report.CONTINUATION]["copy_score"]
    assert table[report.SYNTH]["note_f1"] > 0.7 > table[report.CONTINUATION]["note_f1"]


def test_the_prime_stands_beside_with_what_it_has_by_itself(scene):
    assert report.of_prime(scene)["noisiness"] == pytest.approx(1, abs=0.1)


def test_the_text_holds_every_figure_and_candidate(table):
    lines = report.as_text(table).splitlines()
    assert all(name in lines[0] for name in table)
    assert [line.split()[0] for line in lines[1:]] == list(FIGURES)
    assert f"{table[report.SYNTH]['note_f1']:.3f}" in lines[1]


def test_a_figure_that_could_not_be_measured_is_a_dash():
    assert "-  higher" in report.as_text({"ours": {"note_f1": None}}).splitlines()[1]


def test_json_is_whole_and_strict(tmp_path):
    path = tmp_path / "report.json"
    report.write_json(path, {"old": 1})
    report.write_json(path, {"a": 1.5, "inner": {"bad": float("nan"), "none": None}})
    assert json.loads(path.read_text()) == {"a": 1.5, "inner": {"bad": None, "none": None}}
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(NotFoundError, match="gone"):
        report.write_json(tmp_path / "gone" / "report.json", {})


def test_meanings_have_a_row_for_every_figure():
    assert list(report.meanings()) == list(FIGURES)
    assert {row["better"] for row in report.meanings().values()} == {"higher", "lower", "neither"}


def test_the_peak_counts_children():
    alone = report.peak_rss_mb()
    command = [sys.executable, "-c", "x = b'x' * 2**27; print(1, flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"1\n"
        assert report.peak_rss_mb() > alone + 100
        child.communicate(b"\n")
    assert alone > 20


def test_the_picture_is_a_png_that_shows_what_was_made(tmp_path, candidates, scene, table):
    def drawn(result, shown=scene):
        joined = np.concatenate([scene.prime, result], axis=1)
        path = tmp_path / "report.png"
        report_picture.write_picture(path, joined, {report.SYNTH: result}, shown, table)
        return path.read_bytes()

    audio = candidates[report.SYNTH]
    data = drawn(audio)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    size = tuple(int(inch * report_picture.DOTS_PER_INCH) for inch in report_picture.INCHES)
    assert struct.unpack(">II", data[16:24]) == size
    assert drawn(np.zeros_like(audio)) != data
    start = scene.splice_sample + RATE // 2
    sung = TimedWord(text="oh", line=0, start_sample=start, end_sample=start + RATE // 2)
    assert drawn(audio, replace(scene, words=(sung,))) != data
    assert drawn(audio) == data
