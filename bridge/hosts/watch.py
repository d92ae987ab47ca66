"""The watch folder: each new file in `in/` is continued into `out/`, once.

A file counts as complete when it reads whole and has not changed between two
looks. What was done is kept in `done.txt`, so that a restart does nothing twice.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.audio_file import write_whole
from bridge.errors import BridgeError
from bridge.hosts.conductor import Conductor, Placed
from bridge.hosts.folder import SUFFIXES, FolderHost

log = logging.getLogger(__name__)

DONE: Final = "done.txt"


@dataclass(frozen=True, slots=True, order=True)
class _Stamp:
    """One version of a file."""

    name: str
    num_bytes: int
    changed_ns: int


class Watch:
    """Looks into the folder, and has what is new continued."""

    def __init__(self, host: FolderHost, conductor: Conductor) -> None:
        self._host = host
        self._conductor = conductor
        self._ledger = host.outbox / DONE
        self._done = _read(self._ledger)
        self._seen: set[_Stamp] = set()

    def look(self) -> tuple[Placed | BridgeError, ...]:
        """Return what became of the files that were new and complete.

        A file that is refused is told in `out/<name>.txt`, and left until it changes.
        """
        now = {_stamp(path) for path in self._host.inbox.iterdir() if _is_audio(path)}
        ready = sorted((now & self._seen) - self._done)
        self._seen = now
        return tuple(self._continued(stamp) for stamp in ready)

    def _continued(self, stamp: _Stamp) -> Placed | BridgeError:
        self._host.choose(self._host.inbox / stamp.name)
        problem = self._host.outbox / f"{stamp.name}.txt"
        try:
            placed = self._conductor.continue_selection()
            problem.unlink(missing_ok=True)
            self._note(stamp)
        except BridgeError as error:
            log.warning("%s is not continued: %s", stamp.name, error)
            write_whole(problem, [f"{stamp.name}: {error}\n".encode()], overwrite=True)
            self._note(stamp)
            return error
        return placed

    def _note(self, stamp: _Stamp) -> None:
        self._done.add(stamp)
        lines = [f"{one.num_bytes}\t{one.changed_ns}\t{one.name}\n" for one in sorted(self._done)]
        write_whole(self._ledger, ["".join(lines).encode()], overwrite=True)


def watch(
    looks: Watch, wait: Callable[[], bool], on_done: Callable[[Placed | BridgeError], None]
) -> None:
    """Look again and again until `wait` returns False; `on_done` is told of each file."""
    while True:
        for result in looks.look():
            on_done(result)
        if not wait():
            return


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _stamp(path: Path) -> _Stamp:
    facts = path.stat()
    return _Stamp(path.name, facts.st_size, facts.st_mtime_ns)


def _read(path: Path) -> set[_Stamp]:
    if not path.exists():
        return set()
    rows = [line.split("\t", 2) for line in path.read_text("utf-8").splitlines()]
    return {
        _Stamp(row[2], int(row[0]), int(row[1]))
        for row in rows
        if len(row) == 3 and row[0].isdecimal() and row[1].isdecimal()
    }
