"""Standard MIDI files to notes at session samples, and back.

The file's own tempo map decides where its notes lie; its time 0 is put on a
session sample. Tempo, program changes and drums (channel 10) are followed,
notes left hanging end with the file; the pedal and other controllers are not
heard. Knows no live MIDI and no model.
"""

import re
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeAlias

import mido  # pyright: ignore[reportMissingTypeStubs]

from bridge.audio_file import write_whole
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.ports import MidiPart, Note
from bridge.request import MAX_NOTES
from bridge.transport import Meter, Tempo, TempoMap, nearest

MAX_FILE_BYTES: Final = 2 * 1024 * 1024
MAX_SECONDS: Final = 24 * 60 * 60
DRUM_CHANNEL: Final = 9
TICKS_PER_BEAT: Final = 960

_MICROSECONDS_PER_MINUTE: Final = 60_000_000
_DEFAULT_MICROSECONDS: Final = 500_000
_SILENCING: Final = {120, 123}
"""Controllers that end all notes of a channel: All Sound Off, All Notes Off."""
# Bytes from 0x80 on continue a number; mido would follow one of any length, and for ever.
_ENDLESS_NUMBER: Final = re.compile(rb"[\x80-\xff]{1024}")
# What mido is known to raise over damaged files.
_DAMAGE: Final = (
    EOFError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    struct.error,
    mido.KeySignatureError,
)


def read_midi(path: Path, sample_rate: int, start_sample: int = 0) -> MidiPart:
    """Return the notes of a file whose time 0 lies on `start_sample`.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: Damaged, no Standard MIDI file, without notes, too
            large or too long.
    """
    with _naming(path):
        events = _events(_contents(path))
        tempo_map = TempoMap(
            sample_rate=sample_rate, tempos=_tempos(events), origin_sample=start_sample
        )
        return _part(events, tempo_map)


def read_tempo_map(path: Path, sample_rate: int, start_sample: int = 0) -> TempoMap:
    """Return the tempo and meter changes of a file whose time 0 lies on `start_sample`.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: As of `read_midi`, or a meter that changes inside a bar.
    """
    with _naming(path):
        events = _events(_contents(path))
        return TempoMap(
            sample_rate=sample_rate,
            tempos=_tempos(events),
            meters=_meters(events),
            origin_sample=start_sample,
        )


def read_messages(path: Path) -> tuple[tuple[float, bytes], ...]:
    """Return a file's messages as a port would give them: seconds from its time 0, and bytes.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: As of `read_midi`, but for a file without notes.
    """
    with _naming(path):
        events = _events(_contents(path))
        in_seconds = TempoMap(sample_rate=1, tempos=_tempos(events))
        return tuple(
            (float(in_seconds.sample_of_beat(event.beat)), bytes(event.message.bytes()))
            for event in events
            if not event.message.is_meta
        )


def write_midi(path: Path, part: MidiPart, tempo_map: TempoMap, *, overwrite: bool = False) -> Path:
    """Return where a file of the part now lies; its time 0 is the part's start.

    Notes lie on the nearest of 960 ticks a beat, tempos on the nearest microsecond a beat.

    Raises:
        InvalidRequestError: More programs than the 15 channels beside the drums.
        NotFoundError: The folder does not exist.
        NotReadyError: The folder cannot be written to.
    """
    track: Any = mido.MidiTrack()
    tick = 0
    for at, _, message in sorted(_messages_of(part, tempo_map), key=lambda event: event[:2]):
        track.append(message.copy(time=at - tick))
        tick = at
    written = BytesIO()
    file: Any = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT, tracks=[track])
    file.save(file=written)
    return write_whole(path, (written.getvalue(),), overwrite=overwrite)


_Channel: TypeAlias = tuple[int, int]
_Key: TypeAlias = tuple[int, int, int]
_Written: TypeAlias = tuple[int, int, Any]


@dataclass(frozen=True, slots=True)
class _Event:
    """A message at its beat; ports tell apart channels of the same number."""

    beat: Fraction
    port: int
    message: Any


@dataclass(frozen=True, slots=True)
class _Open:
    """A note that has not ended yet."""

    beat: Fraction
    velocity: int
    program: int


@contextmanager
def _naming(path: Path) -> Generator[None]:
    try:
        yield
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{path}: {error}") from error


def _contents(path: Path) -> bytes:
    if not path.exists():
        raise NotFoundError(f"there is no file {path}")
    if not path.is_file():
        raise InvalidRequestError("this is no regular file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except PermissionError as error:
        raise InvalidRequestError(f"it may not be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise InvalidRequestError(
            f"the file has {path.stat().st_size} bytes, the limit is {MAX_FILE_BYTES} bytes"
        )
    return data


def _events(data: bytes) -> list[_Event]:
    """Return the messages of all tracks in the order of their time, in a track as they stand."""
    if not data.startswith(b"MThd"):
        raise InvalidRequestError("this is no Standard MIDI file: it does not begin with MThd")
    if _ENDLESS_NUMBER.search(data):
        raise InvalidRequestError("damaged: a number has over 1023 bytes, the limit is 4 bytes")
    try:
        file: Any = mido.MidiFile(file=BytesIO(data))
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InvalidRequestError(f"the MIDI file is damaged or truncated: {reason}") from error
    if file.type == 2:
        raise InvalidRequestError("a MIDI file of type 2, allowed are types 0 and 1")
    if file.ticks_per_beat <= 0:
        raise InvalidRequestError(
            f"time is in SMPTE frames (division {file.ticks_per_beat}), not in ticks a beat"
        )
    found = [event for track in file.tracks for event in _events_of(track, file.ticks_per_beat)]
    return sorted(found, key=lambda event: event.beat)


def _events_of(track: Any, ticks_per_beat: int) -> Iterator[_Event]:  # noqa: ANN401
    tick, port = 0, 0
    for message in track:
        tick += message.time
        if message.type == "midi_port":
            port = message.port
        yield _Event(Fraction(tick, ticks_per_beat), port, message)


def _tempos(events: list[_Event]) -> tuple[Tempo, ...]:
    """Return the tempo changes; of several at one beat the last holds."""
    microseconds = {Fraction(0): _DEFAULT_MICROSECONDS}
    for event in events:
        if event.message.type == "set_tempo":
            microseconds[event.beat] = event.message.tempo
    if 0 in microseconds.values():
        raise InvalidRequestError("a tempo of 0 microseconds a beat, the least is 1 microsecond")
    return tuple(
        Tempo(beat=beat, bpm=Fraction(_MICROSECONDS_PER_MINUTE, per_beat))
        for beat, per_beat in microseconds.items()
    )


def _meters(events: list[_Event]) -> tuple[Meter, ...]:
    meters = {Fraction(0): Meter()}
    for event in events:
        message = event.message
        if message.type == "time_signature":
            meters[event.beat] = Meter(
                numerator=message.numerator, denominator=message.denominator, beat=event.beat
            )
    return tuple(meters.values())


def _part(events: list[_Event], tempo_map: TempoMap) -> MidiPart:
    end = tempo_map.sample_of_beat(events[-1].beat if events else Fraction(0))
    num_seconds = (end - tempo_map.origin_sample) / tempo_map.sample_rate
    if num_seconds > MAX_SECONDS:
        raise InvalidRequestError(f"it lasts {num_seconds // 1} s, the limit is {MAX_SECONDS} s")
    notes = sorted(_notes(events, tempo_map), key=_place)
    if not notes:
        raise InvalidRequestError("the file holds 0 notes, at least 1 is needed")
    return MidiPart(
        notes=tuple(notes),
        start_sample=tempo_map.origin_sample,
        end_sample=max(nearest(end), *(note.end_sample for note in notes)),
    )


def _place(note: Note) -> tuple[int, int, int, int]:
    return note.start_sample, note.pitch, note.program, note.end_sample


def _notes(events: list[_Event], tempo_map: TempoMap) -> list[Note]:
    """Return the notes; of two on one key the older ends first, the last ones with the file."""
    keyboard = _Keyboard(tempo_map)
    for event in events:
        keyboard.hear(event)
    if events:
        keyboard.release_all(events[-1].beat)
    return keyboard.notes


class _Keyboard:
    """Follows programs and held keys, and notes what was played."""

    def __init__(self, tempo_map: TempoMap) -> None:
        self.notes: list[Note] = []
        self._tempo_map = tempo_map
        self._programs: dict[_Channel, int] = {}
        self._held: dict[_Key, list[_Open]] = {}
        self._num_heard = 0

    def hear(self, event: _Event) -> None:
        """Take one message; those that are not listed change no note."""
        kind = event.message.type
        if kind == "program_change":
            self._programs[event.port, event.message.channel] = event.message.program
        elif kind == "control_change" and event.message.control in _SILENCING:
            self.release_all(event.beat, (event.port, event.message.channel))
        elif kind == "note_on" and event.message.velocity > 0:
            self._press(event)
        elif kind in {"note_on", "note_off"}:
            self._release((event.port, event.message.channel, event.message.note), event.beat)

    def release_all(self, beat: Fraction, channel: _Channel | None = None) -> None:
        """End the held notes of a channel, or of all."""
        for key in [key for key in self._held if channel in (None, key[:2])]:
            while self._held[key]:
                self._release(key, beat)

    def _press(self, event: _Event) -> None:
        self._num_heard += 1
        if self._num_heard > MAX_NOTES:
            raise InvalidRequestError(f"over {MAX_NOTES} notes, which is the limit")
        channel = (event.port, event.message.channel)
        program = 0 if channel[1] == DRUM_CHANNEL else self._programs.get(channel, 0)
        opened = _Open(event.beat, event.message.velocity, program)
        self._held.setdefault((*channel, event.message.note), []).append(opened)

    def _release(self, key: _Key, beat: Fraction) -> None:
        if not self._held.get(key):
            return
        opened = self._held[key].pop(0)
        start = nearest(self._tempo_map.sample_of_beat(opened.beat))
        end = nearest(self._tempo_map.sample_of_beat(beat))
        self.notes.append(
            Note(
                start_sample=start,
                end_sample=max(end, start + 1),
                pitch=key[2],
                velocity=opened.velocity,
                program=opened.program,
                is_drum=key[1] == DRUM_CHANNEL,
            )
        )


def _messages_of(part: MidiPart, tempo_map: TempoMap) -> list[_Written]:
    """Return (tick, rank, message); of one tick meter and tempo come first, ends before starts."""
    first = tempo_map.beat_of_sample(part.start_sample)

    def tick_of(beat: Fraction) -> int:
        return max(0, nearest((beat - first) * TICKS_PER_BEAT))

    messages = _map_messages(tempo_map, tick_of)
    channels = _channels_of(part)
    messages += [
        (0, 1, mido.Message("program_change", channel=channel, program=program))
        for program, channel in channels.items()
    ]
    for note in part.notes:
        channel = DRUM_CHANNEL if note.is_drum else channels[note.program]
        start = tick_of(tempo_map.beat_of_sample(note.start_sample))
        end = max(start + 1, tick_of(tempo_map.beat_of_sample(note.end_sample)))
        on: Any = mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)
        messages += [(start, 3, on), (end, 2, on.copy(velocity=0))]
    end = tick_of(tempo_map.beat_of_sample(part.end_sample))
    return [*messages, (end, 4, mido.MetaMessage("end_of_track"))]


def _map_messages(tempo_map: TempoMap, tick_of: Callable[[Fraction], int]) -> list[_Written]:
    # Of changes before the start only the last is in force, and is read last: order is kept.
    tempos: list[_Written] = [
        (
            tick_of(tempo.beat),
            0,
            mido.MetaMessage("set_tempo", tempo=nearest(_MICROSECONDS_PER_MINUTE / tempo.bpm)),
        )
        for tempo in tempo_map.tempos
    ]
    meters: list[_Written] = [
        (
            tick_of(meter.beat),
            0,
            mido.MetaMessage(
                "time_signature", numerator=meter.numerator, denominator=meter.denominator
            ),
        )
        for meter in tempo_map.meters
    ]
    return meters + tempos


def _channels_of(part: MidiPart) -> dict[int, int]:
    """Return the channel of each program, without the drums' channel."""
    programs = sorted({note.program for note in part.notes if not note.is_drum})
    free = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    if len(programs) > len(free):
        raise InvalidRequestError(
            f"the part has {len(programs)} programs, a MIDI file holds {len(free)} programs"
        )
    return dict(zip(programs, free, strict=False))
