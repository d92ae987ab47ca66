"""Recordings to train on: a split of the data folder, with a source and a licence for each."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import nn

from model.data.dataset import RECORDED, open_split, training_splits
from model.errors import TrainingError
from model.training.codec import Clips, step_of
from model.training.precision import autocast
from model.training.published.recordings import open_recordings
from model.training.record import EXCERPT_SAMPLES, sources_of, write_recording
from tests.model.tiny import tiny_bundle

RATE = 44_100
ROW = {"source": "a band", "licence": "CC0-1.0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of one recording: 60 s of noise after 24 s of silence."""
    made = tmp_path_factory.mktemp("songs")
    audio = 0.2 * np.random.default_rng(0).standard_normal((84 * RATE, 2))
    audio[: 24 * RATE] = 0
    sf.write(made / "song.flac", audio.clip(-1, 1), RATE)
    return made


@pytest.fixture(scope="module")
def data(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    (out / RECORDED).mkdir()
    (recording,) = open_recordings(folder)
    write_recording(tiny_bundle().listener, recording, ROW, out / RECORDED / "shard-0000.json")
    return out


def test_excerpts_that_sound_are_written_with_what_was_heard_in_them(data):
    examples = open_split(data, RECORDED)
    assert [one.num_samples for one in examples] == [EXCERPT_SAMPLES] * 2
    assert {one.labels.source_licence for one in examples} == {"CC0-1.0"}
    assert all(len(one.notes) for one in examples)
    assert all(np.array_equal(one.mix(), one.stem("other")) for one in examples)
    assert not np.array_equal(examples[0].mix(), examples[1].mix())


def test_a_folder_is_learnt_from_with_its_recordings_if_it_has_any(data, tmp_path):
    assert training_splits(data) == ("train", RECORDED)
    assert training_splits(tmp_path) == ("train",)


@pytest.mark.parametrize("said", [None, {}, {"song.flac": {"source": "a band"}}])
def test_a_recording_without_source_and_licence_is_refused(folder, said):
    path = folder / "sources.json"
    path.unlink(missing_ok=True)
    if said is not None:
        path.write_text(json.dumps(said))
    with pytest.raises(TrainingError, match=r"sources\.json"):
        sources_of(folder, open_recordings(folder))
    path.write_text(json.dumps({"song.flac": ROW, "another.flac": ROW}))
    assert sources_of(folder, open_recordings(folder)) == {"song.flac": ROW}


def test_a_level_learns_on_from_its_codebook_and_a_decoder_alone_keeps_the_codes(data):
    clips = Clips(batch=2, samples=4096, keep_codes=True)
    level = tiny_bundle().codec.level(2).requires_grad_()
    codebook = level.quantizer.codebook.clone()
    examples = open_split(data, RECORDED)
    loss, _ = step_of(level, 2, examples, clips)(0, torch.Generator().manual_seed(1), 0.0)
    loss.backward()
    assert all(p.grad is None for p in level.encoder.parameters())
    assert any(bool(p.grad.any()) for p in level.decoder.parameters())
    assert torch.equal(level.quantizer.codebook, codebook)
    going_on = step_of(level, 2, examples, replace(clips, keep_codes=False))
    _, figures = going_on(0, torch.Generator().manual_seed(1), 0.0)
    assert figures["commitment"] > 0  # quantised from the first step on
    assert not torch.equal(level.quantizer.codebook, codebook)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32])
def test_a_training_computes_in_half_precision_only_where_the_processor_can(monkeypatch, kind):
    monkeypatch.setattr("model.training.precision.compute_dtype", lambda: kind)
    with autocast():
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype is kind
