"""Large pages under weights, on Linux: a step that reads them all looks up far fewer addresses.

Weights packed by libraries lie where those put them, so everything that the
process holds in whole large pages is moved at once. Best effort: nothing else
changes where it cannot be done.
"""

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LARGE_PAGE: Final = 2 * 2**20
_MAPS: Final = Path("/proc/self/maps")
_ADVISE_LARGE: Final = 14
"""`MADV_HUGEPAGE`: large pages are welcome here."""
_COLLAPSE: Final = 25
"""`MADV_COLLAPSE`: make them now; Linux 6.1 and later, an unknown number before."""


def use_large_pages() -> int:
    """Move what the process holds onto large pages; return how many bytes it did move.

    Takes about a second for a gigabyte. Call it after weights were loaded.
    """
    if sys.platform != "linux":
        return 0
    advise = ctypes.CDLL(None).madvise
    moved = 0
    for first, last in _private_memory():
        place = ctypes.c_void_p(first), ctypes.c_size_t(last - first)
        # Special mappings refuse, and so does a system without room: then they stay as they are.
        if advise(*place, _ADVISE_LARGE) == 0 and advise(*place, _COLLAPSE) == 0:
            moved += last - first
    return moved


def _private_memory() -> Iterator[tuple[int, int]]:
    """Yield stretches of whole large pages that belong to no file, as addresses."""
    for line in _MAPS.read_text().splitlines():
        addresses, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights != "rw-p" or (name and name != ["[heap]"]):
            continue
        first, last = (int(one, 16) for one in addresses.split("-"))
        first, last = -(-first // LARGE_PAGE) * LARGE_PAGE, last // LARGE_PAGE * LARGE_PAGE
        if first < last:
            yield first, last
