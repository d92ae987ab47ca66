"""What a map of pads and controllers holds: commands, rows, presets.

Values alone, checked once. Knows no file, no port and no engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from bridge.errors import InvalidRequestError
from bridge.limits import PLAN_RANGES
from bridge.midi.message import Kind, MidiMessage
from bridge.settings import Real


class Command(StrEnum):
    """What a pad can do."""

    CONTINUE = "continue"
    GO_ON = "go_on"
    RETRY = "retry"
    VARIATION = "variation"
    ACCEPT = "accept"
    REJECT = "reject"
    CANCEL = "cancel"
    PANIC = "panic"
    NEXT_PRESET = "next_preset"
    PREVIOUS_PRESET = "previous_preset"
    TEMPERATURE = "temperature"
    TOP_P = "top_p"
    GUIDANCE = "guidance"


DOES: Final[Mapping[Command, str]] = {
    Command.CONTINUE: "continues the preset's section",
    Command.GO_ON: "continues the last take, by as many bars",
    Command.RETRY: "the last request again, with another seed",
    Command.VARIATION: "the last request again, same seed, next variation",
    Command.ACCEPT: "marks the last take as kept",
    Command.REJECT: "marks the last take as rejected",
    Command.CANCEL: "stops what was started over MIDI",
    Command.PANIC: "stops everything started over MIDI and ends all held notes",
    Command.NEXT_PRESET: "selects the next preset of the file",
    Command.PREVIOUS_PRESET: "selects the preset before",
    Command.TEMPERATURE: "knob: temperature of the plan",
    Command.TOP_P: "knob: top_p of the plan",
    Command.GUIDANCE: "knob: guidance of the plan",
}
_RANGES: Final = {name: (least, greatest) for name, least, greatest in PLAN_RANGES}
KNOBS: Final[Mapping[Command, tuple[float, float]]] = {
    command: _RANGES[command] for command in (Command.TEMPERATURE, Command.TOP_P, Command.GUIDANCE)
}
"""Commands that take a value, and the limits of it."""


class Source(StrEnum):
    """What kind of message a row waits for."""

    NOTE = "note"
    CONTROL = "control"


_KINDS: Final = {Source.NOTE: Kind.NOTE_ON, Source.CONTROL: Kind.CONTROL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the map.

    Attributes:
        source: A note or a controller.
        number: The key or the controller, 0 to 127.
        channel: 1 to 16; None is any.
        command: What it does.
        preset: For `continue`: the preset to take; the selected one if empty.
        least: For a knob: its value at 0.
        greatest: For a knob: its value at 127.

    Raises:
        InvalidRequestError: A knob on a note, a preset without `continue`, or limits that
            are none of a knob's.
    """

    source: Source
    number: int
    command: Command
    channel: int | None = None
    preset: str = ""
    least: float | None = None
    greatest: float | None = None

    def __post_init__(self) -> None:
        """Refuse a row that could do nothing."""
        limits = KNOBS.get(self.command)
        if limits is None and (self.least is not None or self.greatest is not None):
            raise InvalidRequestError(f"{self.command} is no knob: it has no least and greatest")
        if limits is not None and self.source is Source.NOTE:
            raise InvalidRequestError(f"{self.command} is a knob: it needs source = 'control'")
        if self.preset and self.command is not Command.CONTINUE:
            raise InvalidRequestError(f"{self.command} takes no preset, only 'continue' does")
        for value in (self.least, self.greatest):
            if limits is not None and value is not None:
                Real(*limits).check(value, f"the knob {self.command}")

    def range(self) -> tuple[float, float]:
        """Return a knob's values at 0 and at 127."""
        least, greatest = KNOBS[self.command]
        return (
            least if self.least is None else self.least,
            greatest if self.greatest is None else self.greatest,
        )

    def place(self) -> tuple[Source, int, int | None]:
        """Return what the row waits for."""
        return self.source, self.number, self.channel

    def waits_for(self, message: MidiMessage) -> bool:
        """Return whether the row waits for this message."""
        return (
            message.kind is _KINDS[self.source]
            and message.number == self.number
            and self.channel in (None, message.channel)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A request that a pad starts, but for what is only known when it is pressed.

    Attributes:
        name: Its name in the file.
        path: The recorded section, or a folder whose newest WAV file counts.
        bars: Length of the result.
        tempo_bpm: Quarter notes a minute; None takes the MIDI clock's.
        meter: Such as 4/4.
        notes: `off`, or `played`: the last bars that were played over MIDI, over the result.
        program: Program change that selects it; None is none.
        options: The rest of the request, by the names of `Plan` and of labels.
    """

    name: str
    path: Path
    bars: float = 4.0
    tempo_bpm: float | None = None
    meter: str = "4/4"
    notes: str = "off"
    program: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class MidiMap:
    """All rows and presets of a file."""

    rows: tuple[Row, ...] = ()
    presets: tuple[Preset, ...] = ()
