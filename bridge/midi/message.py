"""One MIDI message as a value, from the bytes that a port gives.

Channels count from 1, as on every front panel. Knows no port and no library.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_VALUE: Final = 127
CHANNELS: Final = 16
DRUM_CHANNEL: Final = 10
SIXTEENTHS_BITS: Final = 14


class Kind(StrEnum):
    """What a message says; what is not listed is not heard."""

    NOTE_ON = "note_on"
    NOTE_OFF = "note_off"
    CONTROL = "control"
    PROGRAM = "program"
    SONG_POSITION = "song_position"
    CLOCK = "clock"
    START = "start"
    CONTINUE = "continue"
    STOP = "stop"


TRANSPORT: Final = frozenset({Kind.SONG_POSITION, Kind.CLOCK, Kind.START, Kind.CONTINUE, Kind.STOP})
SILENCING: Final = frozenset({120, 123})
"""Controllers that end all notes of a channel: All Sound Off, All Notes Off."""

_CHANNEL_KINDS: Final = {
    0x80: (Kind.NOTE_OFF, 3),
    0x90: (Kind.NOTE_ON, 3),
    0xB0: (Kind.CONTROL, 3),
    0xC0: (Kind.PROGRAM, 2),
}
_SYSTEM_KINDS: Final = {
    0xF2: (Kind.SONG_POSITION, 3),
    0xF8: (Kind.CLOCK, 1),
    0xFA: (Kind.START, 1),
    0xFB: (Kind.CONTINUE, 1),
    0xFC: (Kind.STOP, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MidiMessage:
    """One message.

    Attributes:
        kind: What it says.
        channel: 1 to 16; 0 where a message has none.
        number: The key, the controller or the program, 0 to 127.
        value: Velocity or controller value, 0 to 127; of a song position the sixteenths.
    """

    kind: Kind
    channel: int = 0
    number: int = 0
    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A message, when it came, and through which port."""

    message: MidiMessage
    at_seconds: float
    port: str = ""


def parse(data: bytes | list[int]) -> MidiMessage | None:
    """Return the message, or None for what is not heard here, such as system exclusive.

    A note that is pressed with velocity 0 is released, as the standard says.
    """
    if not data:
        return None
    status = data[0]
    kind, length = _SYSTEM_KINDS.get(status) or _CHANNEL_KINDS.get(status & 0xF0, (None, 0))
    if kind is None or len(data) != length or any(byte > MAX_VALUE for byte in data[1:]):
        return None
    if kind is Kind.SONG_POSITION:
        return MidiMessage(kind=kind, value=data[1] | data[2] << 7)
    if kind in TRANSPORT:
        return MidiMessage(kind=kind)
    value = data[2] if length == 3 else 0
    if kind is Kind.NOTE_ON and value == 0:
        kind = Kind.NOTE_OFF
    return MidiMessage(kind=kind, channel=(status & 0x0F) + 1, number=data[1], value=value)


def words(message: MidiMessage) -> str:
    """Return the message as a line for people."""
    match message.kind:
        case Kind.NOTE_ON | Kind.NOTE_OFF | Kind.CONTROL:
            return (
                f"{message.kind} channel {message.channel} number {message.number} "
                f"value {message.value}"
            )
        case Kind.PROGRAM:
            return f"{message.kind} channel {message.channel} number {message.number}"
        case Kind.SONG_POSITION:
            return f"{message.kind} {message.value} sixteenths"
        case _:
            return str(message.kind)
