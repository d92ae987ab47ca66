"""What the musician chose, from any OSC sender of this machine: a pad, a script, an action.

`/jukebox/host/continue`, `retry`, `accept`, `cancel`, without arguments. Knows no host.
"""

import select
import socket
from typing import Final, Self

from bridge.errors import InvalidRequestError, NotReadyError
from bridge.osc.packet import decode

ADDRESS: Final = "/jukebox/host/"
ACTIONS: Final = ("continue", "retry", "accept", "cancel")
LOCALHOST: Final = "127.0.0.1"
MAX_DATAGRAM: Final = 65_536


class ActionSocket:
    """A UDP port on the loopback address."""

    def __init__(self, port: int = 0) -> None:
        """Open the port; 0 is any free one.

        Raises:
            NotReadyError: The port is taken.
        """
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._waiting: list[str] = []
        try:
            self._socket.bind((LOCALHOST, port))
        except OSError as error:
            self._socket.close()
            raise NotReadyError(f"port {port} cannot be opened: {error.strerror}") from error

    @property
    def port(self) -> int:
        """Return the port."""
        return int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self, timeout_s: float) -> str | None:
        """Return the next action, or None if there is none in time.

        Raises:
            InvalidRequestError: A packet that is none of ours.
        """
        if not self._waiting and select.select([self._socket], [], [], timeout_s)[0]:
            self._receive()
        return self._waiting.pop(0) if self._waiting else None

    def take_cancel(self) -> bool:
        """Return whether a cancel has come; what came before it is dropped with it."""
        while select.select([self._socket], [], [], 0)[0]:
            self._receive()
        if "cancel" not in self._waiting:
            return False
        self._waiting = self._waiting[self._waiting.index("cancel") + 1 :]
        return True

    def _receive(self) -> None:
        for message in decode(self._socket.recv(MAX_DATAGRAM)):
            verb = message.address.removeprefix(ADDRESS)
            if verb == message.address or verb not in ACTIONS:
                raise InvalidRequestError(
                    f"{message.address} is no action: {ADDRESS} with {', '.join(ACTIONS)} is"
                )
            self._waiting.append(verb)
