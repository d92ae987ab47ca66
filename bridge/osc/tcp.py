"""OSC over TCP: one connection, one client; SLIP or lengths, whichever its first byte shows.

Knows no address: whole packets go to whoever takes them.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from bridge.errors import BridgeError, NotReadyError
from bridge.osc import answers
from bridge.osc.clients import Peer
from bridge.osc.packet import encode
from bridge.osc.stream import Framing, PacketReader, framed
from bridge.sockets import check_port_free

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64
PACKETS_AT_ONCE: Final = 16
"""Then other clients have their turn."""
MAX_UNSENT_BYTES: Final = 1024 * 1024
"""Answers that wait for a client that reads too slowly; then it is cut."""


class TcpPeer(asyncio.Protocol):
    """One connection."""

    connected = True

    def __init__(self, server: "TcpServer") -> None:
        self._server = server
        self._reader = PacketReader()
        self._waiting: deque[bytes] = deque()
        self._transport: asyncio.Transport | None = None
        self.host = ""
        self.key = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse one too many."""
        self._transport = cast(asyncio.Transport, transport)
        address: Any = transport.get_extra_info("peername") or ("", 0)
        self.host, self.key = str(address[0]), f"tcp:{address[0]}:{address[1]}"
        if not self._server.admit(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        del exc
        self._server.leave(self)

    def data_received(self, data: bytes) -> None:
        """Hand on the packets that are whole; a stream that cannot be read is told why and cut."""
        try:
            packets = self._reader.feed(data)
        except BridgeError as error:
            self._waiting.clear()
            self.send(encode(*answers.failure("", "", error)))
            self.close()
            return
        self._waiting += packets
        self._work()

    def _work(self) -> None:
        transport = self._transport
        for _ in range(min(PACKETS_AT_ONCE, len(self._waiting))):
            packet = self._waiting.popleft()
            if transport is not None and not transport.is_closing():
                self._server.receive(packet, self)
        if transport is None or transport.is_closing():
            self._waiting.clear()
        elif self._waiting:
            # Others get their turn before the rest; nothing more is read until then.
            transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._work)
        else:
            transport.resume_reading()

    def send(self, packet: bytes, port: int = 0) -> None:
        """Send a packet in the framing that the client speaks; a port means nothing here."""
        del port
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(framed(packet, self._reader.framing or Framing.SLIP))
        if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            log.warning("%s reads too slowly and is cut", self.key)
            transport.abort()

    def close(self) -> None:
        """End the connection once what was said has left."""
        if self._transport is not None:
            self._transport.close()


class TcpServer:
    """The listening port and its connections."""

    def __init__(
        self, receive: Callable[[bytes, Peer], None], forget: Callable[[Peer], None]
    ) -> None:
        """Prepare to listen.

        Args:
            receive: Takes an OSC packet.
            forget: Is told when a client has gone.
        """
        self.receive = receive
        self._forget = forget
        self._peers: set[TcpPeer] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is another one if 0 was given.

        Raises:
            BusyError: Another process holds the port.
            NotReadyError: The machine refuses the address or the port.
        """
        check_port_free(socket.SOCK_STREAM, host, port)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: TcpPeer(self), host, port)
        except OSError as error:
            raise NotReadyError(f"TCP port {port} on {host} cannot be used: {error}") from error
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.close()
        for peer in list(self._peers):
            peer.close()

    def admit(self, peer: TcpPeer) -> bool:
        """Return whether there is room for one more."""
        if len(self._peers) >= MAX_CONNECTIONS:
            log.warning("%s is refused: %d connections are open", peer.key, len(self._peers))
            return False
        self._peers.add(peer)
        return True

    def leave(self, peer: TcpPeer) -> None:
        """Forget a client that has gone."""
        self._peers.discard(peer)
        self._forget(peer)
