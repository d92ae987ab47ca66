"""The server that a command talks to: the one it names, or one of its own."""

import argparse
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bridge.app import Load, embedded_server
from bridge.config import ServerConfig, default_spool


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which server a command talks to, and how one of its own is made."""
    parser.add_argument("--server", metavar="HOST:PORT", help="one that runs; else one is started")
    parser.add_argument(
        "--spool",
        type=Path,
        metavar="DIR",
        default=default_spool(),
        help="where a started server keeps takes (%(default)s)",
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="weights; the shipped ones if not given"
    )


@contextmanager
def server_of(arguments: argparse.Namespace, load: Load | None) -> Generator[str]:
    """Yield the address of `--server`, or of a server that lives as long as the command."""
    if arguments.server is not None:
        yield arguments.server
        return
    config = ServerConfig(port=0, osc_port=None, spool=arguments.spool, model=arguments.model)
    with embedded_server(config, load) as address:
        yield address
