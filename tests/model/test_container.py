"""Files of weights are read tensor by tensor as torch reads them, and strangers are refused."""

import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict

import pytest
import torch

import model.pickled
from model.container import open_checkpoint
from model.errors import CheckpointError

LAYOUTS = {"legacy": False, "zip": True}


def mixed_state() -> "OrderedDict[str, torch.Tensor]":
    """Return tensors of every published kind and some oddities."""
    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Conv1d(2, 3, 5)).state_dict()
    state["map.w"] = torch.randn(6, 4).half()
    state["transposed"] = torch.arange(12.0).view(3, 4).t()
    state["part"] = torch.arange(100.0)[10:20]
    state["tied"] = state["map.w"]
    state["wide"] = torch.randn(3).bfloat16()
    state["scalar"] = torch.tensor(2.5)
    state["none"] = torch.zeros(0, 4)
    return state


def save(path, stored, layout):
    torch.save(stored, path, _use_new_zipfile_serialization=LAYOUTS[layout])
    return path


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


def test_every_tensor_is_the_one_that_torch_reads(tmp_path, layout):
    path = save(tmp_path / "a.pth.tar", {"model": mixed_state()}, layout)
    checkpoint = open_checkpoint(path)
    expected = torch.load(path, weights_only=True)["model"]
    assert list(checkpoint.tensors) == list(expected)
    for key, tensor in expected.items():
        made = checkpoint.read(key)
        assert made.dtype == tensor.dtype == checkpoint.dtype(key)
        assert torch.equal(made, tensor), key
    assert checkpoint.shapes() == {key: tuple(value.shape) for key, value in expected.items()}


def test_keys_of_one_stored_tensor_are_known_to_be_one(tmp_path, layout):
    path = save(tmp_path / "a.pth.tar", {"model": mixed_state()}, layout)
    checkpoint = open_checkpoint(path)
    assert checkpoint.same("map.w", "tied")
    assert not checkpoint.same("0.weight", "0.bias")


def test_entries_beside_the_weights_are_optional_and_the_step_is_told(tmp_path, layout):
    adam = {"state": {0: {"step": 3, "exp_avg": torch.ones(5)}}, "param_groups": [{"lr": 0.1}]}
    more = {"step": 7, "opt": adam, "hps": {"a": (1, [2.5, None, True])}, "loss": 1.5}
    state = {"a": torch.ones(2)}
    assert open_checkpoint(save(tmp_path / "a", {"model": state}, layout)).step is None
    whole = open_checkpoint(save(tmp_path / "b", {"model": state, **more}, layout))
    assert whole.step == 7
    assert torch.equal(whole.read("a"), torch.ones(2))


def test_the_prefix_of_parallel_training_is_dropped(tmp_path, layout):
    path = save(tmp_path / "a", {"model": {"module.a.b": torch.ones(2)}}, layout)
    assert list(open_checkpoint(path).tensors) == ["a.b"]
    both = {"module.a": torch.ones(1), "a": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"both with and without 'module\.'"):
        open_checkpoint(save(tmp_path / "b", {"model": both}, layout))


def test_opening_reads_the_description_alone(tmp_path, layout):
    path = save(tmp_path / "a", {"model": {"a": torch.zeros(2**20)}}, layout)
    checkpoint = open_checkpoint(path)
    data = bytearray(path.read_bytes())
    start = checkpoint.starts[checkpoint.tensors["a"].storage.key]
    data[start : start + 4] = struct.pack("<f", 5.0)
    path.write_bytes(data)
    assert checkpoint.read("a")[0] == 5.0, "the numbers were read before they were asked for"


def executed(path):
    """Return an object whose unpickling would make a file."""

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(path),)

    return Bomb()


@pytest.mark.parametrize("place", ["model", "opt", "weights"])
def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path, layout, place):
    bomb = executed(tmp_path / "executed")
    stored = {"model": {"a": torch.ones(2)}}
    stored = {
        "model": {"model": bomb},
        "opt": {**stored, "opt": bomb},
        "weights": {"model": {"a": torch.ones(2), "b": bomb}},
    }[place]
    path = save(tmp_path / "a", stored, layout)
    with pytest.raises(CheckpointError, match=r"calls posix\.mkdir.*nothing of it was executed"):
        open_checkpoint(path)
    assert not (tmp_path / "executed").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "executed").exists(), "the file was harmless, so the test shows nothing"


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_plain_pickle_with_code_in_any_protocol_is_refused_and_not_executed(tmp_path, protocol):
    path = tmp_path / "a"
    path.write_bytes(pickle.dumps(executed(tmp_path / "executed"), protocol=protocol))
    with pytest.raises(CheckpointError, match="no file of weights"):
        open_checkpoint(path)
    assert not (tmp_path / "executed").exists()


def text(value: str) -> bytes:
    """Return the instruction that puts a text on the stack."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


HEAD = b"".join(
    pickle.dumps(value, protocol=2)
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
)
BUILTINS = {
    "eval": b"cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R.",
    "getattr on our own": b"ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00aK\x01sb.",
    "a new object": b"ccollections\nOrderedDict\n)\x81.",
    "an extension": b"\x82\x01.",
    "an instance": b"(ios\nsystem\n.",
    "what is no function": b"K\x05)R.",
    "unhashable keys": b"}]K\x01s.",
    "nothing on the stack": b"R.",
    "no mark": b"t.",
    "an unknown memory": b"h\x05.",
    "a foreign storage": b"(X\x06\x00\x00\x00modulecos\nsystem\nX\x01\x00\x00\x000NK\x01NtQ.",
    "a storage of objects": b"(X\x07\x00\x00\x00storagecos\nsystem\nX\x01\x00\x00\x000NK\x01NtQ.",
    "an endless text": b"X\xff\xff\xff\xffabc.",
    "an endless number": b"\x8b\xff\xff\xff\x7fabc.",
}


@pytest.mark.parametrize("pickled", BUILTINS.values(), ids=BUILTINS)
def test_a_strange_instruction_is_refused(tmp_path, pickled):
    path = tmp_path / "a"
    path.write_bytes(HEAD + pickled + pickle.dumps([], protocol=2))
    with pytest.raises(CheckpointError):
        open_checkpoint(path)


def test_deep_nesting_costs_no_time_and_no_stack(tmp_path):
    """Thirty doublings would be 2**30 parts to whoever walked, printed or hashed them."""
    doubled = b"K\x01" + b"q\x00h\x00\x86" * 60
    deep = b"K\x01" + b"\x85" * 10_000
    for number, value in enumerate((doubled, deep)):
        path = tmp_path / str(number)
        path.write_bytes(HEAD + b"}X\x05\x00\x00\x00model" + value + b"s." + pickle.dumps([], 2))
        with pytest.raises(CheckpointError, match="no entry 'model'"):
            open_checkpoint(path)


def test_a_pickle_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(model.pickled, "MOST_BYTES", 1000)
    path = tmp_path / "a"
    path.write_bytes(HEAD + b"]" * 2000 + b".")
    with pytest.raises(CheckpointError, match="longer than 1000 bytes"):
        open_checkpoint(path)


@pytest.mark.parametrize("keep", [1, 20, 300, 0.5, 0.9, -1])
def test_a_truncated_file_is_refused_when_it_is_opened(tmp_path, layout, keep):
    path = save(tmp_path / "a", {"model": {"a": torch.ones(5000), "b": torch.ones(70)}}, layout)
    data = path.read_bytes()
    count = int(len(data) * keep) if isinstance(keep, float) else keep % len(data)
    path.write_bytes(data[:count])
    with pytest.raises(CheckpointError, match=r"download(ed)? (it|the file)? ?again"):
        open_checkpoint(path)


def test_bytes_after_the_last_tensor_are_refused(tmp_path):
    path = save(tmp_path / "a", {"model": {"a": torch.ones(5)}}, "legacy")
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(CheckpointError, match="its last tensor ends at"):
        open_checkpoint(path)


def test_a_file_that_shrinks_after_it_was_opened_is_refused(tmp_path, layout):
    path = save(tmp_path / "a", {"model": {"a": torch.ones(5000)}}, layout)
    checkpoint = open_checkpoint(path)
    path.write_bytes(path.read_bytes()[: min(checkpoint.starts.values()) + 10])
    with pytest.raises(CheckpointError, match="bytes before a tensor does"):
        checkpoint.read("a")


@pytest.mark.parametrize("count", [2**40, 2**47, 2**63 - 1, 2**70])
def test_a_shape_bomb_is_refused_without_memory(tmp_path, count):
    """A file of a few hundred bytes that says it holds up to a zettabyte."""
    number = pickle.dumps(count, protocol=2)[2:-1]
    name, key, place = (text(part) for part in ("storage", "0", "cpu"))
    storage = b"(" + name + b"ctorch\nFloatStorage\n" + key + place + number + b"NtQ"
    shape = number + b"\x85K\x01\x85"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape
    tensor += b"\x89ccollections\nOrderedDict\n)RtR"
    whole = b"}X\x05\x00\x00\x00model}X\x01\x00\x00\x00a" + tensor + b"ss."
    path = tmp_path / "a"
    path.write_bytes(HEAD + whole + pickle.dumps(["0"], 2) + struct.pack("<Q", count % 2**63))
    with pytest.raises(CheckpointError, match=r"cut off|no count of elements"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("shape", "strides"), [((9,), (1,)), ((2, 2), (8, 1)), ((2**30, 2**30), (0, 9))]
)
def test_a_view_that_leaves_its_storage_is_refused(tmp_path, layout, shape, strides):
    tensor = torch.zeros(8)
    path = save(tmp_path / "a", {"model": {"a": tensor.as_strided((8,), (1,))}}, layout)
    del tensor
    ref = open_checkpoint(path).tensors["a"]
    with pytest.raises(CheckpointError, match="reaches to number"):
        model.pickled._tensor(ref.storage, 0, shape, strides)


def test_a_zip_bomb_is_refused_unread(tmp_path):
    path = save(tmp_path / "a", {"model": {"a": torch.ones(5)}}, "zip")
    packed = tmp_path / "b"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry) if entry.endswith("pkl") else bytes(10**7))
    with pytest.raises(CheckpointError, match="is compressed, which a file of weights never is"):
        open_checkpoint(packed)


def test_zip_parts_that_overlap_are_refused(tmp_path):
    """One stretch of bytes under many names claims more than there is."""
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("archive/data.pkl", b"x" * 50_000)
        entry = made.infolist()[0]
        for number in range(100):
            twin = zipfile.ZipInfo(f"archive/data/{number}")
            twin.header_offset, twin.CRC = entry.header_offset, entry.CRC
            twin.file_size = twin.compress_size = entry.file_size
            made.filelist.append(twin)
    with pytest.raises(CheckpointError, match=r"parts claim \d+ bytes"):
        open_checkpoint(path)


def gzipped() -> bytes:
    return b"\x1f\x8b\x08\x00" + bytes(100)


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("prior_level_0.pth"))
    return made.getvalue()


def other_zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return made.getvalue()


STRANGERS = {
    "nothing": (b"", "is empty: the download failed"),
    "a web page": (b"\n <!DOCTYPE html><html>404", "is a web page"),
    "an error of a cloud": (b'<?xml version="1.0"?><Error/>', "is a web page"),
    "a message": (b'{"error": "not found"}', "JSON"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS"),
    "a gzip": (gzipped(), "compressed by gzip"),
    "a tar": (tarred(), "is a tar archive"),
    "another zip": (other_zip(), "not one of weights"),
    "a text": (b"hello world, this is a text", "begins with other bytes"),
    "zeros": (bytes(1000), "begins with other bytes"),
}


@pytest.mark.parametrize(("data", "said"), STRANGERS.values(), ids=STRANGERS)
def test_what_users_have_instead_of_the_file_is_named_with_its_cure(tmp_path, data, said):
    path = tmp_path / "prior_level_0.pth.tar"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{path}: it .*{said}.*again and leave it as it is"):
        open_checkpoint(path)


def test_a_file_that_was_unpacked_is_a_folder(tmp_path):
    (tmp_path / "prior.pth.tar" / "archive").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"is a folder: the file was unpacked.*no archive"):
        open_checkpoint(tmp_path / "prior.pth.tar")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth\.tar does not exist"):
        open_checkpoint(tmp_path / "nowhere.pth.tar")


@pytest.mark.parametrize("stored", [{"state": 1}, [1, 2], {"model": 5}, {"model": {"a": 1}}])
def test_a_file_without_weights_says_what_it_holds(tmp_path, layout, stored):
    with pytest.raises(CheckpointError, match=r"no entry 'model' with weights|is a int, not a"):
        open_checkpoint(save(tmp_path / "a", stored, layout))


def test_damage_anywhere_in_the_description_is_an_error_of_ours_or_another_tensor(tmp_path, layout):
    """Seeded single-byte changes: no other error escapes, and nothing is executed."""
    state = {"a.w": torch.ones(3, 2).half(), "b": torch.nn.Parameter(torch.ones(2))}
    path = save(tmp_path / "a", {"model": state, "step": 3}, layout)
    data = path.read_bytes()
    draw = torch.Generator().manual_seed(1)
    places = torch.randint(0, min(len(data), 1500), (150,), generator=draw).tolist()
    refused = 0
    for place, byte in zip(places, torch.randint(0, 256, (150,), generator=draw), strict=True):
        path.write_bytes(data[:place] + bytes([int(byte)]) + data[place + 1 :])
        try:
            checkpoint = open_checkpoint(path)
            for key in checkpoint.tensors:
                checkpoint.read(key)
        except CheckpointError:
            refused += 1
    assert refused > 20
