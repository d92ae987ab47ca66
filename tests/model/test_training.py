"""Training: time-boxed, resumable; losses that fall to nothing; masks as the sampler shows them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model.codec import Level
from model.composer import Composer
from model.listening import FEATURES, FINE_BINS
from model.prior import Prior
from model.shipped import SMALL, TINY
from model.store import SHIPPED, load_bundle
from model.training import loop
from model.training.__main__ import STAGES, command_of
from model.training.examples import Source
from model.training.finisher import memories
from model.training.listener import coloured
from model.training.loop import LoopConfig, load_averaged, train
from model.training.losses import band_energy_error, relative_error, snr_db, spectral_terms
from model.training.prior import Lesson, begin_with_codebook, draft_scores, draft_step
from model.training.student import shown_frames
from model.training.unpack import unpack
from tests.model.tiny import randomised


@pytest.fixture
def clock(monkeypatch):
    """Time goes on by one second whenever it is asked for."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(seconds)))


def line(module):
    """Return a step that fits y = 2 x + 1."""

    def step(number, random, spent):
        x = torch.randn(16, 1, generator=random)
        loss = (module(x) - (2 * x + 1)).square().mean()
        return loss, {"spent": spent}

    return step


def config(out, minutes, muon=False):
    return LoopConfig(
        out=out,
        max_minutes=float(minutes),
        learning_rate=0.05,
        warm_up_steps=1,
        report_steps=5,
        muon=muon,
    )


def test_a_training_stops_at_its_time_box_and_goes_on_from_there(tmp_path, clock):
    module = nn.Linear(1, 1)
    train(module, line(module), config(tmp_path, 1))
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert first["minutes"] == pytest.approx(1, abs=0.1)
    again = nn.Linear(1, 1)
    train(again, line(again), config(tmp_path, 4))
    second = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert second["minutes"] == pytest.approx(4, abs=0.1)
    assert second["step"] > 2 * first["step"]
    history = [json.loads(row) for row in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert history[-1]["loss"] < 0.2 * history[0]["loss"]


def test_the_averaged_weights_are_what_a_folder_gives(tmp_path, clock):
    module = nn.Linear(1, 1)
    trained = train(module, line(module), config(tmp_path, 2))
    loaded = load_averaged(nn.Linear(1, 1), tmp_path)
    assert not loaded.training
    for mine, theirs in zip(trained.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert not theirs.requires_grad


def test_matrices_inside_layers_learn_by_another_rule_and_resume(tmp_path, clock):
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Module()
            self.inner.layers = nn.ModuleList([nn.Linear(1, 4), nn.Linear(4, 1)])

        def forward(self, x):
            for layer in self.inner.layers:
                x = layer(x)
            return x

    module = Stack()
    train(module, line(module), config(tmp_path, 1, muon=True))
    whole = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert len(whole["optimizers"]) == 2
    again = Stack()
    train(again, line(again), config(tmp_path, 2, muon=True))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] > whole["step"]


def test_shipped_weights_are_the_start_of_further_training(tmp_path, clock):
    unpack(SHIPPED, tmp_path)
    bundle = load_bundle(SHIPPED)
    composer = Composer(SMALL.composer)
    settings = config(tmp_path / "composer", 0.001)

    def step(number, random, spent):
        before = torch.cat([p.flatten() for p in bundle.composer.parameters()])
        now = torch.cat([p.flatten() for p in composer.parameters()])
        assert number > 0 or torch.equal(before, now)
        return now.square().mean(), {}

    train(composer, step, settings)
    level = load_averaged(Level(SMALL.codec, 2), tmp_path / "codec2")
    assert torch.equal(level.quantizer.codebook, bundle.codec.level(2).quantizer.codebook)


def test_spectral_terms_are_nothing_for_equals_and_grow_with_the_difference():
    random = torch.Generator().manual_seed(0)
    true = 0.1 * torch.randn(2, 8192, generator=random)
    near, far = true + 0.01 * torch.randn(2, 8192, generator=random), 0 * true
    for name in ("convergence", "log_magnitude"):
        same, close, away = (
            float(getattr(spectral_terms(made, true), name)) for made in (true, near, far)
        )
        assert same < 1e-6 < close < away


def test_a_gain_is_the_error_of_every_band():
    true = 0.1 * torch.randn(2, 3 * 4096, generator=torch.Generator().manual_seed(0))
    assert float(band_energy_error(true, true)) == 0
    assert float(band_energy_error(0.5 * true, true)) == pytest.approx(math.log(2), abs=0.01)
    assert float(band_energy_error(2 * true, true)) == pytest.approx(math.log(2), abs=0.01)


def test_colour_moves_level_tone_and_tuning_and_keeps_the_music():
    spectra = torch.full((64, 3, FEATURES), -1.0)
    spectra[:, :, 100] = 1.0
    made = coloured(spectra, torch.Generator().manual_seed(0))
    assert torch.isfinite(made).all()
    peaks = made[:, 0, :FINE_BINS].argmax(-1)
    assert set(peaks.tolist()) <= {98, 99, 100, 101, 102}
    assert len(set(peaks.tolist())) > 1
    assert float(made[:, 0, 100].std()) > 0.1


def test_what_is_remembered_ended_before_the_crop_began():
    audio = np.zeros(20 * 44_100, np.int16)
    audio[10 * 44_100 :] = 9000
    source = Source(audio=audio, start_sample=10 * 44_100)
    memory, remembered = memories([source] * 40, np.random.default_rng(0))
    assert memory.shape[:2] == remembered.shape
    assert remembered.any(1).float().mean() > 0.7
    silence = memory[0, 0]
    assert torch.allclose(memory, silence.expand_as(memory), atol=1e-4)


def test_errors_are_relative_to_the_signal():
    true = torch.sin(torch.arange(4096) * 0.05).expand(2, -1)
    assert float(relative_error(0 * true, true)) == pytest.approx(1, abs=1e-4)
    assert float(relative_error(0.1 * 0 * true, 0.1 * true)) == pytest.approx(1, abs=1e-2)
    assert snr_db(0.9 * true, true) == pytest.approx(20, abs=0.01)


def test_chunks_show_what_passes_decide_or_a_prefix_or_both():
    student = TINY.student
    shown, prefix = shown_frames(student, 4, 50, np.random.default_rng(0))
    frames = student.chunk_frames()
    chunks = shown.reshape(-1, frames).numpy()
    lengths = prefix.flatten().tolist()
    orders = [set(student.order[:count]) for count in range(len(student.order))]
    place = np.arange(frames) % student.group_frames
    patterns = [np.isin(place, list(order)) for order in orders]
    bare = [row for row, length in zip(chunks, lengths, strict=True) if length >= 0]
    assert 0.1 < len(bare) / len(chunks) < 0.3
    for row, length in zip(chunks, lengths, strict=True):
        if length >= 0:
            assert row.tolist() == [index < length for index in range(frames)]
        else:
            prefixes = [np.arange(frames) < count for count in range(frames)]
            assert any((row == (p | start)).all() for p in patterns for start in prefixes)


def test_codes_that_sound_alike_begin_alike():
    level = Level(TINY.codec, 0)
    level.quantizer.codebook.copy_(torch.randn(32, 8, generator=torch.Generator().manual_seed(0)))
    level.quantizer.codebook[5] = level.quantizer.codebook[4] + 0.01
    table = nn.Embedding(32, 16)
    begin_with_codebook(table, level, 0.04)
    assert table.weight.std().item() == pytest.approx(0.04)
    far = torch.cdist(table.weight, table.weight)
    latents = torch.cdist(level.quantizer.codebook, level.quantizer.codebook)
    assert far[4, 5] < 0.1 * far[4].median()
    assert torch.corrcoef(torch.stack([far.flatten(), latents.flatten()]))[0, 1] > 0.9


def test_a_draft_learns_from_its_prior_which_stays_as_it_is(tmp_path):
    torch.manual_seed(0)
    prior = randomised(Prior(TINY.priors[0])).requires_grad_(False)
    prior.draft.requires_grad_(True)
    before = {name: value.clone() for name, value in prior.state_dict().items()}

    def lesson(random):
        codes = torch.randint(32, (2, 128), generator=random)
        return Lesson(codes=codes, start=torch.zeros(2, 16), conditions=torch.zeros(2, 128, 16))

    held_out = lesson(torch.Generator().manual_seed(1))
    first = draft_scores(prior, held_out)
    box = LoopConfig(out=tmp_path, max_minutes=10.0, max_steps=60.0, learning_rate=3e-2)
    train(prior.draft, draft_step(prior, lesson), box)
    last = draft_scores(prior, held_out)
    assert last.divergence < 0.8 * first.divergence
    assert last.kept > first.kept
    changed = {name for name, value in prior.state_dict().items() if (value != before[name]).any()}
    assert changed == {name for name in before if name.startswith("draft.")}


def test_every_stage_of_the_recipe_is_a_module_with_its_time_box():
    for stage in STAGES:
        command = command_of(stage, Path("data"), Path("runs"), Path("out"), 2.0)
        assert (Path(loop.__file__).parent / f"{stage.module}.py").exists()
        assert ("--max-minutes" in command) == bool(stage.minutes)
        if stage.minutes:
            assert command[-1] == str(stage.minutes * 2.0)
    assert STAGES[-1].module == "pack"
