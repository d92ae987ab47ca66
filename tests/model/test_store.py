"""Folders of weights: written, read back, and every damage named."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.bundle import modules
from model.conditioning.embeddings import normalised
from model.errors import CheckpointError
from model.generator import load_generator
from model.store import (
    EIGHT_BIT,
    FORMAT,
    Provenance,
    load_bundle,
    read_manifest,
    save_bundle,
)
from tests.model.tiny import CARD, CHUNK, fed, grown, plan, sound, tiny_bundle

PROVENANCE = Provenance(
    artists=CARD.artists,
    genres=CARD.genres,
    licence="CC0-1.0",
    output_licence="public domain",
    recipe={"steps": 3},
    figures={"snr_db": 1.5},
)


@pytest.fixture(scope="module")
def saved(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "deep" / "tiny"
    save_bundle(bundle, folder, PROVENANCE)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """Return a copy that a test may damage."""
    return shutil.copytree(saved, tmp_path / "tiny")


def rewritten(folder, name, change):
    """Change a file's tensors and sign it again."""
    path = folder / f"{name}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["files"][name]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def edited(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def test_weights_come_back_as_half_precision_holds_them(bundle, saved):
    again = load_bundle(saved)
    for name, module in modules(again).items():
        original = modules(bundle)[name].state_dict()
        for key, value in module.state_dict().items():
            if name in EIGHT_BIT and value.dim() >= 2:
                off = (value - original[key]).abs().flatten(1)
                step = original[key].abs().flatten(1).amax(1, keepdim=True) / 127
                assert (off <= 0.6 * step + 1e-6).all(), key
            elif key != "codebook":
                assert torch.equal(value.float(), original[key].half().to(value.dtype).float()), key
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_what_is_shared_is_stored_once_and_shared_again(saved):
    keys = {name: set(load_file(saved / f"{name}.safetensors")) for name in ("top", "student")}
    assert "head.weight" not in keys["top"]
    assert "codebook" not in keys["student"]
    again = load_bundle(saved)
    assert again.top.head.weight is again.top.codes.weight
    for upsampler in again.upsamplers:
        assert upsampler.prior.head.weight is upsampler.prior.codes.weight
    expected = normalised(again.codec.level(2).quantizer.codebook)
    assert torch.equal(again.student.codebook, expected)
    assert torch.equal(again.finisher.codebook, expected)


def test_the_card_tells_what_the_manifest_says(saved):
    card = load_bundle(saved).card
    assert (card.name, card.artists, card.genres) == ("tiny", CARD.artists, CARD.genres)
    assert (card.licence, card.output_licence) == ("CC0-1.0", "public domain")
    manifest = read_manifest(saved)
    assert (manifest["recipe"], manifest["figures"]) == ({"steps": 3}, {"snr_db": 1.5})
    size = (saved / "codec.safetensors").stat().st_size
    assert manifest["files"]["codec"]["bytes"] == size


def test_the_same_folder_makes_the_same_music(saved, folder):
    made = [
        grown(generator, fed(generator, sound(9000)), plan(), 2 * CHUNK).codes.tolist()
        for generator in (load_generator(saved), load_generator(folder))
    ]
    assert made[0] == made[1]
    assert torch.get_num_threads() == 1


def test_the_fingerprint_follows_weights_and_vocabulary_and_nothing_else(bundle, saved, folder):
    ours = load_bundle(saved).card.fingerprint
    edited(folder, licence="other", figures={})
    assert load_bundle(folder).card.fingerprint == ours
    edited(folder, artists=["handel"])
    assert load_bundle(folder).card.fingerprint != ours
    save_bundle(tiny_bundle(seed=1), folder, PROVENANCE)
    assert load_bundle(folder).card.fingerprint != ours
    save_bundle(bundle, folder, PROVENANCE)
    assert load_bundle(folder).card.fingerprint == ours


@pytest.mark.parametrize("name", ["codec", "top", "upsampler0", "student", "finisher", "composer"])
def test_a_damaged_file_is_named(folder, name):
    path = folder / f"{name}.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{name}.safetensors is damaged: SHA-256 \w{{64}}"):
        load_bundle(folder)


def test_a_file_that_is_no_safetensors_is_named(folder):
    path = folder / "top.safetensors"
    path.write_bytes(b"not weights")
    manifest = read_manifest(folder)
    manifest["files"]["top"]["sha256"] = hashlib.sha256(b"not weights").hexdigest()
    edited(folder, files=manifest["files"])
    with pytest.raises(CheckpointError, match=r"top.safetensors cannot be read"):
        load_bundle(folder)


def test_a_missing_file_is_named(folder):
    (folder / "student.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"student.safetensors is missing"):
        load_bundle(folder)


def test_a_file_the_manifest_does_not_list_is_missing(folder):
    files = read_manifest(folder)["files"]
    edited(folder, files={name: row for name, row in files.items() if name != "top"})
    with pytest.raises(CheckpointError, match=r"top.safetensors is missing"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("bias"), "student.safetensors lacks bias"),
        (
            lambda tensors: tensors.update(extra=torch.zeros(1)),
            "student.safetensors has the surplus extra",
        ),
        (
            lambda tensors: tensors.update(bias=torch.zeros(31)),
            r"student.safetensors: bias has shape \(31,\), expected \(32,\)",
        ),
    ],
    ids=["missing", "surplus", "misshapen"],
)
def test_a_tensor_that_does_not_fit_is_named(folder, change, message):
    rewritten(folder, "student", change)
    with pytest.raises(CheckpointError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "manifest.json does not exist: the folder holds no model"),
        ("{", "manifest.json cannot be read"),
        ("[1]", "manifest.json holds a list, expected an object"),
        ("3", "manifest.json holds a int"),
        ('{"name": "tiny", "files": {}}', r"lacks \['artists', 'format', 'genres', 'lic"),
    ],
)
def test_a_manifest_that_is_none_is_refused(folder, text, message):
    path = folder / "manifest.json"
    path.unlink()
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(CheckpointError, match=message):
        load_bundle(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_generator(tmp_path / "nowhere")


def test_an_unknown_configuration_is_named_with_the_known_ones(folder):
    edited(folder, name="huge")
    with pytest.raises(CheckpointError, match=r"'huge', known are \['small', 'tiny'\]"):
        load_bundle(folder)


@pytest.mark.parametrize("files", [[], {"codec": "abc"}, {"codec": {}}], ids=str)
def test_a_list_of_files_that_is_none_is_refused(folder, files):
    edited(folder, files=files)
    with pytest.raises(CheckpointError, match="does not give the SHA-256 of every file"):
        load_bundle(folder)


def test_a_folder_of_another_format_is_refused_by_number(folder):
    edited(folder, format=FORMAT + 1)
    with pytest.raises(CheckpointError, match=f"has format {FORMAT + 1}, this one reads {FORMAT}"):
        load_bundle(folder)


def test_a_folder_of_a_released_model_is_refused_with_the_reason_why_it_cannot_stream(tmp_path):
    (tmp_path / "manifest.json").write_text('{"kind": "released", "format": 1, "name": "5b"}')
    with pytest.raises(CheckpointError, match="hears too far ahead to play live"):
        read_manifest(tmp_path)
