"""Published files become a checked folder, whole or not at all, and load from it part by part."""

import atexit
import json
import shutil
import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import ClassVar

import pytest
import torch

import model.importing
from model.checkpoint import InMemory, empty_module, load_published, published_state
from model.errors import CheckpointError
from model.folders import MANIFEST
from model.imported import (
    imported_models,
    load_labels,
    load_part,
    open_model,
    verify_model,
)
from model.importing import import_model
from model.released import FILES, MODELS, RELEASED, UPSAMPLER_LEVEL_0, cache_numbers
from tests.checkpoints import synthetic_state, write_published
from tests.model.test_checkpoint import SHAPES, small


@pytest.fixture(autouse=True)
def _small_sizes(monkeypatch):
    """Let every released size be small and shallow: only the numbers differ."""
    for name, config in list(RELEASED.items()):
        if name == "vqvae":
            made = SHAPES["codec"]
        else:
            made = small(config)
            shallow = replace(made.transformer, depth=3)
            made = replace(
                made, transformer=shallow, upper=made.upper and replace(made.upper, depth=1)
            )
        monkeypatch.setitem(RELEASED, name, made)


@cache
def _written(name):
    """Return a folder with the files of a model, written once, and what they hold by part."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    states = {}
    for seed, (part, of) in enumerate(MODELS[name].items()):
        states[part] = synthetic_state(RELEASED[of], seed)
        write_published(folder / FILES[part], states[part])
    return folder, states


def write_model(folder, name="5b_lyrics", layout="flat"):
    """Write the files of a model as a user has them; return what they hold, by part."""
    written, states = _written(name)
    for part, file in FILES.items():
        inside = {"flat": "", "published": name if part == "level_2" else "5b"}[layout]
        (folder / inside).mkdir(parents=True, exist_ok=True)
        shutil.copy(written / file, folder / inside / file)
    return {part: dict(state) for part, state in states.items()}


@pytest.mark.parametrize("name", MODELS)
def test_every_part_comes_back_as_it_was_published(tmp_path, name):
    states = write_model(tmp_path / "files", name)
    made = import_model(tmp_path / "files", tmp_path / "models", name)
    assert [one.name for one in imported_models(tmp_path / "models")] == [name]
    for part, state in states.items():
        own = published_state(load_part(made, part))
        assert own.keys() == state.keys()
        for key, tensor in state.items():
            assert torch.equal(own[key], tensor.float()), key


def test_the_folder_named_may_be_the_one_of_the_top_level_beside_the_shared_one(tmp_path):
    write_model(tmp_path, "1b_lyrics", "published")
    made = import_model(tmp_path / "1b_lyrics", tmp_path / "models", "1b_lyrics")
    assert made.part("level_0")["source"]["file"] == "prior_level_0.pth.tar"


@pytest.mark.parametrize(
    ("maps", "bytes_a_number"), [("stored", 2), ("float16", 2), ("bfloat16", 2), ("float32", 4)]
)
def test_maps_are_kept_in_the_type_asked_for_and_all_else_in_single(tmp_path, maps, bytes_a_number):
    states = write_model(tmp_path / "files")
    made = import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics", maps=maps)
    row = made.part("level_1")
    held = 4 * (row["numbers"] - row["map_numbers"]) + bytes_a_number * row["map_numbers"]
    stored = sum(file["bytes"] for file in row["files"].values())
    assert held < stored < held + 40_000, "headers take the rest"
    wanted = torch.bfloat16 if maps == "bfloat16" else torch.float16
    own = published_state(load_part(made, "level_1", wanted))
    for key, tensor in states["level_1"].items():
        assert own[key].dtype == (wanted if key.endswith(".w") else torch.float32)
        assert torch.equal(own[key], tensor.to(own[key].dtype)), key


def test_shards_stay_within_their_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(model.importing, "SHARD_BYTES", 6_000)
    states = write_model(tmp_path / "files")
    made = import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")
    files = made.part("level_2")["files"]
    largest = max(tensor.nbytes * 2 for tensor in states["level_2"].values())
    headers = 4_000
    assert len(files) > 3
    assert all(row["bytes"] <= max(6_000, largest) + headers for row in files.values())
    assert torch.equal(
        published_state(load_part(made, "level_2"))["prior.x_out.weight"],
        states["level_2"]["prior.x_out.weight"],
    )


def test_no_more_than_one_tensor_is_read_before_the_last_was_placed():
    class Counting(InMemory):
        """A source that makes each tensor anew, as a file does, and counts those alive."""

        alive: ClassVar[list[weakref.ref[torch.Tensor]]] = []
        most = 0

        def read(self, key):
            made = super().read(key).clone()
            Counting.alive = [one for one in Counting.alive if one() is not None]
            Counting.alive.append(weakref.ref(made))
            Counting.most = max(Counting.most, len(Counting.alive))
            return made

    config = RELEASED["prior_5b_lyrics"]
    state = synthetic_state(config)
    load_published(empty_module(config), Counting(state), torch.bfloat16)
    single = sum(not key.endswith(".w") for key in state)
    assert Counting.most <= single + 2, "what was converted is still held as it was stored"


def test_progress_counts_every_byte_and_ends_at_the_total(tmp_path):
    write_model(tmp_path / "files")
    steps = []
    made = import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics", report=steps.append)
    done = [step.done_bytes for step in steps]
    assert done == sorted(done)
    assert 0.9 < done[-1] / steps[-1].total_bytes < 1.1
    assert {step.phase.split()[0] for step in steps} == {"checking", "converting"}
    verified = []
    total = verify_model(made, verified.append)
    assert verified[-1].done_bytes == verified[-1].total_bytes == total


def test_all_missing_files_are_named_at_once(tmp_path):
    write_model(tmp_path / "files")
    (tmp_path / "files/vqvae.pth.tar").unlink()
    (tmp_path / "files/prior_level_2.pth.tar").unlink()
    with pytest.raises(
        CheckpointError, match=r"lacks vqvae\.pth\.tar, prior_level_2\.pth\.tar: 5b"
    ):
        import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")


def test_the_wrong_level_is_refused_and_called_by_its_name(tmp_path):
    write_model(tmp_path / "files")
    codec = (tmp_path / "files/vqvae.pth.tar").read_bytes()
    (tmp_path / "files/prior_level_0.pth.tar").write_bytes(codec)
    with pytest.raises(
        CheckpointError, match=r"is not upsampler_level_0: it holds vqvae; the keys"
    ):
        import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")


def test_the_top_level_of_another_model_is_refused(tmp_path):
    write_model(tmp_path / "files", "5b_lyrics")
    with pytest.raises(CheckpointError, match="is not prior_5b: it holds prior_5b_lyrics"):
        import_model(tmp_path / "files", tmp_path / "models", "5b")


def test_one_upsampler_saved_over_the_other_is_refused(tmp_path):
    write_model(tmp_path / "files")
    level_0 = (tmp_path / "files/prior_level_0.pth.tar").read_bytes()
    (tmp_path / "files/prior_level_1.pth.tar").write_bytes(level_0)
    with pytest.raises(CheckpointError, match="hold the same weights"):
        import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")


def test_numbers_that_are_not_finite_leave_no_model_behind(tmp_path):
    states = write_model(tmp_path / "files")
    states["level_2"]["prior.pos_emb.pos_emb"] = torch.full((32, 16), float("nan"))
    write_published(tmp_path / "files" / FILES["level_2"], states["level_2"])
    with pytest.raises(CheckpointError, match=r"prior_level_2\.pth\.tar.*pos_emb has 512 numbers"):
        import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")
    assert list((tmp_path / "models").iterdir()) == []
    assert imported_models(tmp_path / "models") == []


def test_a_shape_bomb_is_refused_by_its_key_before_anything_is_written(tmp_path):
    states = write_model(tmp_path / "files")
    states["level_1"]["prior.x_emb.weight"] = torch.zeros(1).expand(2**40, 3)
    write_published(tmp_path / "files" / FILES["level_1"], states["level_1"])
    with pytest.raises(
        CheckpointError, match=r"prior\.x_emb\.weight has shape \(1099511627776, 3\)"
    ):
        import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")
    assert not (tmp_path / "models").exists()


def test_a_disk_that_is_too_full_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    write_model(tmp_path / "files")
    usage = type(model.importing.shutil.disk_usage(tmp_path))(100, 90, 10)
    monkeypatch.setattr(model.importing.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CheckpointError, match=r"has 0\.0 GiB free, the model needs"):
        import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")


def test_an_interrupted_import_leaves_nothing_that_counts_and_the_next_one_clears_it(tmp_path):
    write_model(tmp_path / "files")
    dead = tmp_path / "models" / ".5b_lyrics.999999999"
    dead.mkdir(parents=True)
    (dead / "level_0-00001.safetensors").write_bytes(b"half")
    assert imported_models(tmp_path / "models") == []
    import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["5b_lyrics"]


def test_a_model_is_not_imported_over_itself(tmp_path):
    write_model(tmp_path / "files")
    import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")
    with pytest.raises(CheckpointError, match="is there already: delete the folder"):
        import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")


@pytest.fixture
def imported(tmp_path):
    write_model(tmp_path / "files")
    return import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics")


def test_a_changed_byte_is_found_and_its_file_named(imported):
    path = imported.folder / "level_1-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"level_1-00001\.safetensors is damaged: SHA-256"):
        verify_model(imported)


def test_a_missing_or_shorter_shard_is_refused_when_its_part_is_loaded(imported):
    path = imported.folder / "level_1-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"bytes, the manifest says \d+: import it again"):
        load_part(imported, "level_1")
    assert load_part(imported, "level_0") is not None, "other parts do not suffer"
    path.unlink()
    with pytest.raises(CheckpointError, match="has 0 bytes"):
        load_part(imported, "level_1")


def test_an_unknown_part_or_name_or_type_is_refused(imported, tmp_path):
    with pytest.raises(CheckpointError, match="'level_3' is no part"):
        load_part(imported, "level_3")
    for name, maps in (("5c", "stored"), ("5b", "int8")):
        with pytest.raises(CheckpointError, match="is not known: models are"):
            import_model(tmp_path / "files", tmp_path / "other", name, maps=maps)


@pytest.mark.parametrize(
    "change", [{"kind": "small"}, {"format": 2}, {"name": "5c"}, {"parts": {}}, None]
)
def test_another_manifest_is_refused(imported, change):
    path = imported.folder / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text("[" if change is None else json.dumps({**manifest, **change}))
    with pytest.raises(CheckpointError, match=r"cannot be read|no manifest|does not describe"):
        open_model(imported.folder)


def write_ids(folder, versions=("v2", "v3")):
    folder.mkdir()
    for version in versions:
        (folder / f"{version}_artist_ids.txt").write_text(
            "unknown;0\nc_line_dion;1\n\nodd line\nbach;with;2\nbach;with;3\n"
        )
        (folder / f"{version}_genre_ids.txt").write_bytes(b"\xef\xbb\xbfunknown;0\r\nrock;3\r\n")
    return folder


def test_label_lists_are_read_as_they_come_and_what_was_odd_is_kept(tmp_path):
    write_model(tmp_path / "files")
    ids = write_ids(tmp_path / "ids", ["v2"])
    made = import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics", ids=ids)
    artists = {"unknown": 0, "c_line_dion": 1, "bach;with": 3}
    assert load_labels(made) == {"v2": {"artist": artists, "genre": {"unknown": 0, "rock": 3}}}
    row = made.manifest["labels"]["read"]["v2"]["artist"]
    assert (row["lines"], row["names"], row["repeated"]) == (5, 3, 1)
    assert row["skipped"] == ["line 4: 'odd line'"]


def test_1b_lyrics_wants_both_versions_since_its_upsamplers_know_the_older(tmp_path):
    write_model(tmp_path / "files", "1b_lyrics")
    older = write_ids(tmp_path / "old", ["v2"])
    with pytest.raises(CheckpointError, match=r"one file for v3 artists.*found none"):
        import_model(tmp_path / "files", tmp_path / "models", "1b_lyrics", ids=older)
    both = write_ids(tmp_path / "both")
    made = import_model(tmp_path / "files", tmp_path / "models", "1b_lyrics", ids=both)
    assert set(load_labels(made)) == {"v2", "v3"}


def test_an_id_outside_the_model_s_table_is_refused(tmp_path):
    write_model(tmp_path / "files")
    ids = write_ids(tmp_path / "ids")
    (ids / "v2_genre_ids.txt").write_text("unknown;0\njazz;4\n")
    with pytest.raises(CheckpointError, match=r"'jazz' has id 4, the model's table has ids 0 to 3"):
        import_model(tmp_path / "files", tmp_path / "models", "5b_lyrics", ids=ids)


def test_without_lists_there_are_no_names(imported):
    assert load_labels(imported) == {}


def test_attention_s_memory_is_counted_as_each_kind_reaches():
    shape = UPSAMPLER_LEVEL_0.transformer
    row, context, inner = 64, 8192, 480
    layers = shape.depth // 3
    expected = 2 * inner * layers * (row + context + 2 * row)
    assert cache_numbers(UPSAMPLER_LEVEL_0) == expected
