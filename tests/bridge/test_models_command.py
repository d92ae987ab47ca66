"""`jukebox-bridge models`: what users see of importing, listing and verifying."""

import json
from dataclasses import replace

import pytest

from bridge.__main__ import EXIT_FAILED, EXIT_REFUSED, main
from model.released import FILES, MODELS, RELEASED
from tests.checkpoints import synthetic_state, write_published
from tests.model.test_checkpoint import SHAPES, small


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a folder of published files of small sizes."""
    for seed, (part, of) in enumerate(MODELS["5b"].items()):
        config = SHAPES["codec"]
        if of != "vqvae":
            config = small(RELEASED[of])
            config = replace(config, transformer=replace(config.transformer, depth=2))
        monkeypatch.setitem(RELEASED, of, config)
        write_published(tmp_path / "files" / FILES[part], synthetic_state(config, seed))
    return tmp_path / "files"


def models(tmp_path, *arguments):
    return main(["models", *map(str, arguments), "--models", str(tmp_path / "models")])


def test_a_model_is_imported_listed_described_and_verified(files, tmp_path, capsys):
    assert models(tmp_path, "import", files, "--name", "5b") == 0
    told = capsys.readouterr()
    assert "importing 5b from" in told.err
    assert "results: non-commercial" in told.out
    assert "by number" in told.out
    assert models(tmp_path, "list") == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["name", "small", "5b"]
    assert models(tmp_path, "info", "5b", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [part["part"] for part in facts["parts"]] == list(FILES)
    top = facts["parts"][-1]
    assert top["memory_bytes"]["float32"] == 4 * top["parameters"]
    assert top["memory_bytes"]["half"] < top["memory_bytes"]["float32"]
    assert models(tmp_path, "verify", "5b", "--json") == 0
    assert json.loads(capsys.readouterr().out)["verified_bytes"] == facts["disk_bytes"]


def test_a_damaged_model_fails_its_check(files, tmp_path, capsys):
    models(tmp_path, "import", files, "--name", "5b")
    path = tmp_path / "models/5b/level_2-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert models(tmp_path, "verify", "5b") == EXIT_FAILED
    assert "level_2-00001.safetensors is damaged" in capsys.readouterr().err


def test_files_that_are_not_there_are_named_and_nothing_is_made(files, tmp_path, capsys):
    (files / "vqvae.pth.tar").unlink()
    assert models(tmp_path, "import", files, "--name", "5b") == EXIT_FAILED
    assert "lacks vqvae.pth.tar" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_model_that_was_not_imported_says_how_it_would_be(tmp_path, capsys):
    assert models(tmp_path, "info", "5b_lyrics") == EXIT_REFUSED
    assert "models import DIR --name 5b_lyrics" in capsys.readouterr().err


def test_the_model_in_the_box_is_listed_described_and_verified_too(tmp_path, capsys):
    assert models(tmp_path, "info", "small") == 0
    told = capsys.readouterr().out
    assert "weights: GPL-3.0-or-later" in told
    assert "upsampler0" in told
    assert models(tmp_path, "verify", "small") == 0
    assert "every file is as it was written" in capsys.readouterr().out
