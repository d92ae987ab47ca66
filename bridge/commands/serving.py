"""The server that a command talks to: the one it names, or one of its own."""

import argparse
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from bridge.app import Load, embedded_server
from bridge.client import Access, Client
from bridge.commands.configured import add_setting_flags, config_of
from bridge.config import private_config
from bridge.errors import InvalidRequestError
from bridge.security import read_token

ACCESS_FLAGS: Final = {
    "token_file": ("--token-file", "mode 0600; its token goes with every call"),
    "tls_ca": ("--tls-ca", "PEM authority that must have signed the server's certificate; TLS"),
    "tls_cert": ("--tls-cert", "PEM chain of a certificate of one's own, if the server asks"),
    "tls_key": ("--tls-key", "PEM key of that certificate, mode 0600"),
}


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which server a command talks to, and how one of its own is made."""
    add_remote_arguments(parser)
    add_setting_flags(parser, ("spool", "model"))


def add_remote_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which server a command talks to, and how it gets in."""
    group = parser.add_argument_group("a server that runs")
    group.add_argument("--server", metavar="HOST:PORT", help="or unix:PATH; else one is started")
    group.add_argument(
        "--tls", action="store_true", help="TLS, with the authorities that this system trusts"
    )
    for name, (flag, does) in ACCESS_FLAGS.items():
        group.add_argument(flag, dest=name, type=Path, metavar="FILE", help=does)


def access_of(arguments: argparse.Namespace) -> Access:
    """Return how a command gets into the server that it names.

    Raises:
        InvalidRequestError: No server is named, or half of a certificate.
        NotReadyError: The file of the token cannot be used.
    """
    given = [flag for name, (flag, _) in ACCESS_FLAGS.items() if getattr(arguments, name)]
    given += ["--tls"] if arguments.tls else []
    if given and arguments.server is None:
        raise InvalidRequestError(
            f"{', '.join(given)} is for a server that runs: name it with --server"
        )
    return Access(
        token=read_token(arguments.token_file) if arguments.token_file else "",
        tls=arguments.tls,
        ca_file=arguments.tls_ca,
        certificate=arguments.tls_cert,
        private_key=arguments.tls_key,
    )


@contextmanager
def client_of(arguments: argparse.Namespace, load: Load | None) -> Generator[Client]:
    """Yield a client of `--server`, or of a server that lives as long as the command.

    Raises:
        BridgeError: A file of tokens or keys, or the server.
    """
    access = access_of(arguments)
    with _server_of(arguments, load) as address, Client(address, access) as client:
        yield client


@contextmanager
def _server_of(arguments: argparse.Namespace, load: Load | None) -> Generator[str]:
    if arguments.server is not None:
        yield arguments.server
        return
    given = config_of(arguments)
    config = replace(
        private_config(given.spool, given.model),
        max_jobs=given.max_jobs,
        max_events=given.max_events,
    )
    with embedded_server(config, load) as address:
        yield address
