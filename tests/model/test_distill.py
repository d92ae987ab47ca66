"""A student from any teacher: the streaming one's own, or that of a published model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from model.errors import CheckpointError, TrainingError
from model.importing import import_model
from model.store import Provenance, load_bundle, read_manifest, save_bundle
from model.training import figures, student
from model.training.adapt import AdaptSettings
from model.training.distill import DistilOrder, distil
from model.training.student import distillation
from model.training.student_files import load_student
from tests.model.tiny import CARD, sound
from tests.published import LABELS, TOPS, shrink, write_files

HZ = 44_100
SETTINGS = AdaptSettings(
    student_batch=1, finisher_batch=6, report_steps=1, student_rate=5e-3, average=0.5
)
PROVENANCE = Provenance(
    artists=CARD.artists,
    genres=CARD.genres,
    licence="test",
    output_licence="public domain",
    recipe={},
    figures={},
)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(figures, "CLIPS", 6)
    monkeypatch.setattr(figures, "BATCHES", 1)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    for number in range(2):
        soundfile.write(folder / f"{number}.wav", 0.3 * sound(3 * HZ, seed=number), HZ)
    return folder


@pytest.fixture
def teacher_of(tmp_path, monkeypatch):
    """Return a function that imports a released model of small sizes; its windows are short."""

    def make(name="5b"):
        longer = replace(LABELS, seconds=(0.05, 60.0))
        monkeypatch.setitem(TOPS, name, replace(TOPS[name], labels=longer))
        shrink(monkeypatch, name)
        files = write_files(tmp_path / "files", name)
        return import_model(files, tmp_path / "models", name).folder

    return make


def order(teacher, songs, out, **changes):
    values = {"name": "pupil", "steps": 3, "width": 16, "batch": 2, "settings": SETTINGS}
    return DistilOrder(teacher=teacher, data=songs, out=out, **{**values, **changes})


def test_a_streaming_models_student_learns_from_its_own_prior(bundle, songs, tmp_path, few):
    base = tmp_path / "base"
    save_bundle(bundle, base, PROVENANCE)
    lines = []
    made = distil(order(base, songs, tmp_path / "made"), lines.append)
    assert made.steps == {"student": 3}
    manifest = read_manifest(made.folder)
    assert manifest["recipe"]["kind"] == "distilled"
    assert manifest["recipe"]["base"]["licence"] == "test"
    again, first = load_bundle(made.folder), load_bundle(base)
    moved = [
        not torch.equal(a, b)
        for a, b in zip(again.student.parameters(), first.student.parameters(), strict=True)
    ]
    assert any(moved)
    for mine, theirs in zip(again.finisher.parameters(), first.finisher.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    history = (made.folder / "training/student/history.jsonl").read_text("utf-8").splitlines()
    assert all("teacher_kl" in json.loads(line) for line in history)


@pytest.mark.parametrize("name", ["5b", "5b_lyrics", "1b_lyrics"])
def test_a_published_teacher_gets_a_student_that_reads_its_codes(
    name, songs, tmp_path, teacher_of, monkeypatch
):
    # A random teacher and the codes of noise disagree: here the teacher is what counts.
    monkeypatch.setattr(student, "DISTIL_WEIGHT", 10.0)
    lines = []
    made = distil(order(teacher_of(name), songs, tmp_path / "made", steps=40), lines.append)
    assert made.steps == {"student": 40}
    assert made.after["teacher_divergence_nats"] < made.before["teacher_divergence_nats"]
    assert load_student(made.folder).config.codebook_size == 24
    manifest = json.loads((made.folder / "manifest.json").read_text("utf-8"))
    assert manifest["teacher"]["name"] == name
    assert manifest["recipe"] == {"kind": "distilled", "seed": 1, "steps": 40}
    assert any(line.startswith("step 40") for line in lines)


def test_a_published_distillation_goes_on_as_if_it_had_not_stopped(songs, tmp_path, teacher_of):
    teacher = teacher_of()
    whole = distil(order(teacher, songs, tmp_path / "whole", steps=4), lambda _: None)
    part = order(teacher, songs, tmp_path / "part", steps=2)
    distil(part, lambda _: None)
    made = distil(order(teacher, songs, tmp_path / "part", steps=4), lambda _: None)
    assert made.after == whole.after
    assert whole.after["student_bits_per_code"] < whole.before["student_bits_per_code"]
    mine, theirs = (load_student(one.folder).state_dict() for one in (made, whole))
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_a_damaged_student_is_refused(songs, tmp_path, teacher_of):
    teacher = teacher_of()
    made = distil(order(teacher, songs, tmp_path / "made", steps=1), lambda _: None)
    (path,) = made.folder.glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_student(made.folder)
    with pytest.raises(CheckpointError, match="holds no student"):
        load_student(teacher)


def test_recordings_shorter_than_the_teachers_context_are_refused(tmp_path, teacher_of):
    (tmp_path / "songs").mkdir()
    soundfile.write(tmp_path / "songs/tick.wav", np.ones(100, np.float32), HZ)
    with pytest.raises(TrainingError, match=r"0\.00 s long"):
        distil(order(teacher_of(), tmp_path / "songs", tmp_path / "out"), lambda _: None)


def test_the_divergence_is_none_from_the_same_scores():
    scores = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0))
    prefix = torch.tensor([[1, -1], [0, 3]])
    assert float(distillation(scores, lambda: scores, prefix)) == pytest.approx(0, abs=1e-5)
    assert float(distillation(scores, lambda: -scores, prefix)) > 0.1
    nowhere = torch.full((2, 2), -1)
    assert float(distillation(scores, lambda: -scores, nowhere)) == 0
