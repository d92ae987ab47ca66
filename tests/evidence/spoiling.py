"""Bytes spoilt at random from a seed, and a watch on what that costs."""

import faulthandler
import resource
import struct
from contextlib import contextmanager

import psutil

INTERESTING = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\0\0\0\x80",
    b"\0\0\xc0\x7f",
    b"\x01\0\0\0",
    b"\xff\xff\x7f\xff",
)
HANG_SECONDS = 120
"""After which a run is given up, with a traceback of all threads."""


def _flip(data, draws):
    at = draws.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draws.randrange(8)]) + data[at + 1 :]


def _number(data, draws):
    at = draws.randrange(min(len(data), 256) if draws.random() < 0.7 else len(data))
    number = draws.choice(INTERESTING)
    if draws.random() < 0.3:
        number = struct.pack(draws.choice("<>") + "I", draws.randrange(2**32))
    return data[:at] + number + data[at + 4 :]


def _cut(data, draws):
    return data[: draws.randrange(len(data))]


def _remove(data, draws):
    at = draws.randrange(len(data))
    return data[:at] + data[at + draws.randrange(1, 17) :]


def _insert(data, draws):
    at = draws.randrange(len(data) + 1)
    return data[:at] + draws.randbytes(draws.randrange(1, 17)) + data[at:]


def _repeat(data, draws):
    first = draws.randrange(len(data))
    last = min(len(data), first + draws.randrange(1, 257))
    return data[:last] + data[first:last] * draws.randrange(1, 9) + data[last:]


def _noise(data, draws):
    at = draws.randrange(min(64, len(data)))
    return data[:at] + draws.randbytes(draws.randrange(1, 513))


MUTATIONS = (_flip, _flip, _number, _number, _cut, _remove, _insert, _repeat, _noise)


def spoilt(data, draws):
    """Return bytes after one to four mutations."""
    for _ in range(draws.randrange(1, 5)):
        if data:
            data = draws.choice(MUTATIONS)(data, draws)
    return data


class Memory:
    """What this process holds now and held at most, in bytes."""

    def __init__(self):
        self._process = psutil.Process()
        self.begin()

    def begin(self):
        self._first = self._process.memory_info().rss
        self._first_peak = _peak()

    @property
    def grown(self):
        """Return by how much the resident memory has grown."""
        return self._process.memory_info().rss - self._first

    @property
    def peak_grown(self):
        """Return by how much more than before was ever held."""
        return _peak() - self._first_peak


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def no_hang(seconds=HANG_SECONDS):
    """End the whole run, with a traceback, if the block takes longer."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
