"""Notes as they are played: a timeline in beats that becomes a part at session samples.

Notes lie on the beats of whatever counts the time; a tempo map turns them into
samples when they are asked for. Of two on one key the older ends first, All Notes
Off and a stop end what is held, and what is still held when a part is asked for
ends with it. Knows no port, no clock and no model.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from bridge.midi.message import DRUM_CHANNEL, SILENCING, Kind, MidiMessage
from bridge.ports import MidiPart, Note
from bridge.transport import TempoMap, nearest

MAX_PLAYED: Final = 20_000
"""Notes that are remembered; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A note on its beats; without an end it is held."""

    start_beat: Fraction
    end_beat: Fraction | None
    channel: int
    pitch: int
    velocity: int
    program: int


class LiveNotes:
    """What was played, and what is held down."""

    def __init__(self) -> None:
        self._ended: deque[Played] = deque(maxlen=MAX_PLAYED)
        self._held: dict[tuple[str, int, int], Played] = {}
        self._programs: dict[tuple[str, int], int] = {}

    def __len__(self) -> int:
        return len(self._ended) + len(self._held)

    @property
    def num_held(self) -> int:
        """Return how many keys are down."""
        return len(self._held)

    def hear(self, message: MidiMessage, beat: Fraction, port: str = "") -> None:
        """Take a message at its beat; kinds that are no note's and no program's change nothing."""
        key = (port, message.channel, message.number)
        match message.kind:
            case Kind.NOTE_ON:
                self._end(key, beat)
                self._held[key] = self._played(message, beat, port)
            case Kind.NOTE_OFF:
                self._end(key, beat)
            case Kind.PROGRAM:
                self._programs[port, message.channel] = message.number
            case Kind.CONTROL if message.number in SILENCING:
                self.release(beat, (port, message.channel))
            case Kind.STOP:
                self.release(beat)
            case _:
                pass

    def release(self, beat: Fraction, channel: tuple[str, int] | None = None) -> int:
        """End all notes that are held, or those of one port's channel; return how many."""
        keys = [key for key in self._held if channel is None or key[:2] == channel]
        for key in keys:
            self._end(key, beat)
        return len(keys)

    def clear(self) -> None:
        """Forget all notes: the time they were counted in is over."""
        self._ended.clear()
        self._held.clear()

    def played(self) -> tuple[Played, ...]:
        """Return all notes that are remembered, as they stand now."""
        return (*self._ended, *self._held.values())

    def _played(self, message: MidiMessage, beat: Fraction, port: str) -> Played:
        return Played(
            start_beat=beat,
            end_beat=None,
            channel=message.channel,
            pitch=message.number,
            velocity=message.value,
            program=self._programs.get((port, message.channel), 0),
        )

    def _end(self, key: tuple[str, int, int], beat: Fraction) -> None:
        played = self._held.pop(key, None)
        if played is not None and beat >= played.start_beat:
            self._ended.append(replace(played, end_beat=beat))


def part_of(
    played: Sequence[Played],
    stretch: tuple[Fraction, Fraction],
    tempo_map: TempoMap,
    at_sample: int,
) -> MidiPart:
    """Return what was played between two beats, laid from a session sample on.

    Notes that reach over an edge are cut there. The stretch is the whole of it:
    where nothing was played, silence is meant.

    Args:
        played: The notes.
        stretch: The beats at which the stretch begins and ends.
        tempo_map: Turns beats into samples; only distances count.
        at_sample: The session sample that the stretch begins at.
    """
    start_beat, end_beat = stretch
    origin = tempo_map.sample_of_beat(start_beat)

    def sample_of(beat: Fraction) -> int:
        return at_sample + nearest(tempo_map.sample_of_beat(beat) - origin)

    notes: list[Note] = []
    for note in _within(played, start_beat, end_beat):
        start, end = sample_of(note.start_beat), sample_of(note.end_beat or end_beat)
        notes.append(_note(note, start, max(end, start + 1)))
    notes.sort(key=lambda note: (note.start_sample, note.pitch, note.program))
    return MidiPart(notes=tuple(notes), start_sample=at_sample, end_sample=sample_of(end_beat))


def _within(played: Sequence[Played], start_beat: Fraction, end_beat: Fraction) -> Iterator[Played]:
    for note in played:
        end = end_beat if note.end_beat is None else min(note.end_beat, end_beat)
        start = max(note.start_beat, start_beat)
        if start < end or start_beat <= note.start_beat == end < end_beat:
            yield replace(note, start_beat=start, end_beat=end)


def _note(played: Played, start_sample: int, end_sample: int) -> Note:
    is_drum = played.channel == DRUM_CHANNEL
    return Note(
        start_sample=start_sample,
        end_sample=end_sample,
        pitch=played.pitch,
        velocity=played.velocity,
        program=0 if is_drum else played.program,
        is_drum=is_drum,
    )
