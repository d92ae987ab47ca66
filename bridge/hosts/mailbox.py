"""A folder through which a host's companion is asked: one command, one answer, in order.

For companions in languages without sockets. `command.txt` holds the question and
its number, `answer.txt` the answer and the same number; each is written whole and
renamed. Lines of tab-separated words, in which `%`, tab and line ends are `%XX`.
What is in the folder is data: no companion ever runs it. Knows no host.
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from bridge.audio_file import write_whole
from bridge.errors import (
    BridgeError,
    InvalidRequestError,
    JobCancelledError,
    NotFoundError,
    NotReadyError,
)

VERSION: Final = "1"
MAX_BYTES: Final = 1 << 20
POLL_SECONDS: Final = 0.02
ANSWER_SECONDS: Final = 30.0

COMMAND: Final = "command.txt"
ANSWER: Final = "answer.txt"
ACTION: Final = "action.txt"
DESK: Final = "desk.txt"

Line: TypeAlias = tuple[str, ...]

_REFUSALS: Final[dict[str, type[BridgeError]]] = {
    error.code.value: error
    for error in (InvalidRequestError, NotFoundError, NotReadyError, JobCancelledError)
}


def text_of(lines: Sequence[Sequence[str | int | float]]) -> bytes:
    """Return lines of words as the bytes of a file."""
    written = ["\t".join(_escaped(str(word)) for word in line) for line in lines]
    return "".join(f"{line}\n" for line in written).encode()


def lines_of(text: bytes) -> tuple[Line, ...]:
    """Return the lines of words of a file.

    Raises:
        InvalidRequestError: More than a mebibyte, or no UTF-8.
    """
    if len(text) > MAX_BYTES:
        raise InvalidRequestError(f"the file has {len(text)} bytes, the limit is {MAX_BYTES} bytes")
    try:
        lines = text.decode().split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the file is no UTF-8: {error.reason}") from error
    return tuple(tuple(_plain(word) for word in line.split("\t")) for line in lines)


class Mailbox:
    """The desk's end of the folder; one at a time."""

    def __init__(
        self,
        folder: Path,
        host: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open the folder, which is made if it is not there, for this user alone.

        Args:
            folder: Where command and answer lie.
            host: The host's name, for errors.
            clock: Seconds, monotone.
            sleep: Waits for so many seconds.

        Raises:
            NotReadyError: The folder cannot be made.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise NotReadyError(f"{folder} cannot be made: {error.strerror}") from error
        self.folder = folder
        self._host = host
        self._clock = clock
        self._sleep = sleep
        (folder / COMMAND).unlink(missing_ok=True)
        self._number = max(self._answered()[0], 0)

    def ask(
        self, lines: Sequence[Sequence[str | int | float]], timeout_s: float = ANSWER_SECONDS
    ) -> tuple[Line, ...]:
        """Return the companion's answer to a command.

        Raises:
            NotReadyError: No answer in time.
            BridgeError: What the companion refused.
        """
        self._number += 1
        head = ("jukebox", VERSION, self._number)
        write_whole(self.folder / COMMAND, [text_of([head, *lines])], overwrite=True)
        until = self._clock() + timeout_s
        while True:
            number, answer = self._answered()
            if number == self._number:
                return _checked(answer)
            if self._clock() >= until:
                (self.folder / COMMAND).unlink(missing_ok=True)
                raise NotReadyError(
                    f"{self._host} did not answer within {timeout_s:g} s: is it open, with a "
                    "session, no dialog in front, and the companion installed?"
                )
            self._sleep(POLL_SECONDS)

    def action(self) -> str | None:
        """Return what the musician chose in the host since the last call, or None."""
        path = self.folder / ACTION
        lines = _read(path)
        if not lines:
            return None
        path.unlink(missing_ok=True)
        return lines[0][1] if len(lines[0]) == 2 and lines[0][0] == "action" else None

    def beat(self, unix_seconds: float, osc_port: int) -> None:
        """Tell the companion's actions that somebody is here, and where OSC is heard."""
        line = ("desk", VERSION, int(unix_seconds), osc_port)
        write_whole(self.folder / DESK, [text_of([line])], overwrite=True)

    def leave(self) -> None:
        """Tell that nobody is here any more."""
        (self.folder / DESK).unlink(missing_ok=True)
        (self.folder / COMMAND).unlink(missing_ok=True)

    def _answered(self) -> tuple[int, tuple[Line, ...]]:
        """Return number and lines of the last answer; -1 if there is none."""
        lines = _read(self.folder / ANSWER)
        if not lines or len(lines[0]) != 3 or lines[0][0] != "jukebox":
            return -1, ()
        head = lines[0][2]
        return (int(head) if head.isdecimal() else -1), lines[1:]


def _read(path: Path) -> tuple[Line, ...]:
    try:
        with path.open("rb") as file:
            return lines_of(file.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return ()


def _checked(answer: tuple[Line, ...]) -> tuple[Line, ...]:
    if answer and answer[0] == ("ok",):
        return answer[1:]
    if answer and answer[0][0] == "fail" and len(answer[0]) == 3:
        _, code, text = answer[0]
        raise _REFUSALS.get(code, BridgeError)(text)
    raise BridgeError(f"the companion's answer is neither ok nor fail: {answer[:1]}")


def _escaped(word: str) -> str:
    return re.sub(r"[%\t\r\n\0]", lambda found: f"%{ord(found[0]):02X}", word)


def _plain(word: str) -> str:
    return re.sub("%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), word)
