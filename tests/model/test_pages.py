"""What a process holds lies on large pages after it asked for that, unchanged."""

import sys
from pathlib import Path

import numpy as np
import pytest

from model.pages import LARGE_PAGE, use_large_pages

CHOICE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def on_large_pages():
    """Return how many bytes of this process lie on large pages."""
    total = 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *values = line.split()
        if name == "AnonHugePages:":
            total += int(values[0]) * 1024
    return total


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
    # Best effort: of a stretch for which the system lacks room some stays, and it is not counted.
    assert on_large_pages() >= moved
    assert np.array_equal(held, before)


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert use_large_pages() == 0
