"""Audio blocks in memory that two processes share, one way each.

Knows neither plugins nor who is on the other side.
"""

from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from plugin_host.loader import Samples

BYTES_PER_SAMPLE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the memory is used: a block to the plugins, a block back, and who is at work.

    Attributes:
        name: Of the shared memory.
        num_channels: Of both blocks.
        max_samples: The longest block.
    """

    name: str
    num_channels: int
    max_samples: int

    @property
    def num_bytes(self) -> int:
        """Return the size of the memory."""
        return 2 * self.num_channels * self.max_samples * BYTES_PER_SAMPLE + BYTES_PER_SAMPLE


class SharedAudio:
    """The memory as arrays."""

    def __init__(self, layout: Layout, *, create: bool) -> None:
        """Make the memory, or open what the other side made.

        Args:
            layout: How it is used; when it is made its name is taken.
            create: Whether it is made here.
        """
        # The side that made it forgets it: the tracker of a process that dies would warn.
        self._memory = SharedMemory(layout.name, create=create, size=layout.num_bytes)
        count = layout.num_channels * layout.max_samples
        shape = layout.num_channels, layout.max_samples
        buffer = self._memory.buf
        self._given = np.ndarray((count,), np.float32, buffer).reshape(shape)
        self._made = np.ndarray((count,), np.float32, buffer, 4 * count).reshape(shape)
        self._position = np.ndarray((1,), np.int32, buffer, 8 * count)

    @property
    def working_position(self) -> int:
        """Return the place in the chain of the plugin that works; -1 if none does."""
        return int(self._position[0])

    @working_position.setter
    def working_position(self, position: int) -> None:
        self._position[0] = position

    def give(self, samples: Samples) -> None:
        """Write a block for the plugins."""
        self._given[:, : samples.shape[1]] = samples

    def given(self, num_samples: int) -> Samples:
        """Return a copy of the block for the plugins."""
        return self._given[:, :num_samples].copy()

    def make(self, samples: Samples) -> None:
        """Write what the plugins made."""
        self._made[:, : samples.shape[1]] = samples

    def made(self, num_samples: int) -> Samples:
        """Return a copy of what the plugins made."""
        return self._made[:, :num_samples].copy()

    def close(self, *, forget: bool) -> None:
        """Leave the memory; the side that made it also frees it."""
        # The arrays hold the buffer.
        del self._given, self._made, self._position
        self._memory.close()
        if forget:
            self._memory.unlink()
