"""Pads, buttons, knobs and programs: what each message asks for."""

from pathlib import Path

import pytest

from bridge.errors import InvalidRequestError
from bridge.midi.desk import Action, Desk, let_go, react
from bridge.midi.message import Kind, MidiMessage
from bridge.midi.rows import DOES, KNOBS, Command, MidiMap, Preset, Row, Source


def row(command, source=Source.CONTROL, number=20, **more):
    return Row(source=source, number=number, command=command, **more)


def control(value, number=20, channel=1):
    return MidiMessage(kind=Kind.CONTROL, channel=channel, number=number, value=value)


def pad(number, channel=1):
    return MidiMessage(kind=Kind.NOTE_ON, channel=channel, number=number, value=99)


def run(midi_map, *messages, desk=None):
    """Return the actions of messages in turn, and where the desk stands then."""
    desk = desk or Desk()
    actions = []
    for message in messages:
        desk, found = react(desk, midi_map, message)
        actions += found
    return actions, desk


def test_a_pad_starts_its_command_on_its_channel_alone():
    midi_map = MidiMap(
        rows=(
            row(Command.CONTINUE, Source.NOTE, 36, channel=10, preset=""),
            row(Command.PANIC, Source.NOTE, 37),
        )
    )
    actions, _ = run(midi_map, pad(36), pad(36, 10), pad(37, 5), pad(38))
    assert [action.command for action in actions] == [Command.CONTINUE, Command.PANIC]


def test_releasing_a_pad_does_nothing():
    midi_map = MidiMap(rows=(row(Command.RETRY, Source.NOTE, 36),))
    released = MidiMessage(kind=Kind.NOTE_OFF, channel=1, number=36)
    assert run(midi_map, released)[0] == []


def test_a_button_acts_when_it_goes_down_and_not_while_it_is_held():
    midi_map = MidiMap(rows=(row(Command.CANCEL),))
    actions, _ = run(midi_map, *map(control, (0, 127, 120, 10, 63, 64)))
    assert len(actions) == 2


def test_a_knob_without_a_value_follows_at_once():
    midi_map = MidiMap(rows=(row(Command.TEMPERATURE, least=0.5, greatest=1.5),))
    actions, desk = run(midi_map, control(0), control(127))
    assert [action.value for action in actions] == [0.5, 1.5]
    assert desk.knobs == {Command.TEMPERATURE: 1.5}


@pytest.mark.parametrize("values", [(0, 40, 63, 64, 65), (127, 90, 64, 63, 10)])
def test_a_knob_is_taken_hold_of_at_its_value_and_never_jumps(values):
    midi_map = MidiMap(rows=(row(Command.TEMPERATURE, least=0.5, greatest=1.5),))
    desk = let_go(Desk(), {Command.TEMPERATURE: 1.0})
    actions, after = run(midi_map, *map(control, values), desk=desk)
    assert abs(actions[0].value - 1.0) < 0.02
    assert after.knobs[Command.TEMPERATURE] == actions[-1].value
    again = let_go(after, {Command.TEMPERATURE: 1.2})
    assert run(midi_map, control(values[-1]), desk=again)[0] == []


def test_a_controller_that_leaps_over_the_value_takes_hold():
    midi_map = MidiMap(rows=(row(Command.TOP_P),))
    desk = let_go(Desk(), {Command.TOP_P: 0.5})
    actions, _ = run(midi_map, control(10), control(120), desk=desk)
    assert len(actions) == 1


def test_a_knob_may_run_backwards():
    midi_map = MidiMap(rows=(row(Command.GUIDANCE, least=3.0, greatest=1.0),))
    assert run(midi_map, control(127))[0] == [Action(command=Command.GUIDANCE, value=1.0)]


def test_a_program_selects_its_preset():
    presets = tuple(
        Preset(name=name, path=Path(name), program=program)
        for name, program in (("a", 3), ("b", None))
    )
    chosen = MidiMessage(kind=Kind.PROGRAM, channel=4, number=3)
    other = MidiMessage(kind=Kind.PROGRAM, channel=4, number=0)
    assert run(MidiMap(presets=presets), chosen, other)[0] == [Action(preset="a")]


@pytest.mark.parametrize(
    ("command", "changes", "words"),
    [
        (Command.RETRY, {"least": 1.0}, "retry is no knob"),
        (Command.TEMPERATURE, {"source": Source.NOTE}, "temperature is a knob"),
        (Command.TEMPERATURE, {"greatest": 11.0}, "knob temperature is 11, allowed are 0.01 to 10"),
        (Command.CANCEL, {"preset": "a"}, "cancel takes no preset"),
    ],
)
def test_a_row_that_could_do_nothing_is_refused(command, changes, words):
    with pytest.raises(InvalidRequestError, match=words):
        row(command, **changes)


def test_every_command_is_described():
    assert set(DOES) == set(Command)
    assert set(KNOBS) < set(Command)
