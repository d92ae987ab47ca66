"""How a server is set up: ports, folders, bounds.

Values only, checked once; knows no framework and reads no environment. The
folders of the user's desktop come from `platformdirs` when they are asked for.
"""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from bridge.errors import InvalidRequestError, UnsupportedError

APPLICATION = "jukebox-bridge"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7171
DEFAULT_OSC_PORT = 7172
LAST_PORT = 65_535


def default_spool() -> Path:
    """Return the folder of results in the user's XDG state folder."""
    return platformdirs.user_state_path(APPLICATION) / "spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Where a server listens, where it writes, and from where it may read.

    Attributes:
        host: A loopback address or `localhost`.
        port: TCP port of gRPC; 0 takes a free one.
        osc_port: UDP port of OSC; 0 takes a free one, None serves no OSC.
        spool: Folder that results are written into.
        allowed: Further folders that OSC clients may name files in.
        model: Folder of weights; None is the model in the box.

    Raises:
        InvalidRequestError: A port outside 0 to 65535.
        UnsupportedError: A host that other machines can reach.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    osc_port: int | None = DEFAULT_OSC_PORT
    spool: Path = field(default_factory=default_spool)
    allowed: tuple[Path, ...] = ()
    model: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be served."""
        _check_port("the gRPC port", self.port)
        if self.osc_port is not None:
            _check_port("the OSC port", self.osc_port)
        if not _is_loopback(self.host):
            raise UnsupportedError(
                f"the host {self.host!r} is not a loopback address: this version serves its own "
                "machine alone (127.0.0.1, ::1, localhost), for it has neither TLS nor tokens yet"
            )

    def readable_folders(self) -> tuple[Path, ...]:
        """Return the folders, links resolved, that a wire may name files in."""
        return tuple(folder.resolve() for folder in (self.spool, *self.allowed))


def _check_port(what: str, port: int) -> None:
    if not 0 <= port <= LAST_PORT:
        raise InvalidRequestError(f"{what} is {port}, allowed are 0 to {LAST_PORT}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
