"""OSC over real TCP connections, in both framings."""

import socket

import pytest

from bridge.osc import tcp
from bridge.osc.stream import Framing, PacketReader, framed
from tests.bridge.osc.garbage import bundle
from tests.bridge.osc.peers import packet, told

PING = packet("/jukebox/ping", "s", "x")


class Stream:
    """A TCP client."""

    def __init__(self, port, framing):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.framing = framing
        self.reader = PacketReader()
        self.waiting = []

    def send(self, *packets):
        self.socket.sendall(b"".join(framed(one, self.framing) for one in packets))

    def receive(self):
        """Return the next answer, None once the server has closed."""
        while not self.waiting:
            data = self.socket.recv(65_536)
            if not data:
                return None
            self.waiting += self.reader.feed(data)
        return told(self.waiting.pop(0))


def was_cut(use):
    """Return whether the server had ended the connection when it was used."""
    try:
        use()
    except ConnectionError:
        return True
    return False


@pytest.fixture(params=Framing)
def stream(request, osc):
    """Return a connection to a server without UDP."""
    opened = osc(udp_port=None, tcp_port=0)
    assert opened.ports.udp is None
    client = Stream(opened.ports.tcp, request.param)
    client.osc = opened
    yield client
    client.socket.close()


def test_answers_come_in_the_framing_of_the_client(stream):
    stream.send(PING, bundle(PING, PING))
    assert [stream.receive() for _ in range(3)] == [
        ("/jukebox/pong", ["x", "jukebox.bridge.v1"])
    ] * 3
    assert stream.reader.framing is stream.framing


def test_a_packet_may_come_in_pieces(stream):
    for byte in framed(PING, stream.framing):
        stream.socket.sendall(bytes([byte]))
    assert stream.receive()[0] == "/jukebox/pong"


def test_a_continuation_is_driven_through_a_stream(stream, prime):
    stream.send(packet("/jukebox/continue", "sssss", "a", prime.name, "120", "4/4", "1"))
    answers = [stream.receive()]
    while answers[-1][0] not in ("/jukebox/done", "/jukebox/fail"):
        answers.append(stream.receive())
    assert answers[-1][0] == "/jukebox/done", answers[-1]
    assert answers[-1][1][4] == 2 * 44_100


def test_a_session_belongs_to_its_connection_and_ends_with_it(stream, eventually):
    stream.send(packet("/jukebox/session/set/tempo_bpm", "f", 97.5))
    assert stream.receive()[1] == [97.5]
    clients = stream.osc.server.desk.clients
    assert len(clients) == 1
    stream.socket.close()
    eventually(lambda: len(clients) == 0)
    again = Stream(stream.osc.ports.tcp, stream.framing)
    again.send(packet("/jukebox/session/tempo_bpm"))
    assert again.receive()[1] == [120.0]
    again.socket.close()


def test_a_malformed_packet_is_answered_and_the_stream_goes_on(stream):
    stream.send(b"/jukebox", PING)
    assert stream.receive()[1][2] == "INVALID_ARGUMENT"
    assert stream.receive()[0] == "/jukebox/pong"


def test_a_stream_that_cannot_be_read_on_is_told_why_and_cut(osc):
    opened = osc(tcp_port=0)
    for spoilt, framing in ((b"\xc0/\xdbx\xc0", Framing.SLIP), (b"\0\x7f\0\0", Framing.LENGTH)):
        client = Stream(opened.ports.tcp, framing)
        client.socket.sendall(spoilt)
        address, failure = client.receive()
        assert (address, failure[2]) == ("/jukebox/fail", "INVALID_ARGUMENT")
        assert client.receive() is None
        client.socket.close()


def test_one_connection_too_many_is_cut(osc, monkeypatch):
    monkeypatch.setattr(tcp, "MAX_CONNECTIONS", 1)
    opened = osc(tcp_port=0)
    first = Stream(opened.ports.tcp, Framing.SLIP)
    first.send(PING)
    assert first.receive()[0] == "/jukebox/pong"
    second = Stream(opened.ports.tcp, Framing.SLIP)
    assert was_cut(second.receive) or second.receive() is None
    first.send(PING)
    assert first.receive()[0] == "/jukebox/pong"
    for client in (first, second):
        client.socket.close()


class Full:
    """A transport whose client reads nothing."""

    unsent = aborted = 0

    def get_extra_info(self, name):
        return ("127.0.0.1", 1_234)

    def is_closing(self):
        return bool(self.aborted)

    def write(self, data):
        self.unsent += len(data)

    def get_write_buffer_size(self):
        return self.unsent

    def abort(self):
        self.aborted += 1


def test_a_client_that_does_not_read_is_cut():
    server = tcp.TcpServer(lambda packet, peer: None, lambda peer: None)
    peer, transport = tcp.TcpPeer(server), Full()
    peer.connection_made(transport)
    while not transport.aborted:
        peer.send(PING)
    assert tcp.MAX_UNSENT_BYTES < transport.unsent < tcp.MAX_UNSENT_BYTES + 100
    peer.send(PING)
    assert transport.aborted == 1


def test_a_client_that_floods_gets_all_its_answers_and_others_theirs_meanwhile(osc):
    opened = osc(tcp_port=0)
    flood, other = (Stream(opened.ports.tcp, Framing.SLIP) for _ in range(2))
    flood.send(*[PING] * 2_000)
    other.send(PING)
    assert other.receive()[0] == "/jukebox/pong"
    assert [flood.receive()[0] for _ in range(2_000)] == ["/jukebox/pong"] * 2_000
    for client in (flood, other):
        client.socket.close()
