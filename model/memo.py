"""What networks made of conditions, kept under the content that it was made of.

A value is a function of its key, so one that was kept is the one that would be made
again. At the budget the value goes that was wanted least recently. Knows no networks.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Shaped

T = TypeVar("T")
Array = Shaped[np.ndarray, "..."]


def digest(*parts: Array) -> bytes:
    """Return a key of arrays' content; arrays of other shapes or types have other keys."""
    made = hashlib.sha256()
    for part in parts:
        made.update(f"{part.dtype}{part.shape}".encode())
        made.update(part.tobytes())
    return made.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoStats:
    """What is held, and how often it helped, since the start."""

    held: int = 0
    held_bytes: int = 0
    limit_bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0


def together(parts: Iterable[MemoStats]) -> MemoStats:
    """Return the sums of several memos."""
    rows = [astuple(part) for part in parts]
    names = [one.name for one in fields(MemoStats)]
    return MemoStats(**dict(zip(names, map(sum, zip(*rows, strict=True)), strict=True)))


class Memo(Generic[T]):
    """Values by content, in a budget of bytes; any thread may ask."""

    def __init__(self, limit_bytes: int, nbytes: Callable[[T], int]) -> None:
        """Begin with nothing.

        Args:
            limit_bytes: Of all values held; 0 keeps none.
            nbytes: Says how many a value takes.
        """
        self._limit_bytes = limit_bytes
        self._nbytes = nbytes
        self._lock = threading.Lock()
        self._values: OrderedDict[bytes, T] = OrderedDict()
        self._held_bytes = self._hits = self._misses = self._evictions = 0

    def of(self, key: bytes, make: Callable[[], T]) -> T:
        """Return the value of a key, made if it is not held; two threads may both make it."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                self._hits += 1
                return self._values[key]
            self._misses += 1
        value = make()
        self._keep(key, value)
        return value

    def stats(self) -> MemoStats:
        """Return what is held, and the counts since the start."""
        with self._lock:
            return MemoStats(
                held=len(self._values),
                held_bytes=self._held_bytes,
                limit_bytes=self._limit_bytes,
                hits=self._hits,
                misses=self._misses,
                evictions=self._evictions,
            )

    def _keep(self, key: bytes, value: T) -> None:
        with self._lock:
            if key in self._values or self._nbytes(value) > self._limit_bytes:
                return
            self._values[key] = value
            self._held_bytes += self._nbytes(value)
            while self._held_bytes > self._limit_bytes:
                _, oldest = self._values.popitem(last=False)
                self._held_bytes -= self._nbytes(oldest)
                self._evictions += 1
