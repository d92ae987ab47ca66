"""Who may come in, and how much one caller may take: tokens, TLS files, limits.

A server that other machines can reach needs a certificate and tokens, else it
does not start. Values and checks only; knows no wire and no framework.
"""

import hashlib
import hmac
import ipaddress
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from bridge.errors import AccessError, InvalidRequestError, NotReadyError
from bridge.settings import OrOff, PathTo, Setting, Whole

LOCAL: Final = "local"
"""The caller's name where no tokens are asked for."""
UNIX: Final = "unix:"
"""What the address of a unix socket begins with."""
MIN_TOKEN_CHARACTERS: Final = 32
MAX_TOKENS: Final = 1_000
MAX_NAME_CHARACTERS: Final = 64
SCHEME: Final = "Bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How a server is locked; what a field is for stands in its `Setting`.

    Raises:
        InvalidRequestError: A certificate without its key, or a limit below 1.
    """

    token_file: Annotated[
        Path | None,
        Setting(
            "security.token_file",
            OrOff(PathTo("file")),
            "lines of a name and a token, mode 0600; with it every call must bring a token",
            "--token-file",
        ),
    ] = None
    certificate: Annotated[
        Path | None,
        Setting(
            "security.certificate",
            OrOff(PathTo("file")),
            "PEM chain of the server; turns TLS on",
            "--tls-cert",
        ),
    ] = None
    private_key: Annotated[
        Path | None,
        Setting(
            "security.private_key",
            OrOff(PathTo("file")),
            "PEM key of the certificate, mode 0600",
            "--tls-key",
        ),
    ] = None
    client_ca: Annotated[
        Path | None,
        Setting(
            "security.client_ca",
            OrOff(PathTo("file")),
            "PEM authority that must have signed every client's certificate",
            "--tls-client-ca",
        ),
    ] = None
    audit_file: Annotated[
        Path | None,
        Setting(
            "security.audit_file",
            OrOff(PathTo("file")),
            "one JSON line a remote call; off: they go to the log",
            "--audit-file",
        ),
    ] = None
    max_calls: Annotated[
        int,
        Setting(
            "security.max_calls",
            Whole(1, 65_536, "calls"),
            "calls that one token may have open at once",
            "--max-calls-per-token",
        ),
    ] = 128
    max_upload_bytes: Annotated[
        int,
        Setting(
            "security.max_upload_bytes",
            Whole(1, 2**40, "bytes"),
            "audio that one token may have under way in all its calls",
        ),
    ] = 1024 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse half a lock."""
        if (self.certificate is None) != (self.private_key is None):
            raise InvalidRequestError(
                f"TLS needs a certificate and its private key, given are {self.certificate} "
                f"and {self.private_key}"
            )
        if self.client_ca is not None and self.certificate is None:
            raise InvalidRequestError(
                f"the client authority {self.client_ca} means nothing without TLS: "
                "give a certificate and its private key"
            )
        for name in ("max_calls", "max_upload_bytes"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(f"{name} is {getattr(self, name)}, at least 1 is needed")

    def check_bind(self, host: str) -> None:
        """Refuse an address that other machines can reach, unless TLS and tokens are on.

        Raises:
            InvalidRequestError: What is missing, by name.
        """
        if is_local(host):
            return
        needed = {"a certificate (TLS)": self.certificate, "a token file": self.token_file}
        missing = [name for name, given in needed.items() if given is None]
        if missing:
            raise InvalidRequestError(
                f"other machines can reach the host {host!r}: it needs {' and '.join(missing)}; "
                "127.0.0.1, ::1, localhost and unix:PATH need neither"
            )


def is_local(host: str) -> bool:
    """Return whether only this machine can reach an address: loopback, or a unix socket."""
    if host == "localhost" or host.startswith(UNIX):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Keyring:
    """Names of callers and the digests of their tokens; the tokens themselves are not kept."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._digests = {name: _digest(token) for name, token in tokens.items()}

    def __len__(self) -> int:
        return len(self._digests)

    def caller(self, authorization: str | None) -> str:
        """Return the name that belongs to an `authorization` header, in constant time.

        Every digest is compared, whichever fits: how long it takes tells nothing.

        Raises:
            AccessError: No header, another scheme, or a token that nobody has.
        """
        if authorization is None or not authorization.startswith(SCHEME):
            raise AccessError(f"this server wants the header `authorization: {SCHEME}TOKEN`")
        given = _digest(authorization.removeprefix(SCHEME))
        found = ""
        for name, digest in self._digests.items():
            if hmac.compare_digest(digest, given):
                found = name
        if not found:
            raise AccessError("the token is not one of this server's")
        return found


def read_keyring(path: Path) -> Keyring:
    """Return the tokens of a file: a name and a token on each line, `#` begins a remark.

    Raises:
        NotReadyError: The file cannot be read, or others than its owner could read it.
        InvalidRequestError: A line that is none, a short token, or a name or token given twice.
    """
    tokens: dict[str, str] = {}
    for number, line in enumerate(read_secret(path).decode("utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            name, token = _entry(path, number, words)
            if name in tokens or token in tokens.values():
                raise InvalidRequestError(f"{path}:{number}: the name or the token is given twice")
            tokens[name] = token
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise InvalidRequestError(
            f"{path} holds {len(tokens)} tokens, allowed are 1 to {MAX_TOKENS}"
        )
    return Keyring(tokens)


def read_token(path: Path) -> str:
    """Return a client's own token: alone in its file, or after the name that the server knows.

    Raises:
        NotReadyError: The file cannot be read, or others than its owner could read it.
        InvalidRequestError: It holds no token, or more than one.
    """
    lines = read_secret(path).decode("utf-8", "replace").splitlines()
    told = [words for line in lines if (words := line.partition("#")[0].split())]
    if len(told) != 1 or len(told[0]) > 2:
        raise InvalidRequestError(
            f"{path} holds {len(told)} lines, a client's file holds 1: a token, or a name and it"
        )
    return told[0][-1]


def read_secret(path: Path) -> bytes:
    """Return the content of a file that only its owner can read.

    Raises:
        NotReadyError: It cannot be read, is no file, or has wider permissions.
    """
    try:
        with path.open("rb") as file:
            _check_private(path, os.fstat(file.fileno()))
            return file.read()
    except OSError as error:
        raise NotReadyError(f"the file {path} cannot be read: {error.strerror}") from error


def read_public(path: Path) -> bytes:
    """Return the content of a file that anybody may read, such as a certificate.

    Raises:
        NotReadyError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotReadyError(f"the file {path} cannot be read: {error.strerror}") from error


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotReadyError(f"{path} is no ordinary file")
    if os.name != "posix":
        return  # permissions are lists there, which `st_mode` does not tell
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise NotReadyError(f"{path} has mode {mode:04o}, at most 0600 is allowed: chmod 600 it")
    if status.st_uid not in (0, os.geteuid()):
        raise NotReadyError(
            f"{path} belongs to user {status.st_uid}, it must belong to user {os.geteuid()}"
        )


def _entry(path: Path, number: int, words: list[str]) -> tuple[str, str]:
    if len(words) != 2:
        raise InvalidRequestError(f"{path}:{number}: {len(words)} words, a name and a token are 2")
    name, token = words
    if len(name) > MAX_NAME_CHARACTERS or name == LOCAL:
        raise InvalidRequestError(
            f"{path}:{number}: the name has {len(name)} characters, allowed are 1 to "
            f"{MAX_NAME_CHARACTERS}, and not {LOCAL!r}"
        )
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise InvalidRequestError(
            f"{path}:{number}: the token has {len(token)} characters, "
            f"at least {MIN_TOKEN_CHARACTERS} are needed"
        )
    return name, token


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
