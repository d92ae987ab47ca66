"""What a pickle of weights says, read without running it.

`pickletools` takes the instructions apart; a stack of plain values follows
them. A class or a function stays a name, and the few names that files of
weights need are met by values of ours, so nothing in a file can call anything.
Stricter than `torch.load(..., weights_only=True)`, whose files it reads.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedIOBase
from typing import IO, Any, Final, cast

import torch

from model.errors import CheckpointError

MOST_BYTES: Final = 64 * 2**20
"""Longest pickle read: published ones are under 1 MiB, an optimiser's a few."""
MOST_AXES: Final = 8
DTYPES: Final = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True, slots=True)
class StorageRef:
    """Numbers that stand elsewhere in the file, under a key."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor as a view of stored numbers, none of them read."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def span(self) -> int:
        """Return how many numbers lie between the first and the last, both included."""
        if 0 in self.shape:
            return 0
        steps = zip(self.shape, self.strides, strict=True)
        return 1 + sum((count - 1) * stride for count, stride in steps)


@dataclass(frozen=True, slots=True)
class _Name:
    """A class or a function that the file names; never looked up, never called."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Mark:
    """Where a group of values begins on the stack."""


def read_pickle(file: BufferedIOBase) -> object:
    """Return the next pickle of a file: plain values, and references to tensors and storages.

    Raises:
        CheckpointError: The pickle calls something else, is damaged, or is longer than
            `MOST_BYTES`.
    """
    machine, given = _Machine(), _Bounded(file)
    try:
        while (byte := given.read(1)) != b".":
            known = _KNOWN.get(byte.decode("latin-1"))
            if known is None:
                raise CheckpointError(
                    f"its pickle has the instruction {byte!r}, which no weights need: it is "
                    "damaged or hostile, download the file again"
                )
            machine.follow(known.name, _argument(known, given))
        return machine.pop()
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, EOFError) as error:
        raise CheckpointError(
            f"its pickle is damaged or cut off ({error}): download the file again"
        ) from error


def _argument(instruction: pickletools.OpcodeInfo, file: "_Bounded") -> object:
    if instruction.name == "GLOBAL":  # the library would also follow escapes in it
        module, name = (file.readline().decode("ascii").removesuffix("\n") for _ in range(2))
        return _Name(module, name)
    return instruction.arg.reader(cast(IO[bytes], file)) if instruction.arg else None


class _Bounded:
    """A file that gives no more than `MOST_BYTES`, as `pickletools` reads one."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._left = MOST_BYTES

    def read(self, count: int) -> bytes:
        """Return so many bytes, or fewer at the end of the file."""
        if count > self._left:
            raise CheckpointError(f"its pickle is longer than {MOST_BYTES} bytes")
        return self._taken(self._file.read(count))

    def readline(self) -> bytes:
        """Return the rest of a line."""
        return self._taken(self._file.readline(self._left + 1))

    def _taken(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise CheckpointError(f"its pickle is longer than {MOST_BYTES} bytes")
        return data


class _Machine:
    """The stack and the memory that a pickle's instructions work on."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def pop(self) -> object:
        """Return the top of the stack and remove it."""
        return self._stack.pop()

    def follow(self, name: str, argument: object) -> None:
        """Follow one instruction."""
        if name == "PROTO":
            return
        if name in _ARGUMENTS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            self._replace(_TUPLES[name], tuple)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memory[cast(int, argument)] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memory[cast(int, argument)])
        else:
            self._build(name)

    def _build(self, name: str) -> None:
        if name == "TUPLE":
            self._stack.append(tuple(self._since_mark()))
        elif name == "BINPERSID":
            self._replace(1, lambda found: _storage(found[0]))
        elif name == "REDUCE":
            self._replace(2, lambda found: _called(*found))
        elif name == "BUILD":
            self._skip_attributes()
        elif name in ("APPEND", "APPENDS"):
            self._extend(self._since_mark() if name == "APPENDS" else [self.pop()])
        else:
            self._set(self._since_mark() if name == "SETITEMS" else self._top(2))

    def _top(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("the stack is empty")
        found = self._stack[-count:]
        del self._stack[-count:]
        return found

    def _replace(self, count: int, made: Callable[[list[Any]], Any]) -> None:
        self._stack.append(made(self._top(count)))

    def _since_mark(self) -> list[Any]:
        found: list[Any] = []
        while not isinstance(value := self.pop(), _Mark):
            found.append(value)
        return found[::-1]

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise TypeError(f"{type(target).__name__} takes no items")
        cast(list[Any], target).extend(values)

    def _set(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise TypeError(f"{type(target).__name__} takes no keys")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Only these are cheap to compare, whatever a file says.
            if not isinstance(key, str | int):
                raise TypeError(f"a key is a {type(key).__name__}, expected text or a number")
            cast(dict[Any, Any], target)[key] = value

    def _skip_attributes(self) -> None:
        """Leave out what is written on a dictionary besides its items, such as versions."""
        target, _ = self._top(2)
        if not isinstance(target, dict | TensorRef):
            raise TypeError(f"{type(target).__name__} takes no attributes")
        self._stack.append(target)


_ARGUMENTS: Final = frozenset(
    {"GLOBAL", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
    | {"BINUNICODE", "SHORT_BINSTRING"}
)
_CONSTANTS: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": _Mark,
}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_BUILDING: Final = frozenset(
    {"PROTO", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "TUPLE", "BINPERSID"}
    | {"REDUCE", "BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS"}
)
_KNOWN: Final = {
    one.code: one
    for one in pickletools.opcodes
    if one.name in _ARGUMENTS | _BUILDING | {*_CONSTANTS, *_TUPLES}
}
"""What `torch.save` writes; the argument of another instruction is not even read."""


def _storage(given: object) -> StorageRef:
    """Return the storage that a persistent id describes; views of storages are long gone."""
    kind, name, key, _, count, *view = _tuple(given)
    if kind != "storage" or not isinstance(name, _Name) or any(part is not None for part in view):
        raise ValueError("what stands elsewhere is no storage")
    if name.module != "torch" or name.name not in DTYPES:
        raise CheckpointError(f"its numbers are a {name}, which no weights are")
    if not isinstance(key, str):
        raise TypeError("a storage has no key")
    return StorageRef(key, DTYPES[name.name], _counts((count,))[0])


def _called(called: object, given: object) -> object:
    """Return our value for one of the calls that files of weights are written with."""
    if not isinstance(called, _Name):
        raise TypeError(f"a {type(called).__name__} is called")
    name, arguments = str(called), _tuple(given)
    if name == "collections.OrderedDict" and not arguments:
        return {}
    if name == "torch._utils._rebuild_tensor_v2":
        return _tensor(*arguments[:4])
    if name == "torch._utils._rebuild_parameter":
        return arguments[0]
    if name == "torch.Size":
        return _tuple(arguments[0])
    raise CheckpointError(
        f"its pickle calls {name}, which no weights need: it may be hostile, and nothing of it was "
        "executed; download the file again from its publisher"
    )


def _tensor(storage: object, offset: object, shape: object, strides: object) -> TensorRef:
    if not isinstance(storage, StorageRef):
        raise TypeError("a tensor has no storage")
    counts, steps, (start,) = _counts(_tuple(shape)), _counts(_tuple(strides)), _counts((offset,))
    if len(counts) != len(steps) or len(counts) > MOST_AXES:
        raise ValueError(f"a tensor has {len(counts)} axes and {len(steps)} strides")
    made = TensorRef(storage, start, counts, steps)
    if made.offset + made.span > storage.count:
        raise CheckpointError(
            f"a tensor of shape {counts} reaches to number {made.offset + made.span} of a storage "
            f"of {storage.count}"
        )
    return made


def _tuple(value: object) -> tuple[object, ...]:
    if not isinstance(value, tuple):
        raise TypeError(f"a {type(value).__name__} stands where a tuple belongs")
    return cast(tuple[object, ...], value)


def _counts(values: tuple[object, ...]) -> tuple[int, ...]:
    """Return numbers of elements as they are, each small enough to add and multiply."""
    if not all(type(value) is int and 0 <= value < 2**48 for value in values):
        raise ValueError("a tensor's size is no count of elements")
    return cast(tuple[int, ...], values)
