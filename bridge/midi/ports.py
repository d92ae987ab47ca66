"""Ports that MIDI comes from: those of the system, files that play, and a loopback.

A port is named by a part of what `input_names` lists, by `virtual:NAME` (a new
port that other programs connect to), or by `file:PATH` (a Standard MIDI file that plays in
its own time). Every message comes with seconds of the monotonic clock. System
ports need python-rtmidi, `pip install 'jukebox-bridge[midi]'`; it serves JACK,
ALSA, CoreMIDI and WinMM. Knows no message and no engine.
"""

import importlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from bridge.errors import InvalidRequestError, NotFoundError, NotReadyError
from bridge.midi_file import read_messages

log = logging.getLogger(__name__)

CLIENT: Final = "Jukebox Bridge"
VIRTUAL: Final = "virtual:"
FILE: Final = "file:"
POLL_SECONDS: Final = 0.003
"""How often a system port's queue is emptied; its messages carry their own times."""
QUEUE_MESSAGES: Final = 16_384
MAX_AGE_SECONDS: Final = 0.25
"""A message that seems older than this has a time that cannot be trusted."""
INSTALL: Final = "system MIDI ports need python-rtmidi: pip install 'jukebox-bridge[midi]'"

Hear: TypeAlias = Callable[[bytes, float], None]
"""Takes a message's bytes and when it came; called from the port's own thread."""


class InPort(Protocol):
    """A port that is open."""

    @property
    def name(self) -> str:
        """Return what the port is called."""
        ...

    def close(self) -> None:
        """Hear nothing more; return once the last message has been taken."""
        ...


OpenPort: TypeAlias = Callable[[str, Hear], InPort]


def input_names() -> tuple[str, ...]:
    """Return the ports of the system that can be listened to, as `api: port`.

    Raises:
        NotReadyError: python-rtmidi is not installed.
    """
    return tuple(f"{api}: {port}" for api, _, _, port in _system_inputs())


def open_input(spec: str, hear: Hear) -> InPort:
    """Return an open port; its messages go to `hear`.

    Raises:
        NotFoundError: No port, or no file, is called so.
        InvalidRequestError: Several ports are, or the file is no MIDI.
        NotReadyError: python-rtmidi is not installed, or the system refuses the port.
    """
    if spec.startswith(FILE):
        return FilePort(Path(spec.removeprefix(FILE)).expanduser(), hear)
    rtmidi = _rtmidi()
    if spec.startswith(VIRTUAL):
        return _open_virtual(rtmidi, spec.removeprefix(VIRTUAL), hear)
    found = chosen(spec, input_names())
    _, api, number, port = _system_inputs()[found]
    midi_in = _midi_in(rtmidi, api)
    try:
        midi_in.open_port(number, name="in")
    except rtmidi.RtMidiError as error:
        raise NotReadyError(f"the MIDI port {port} cannot be opened: {error}") from error
    return SystemPort(midi_in, port, hear)


def check_input(spec: str) -> str:
    """Return what a name leads to, in words, without opening it.

    Raises:
        BridgeError: As of `open_input`.
    """
    if spec.startswith(FILE):
        return f"{len(read_messages(Path(spec.removeprefix(FILE)).expanduser()))} messages"
    if spec.startswith(VIRTUAL):
        _rtmidi()
        return "a port of its own"
    names = input_names()
    return names[chosen(spec, names)]


def chosen(spec: str, names: Sequence[str]) -> int:
    """Return the place of the one name that is meant: equal, or holding the words given.

    Raises:
        NotFoundError: None does.
        InvalidRequestError: Several do.
    """
    words = spec.casefold()
    folded = [name.casefold() for name in names]
    exact = [place for place, name in enumerate(folded) if words in (name, _port_of(name))]
    found = exact or [place for place, name in enumerate(folded) if words in name]
    if not found:
        listed = "; ".join(names) or "none"
        raise NotFoundError(f"no MIDI input is called {spec[:80]!r}; there are: {listed}")
    if len(found) > 1:
        listed = "; ".join(names[place] for place in found)
        raise InvalidRequestError(f"{spec[:80]!r} is the name of {len(found)} inputs: {listed}")
    return found[0]


def arrival(before: float, since: float, now: float) -> float:
    """Return when a message came, from the message before, the seconds since it, and the time now.

    A queue is emptied late, the system's own intervals are exact: they count as
    long as they fit the clock.
    """
    at = before + since
    return at if now - MAX_AGE_SECONDS <= at <= now else now


class SystemPort:
    """A port of the system: a thread empties its queue."""

    def __init__(self, midi_in: Any, name: str, hear: Hear) -> None:  # noqa: ANN401 - untyped
        self.name = name
        self._midi_in = midi_in
        self._hear = hear
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"MIDI {name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hear nothing more."""
        self._stopped.set()
        self._thread.join()
        self._midi_in.close_port()
        self._midi_in.delete()

    def _listen(self) -> None:
        before = 0.0
        while not self._stopped.wait(POLL_SECONDS):
            while (got := self._midi_in.get_message()) is not None:
                data, since = got
                before = arrival(before, since, time.monotonic())
                self._hear(bytes(data), before)


class FilePort:
    """A Standard MIDI file that plays once, in its own time, from when it is opened."""

    def __init__(self, path: Path, hear: Hear) -> None:
        """Read the file and begin to play.

        Raises:
            NotFoundError: There is no such file.
            InvalidRequestError: It is no Standard MIDI file, or damaged.
        """
        self.name = f"{FILE}{path}"
        self._messages = read_messages(path)
        self._hear = hear
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._play, name=f"MIDI {path.name}", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return once the file has been played."""
        self._thread.join()

    def close(self) -> None:
        """Play no further."""
        self._stopped.set()
        self._thread.join()

    def _play(self) -> None:
        started = time.monotonic()
        for seconds, data in self._messages:
            at = started + seconds
            if self._stopped.wait(max(0.0, at - time.monotonic())):
                return
            self._hear(data, at)


class Loopback:
    """A port inside the process: what is sent is heard at once, at the time given."""

    def __init__(self, name: str = "loopback") -> None:
        self.name = name
        self._hear: Hear | None = None

    def open(self, spec: str, hear: Hear) -> "Loopback":
        """Begin to hear; takes the place of `open_input`.

        Raises:
            NotFoundError: It is called otherwise.
        """
        chosen(spec, [self.name])
        self._hear = hear
        return self

    def send(self, data: bytes | Sequence[int], at_seconds: float) -> None:
        """Let a message be heard; nobody hears it while the port is closed."""
        if self._hear is not None:
            self._hear(bytes(data), at_seconds)

    def close(self) -> None:
        """Hear nothing more."""
        self._hear = None


def _rtmidi() -> Any:  # noqa: ANN401 - an untyped module
    try:
        return importlib.import_module("rtmidi")
    except ImportError as error:
        raise NotReadyError(INSTALL) from error


def _system_inputs() -> list[tuple[str, int, int, str]]:
    """Return name of the API, the API, number and name of every input; what is absent has none."""
    rtmidi = _rtmidi()
    found: list[tuple[str, int, int, str]] = []
    for api in rtmidi.get_compiled_api():
        try:
            probe = _midi_in(rtmidi, api)
        except NotReadyError as error:
            log.debug("%s", error)
            continue
        name = rtmidi.get_api_display_name(api)
        found += [(name, api, number, port) for number, port in enumerate(probe.get_ports())]
        probe.delete()
    return found


def _midi_in(rtmidi: Any, api: int) -> Any:  # noqa: ANN401 - an untyped module
    try:
        midi_in = rtmidi.MidiIn(api, name=CLIENT, queue_size_limit=QUEUE_MESSAGES)
    except rtmidi.RtMidiError as error:
        name = rtmidi.get_api_display_name(api)
        raise NotReadyError(f"{name} MIDI cannot be used: {error}") from error
    # All of them, also those not heard here: a message left out would take its interval with it.
    midi_in.ignore_types(sysex=False, timing=False, active_sense=False)
    return midi_in


def _open_virtual(rtmidi: Any, name: str, hear: Hear) -> InPort:  # noqa: ANN401
    """Open a port of our own with the first API that can: JACK before ALSA."""
    reasons: list[str] = []
    for api in sorted(rtmidi.get_compiled_api(), key=lambda api: api != rtmidi.API_UNIX_JACK):
        try:
            midi_in = _midi_in(rtmidi, api)
            midi_in.open_virtual_port(name or "in")
        except (NotReadyError, NotImplementedError, rtmidi.RtMidiError) as error:
            reasons.append(str(error))
        else:
            return SystemPort(midi_in, f"{VIRTUAL}{name}", hear)
    raise NotReadyError(f"no virtual MIDI port can be made: {'; '.join(reasons)}")


def _port_of(name: str) -> str:
    return name.partition(": ")[2]
