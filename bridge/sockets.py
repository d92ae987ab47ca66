"""Whether a port or a unix socket can be listened on, in words why not; for every wire alike."""

import errno
import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import BusyError, NotReadyError
from bridge.security import UNIX

MAX_UNIX_PATH_BYTES = 107
"""Of `sockaddr_un` on Linux, without its closing zero."""


def target_of(host: str, port: int) -> str:
    """Return the address that a gRPC client connects to."""
    if host.startswith(UNIX):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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


def unix_path(host: str) -> Path:
    """Return the path of `unix:PATH`.

    Raises:
        NotReadyError: The path is longer than a socket's may be.
    """
    path = Path(host.removeprefix(UNIX))
    size = len(os.fsencode(path))
    if size > MAX_UNIX_PATH_BYTES:
        raise NotReadyError(
            f"the socket {path} has a path of {size} bytes, the limit is "
            f"{MAX_UNIX_PATH_BYTES} bytes"
        )
    return path


def clear_unix_path(path: Path) -> None:
    """Remove the socket of a server that died.

    Raises:
        BusyError: A server listens there.
        NotReadyError: Something else lies there, or the folder is missing.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        if path.parent.is_dir():
            return
        raise NotReadyError(f"the folder of the socket {path} does not exist") from None
    if not stat.S_ISSOCK(status.st_mode):
        raise NotReadyError(f"{path} is there already and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise NotReadyError(f"the socket {path} cannot be used: {error.strerror}") from error
        else:
            raise BusyError(f"a server listens on the socket {path} already")


@contextmanager
def private_files() -> Generator[None]:
    """Let files made inside be read and written by their owner alone, from their first moment."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
