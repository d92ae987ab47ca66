"""MIDI on one side, the engine's values on the other: clock, notes, pads, ports."""
