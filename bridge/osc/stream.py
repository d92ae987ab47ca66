"""Packets in a stream of bytes: OSC 1.1's SLIP (RFC 1055), and OSC 1.0's lengths.

The first byte tells which: a length begins with 0, as packets are far shorter
than 2^24 bytes; SLIP begins with its END, or with the `/` or `#` of a packet.
Knows neither socket nor what a packet means.
"""

from enum import StrEnum
from typing import Final

from bridge.errors import InvalidRequestError

MAX_PACKET_BYTES: Final = 65_536
END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD


class Framing(StrEnum):
    """How packets lie in a stream."""

    SLIP = "slip"
    LENGTH = "length"


def framed(packet: bytes, framing: Framing) -> bytes:
    """Return a packet as it goes into a stream; SLIP with an END on both sides (OSC 1.1)."""
    if framing is Framing.LENGTH:
        return len(packet).to_bytes(4, "big") + packet
    escaped = packet.replace(bytes([ESC]), bytes([ESC, ESC_ESC]))
    return b"\xc0" + escaped.replace(bytes([END]), bytes([ESC, ESC_END])) + b"\xc0"


class PacketReader:
    """Takes bytes as they come and gives back the packets that are whole."""

    def __init__(self) -> None:
        self.framing: Framing | None = None
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the packets that these bytes complete.

        Raises:
            InvalidRequestError: A packet longer than `MAX_PACKET_BYTES`, or an escape that
                means nothing; the stream cannot be read on.
        """
        self._held += data
        if self.framing is None and self._held:
            self.framing = Framing.LENGTH if self._held[0] == 0 else Framing.SLIP
        take = self._length_packets if self.framing is Framing.LENGTH else self._slip_packets
        packets = take()
        if len(self._held) > 2 * MAX_PACKET_BYTES:
            raise _too_long(len(self._held))
        return packets

    def _length_packets(self) -> list[bytes]:
        packets: list[bytes] = []
        while len(self._held) >= 4:
            num_bytes = int.from_bytes(self._held[:4], "big")
            if num_bytes > MAX_PACKET_BYTES:
                raise _too_long(num_bytes)
            if len(self._held) < 4 + num_bytes:
                break
            packets.append(bytes(self._held[4 : 4 + num_bytes]))
            del self._held[: 4 + num_bytes]
        return packets

    def _slip_packets(self) -> list[bytes]:
        *whole, rest = bytes(self._held).split(b"\xc0")
        self._held = bytearray(rest)
        packets = [_unescaped(part) for part in whole if part]
        longest = max(map(len, packets), default=0)
        if longest > MAX_PACKET_BYTES:
            raise _too_long(longest)
        return packets


def _unescaped(part: bytes) -> bytes:
    first, *rest = part.split(b"\xdb")
    out = bytearray(first)
    for piece in rest:
        if piece[:1] not in (b"\xdc", b"\xdd"):
            raise InvalidRequestError(
                f"the SLIP escape is followed by {piece[:1].hex() or 'nothing'}, allowed are dc, dd"
            )
        out.append(END if piece[0] == ESC_END else ESC)
        out += piece[1:]
    return bytes(out)


def _too_long(num_bytes: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"a packet of the stream has {num_bytes} bytes, the limit is {MAX_PACKET_BYTES} bytes"
    )
