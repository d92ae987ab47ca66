"""What each caller has under way, what it may have, and the record of what was done.

Knows names and counts, no wire: a gate says who calls, a service counts here.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bridge.errors import BusyError, NotReadyError

audit_log = logging.getLogger("bridge.audit")

RETRY_SECONDS = 1.0
"""When a caller at its limit may try again; how long its own calls last it knows better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLimits:
    """What one caller may have under way, and all together."""

    max_calls: int
    max_upload_bytes: int
    max_total_upload_bytes: int


class Callers:
    """Counts calls and bytes by the caller's name."""

    def __init__(self, limits: CallerLimits) -> None:
        self._limits = limits
        self._calls: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def calling(self, caller: str) -> Generator[None]:
        """Count a call while it lasts.

        Raises:
            BusyError: The caller has as many open as it may.
        """
        if self._calls[caller] >= self._limits.max_calls:
            raise BusyError(
                f"{caller} has {self._calls[caller]} calls open, "
                f"the limit is {self._limits.max_calls} calls",
                retry_after_s=RETRY_SECONDS,
            )
        with _counted(self._calls, caller, 1):
            yield

    @contextmanager
    def uploading(self, caller: str, num_bytes: int) -> Generator[None]:
        """Count the audio that a call holds while it comes in.

        Raises:
            BusyError: More than the caller, or all callers together, may have under way.
        """
        limits = self._limits
        _check_bytes(f"of {caller}", self._bytes[caller] + num_bytes, limits.max_upload_bytes)
        total = sum(self._bytes.values()) + num_bytes
        _check_bytes("of all calls together", total, limits.max_total_upload_bytes)
        with _counted(self._bytes, caller, num_bytes):
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One call: who, what, which request, and how it ended; neither lyrics nor audio."""

    caller: str
    peer: str
    verb: str
    request_id: str
    outcome: str
    seconds: float


class AuditLog:
    """Appends one line for each call to a file that only its owner reads, and to the log."""

    def __init__(self, path: Path | None, now: Callable[[], str]) -> None:
        """Open the file.

        Args:
            path: The file; None for the log alone.
            now: Returns the time of day, as ISO 8601.

        Raises:
            NotReadyError: The file cannot be opened.
        """
        self._now = now
        self._file: int | None = None
        if path is not None:
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            except OSError as error:
                raise NotReadyError(
                    f"the audit file {path} cannot be written: {error.strerror}"
                ) from error

    def write(self, entry: AuditEntry) -> None:
        """Append a call."""
        line = json.dumps({"at": self._now()} | asdict(entry), sort_keys=True)
        audit_log.info("%s", line)
        if self._file is not None:
            # One write each: lines of two servers on one file do not mix.
            os.write(self._file, f"{line}\n".encode())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def _counted(counts: Counter[str], name: str, by: int) -> Generator[None]:
    counts[name] += by
    try:
        yield
    finally:
        counts[name] -= by
        if not counts[name]:
            del counts[name]


def _check_bytes(whose: str, num_bytes: int, limit: int) -> None:
    if num_bytes > limit:
        raise BusyError(
            f"{num_bytes} bytes of audio {whose} would be under way, the limit is {limit} bytes",
            retry_after_s=RETRY_SECONDS,
        )
