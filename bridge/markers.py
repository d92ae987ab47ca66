"""Named places in a WAV file: `cue` points, their labels and lengths, as DAWs read them.

The chunks are those of the Multimedia Programming Interface 1.0 (1991): `cue `,
and a `LIST` of kind `adtl` with `labl` and `ltxt`. Knows bytes alone.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

MAX_BYTES: Final = 2**24
"""Of a chunk that is read."""
_CUE: Final = struct.Struct("<II4sIII")
_LENGTH: Final = struct.Struct("<II4sHHHH")
_COUNT: Final = struct.Struct("<I")
_NOTES: Final = b"adtl"
_REGION: Final = b"rgn "


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A named place, in samples from the file's first one; a length makes it a region."""

    text: str
    sample: int
    num_samples: int = 0


def marker_chunks(markers: Sequence[Marker]) -> bytes:
    """Return the chunks of these markers; nothing for none."""
    if not markers:
        return b""
    points = b"".join(
        _CUE.pack(number, marker.sample, b"data", 0, 0, marker.sample)
        for number, marker in enumerate(markers, 1)
    )
    notes = b"".join(
        part
        for number, marker in enumerate(markers, 1)
        for part in (
            chunk(b"labl", _COUNT.pack(number) + marker.text.encode() + b"\0"),
            chunk(b"ltxt", _LENGTH.pack(number, marker.num_samples, _REGION, 0, 0, 0, 0))
            if marker.num_samples
            else b"",
        )
    )
    return chunk(b"cue ", _COUNT.pack(len(markers)) + points) + chunk(b"LIST", _NOTES + notes)


def markers_of(chunks: Sequence[tuple[bytes, bytes]]) -> tuple[Marker, ...]:
    """Return the markers in a file's `cue ` and `LIST` chunks, in their order in time."""
    samples: dict[int, int] = {}
    texts: dict[int, str] = {}
    lengths: dict[int, int] = {}
    for name, body in chunks:
        if name == b"cue ":
            for first in range(_COUNT.size, len(body) - _CUE.size + 1, _CUE.size):
                number, *_, sample = _CUE.unpack_from(body, first)
                samples[number] = sample
        elif body[:4] == _NOTES:
            for note, rest in _notes(body):
                (number,) = _COUNT.unpack_from(rest)
                if note == b"labl":
                    texts[number] = rest[4:].split(b"\0", 1)[0].decode("utf-8", "replace")
                elif note == b"ltxt" and len(rest) >= _LENGTH.size:
                    lengths[number] = _LENGTH.unpack_from(rest)[1]
    return tuple(
        Marker(text=texts.get(number, ""), sample=sample, num_samples=lengths.get(number, 0))
        for number, sample in sorted(samples.items(), key=lambda point: (point[1], point[0]))
    )


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk of a RIFF file, padded to whole words."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _notes(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 4
    while at + 12 <= len(body):
        name, size = struct.unpack_from("<4sI", body, at)
        if size < _COUNT.size or at + 8 + size > len(body):
            return
        yield name, body[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
