"""Standard MIDI files of a user's recordings as notes at model samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import mido  # pyright: ignore[reportMissingTypeStubs]
import numpy as np

from model.conditioning.roll import DRUM_PROGRAM, NOTE_FIELDS, Notes
from model.data.dataset import STEM_KINDS
from model.data.programs import stem_kind
from model.errors import TrainingError

DRUM_CHANNEL: Final = 9
_mido = cast(Any, mido)  # it has types only in part


def read_notes(path: Path, sample_rate: int) -> Notes:
    """Return the notes of a file; its time 0 is sample 0, its own tempo map counts.

    What is held at the end ends there. The part that a note belongs to follows from its program.

    Raises:
        TrainingError: It is no MIDI file, holds no notes, or its tracks have no common time.
    """
    try:
        file = _mido.MidiFile(str(path))
        if file.type == 2:
            raise TrainingError(f"{path} is of MIDI type 2: its tracks have no common time")
        rows = sorted(_rows(file, sample_rate))
    except (OSError, EOFError, ValueError, LookupError, ArithmeticError) as error:
        raise TrainingError(f"{path} is no standard MIDI file: {error}") from error
    if not rows:
        raise TrainingError(f"{path} holds no notes")
    return np.array(rows, np.int64).reshape(-1, len(NOTE_FIELDS))


def _rows(file: Any, sample_rate: int) -> Iterator[tuple[int, ...]]:  # noqa: ANN401 - it has no type
    at, seconds = 0, 0.0
    programs: dict[int, int] = {}
    held: dict[tuple[int, int], tuple[int, int]] = {}

    def ended(channel: int, pitch: int) -> Iterator[tuple[int, ...]]:
        if (channel, pitch) in held:
            start, velocity = held.pop((channel, pitch))
            program = DRUM_PROGRAM if channel == DRUM_CHANNEL else programs.get(channel, 0)
            yield start, max(at, start + 1), pitch, velocity, program, _part(program, pitch)

    for message in file:
        seconds += message.time
        at = round(seconds * sample_rate)
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type in ("note_on", "note_off"):
            yield from ended(message.channel, message.note)
            if message.type == "note_on" and message.velocity:
                held[message.channel, message.note] = (at, message.velocity)
    for channel, pitch in list(held):
        yield from ended(channel, pitch)


def _part(program: int, pitch: int) -> int:
    return STEM_KINDS.index(stem_kind(program, is_lowest=False, mean_pitch=float(pitch)))
