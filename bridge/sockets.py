"""Whether a port can be listened on, and in words why not; for every wire alike."""

import errno
import socket

from bridge.errors import BusyError, NotReadyError


def check_port_free(kind: socket.SocketKind, host: str, port: int) -> None:
    """Refuse a port that cannot be listened on.

    Args:
        kind: `SOCK_STREAM` for TCP, `SOCK_DGRAM` for UDP.
        host: The address to listen on.
        port: The port; 0 is always free.

    Raises:
        BusyError: Another process holds the port.
        NotReadyError: The machine refuses the address or the port.
    """
    name = "TCP" if kind == socket.SOCK_STREAM else "UDP"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # Connections of an earlier server that linger do not count; a listener does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise BusyError(
                    f"{name} port {port} on {host} is in use by another process; "
                    "choose another one, or 0 for any free one"
                ) from error
            raise NotReadyError(
                f"{name} port {port} on {host} cannot be used: {error.strerror}"
            ) from error
