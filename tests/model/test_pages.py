"""What a process holds lies on large pages after it asked for that, unchanged."""

import sys
from pathlib import Path

import numpy as np
import pytest

from model.pages import LARGE_PAGE, use_large_pages

CHOICE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def on_large_pages(address):
    """Return how many bytes of the mapping around an address lie on large pages."""
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            first, last = (int(one, 16) for one in words[0].split("-"))
            found = first <= address < last
        elif found and words[0] == "AnonHugePages:":
            return int(words[1]) * 1024
    return 0


@pytest.mark.skipif(sys.platform != "linux", reason="large pages are asked for on Linux alone")
def test_what_is_held_is_moved_and_says_the_same():
    if not CHOICE.is_file() or "[never]" in CHOICE.read_text():
        pytest.skip("this system gives no large pages")
    held = np.arange(4 * LARGE_PAGE // 8 * 4, dtype=np.int64)
    before = held.copy()
    moved = use_large_pages()
    if not moved:
        pytest.skip("this kernel cannot move what is held (Linux 6.1 can)")
    assert moved % LARGE_PAGE == 0
    assert on_large_pages(held.ctypes.data + held.nbytes // 2) >= held.nbytes - 2 * LARGE_PAGE
    assert np.array_equal(held, before)


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert use_large_pages() == 0
