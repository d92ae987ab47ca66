"""What stands before the samples of a Broadcast Wave file of float32 (EBU Tech 3285 v2).

`bext` holds the place on the session's timeline, iXML where the audio comes
from. Knows no file and no samples.
"""

import re
import struct
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final
from xml.etree import ElementTree as Xml

from bridge.errors import InvalidRequestError
from bridge.markers import chunk

MAX_FILE_BYTES: Final = 2**32 - 1
"""RIFF counts its bytes in 32 bits."""
MAX_TIME_REFERENCE: Final = 2**64 - 1
TIME_REFERENCE_AT: Final = 338
"""Where in `bext` the session sample of the file's first sample stands, in 8 bytes."""
ORIGINATOR: Final = "jukebox-bridge"

_IEEE_FLOAT: Final = 3
_LOUDNESS_UNKNOWN: Final = 0x7FFF
_BEXT: Final = struct.Struct("<256s32s32s10s8sQH64s5h180x")
_NOT_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a result comes from; written into its file."""

    model: str
    fingerprint: str
    seed: int
    request_id: str
    licence: str
    take_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a file says of its samples.

    Raises:
        InvalidRequestError: A start before sample 0, or after any that the file can tell.
    """

    num_channels: int
    num_samples: int
    sample_rate: int
    start_sample: int
    provenance: Provenance
    written_at: datetime

    def __post_init__(self) -> None:
        """Refuse a place that `bext` cannot hold."""
        if not 0 <= self.start_sample <= MAX_TIME_REFERENCE:
            raise InvalidRequestError(
                f"the file would begin at sample {self.start_sample}, "
                f"a time reference is 0 to {MAX_TIME_REFERENCE} samples"
            )

    def num_bytes(self) -> int:
        """Return how many bytes of samples follow."""
        return 4 * self.num_channels * self.num_samples


def header(sheet: Sheet, more: bytes = b"") -> bytes:
    """Return all that stands before the samples; `more` are further chunks.

    Raises:
        InvalidRequestError: The file would have over 4 GiB.
    """
    chunks = b"".join(
        [
            chunk(b"bext", _bext(sheet)),
            chunk(b"fmt ", _format(sheet)),
            chunk(b"fact", struct.pack("<I", min(sheet.num_samples, MAX_FILE_BYTES))),
            chunk(b"iXML", _ixml(sheet)),
            more,
        ]
    )
    riff_bytes = 4 + len(chunks) + 8 + sheet.num_bytes()
    if riff_bytes + 8 > MAX_FILE_BYTES:
        raise InvalidRequestError(
            f"the file would have {riff_bytes + 8} bytes, the limit is {MAX_FILE_BYTES} bytes"
        )
    start = b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVE"
    return start + chunks + b"data" + struct.pack("<I", sheet.num_bytes())


def _format(sheet: Sheet) -> bytes:
    rate, frame_bytes = sheet.sample_rate, 4 * sheet.num_channels
    form = (_IEEE_FLOAT, sheet.num_channels, rate, rate * frame_bytes, frame_bytes, 32, 0)
    return struct.pack("<HHIIHHH", *form)


def _bext(sheet: Sheet) -> bytes:
    """Return the broadcast extension; its coding history as in EBU R 98."""
    provenance = sheet.provenance
    mode = "mono" if sheet.num_channels == 1 else "stereo"
    description = f"{provenance.model}, seed {provenance.seed}, {provenance.licence}"
    history = f"A=PCM,F={sheet.sample_rate},W=32,M={mode},T={ORIGINATOR};float\r\n"
    fixed = _BEXT.pack(
        _ascii(description),
        _ascii(ORIGINATOR),
        _ascii(provenance.take_id or provenance.request_id),
        _ascii(sheet.written_at.strftime("%Y-%m-%d")),
        _ascii(sheet.written_at.strftime("%H:%M:%S")),
        sheet.start_sample,
        2,
        b"",
        *(_LOUDNESS_UNKNOWN,) * 5,
    )
    return fixed + _ascii(history)


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "replace")


def _ixml(sheet: Sheet) -> bytes:
    root = Xml.Element("BWFXML")
    Xml.SubElement(root, "IXML_VERSION").text = "2.10"
    speed = Xml.SubElement(root, "SPEED")
    Xml.SubElement(speed, "FILE_SAMPLE_RATE").text = str(sheet.sample_rate)
    Xml.SubElement(speed, "TIMESTAMP_SAMPLE_RATE").text = str(sheet.sample_rate)
    high, low = divmod(sheet.start_sample, 2**32)
    Xml.SubElement(speed, "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI").text = str(high)
    Xml.SubElement(speed, "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO").text = str(low)
    user = Xml.SubElement(root, "USER")
    for name, value in asdict(sheet.provenance).items():
        Xml.SubElement(user, name.upper()).text = _NOT_XML.sub("\ufffd", str(value))
    return Xml.tostring(root, encoding="UTF-8", xml_declaration=True)
