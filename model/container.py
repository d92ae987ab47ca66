"""Files that `torch.save` wrote, tensor by tensor: the old one-pickle layout, and the zip.

Only the description is read when a file is opened; every tensor is read from
its place when it is asked for, so the file never stands in memory. A file of
the old layout is: magic number, version, facts of the machine, the object, the
sorted keys of its storages (a pickle each), then of each storage its count
(8 bytes, little-endian) and its numbers. Knows nothing of models.
"""

import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO, FileIO
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

from model.errors import CheckpointError
from model.pickled import MOST_BYTES, StorageRef, TensorRef, read_pickle

MAGIC: Final = 0x1950A86A20F9469CFC6C
MAGIC_START: Final = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")
VERSION: Final = 1001
PREFIX: Final = "module."
"""What training in parallel puts before every key."""
AGAIN: Final = "download it again and leave it as it is"
ZIP_START: Final = b"PK\x03\x04"
ZIP_FAULTS: Final = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    EOFError,
    struct.error,
)
"""What `zipfile` raises over a damaged one."""
STRANGERS: Final = (
    (b"<", "is a web page: the download was answered by a page instead of the file"),
    (b"{", "is a text of JSON: the download was answered by a message instead of the file"),
    (b"\x1f\x8b", "is compressed by gzip: it was packed by another program"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file it points to"),
)
TAR_MARK: Final = (257, b"ustar")
MOST_AHEAD: Final = 512
NAMED: Final = 10
"""How many entries of a strange file an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A file of weights whose tensors are read one at a time.

    Attributes:
        path: The file.
        tensors: Where each tensor of the state dict stands among the stored numbers.
        starts: The byte at which each storage begins.
        step: The training step, where the file tells it.
    """

    path: Path
    tensors: Mapping[str, TensorRef]
    starts: Mapping[str, int]
    step: int | None = None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each key's tensor."""
        return {key: ref.shape for key, ref in self.tensors.items()}

    def dtype(self, key: str) -> torch.dtype:
        """Return what a tensor's numbers are stored as."""
        return self.tensors[key].storage.dtype

    def same(self, key: str, twin: str) -> bool:
        """Return whether both keys are one stored tensor."""
        return self.tensors[key] == self.tensors[twin]

    def read(self, key: str) -> Tensor:
        """Return one tensor as it is stored; only its own bytes are read.

        Raises:
            CheckpointError: The file has become shorter or cannot be read.
        """
        ref = self.tensors[key]
        flat = torch.empty(ref.span, dtype=ref.storage.dtype)
        start = self.starts[ref.storage.key] + ref.offset * flat.element_size()
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(start)
                _fill(file, flat)
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read: {error}") from error
        return flat.as_strided(ref.shape, ref.strides)


def open_checkpoint(path: Path) -> Checkpoint:
    """Return a file of weights; its description is read and checked, its numbers are not.

    Raises:
        CheckpointError: What is there is no such file, or a damaged or hostile one; the text says
            what to do.
    """
    if path.is_dir():
        raise CheckpointError(
            f"{path} is a folder: the file was unpacked; in spite of its name it is no archive, "
            f"{AGAIN}"
        )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            is_zip = _starts_as_zip(file, size)
            file.seek(0)
            stored, starts = _read_zip(file, size) if is_zip else _read_old(file, size)
        tensors, step = _state_of(stored)
        _check_places(tensors, starts, size)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(path=path, tensors=tensors, starts=starts, step=step)


def _starts_as_zip(file: BufferedIOBase, size: int) -> bool:
    """Return whether a file is a zip; refuse what users have in its place."""
    if not size:
        raise CheckpointError(f"it is empty: the download failed, {AGAIN}")
    ahead = file.read(MOST_AHEAD)
    for start, what in STRANGERS:
        if ahead.lstrip()[: len(start)] == start:
            raise CheckpointError(f"it {what}; {AGAIN}")
    offset, mark = TAR_MARK
    if ahead[offset : offset + len(mark)] == mark:
        raise CheckpointError(f"it is a tar archive, which the published files are not; {AGAIN}")
    return ahead.startswith(ZIP_START)


def _read_old(file: BufferedIOBase, size: int) -> tuple[object, dict[str, int]]:
    if file.read(len(MAGIC_START)) != MAGIC_START:
        raise CheckpointError(f"it is no file of weights: it begins with other bytes; {AGAIN}")
    file.seek(0)
    if read_pickle(file) != MAGIC:
        raise CheckpointError(f"it is no file of weights: its magic number is another; {AGAIN}")
    if read_pickle(file) != VERSION:
        raise CheckpointError(f"it has another version of the layout, expected {VERSION}")
    machine = read_pickle(file)
    if not (isinstance(machine, dict) and cast(dict[Any, Any], machine).get("little_endian")):
        raise CheckpointError("it was written by a big-endian machine, which is not read")
    stored = read_pickle(file)
    keys = read_pickle(file)
    if not isinstance(keys, list):
        raise CheckpointError(f"it lists no storages; {AGAIN}")
    storages = _storages(stored, {})
    return stored, _old_starts(file, cast(list[Any], keys), storages, size)


def _old_starts(
    file: BufferedIOBase, keys: list[Any], storages: Mapping[str, StorageRef], size: int
) -> dict[str, int]:
    starts: dict[str, int] = {}
    for key in keys:
        if type(key) is not str or key not in storages or key in starts:
            raise CheckpointError(f"it lists a storage that no tensor uses, or one twice; {AGAIN}")
        storage = storages[key]
        head = file.read(8)
        start = file.tell()
        end = start + storage.count * storage.dtype.itemsize
        if len(head) < 8 or end > size:
            raise _short(size, max(end, start + 8))
        (count,) = struct.unpack("<q", head)
        if count != storage.count:
            raise CheckpointError(
                f"storage {key} holds {count} numbers, its tensors say {storage.count}"
            )
        starts[key] = start
        file.seek(end)
    if (end := file.tell()) != size:
        raise CheckpointError(f"it is {size} bytes long, its last tensor ends at {end}; {AGAIN}")
    return starts


def _short(size: int, needed: int) -> CheckpointError:
    return CheckpointError(
        f"it is cut off: {size} bytes, at least {needed} are needed; the download was "
        f"interrupted, {AGAIN}"
    )


def _read_zip(file: BufferedIOBase, size: int) -> tuple[object, dict[str, int]]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            root = _root_of(entries, size)
            order = f"{root}byteorder"
            if order in entries and archive.read(order) != b"little":
                raise CheckpointError("it was written by a big-endian machine, which is not read")
            if entries[f"{root}data.pkl"].file_size > MOST_BYTES:
                raise CheckpointError(f"its pickle is longer than {MOST_BYTES} bytes")
            stored = read_pickle(BytesIO(archive.read(f"{root}data.pkl")))
    except ZIP_FAULTS as error:
        raise CheckpointError(f"it is a damaged zip ({error}), perhaps cut off; {AGAIN}") from error
    starts: dict[str, int] = {}
    for key, storage in _storages(stored, {}).items():
        entry = entries.get(f"{root}data/{key}")
        wanted = storage.count * storage.dtype.itemsize
        if entry is None or entry.file_size != wanted:
            found = "is missing" if entry is None else f"has {entry.file_size} bytes"
            raise CheckpointError(f"storage {key} {found}, {wanted} are needed; {AGAIN}")
        starts[key] = _zip_start(file, entry)
    return stored, starts


def _root_of(entries: Mapping[str, zipfile.ZipInfo], size: int) -> str:
    """Return the folder in the zip; refuse what unpacks to more than it holds."""
    for entry in entries.values():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise CheckpointError(
                f"{entry.filename} is compressed, which a file of weights never is: it may be "
                f"hostile; {AGAIN}"
            )
    claimed = sum(entry.file_size for entry in entries.values())
    if claimed > size:
        raise CheckpointError(f"its parts claim {claimed} bytes, it has {size}: it may be hostile")
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise CheckpointError(f"it is a zip, but not one of weights; {AGAIN}")
    return roots[0]


def _zip_start(file: BufferedIOBase, entry: zipfile.ZipInfo) -> int:
    """Return where a stored entry's bytes begin: after its own header, name and extra field."""
    file.seek(entry.header_offset)
    head = file.read(30)
    if len(head) < 30 or not head.startswith(ZIP_START):
        raise CheckpointError(f"{entry.filename} has no header; {AGAIN}")
    name_bytes, extra_bytes = struct.unpack("<HH", head[26:30])
    return entry.header_offset + 30 + name_bytes + extra_bytes


def _state_of(stored: object) -> tuple[dict[str, TensorRef], int | None]:
    """Return the state dict and the step of what a file holds; nothing else is read."""
    table = _table(stored)
    state = _table(table.get("model"))
    if not state:
        held = sorted(map(str, table))[:NAMED] or f"a {type(stored).__name__}"
        raise CheckpointError(f"it holds no entry 'model' with weights, but {held}")
    tensors: dict[str, TensorRef] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, TensorRef):
            raise CheckpointError(
                f"its entry {str(key)!r} is a {type(value).__name__}, not a tensor"
            )
        tensors[key.removeprefix(PREFIX)] = value
    if len(tensors) != len(state):
        raise CheckpointError(f"it has keys both with and without {PREFIX!r}")
    step = table.get("step")
    return tensors, step if type(step) is int else None


def _table(value: object) -> dict[Any, Any]:
    return cast(dict[Any, Any], value) if isinstance(value, dict) else {}


def _storages(value: object, found: dict[str, StorageRef]) -> dict[str, StorageRef]:
    """Return all storages that tensors anywhere in a value use.

    Walks with a list of its own: a file's nesting is not to exhaust the interpreter's stack.
    """
    seen: set[int] = set()
    left: list[Any] = [value]
    while left:
        one = left.pop()
        if isinstance(one, TensorRef):
            left.append(one.storage)
        elif isinstance(one, StorageRef):
            if found.setdefault(one.key, one) != one:
                raise CheckpointError(f"storage {one.key} is described in two ways")
        elif isinstance(one, dict | list | tuple) and id(cast(object, one)) not in seen:
            seen.add(id(cast(object, one)))
            whole = cast(Any, one)
            left.extend(whole.values() if isinstance(one, dict) else whole)
    return found


def _check_places(tensors: Mapping[str, TensorRef], starts: Mapping[str, int], size: int) -> None:
    for key, ref in tensors.items():
        if ref.storage.key not in starts:
            raise CheckpointError(f"the numbers of {key} are missing; {AGAIN}")
        start = starts[ref.storage.key]
        if start + ref.storage.count * ref.storage.dtype.itemsize > size:
            raise _short(size, start + ref.storage.count * ref.storage.dtype.itemsize)


def _fill(file: FileIO, flat: Tensor) -> None:
    """Read exactly the bytes of a tensor; the system gives at most 2 GiB at once."""
    left = memoryview(cast(Any, flat.view(torch.uint8).numpy()))
    while len(left):
        count = file.readinto(left)
        if not count:
            raise CheckpointError(f"it ends {len(left)} bytes before a tensor does; {AGAIN}")
        left = left[count:]
