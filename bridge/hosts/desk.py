"""The desk beside a host: hears what the musician chooses and has it done, one thing at a time."""

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from bridge.errors import BridgeError, JobCancelledError
from bridge.hosts.actions import ActionSocket
from bridge.hosts.conductor import Conductor, Placed
from bridge.hosts.contract import Host

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.1
BEAT_SECONDS: Final = 2.0


class Door(Protocol):
    """Where a companion without OSC leaves actions, and sees that the desk is there."""

    def action(self) -> str | None:
        """Return what was chosen since the last call, or None."""
        ...

    def beat(self, unix_seconds: float, osc_port: int) -> None:
        """Show life, and where OSC is heard."""
        ...

    def leave(self) -> None:
        """Show that nobody is here any more."""
        ...


class Desk:
    """Does what the musician chooses, until it is told to end."""

    def __init__(
        self,
        conductor: Conductor,
        host: Host,
        actions: ActionSocket,
        door: Door | None = None,
        *,
        on_accept: Callable[[Placed], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            conductor: Does continue, retry and accept.
            host: Shows what went wrong.
            actions: Where OSC is heard.
            door: The companion's, if it has one.
            on_accept: Hears of an accepted continuation.
        """
        self._conductor = conductor
        self._host = host
        self._actions = actions
        self._door = door
        self._on_accept = on_accept
        self._beat_due = 0.0

    def run(self, is_over: Callable[[], bool], on_done: Callable[[str, str], None]) -> None:
        """Hear and do until it is over; `on_done` is told each action and how it went."""
        try:
            while not is_over():
                self._show_life()
                action = self._next()
                if action is not None:
                    on_done(action, self.do(action))
        finally:
            if self._door is not None:
                self._door.leave()

    def do(self, action: str) -> str:
        """Return how an action went, in a sentence; the host shows it if it failed."""
        try:
            return self._done(action)
        except JobCancelledError as error:
            return f"cancelled: {error}"
        except BridgeError as error:
            self._tell(f"{action}: {error}")
            return f"failed: {error}"

    def _done(self, action: str) -> str:
        if action == "continue":
            return _told(self._conductor.continue_selection(self._is_cancelled))
        if action == "retry":
            return _told(self._conductor.retry(self._is_cancelled))
        if action == "accept":
            placed = self._conductor.accept()
            if self._on_accept is not None:
                self._on_accept(placed)
            return f"kept {placed.name}, seed {placed.seed}"
        return "nothing runs that could be cancelled"

    def _is_cancelled(self) -> bool:
        """Return whether a cancel has come; asked while a continuation is made."""
        self._show_life()
        return self._actions.take_cancel() or (
            self._door is not None and self._door.action() == "cancel"
        )

    def _next(self) -> str | None:
        try:
            action = self._actions.next(TICK_SECONDS)
        except BridgeError as error:
            log.warning("a packet was refused: %s", error)
            return None
        if action is None and self._door is not None:
            action = self._door.action()
        return action

    def _show_life(self) -> None:
        now = time.time()
        if self._door is not None and now >= self._beat_due:
            self._beat_due = now + BEAT_SECONDS
            self._door.beat(now, self._actions.port)

    def _tell(self, text: str) -> None:
        try:
            self._host.tell(text)
        except BridgeError as error:
            log.warning("%s cannot show %r: %s", self._host.name, text, error)


def _told(placed: Placed) -> str:
    return (
        f"{placed.name}: {placed.num_samples} samples on {placed.track!r} from sample "
        f"{placed.start_sample} on, seed {placed.seed}"
    )
