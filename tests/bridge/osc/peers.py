"""The other end of OSC in tests: a peer that remembers, and a UDP client with a port of its own."""

import socket

from bridge.osc.packet import Argument, decode, encode

ENDS = ("/jukebox/done", "/jukebox/fail")


class Remembering:
    """A peer that keeps what was sent to it."""

    def __init__(self, name="me", host="192.0.2.1", connected=False):
        self.key, self.host, self.connected = f"test:{name}", host, connected
        self.packets = []

    def send(self, packet, port=0):
        self.packets.append((packet, port))

    @property
    def heard(self):
        """Return all answers and forget them."""
        packets, self.packets = self.packets, []
        return [told(packet) for packet, _ in packets]


class Asker:
    """A UDP client."""

    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", port))

    def send(self, address, tags="", *values):
        self.socket.send(packet(address, tags, *values))

    def receive(self):
        return told(self.socket.recv(65_536))

    def ask(self, address, tags="", *values):
        self.send(address, tags, *values)
        return self.receive()

    def until_the_end(self):
        """Return all answers up to done or fail."""
        answers = [self.receive()]
        while answers[-1][0] not in ENDS:
            answers.append(self.receive())
        return answers


def packet(address, tags="", *values):
    """Return a message as bytes."""
    return encode(address, [Argument(tag, value) for tag, value in zip(tags, values, strict=True)])


def told(data):
    """Return the address and the values of a message."""
    (message,) = decode(data)
    return message.address, [argument.value for argument in message.arguments]
