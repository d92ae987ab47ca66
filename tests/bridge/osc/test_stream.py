"""Packets through a stream, cut anywhere, in both framings."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import InvalidRequestError
from bridge.osc.stream import MAX_PACKET_BYTES, Framing, PacketReader, framed

# What a packet may begin with; a packet of SLIP is never empty.
PACKETS = st.lists(st.binary(max_size=30).map(lambda rest: b"/" + rest), min_size=1, max_size=5)


@given(packets=PACKETS, framing=st.sampled_from(Framing), cut=st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(packets, framing, cut):
    stream = b"".join(framed(packet, framing) for packet in packets)
    reader = PacketReader()
    out = []
    for at in range(0, len(stream), cut):
        out += reader.feed(stream[at : at + cut])
    assert out == packets
    assert reader.framing is framing


def test_slip_escapes_as_rfc_1055_says_with_an_end_on_both_sides():
    assert framed(b"/\xc0\xdb", Framing.SLIP) == b"\xc0/\xdb\xdc\xdb\xdd\xc0"


def test_slip_without_a_leading_end_is_read_too():
    assert PacketReader().feed(b"/a\0\0\xc0") == [b"/a\0\0"]


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"\xc0/\xdbx\xc0", "escape"),
        (b"\xc0/\xdb\xc0", "escape"),
        (b"\0\x7f\0\0", "limit is 65536"),
        (b"\xc0" + b"/" * (MAX_PACKET_BYTES + 1) + b"\xc0", "limit is 65536"),
        (b"\xc0" + b"/" * (2 * MAX_PACKET_BYTES + 1), "limit is 65536"),
    ],
)
def test_a_stream_that_cannot_be_read_on_is_refused(stream, words):
    with pytest.raises(InvalidRequestError, match=words):
        PacketReader().feed(stream)


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_packets_or_refused(data):
    reader = PacketReader()
    try:
        packets = reader.feed(data)
    except InvalidRequestError:
        return
    assert sum(map(len, packets)) <= len(data)
