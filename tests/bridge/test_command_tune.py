"""`train adapt` and `train distill` from their arguments to a model that is served."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from bridge.__main__ import main
from bridge.app import embedded_server
from bridge.client import Client
from bridge.commands import tune
from bridge.config import private_config
from bridge.continuation import Continuation
from model.store import Provenance, save_bundle
from model.training import figures
from tests.model.tiny import CARD, sound, tiny_bundle

HZ = 44_100


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a tiny model and a recording of half a minute."""
    monkeypatch.setattr(figures, "CLIPS", 6)
    monkeypatch.setattr(figures, "BATCHES", 1)
    monkeypatch.setattr(tune, "models_folder", lambda: tmp_path / "models")
    provenance = Provenance(
        artists=CARD.artists,
        genres=CARD.genres,
        licence="test",
        output_licence="public domain",
        recipe={},
        figures={},
    )
    save_bundle(tiny_bundle(), tmp_path / "base", provenance)
    (tmp_path / "My Songs").mkdir()
    soundfile.write(tmp_path / "My Songs/one.wav", 0.3 * sound(31 * HZ), HZ)
    return tmp_path


def arguments(folder, *more, kind="adapt"):
    paths = ["--data", folder / "My Songs", "--model", folder / "base"]
    return ["train", kind, *map(str, paths), "--steps", "1", *more]


def test_what_is_adapted_is_served_beside_its_base(folder, capsys):
    assert main(arguments(folder)) == 0
    told = capsys.readouterr()
    made = folder / "models" / "my-songs"
    assert told.out.splitlines()[-1] == str(made)
    assert "student_bits_per_code" in told.out
    assert "hearing 1/1: one.wav" in told.err
    config = replace(private_config(folder / "spool", folder / "base"), beside=(made,))
    prime = sound(20_000)[None]
    with embedded_server(config) as address, Client(address) as client:
        assert [model.name for model in client.models()] == ["tiny", "my-songs"]
        assert all(model.loaded for model in client.models())
        asked = Continuation(prime=prime, sample_rate=HZ, num_samples=9_000)
        plain = client.render(asked)
        adapted = client.render(replace(asked, model="my-songs"))
    assert (plain.accepted.model, adapted.accepted.model) == ("tiny", "my-songs")
    assert plain.accepted.fingerprint != adapted.accepted.fingerprint
    assert adapted.audio.shape == (1, 9_000)
    assert np.isfinite(adapted.audio).all()


def test_what_is_adapted_is_listed_described_and_verified(folder, capsys):
    models = ["--models", str(folder / "models")]
    assert main(arguments(folder)) == 0
    capsys.readouterr()
    assert main(["models", "list", *models, "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["small", "my-songs"]
    assert main(["models", "info", "my-songs", *models]) == 0
    assert "weights: test" in capsys.readouterr().out
    assert main(["models", "verify", "my-songs", *models]) == 0
    path = folder / "models/my-songs/student.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert main(["models", "verify", "my-songs", *models]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_student_is_distilled_into_a_folder_of_that_name(folder, capsys):
    assert main(arguments(folder, "--name", "quick", kind="distill")) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "models/quick")
    manifest = json.loads((folder / "models/quick/manifest.json").read_text("utf-8"))
    assert manifest["recipe"]["kind"] == "distilled"


@pytest.mark.parametrize(
    ("more", "code", "complaint"),
    [
        (("--minutes", "0"), 2, "--minutes is 0, it must be above 0 minutes"),
        (("--steps", "0"), 2, "--steps is 0, the least is 1"),
        (("--seed", "-1"), 2, "--seed is -1, the least is 0"),
        (("--name", "A B"), 2, "--name is 'A B': small letters"),
        (("--model", "nowhere"), 2, "no model is in nowhere"),
    ],
)
def test_what_is_refused_ends_with_a_line(more, code, complaint, folder, capsys):
    assert main(arguments(folder, *more)) == code
    assert complaint in capsys.readouterr().err
