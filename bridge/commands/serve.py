"""`jukebox-bridge serve`: one process, every wire, until SIGINT or SIGTERM."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from bridge import logs
from bridge.app import App, Load, running
from bridge.audio_file import write_whole
from bridge.commands.checks import start_findings
from bridge.commands.configured import add_setting_flags, config_file_of, config_of
from bridge.commands.console import note, say
from bridge.commands.findings import Verdict, as_json, as_text, exit_code, finding
from bridge.config import ServerConfig, default_config_file
from bridge.config_file import example
from bridge.errors import InvalidRequestError, NotReadyError
from bridge.sockets import target_of

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `serve` takes."""
    add_setting_flags(parser)
    does = parser.add_mutually_exclusive_group()
    does.add_argument(
        "--check", action="store_true", help="look at all that a start needs, and start nothing"
    )
    does.add_argument(
        "--write-config",
        action="store_true",
        help="write a commented example where the configuration is read from, and start nothing",
    )
    parser.add_argument("--json", action="store_true", help="with --check: report as JSON")


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Serve until a signal comes; return 0 after a clean stop.

    Raises:
        BridgeError: The configuration, a port in use, a spool that cannot be written, no model.
    """
    if arguments.write_config:
        return _write_example(arguments.config or default_config_file())
    config = config_of(arguments)
    if arguments.check:
        return _check(config, config_file_of(arguments), as_objects=arguments.json)
    level = "info" if arguments.verbose else config.log_level
    logs.set_up(sys.stderr, level, config.log_format)
    asyncio.run(_serve(config, load))
    return 0


def _write_example(file: Path) -> int:
    if file.exists():
        raise InvalidRequestError(f"{file} is there already and stays as it is; name another one")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotReadyError(f"{file.parent} cannot be made: {error.strerror}") from error
    write_whole(file, (example().encode(),))
    say(f"{file} written: every setting is there, commented out, with its default")
    return 0


def _check(config: ServerConfig, file: Path | None, *, as_objects: bool) -> int:
    findings = (
        finding("configuration", str(file or "defaults and flags")),
        *start_findings(config, blocked=Verdict.FAIL),
    )
    say(as_json(findings) if as_objects else as_text(findings))
    return exit_code(findings)


async def _serve(config: ServerConfig, load: Load | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    try:
        async with running(config, load) as app:
            say(f"listening: {listening(app, config)}")
            await _until(stopped, app)
            note("stopping: running requests may end first")
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def listening(app: App, config: ServerConfig) -> str:
    """Return in one line where a server can be reached."""
    places = [f"gRPC {app.address}"]
    places += [f"{name} {config.local_host()}:{port}" for name, port in app.osc_ports.named()]
    if app.http_port is not None:
        places.append(f"HTTP {target_of(config.local_host(), app.http_port)}")
    if app.plugin_port is not None:
        places.append(f"plugin {target_of(config.local_host(), app.plugin_port)}")
    if config.midi_inputs:
        places.append(f"MIDI {', '.join(config.midi_inputs)}")
    return ", ".join(places)


async def _until(stopped: asyncio.Event, app: App) -> None:
    stop = asyncio.create_task(stopped.wait())
    serve = asyncio.create_task(app.serve())
    await asyncio.wait({stop, serve}, return_when=asyncio.FIRST_COMPLETED)
    if serve.done():
        await serve
        say(f"ready: model {', '.join(info.name for info in app.engine().infos)}")
        await stop
    serve.cancel()
