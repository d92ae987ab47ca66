"""A little of the disk held back, so that where it is full something can still be deleted.

Deleting a row of SQLite writes to its log first, which a full disk refuses.
Knows neither takes nor the database.
"""

import logging
import os
from pathlib import Path
from typing import Final

from bridge.database import storage_errors
from bridge.errors import StorageError

log = logging.getLogger(__name__)

RESERVE_BYTES: Final = 256 * 1024
"""Several times what the log of one deletion takes."""


class Reserve:
    """A file that stands for room."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def hold(self) -> bool:
        """Return whether the room is held now; what lacks is told in the log."""
        if self._path.exists():
            return True
        try:
            with storage_errors("hold room back for deleting takes"):
                # Noise, for a file system may keep zeros without any room.
                self._path.write_bytes(os.urandom(RESERVE_BYTES))
        except StorageError as error:
            log.warning("%s", error)
            self.release()
            return False
        return True

    def release(self) -> None:
        """Give the room back to the disk."""
        self._path.unlink(missing_ok=True)
