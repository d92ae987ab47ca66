"""`jukebox-bridge midi`: which ports there are, what comes through them, and learning pads."""

import argparse
import queue
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from bridge.commands.configured import add_setting_flags, config_of
from bridge.commands.console import note, say
from bridge.config import ServerConfig
from bridge.errors import DeadlineError, InvalidRequestError
from bridge.midi.clock import QUIRKS, Clock, hear
from bridge.midi.map_file import learn, learned, read_map
from bridge.midi.message import TRANSPORT, Kind, MidiMessage, parse, words
from bridge.midi.ports import OpenPort, input_names, open_input
from bridge.midi.rows import DOES, Command

SETTINGS: Final = ("midi_inputs", "midi_map", "midi_quirk")
LEARN_SECONDS: Final = 30.0
MAX_SECONDS: Final = 24 * 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `midi` takes."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("ports", help="list the inputs that --midi-in may name")
    monitor = verbs.add_parser("monitor", help="show what comes in, and the tempo once a beat")
    teach = verbs.add_parser("learn", help="let the next pad or controller do a command")
    teach.add_argument(
        "does", choices=list(Command), metavar="COMMAND", help=f"one of: {', '.join(Command)}"
    )
    teach.add_argument("--preset", default="", help="for continue: the preset it takes")
    teach.add_argument("--any-channel", action="store_true", help="hear it on every channel")
    for verb, seconds, does in (
        (monitor, MAX_SECONDS, "stop after so long"),
        (teach, LEARN_SECONDS, "give up after so long (%(default)g)"),
    ):
        verb.add_argument("--seconds", type=float, default=seconds, help=does)
        add_setting_flags(verb, SETTINGS)


def run(arguments: argparse.Namespace, open_port: OpenPort = open_input) -> int:
    """List, show or learn; return 0.

    Raises:
        BridgeError: No port is named so, the map is wrong, or nothing was pressed in time.
    """
    if arguments.verb == "ports":
        names = input_names()
        say("\n".join(names) if names else "no MIDI input is there")
        return 0
    config = config_of(arguments)
    if not 0 < arguments.seconds <= MAX_SECONDS:
        raise InvalidRequestError(
            f"--seconds is {arguments.seconds:g}, allowed are more than 0 to {MAX_SECONDS:g} s"
        )
    if not config.midi_inputs:
        raise InvalidRequestError("name a port with --midi-in; `midi ports` lists them")
    incoming = _Incoming(config.midi_inputs, arguments.seconds, open_port)
    if arguments.verb == "monitor":
        return _monitor(incoming, Clock(quirk=QUIRKS[config.midi_quirk]))
    return _learn(incoming, arguments, config)


@dataclass(frozen=True, slots=True)
class _Incoming:
    """Ports that are listened to for a while."""

    specs: tuple[str, ...]
    seconds: float
    open_port: OpenPort

    def messages(self) -> Generator[tuple[MidiMessage, float]]:
        """Yield messages and when they came, until the time is over."""
        came: queue.SimpleQueue[tuple[bytes, float]] = queue.SimpleQueue()

        def take(data: bytes, at_seconds: float) -> None:
            came.put((data, at_seconds))

        ports = [self.open_port(spec, take) for spec in self.specs]
        note(f"listening to {', '.join(port.name for port in ports)}")
        try:
            yield from _until(time.monotonic() + self.seconds, came)
        finally:
            for port in ports:
                port.close()


def _until(
    end: float, came: "queue.SimpleQueue[tuple[bytes, float]]"
) -> Generator[tuple[MidiMessage, float]]:
    while (left := end - time.monotonic()) > 0:
        try:
            data, at = came.get(timeout=left)
        except queue.Empty:
            return
        message = parse(data)
        if message is not None:
            yield message, at


def _monitor(incoming: _Incoming, clock: Clock) -> int:
    with closing(incoming.messages()) as messages:
        for message, at in messages:
            clock = hear(clock, message, at)
            if message.kind is not Kind.CLOCK:
                say(words(message))
            elif clock.count % 24 == 1 and clock.tempo_bpm is not None:
                say(_tempo_words(clock, at))
    return 0


def _tempo_words(clock: Clock, at: float) -> str:
    beat = clock.beat_at(at)
    where = "" if beat is None else f", beat {float(beat):.2f}"
    return f"clock {float(clock.tempo_bpm or 0):.2f} bpm{where}"


def _learn(incoming: _Incoming, arguments: argparse.Namespace, config: ServerConfig) -> int:
    command, file = Command(arguments.does), config.midi_map
    if file.exists():
        read_map(file)
    note(f"press what shall do {command!s}: {DOES[command]}")
    with closing(incoming.messages()) as messages:
        for message, _ in messages:
            row = learned(
                message, command, any_channel=arguments.any_channel, preset=arguments.preset
            )
            if row is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                learn(file, row)
                say(f"{words(message)} does {command} from the next start on; written to {file}")
                return 0
            if message.kind not in TRANSPORT:
                note(f"{words(message)} cannot do {command}")
    raise DeadlineError(f"nothing that can do {command} came in {incoming.seconds:g} s")
