"""The server that a command talks to: the one it names, or one of its own."""

import argparse
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

from bridge.app import Load, embedded_server
from bridge.commands.configured import add_setting_flags, config_of
from bridge.config import private_config


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which server a command talks to, and how one of its own is made."""
    parser.add_argument("--server", metavar="HOST:PORT", help="one that runs; else one is started")
    add_setting_flags(parser, ("spool", "model"))


@contextmanager
def server_of(arguments: argparse.Namespace, load: Load | None) -> Generator[str]:
    """Yield the address of `--server`, or of a server that lives as long as the command."""
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
