"""A message to an action: pads start commands, knobs follow controllers that have taken hold.

A controller that stands elsewhere than its knob does nothing until it has been
moved through the knob's value, so that no knob jumps. Knows no port, no file
and no engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bridge.midi.message import MAX_VALUE, Kind, MidiMessage
from bridge.midi.rows import KNOBS, Command, MidiMap, Row, Source

BUTTON_VALUE: Final = 64
"""A controller's value from here on is a button that is down."""
PICKUP: Final = 1 / 64
"""A controller this near to a knob's value, as a part of its range, takes hold of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a message asks for: a command, a preset by name, or a knob's value."""

    command: Command | None = None
    preset: str = ""
    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where pads and knobs stand; each message makes the next value.

    Attributes:
        knobs: Values that controllers have set.
        last: The last value, 0 to 127, of a row's controller.
        held: Rows whose knob follows the controller.
    """

    knobs: Mapping[Command, float] = field(default_factory=dict[Command, float])
    last: Mapping[int, int] = field(default_factory=dict[int, int])
    held: frozenset[int] = frozenset()


def react(desk: Desk, midi_map: MidiMap, message: MidiMessage) -> tuple[Desk, tuple[Action, ...]]:
    """Return where the desk stands after a message, and what the message asks for."""
    if message.kind is Kind.PROGRAM:
        return desk, tuple(
            Action(preset=preset.name)
            for preset in midi_map.presets
            if preset.program == message.number
        )
    actions: list[Action] = []
    for index, row in enumerate(midi_map.rows):
        if row.waits_for(message):
            desk, action = _press(desk, index, row, message)
            actions += [action] if action is not None else []
    return desk, tuple(actions)


def let_go(desk: Desk, knobs: Mapping[Command, float]) -> Desk:
    """Return the desk with other values in its knobs: controllers must take hold anew."""
    return replace(desk, knobs=dict(knobs), held=frozenset())


def _press(desk: Desk, index: int, row: Row, message: MidiMessage) -> tuple[Desk, Action | None]:
    before = desk.last.get(index, -1)
    desk = replace(desk, last={**desk.last, index: message.value})
    if row.command in KNOBS:
        return _turn(desk, index, row, (before, message.value))
    is_down = row.source is Source.NOTE or before < BUTTON_VALUE <= message.value
    return desk, Action(command=row.command, preset=row.preset) if is_down else None


def _turn(desk: Desk, index: int, row: Row, values: tuple[int, int]) -> tuple[Desk, Action | None]:
    """Turn a knob, once the controller has met its value: a knob never jumps."""
    low, high = row.range()
    before, now = (low + (high - low) * value / MAX_VALUE for value in values)
    knob = desk.knobs.get(row.command)
    if knob is not None and index not in desk.held:
        near = abs(now - knob) <= abs(high - low) * PICKUP
        crossed = values[0] >= 0 and (before - knob) * (now - knob) <= 0
        if not (near or crossed):
            return desk, None
    turned = replace(desk, knobs={**desk.knobs, row.command: now}, held=desk.held | {index})
    return turned, Action(command=row.command, value=now)
