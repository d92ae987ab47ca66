"""`jukebox-bridge hosts`: install our companions, sit beside a host, or watch a folder."""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import platformdirs

from bridge.app import Load
from bridge.client import Client
from bridge.commands.console import note, say
from bridge.commands.serving import add_server_arguments, client_of
from bridge.config import APPLICATION
from bridge.errors import BridgeError, InvalidRequestError, NotReadyError
from bridge.hosts.actions import ActionSocket
from bridge.hosts.companion import CompanionHost
from bridge.hosts.conductor import Conductor, Placed, Wish
from bridge.hosts.desk import Desk
from bridge.hosts.folder import FolderHost
from bridge.hosts.install import (
    Installed,
    install_ardour,
    install_live,
    install_live_extension,
    install_reaper,
    mailbox_folder,
)
from bridge.hosts.kept import keep
from bridge.hosts.live import LiveHost
from bridge.hosts.mailbox import Mailbox
from bridge.hosts.plugin import install_plugin
from bridge.hosts.watch import Watch, watch
from bridge.ports import Quality
from bridge.transport import parse_meter

LOOK_SECONDS: Final = 1.0
DEFAULT_OSC_PORT: Final = 7174
PLUGIN: Final = "plugin"
LIVE_EXTENSION: Final = "live-extension"
HOSTS: Final = ("ardour", "reaper", "live", LIVE_EXTENSION)
_FOLDERS: Final = {
    "ardour": Path("~/.config/ardour7"),
    "reaper": Path("~/.config/REAPER"),
    "live": Path("~/Music/Ableton/User Library"),
    LIVE_EXTENSION: Path("jukebox-bridge-extension"),
    PLUGIN: Path("~"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `hosts` takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    installed = actions.add_parser("install", help="put our companion, or the plugin, in its place")
    installed.add_argument("host", choices=(*HOSTS, PLUGIN))
    installed.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="the host's, or a home; else the usual",
    )
    beside = actions.add_parser("run", help="sit beside a host and do what is chosen there")
    beside.add_argument("host", choices=HOSTS)
    beside.add_argument(
        "--osc-port",
        type=int,
        default=DEFAULT_OSC_PORT,
        help="where /jukebox/host/continue, retry, accept and cancel are heard (%(default)s)",
    )
    beside.add_argument("--track", default="", help="where continuations go; else beside")
    watched = actions.add_parser("watch", help="continue each file that appears in DIR/in")
    watched.add_argument("folder", type=Path, metavar="DIR", help="holds in and out")
    watched.add_argument("--once", action="store_true", help="what is there now, then end")
    for one in (installed, beside):
        one.add_argument("--mailbox", type=Path, metavar="DIR", help="else in the state folder")
    for one in (beside, watched):
        one.add_argument("--bars", type=float, default=4.0, help="length (%(default)s)")
        one.add_argument("--tempo", type=float, metavar="BPM", help="where the host tells none")
        one.add_argument("--meter", default="4/4", help="where the host tells none (%(default)s)")
        one.add_argument("--quality", default=Quality.FAST, choices=list(Quality))
        add_server_arguments(one)


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Do what was asked; `run` and `watch` end with Ctrl-C.

    Raises:
        BridgeError: A folder, a host or the server.
    """
    if arguments.action == "install":
        return _install(arguments)
    wish = _wish_of(arguments)
    if arguments.action == "run":
        _mailbox_of(arguments)  # refuses before a server is started
    with ExitStack() as stack:
        client = stack.enter_context(client_of(arguments, load))
        if arguments.action == "watch":
            return _watch(arguments, client, wish)
        return _beside(arguments, client, wish)


def _install(arguments: argparse.Namespace) -> int:
    folder = arguments.folder or _FOLDERS[arguments.host].expanduser()
    result = _installed(arguments, folder)
    for path in result.files:
        say(str(path))
    note(result.advice)
    return 0


def _installed(arguments: argparse.Namespace, folder: Path) -> Installed:
    if arguments.host == PLUGIN:
        return install_plugin(folder, platformdirs.user_cache_path(APPLICATION) / PLUGIN)
    if arguments.host == "live":
        return install_live(folder)
    if arguments.host == LIVE_EXTENSION:
        return install_live_extension(folder)
    install = install_ardour if arguments.host == "ardour" else install_reaper
    return install(folder, _mailbox_of(arguments).absolute())


def _mailbox_of(arguments: argparse.Namespace) -> Path:
    if arguments.host == LIVE_EXTENSION and arguments.mailbox is None:
        raise InvalidRequestError(
            "Live chooses its extension's folder: take Jukebox: Continue in Live, and name the "
            "folder that the dialog tells, --mailbox DIR"
        )
    return arguments.mailbox or mailbox_folder(arguments.host)


def _wish_of(arguments: argparse.Namespace) -> Wish:
    meter = parse_meter(arguments.meter)
    return Wish(
        bars=arguments.bars,
        tempo_bpm=arguments.tempo,
        meter=(meter.numerator, meter.denominator),
        track=getattr(arguments, "track", ""),
        quality=Quality(arguments.quality),
    )


def _watch(arguments: argparse.Namespace, client: Client, wish: Wish) -> int:
    host = FolderHost(arguments.folder)
    results = host.outbox.parent / ".results"
    conductor = Conductor(host, client.render, _made(results), wish, clock=time.monotonic)
    failed: list[BridgeError] = []

    def report(result: Placed | BridgeError) -> None:
        if isinstance(result, BridgeError):
            failed.append(result)
            note(str(result))
        else:
            say(str(host.clip_path(result.name)))

    note(f"watching {host.inbox}; continuations come to {host.outbox}")
    looks = Watch(host, conductor)
    if arguments.once:
        looks.look()
    watch(looks, _wait_for(arguments.once), report)
    return 1 if failed else 0


def _wait_for(once: bool) -> Callable[[], bool]:
    def wait() -> bool:
        if not once:
            time.sleep(LOOK_SECONDS)
        return not once

    return wait


def _beside(arguments: argparse.Namespace, client: Client, wish: Wish) -> int:
    folder = _mailbox_of(arguments)
    results = _made(folder / "results")
    with ExitStack() as stack:
        actions = stack.enter_context(ActionSocket(arguments.osc_port))
        if arguments.host == "live":
            door, host = None, stack.enter_context(LiveHost())
        else:
            door = Mailbox(folder, arguments.host)
            host = CompanionHost(arguments.host, door)
        conductor = Conductor(host, client.render, results, wish, clock=time.monotonic)
        desk = Desk(conductor, host, actions, door, on_accept=lambda one: keep(client, one))
        note(f"beside {arguments.host}; OSC actions are heard on port {actions.port}")
        desk.run(lambda: False, lambda action, how: note(f"{action}: {how}"))
    return 0


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotReadyError(f"{folder} cannot be made: {error.strerror}") from error
    return folder
