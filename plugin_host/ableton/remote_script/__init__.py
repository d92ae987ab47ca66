"""Live's Remote Script of Jukebox Bridge: hears the desk on a loopback port.

Live calls `update_display` about ten times a second on its main thread, where
alone its objects may be touched.
"""

import socket
from typing import Any, Final

from .edits import answer

PORT: Final = 11_002
MAX_DATAGRAM: Final = 65_536
MAX_A_TICK: Final = 8


class JukeboxBridge:
    """The control surface: one socket, looked at in every tick."""

    def __init__(self, c_instance: Any, port: int = PORT) -> None:  # noqa: ANN401
        self._live = c_instance
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", port))

    @property
    def port(self) -> int:
        """Return the port."""
        return int(self._socket.getsockname()[1])

    def update_display(self) -> None:
        """Answer what has come."""
        for _ in range(MAX_A_TICK):
            try:
                datagram, sender = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return
            told = answer(self._live.song(), self._live.show_message, datagram)
            self._socket.sendto(told, sender)

    def disconnect(self) -> None:
        """Close the socket; Live calls it."""
        self._socket.close()

    def connect_script_instances(self, instanciated_scripts: object) -> None:
        """Do nothing: Live calls it with the other scripts."""

    def can_lock_to_devices(self) -> bool:
        """Return False: there are no knobs."""
        return False

    def suggest_input_port(self) -> str:
        """Return no port: this is no MIDI device."""
        return ""

    def suggest_output_port(self) -> str:
        """Return no port: this is no MIDI device."""
        return ""

    def suggest_map_mode(self, cc_no: int, channel: int) -> int:
        """Return Live's absolute mode."""
        del cc_no, channel
        return 0

    def build_midi_map(self, midi_map_handle: object) -> None:
        """Map nothing."""

    def refresh_state(self) -> None:
        """Refresh nothing."""

    def receive_midi(self, midi_bytes: tuple[int, ...]) -> None:
        """Hear no MIDI."""


def create_instance(c_instance: Any) -> JukeboxBridge:  # noqa: ANN401
    """Return what Live talks to; Live's name for it."""
    return JukeboxBridge(c_instance)
