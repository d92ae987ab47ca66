"""The server that a command talks to: the one it names, or one of its own."""

import argparse
from collections.abc import Generator
from contextlib import contextmanager

from bridge.app import Load, embedded_server
from bridge.config import ServerConfig


@contextmanager
def server_of(arguments: argparse.Namespace, load: Load | None) -> Generator[str]:
    """Yield the address of `--server`, or of a server that lives as long as the command."""
    if arguments.server is not None:
        yield arguments.server
        return
    config = ServerConfig(port=0, osc_port=None, spool=arguments.spool, model=arguments.model)
    with embedded_server(config, load) as address:
        yield address
