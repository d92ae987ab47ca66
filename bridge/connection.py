"""A client's way to a server: plain, over TLS or a unix socket, with a token or without.

Knows no verb.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from bridge.errors import BridgeError, ErrorCode, InvalidRequestError, StoppingError
from bridge.grpc_errors import error_of
from bridge.security import SCHEME, is_local, read_public, read_secret

CHANNEL_OPTIONS: Final = (
    # A proxy of the environment has no business between a client and its own machine.
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a client shows who it is, and knows who answers.

    Attributes:
        token: Brought with every call; over TLS, or to this machine, only.
        tls: Whether to speak TLS; the authorities that this system trusts count then.
        ca_file: The one authority that counts instead, PEM; turns TLS on.
        certificate: The client's own certificate chain, PEM, where the server asks for one.
        private_key: Its key, PEM.
        name: What the program calls itself, so that all its connections count as one.

    Raises:
        InvalidRequestError: A certificate without its key, or a key without its certificate; or
            either without TLS.
    """

    token: str = ""
    tls: bool = False
    ca_file: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse half of a certificate, and one that would not be shown."""
        if (self.certificate is None) is not (self.private_key is None):
            raise InvalidRequestError("a certificate and its private key are given together")
        if self.certificate is not None and not self.secure:
            raise InvalidRequestError("a certificate of one's own is shown over TLS alone")

    @property
    def secure(self) -> bool:
        """Return whether TLS is spoken."""
        return self.tls or self.ca_file is not None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what goes with every call."""
        token = (("authorization", f"{SCHEME}{self.token}"),) if self.token else ()
        name = (("jukebox-client", self.name),) if self.name else ()
        return token + name


def open_channel(address: str, access: Access) -> grpc.Channel:
    """Return a channel; it connects when the first call is made.

    Raises:
        InvalidRequestError: A token would go over the network in the clear.
        NotReadyError: A file of keys cannot be used.
    """
    if not access.secure:
        if access.token and not is_local(_host_of(address)):
            raise InvalidRequestError(
                f"the token would go to {address} in the clear: turn TLS on, or give the "
                "authority of the server's certificate, which turns it on"
            )
        return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
    tls = grpc.ssl_channel_credentials(
        # None is what this system trusts.
        root_certificates=None if access.ca_file is None else read_public(access.ca_file),
        private_key=None if access.private_key is None else read_secret(access.private_key),
        certificate_chain=None if access.certificate is None else read_public(access.certificate),
    )
    return grpc.secure_channel(address, tls, options=CHANNEL_OPTIONS)


@contextmanager
def errors_of(address: str) -> Generator[None]:
    """Raise what a server refuses as the error that it was there."""
    try:
        yield
    except grpc.RpcError as error:
        raise _error_of(error, address) from error


def _host_of(address: str) -> str:
    return address if address.startswith("unix:") else address.rpartition(":")[0].strip("[]")


def _error_of(error: Any, address: str) -> BridgeError:  # noqa: ANN401 - grpc types its calls so
    code, details = error.code(), error.details() or "no reason given"
    if code.name == ErrorCode.UNAVAILABLE:
        return StoppingError(
            f"the server at {address} did not answer or went away ({details}): "
            "is `jukebox-bridge serve` running there?"
        )
    if code.name in ErrorCode.__members__ and code.name != ErrorCode.INTERNAL:
        return error_of(ErrorCode[code.name], details, error.trailing_metadata() or ())
    return BridgeError(f"the server at {address} failed: {details} ({code.name})")
