"""`jukebox-bridge serve`: one process, gRPC and OSC, until SIGINT or SIGTERM."""

import argparse
import asyncio
import signal
from pathlib import Path

from bridge.app import App, Load, running
from bridge.commands.console import note, say
from bridge.config import (
    DEFAULT_HOST,
    DEFAULT_OSC_PORT,
    DEFAULT_PORT,
    ServerConfig,
    default_spool,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `serve` takes."""
    parser.add_argument("--host", default=DEFAULT_HOST, help="loopback address (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="TCP port of gRPC, 0 for any (%(default)s)"
    )
    parser.add_argument(
        "--osc-port",
        type=int,
        default=DEFAULT_OSC_PORT,
        help="UDP port of OSC, 0 for any (%(default)s)",
    )
    parser.add_argument(
        "--spool",
        type=Path,
        metavar="DIR",
        default=default_spool(),
        help="folder of results (%(default)s)",
    )
    parser.add_argument(
        "--allow-path",
        type=Path,
        metavar="DIR",
        action="append",
        default=[],
        help="a folder that OSC clients may name files in, besides the spool; repeatable",
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="weights; the shipped ones if not given"
    )


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Serve until a signal comes; return 0 after a clean stop.

    Raises:
        BridgeError: A port in use, a remote host, a spool that cannot be written, no model.
    """
    config = ServerConfig(
        host=arguments.host,
        port=arguments.port,
        osc_port=arguments.osc_port,
        spool=arguments.spool,
        allowed=tuple(arguments.allow_path),
        model=arguments.model,
    )
    asyncio.run(_serve(config, load))
    return 0


async def _serve(config: ServerConfig, load: Load | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    try:
        async with running(config, load) as app:
            say(f"listening: gRPC {app.address}, OSC {config.host}:{app.osc_port}")
            await _until(stopped, app)
            note("stopping: running requests may end first")
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def _until(stopped: asyncio.Event, app: App) -> None:
    stop = asyncio.create_task(stopped.wait())
    serve = asyncio.create_task(app.serve())
    await asyncio.wait({stop, serve}, return_when=asyncio.FIRST_COMPLETED)
    if serve.done():
        await serve
        say(f"ready: model {app.engine().info.name}")
        await stop
    serve.cancel()
