"""OSC on its ports: UDP, TCP and OSCQuery, all leading to one table of addresses.

Answers go to the address and port that asked. Audio goes by file path, never in
packets. Knows neither gRPC nor how music is made.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge.errors import (
    BridgeError,
    InvalidRequestError,
    NotFoundError,
    NotReadyError,
    UnsupportedError,
)
from bridge.osc.announce import QUERY_TYPE, UDP_TYPE, Announcer
from bridge.osc.answers import Answer
from bridge.osc.budget import SendBudget, is_loopback
from bridge.osc.call import Access, Call
from bridge.osc.clients import NODES, Peer
from bridge.osc.desk import Desk, EngineSource
from bridge.osc.dispatch import Dispatcher
from bridge.osc.packet import encode
from bridge.osc.query import HostInfo, Json, host_info, namespace
from bridge.osc.query_http import QueryServer
from bridge.osc.schedule import Schedule
from bridge.osc.table import ROWS
from bridge.osc.tcp import TcpServer
from bridge.sockets import check_port_free

log = logging.getLogger(__name__)

NAME: Final = "Jukebox Bridge"
NOTICE_SECONDS: Final = 0.05
"""Changes are told at most twenty times a second."""
RECEIVE_BYTES: Final = 4 * 2**20
"""Of datagrams that wait while the server computes: some seconds of 2000 messages a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OscSettings:
    """Where OSC listens; a port of 0 takes a free one, None serves none.

    Attributes:
        host: A loopback address: OSC knows neither encryption nor tokens.
        udp_port: Of OSC over UDP.
        tcp_port: Of OSC over TCP.
        query_port: Of OSCQuery, HTTP and WebSocket.
        announce: Whether to announce the ports by zeroconf.

    Raises:
        UnsupportedError: A host that other machines can reach.
    """

    host: str = "127.0.0.1"
    udp_port: int | None = 0
    tcp_port: int | None = None
    query_port: int | None = None
    announce: bool = False

    def __post_init__(self) -> None:
        """Refuse what would be open to strangers."""
        if self.host != "localhost" and not is_loopback(self.host):
            raise UnsupportedError(
                f"OSC cannot be served on {self.host}: it has neither encryption nor tokens, "
                "so it is served on a loopback address alone"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OscPorts:
    """Where OSC is listened to; None where it is not."""

    udp: int | None = None
    tcp: int | None = None
    query: int | None = None

    def named(self) -> list[tuple[str, int]]:
        """Return the ports that are open, with names for people."""
        ports = (("OSC", self.udp), ("OSC over TCP", self.tcp), ("OSCQuery", self.query))
        return [(name, port) for name, port in ports if port is not None]


@dataclass(frozen=True, slots=True)
class UdpPeer:
    """Who sent a datagram."""

    server: "UdpServer"
    address: tuple[Any, ...]
    connected = False

    @property
    def host(self) -> str:
        """Return the host alone."""
        return str(self.address[0])

    @property
    def key(self) -> str:
        """Return the client's name."""
        return f"udp:{self.address[0]}:{self.address[1]}"

    def send(self, packet: bytes, port: int = 0) -> None:
        """Send a datagram to the port that asked, or to another one of its host."""
        host, own, *more = self.address
        self.server.send(packet, (host, port or own, *more))


class UdpServer(asyncio.DatagramProtocol):
    """The listening socket."""

    def __init__(self, receive: Callable[[bytes, Peer], None], budget: SendBudget) -> None:
        self._receive = receive
        self._budget = budget
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is another one if 0 was given.

        Raises:
            BusyError: Another process holds the port.
            NotReadyError: The machine refuses the address or the port.
        """
        check_port_free(socket.SOCK_DGRAM, host, port)
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: self, local_addr=(host, port)
            )
        except OSError as error:
            raise NotReadyError(f"UDP port {port} on {host} cannot be used: {error}") from error
        self._transport = transport
        bound = transport.get_extra_info("socket")
        # The system grants what it allows, and says nothing if that is less.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        return int(bound.getsockname()[1])

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Hand a datagram on."""
        self._receive(data, UdpPeer(self, addr))

    def error_received(self, exc: Exception) -> None:
        """Note that a client has gone; UDP knows no more."""
        log.debug("a client could not be reached: %s", exc)

    def send(self, packet: bytes, address: tuple[Any, ...]) -> None:
        """Send a datagram, unless its host had too much."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._budget.allows(str(address[0]), int(address[1]), len(packet)):
            transport.sendto(packet, address)

    def stop(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()


class OscServer:
    """The ports, the addresses behind them and the work that they started."""

    def __init__(
        self,
        engine: EngineSource,
        folders: Sequence[Path],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare to listen.

        Args:
            engine: Returns the engine, or raises `NotReadyError`.
            folders: Where files may be named; relative paths count from the first.
            clock: Seconds, monotone, for the pace of progress.
            wall_clock: Unix seconds, for timetags.
        """
        self.schedule = Schedule(wall_clock)
        self.budget = SendBudget(clock)
        self.desk = Desk(engine, folders, clock=clock, waiting=lambda: len(self.schedule))
        self._dispatcher = Dispatcher(ROWS, self._run, self.schedule)
        self._udp = UdpServer(self.receive, self.budget)
        self._tcp = TcpServer(self.receive, self.forget)
        self._query: QueryServer | None = None
        self._announcer = Announcer()
        self.announced = False
        self._noticing: asyncio.Task[None] | None = None

    async def start(self, settings: OscSettings) -> OscPorts:
        """Listen where the settings say; return the ports.

        Raises:
            BusyError: Another process holds a port.
            NotReadyError: The machine refuses the address or a port.
        """
        try:
            ports = await self._open(settings)
        except BridgeError:
            await self._close()
            raise
        if settings.announce:
            announced = {UDP_TYPE: ports.udp, QUERY_TYPE: ports.query}
            known = {kind: port for kind, port in announced.items() if port is not None}
            self.announced = await self._announcer.start(NAME, settings.host, known)
        self._noticing = asyncio.create_task(self._notice(), name="osc notices")
        return ports

    async def stop(self, drain_seconds: float) -> None:
        """Start nothing more, let running requests end for so long, tell the rest, close."""
        self.schedule.close()
        if self._noticing is not None:
            self._noticing.cancel()
            await asyncio.wait([self._noticing])
        await self._announcer.stop()
        await self.desk.stop(drain_seconds)
        await self._close()

    def receive(self, packet: bytes, peer: Peer) -> None:
        """Answer a packet, whatever it is and whichever way it came."""
        self.desk.clients.touch(peer)
        self._dispatcher.receive(packet, peer)

    def forget(self, peer: Peer) -> None:
        """Drop what a client left that has gone; its jobs go on."""
        self.schedule.forget(peer.key)
        self.desk.clients.forget(peer.key)

    async def _open(self, settings: OscSettings) -> OscPorts:
        host = settings.host
        udp = tcp = query = None
        if settings.udp_port is not None:
            udp = await self._udp.start(host, settings.udp_port)
        if settings.tcp_port is not None:
            tcp = await self._tcp.start(host, settings.tcp_port)
        if settings.query_port is not None:
            query = await self._start_query(host, settings.query_port, udp or 0)
        return OscPorts(udp=udp, tcp=tcp, query=query)

    async def _close(self) -> None:
        self._udp.stop()
        await self._tcp.stop()
        if self._query is not None:
            await self._query.stop()

    def _run(self, call: Call) -> Sequence[Answer]:
        return call.row.handler(self.desk, call)

    async def _notice(self) -> None:
        while True:
            await asyncio.sleep(NOTICE_SECONDS)
            self.desk.tell_changes()

    async def _start_query(self, host: str, port: int, udp_port: int) -> int:
        def told() -> Json:
            return host_info(HostInfo(name=NAME, host=host, udp_port=udp_port, query_port=bound))

        self._query = QueryServer(
            describe=lambda path: namespace(ROWS, path, self.desk.clients.get),
            host_info=told,
            receive=self.receive,
            listen=self._listen,
            forget=self.forget,
        )
        bound = await self._query.start(host, port)
        return bound

    def _listen(self, path: str, peer: Peer, wanted: bool) -> None:
        node = next((known for known in NODES if known.path == path), None)
        if node is None:
            if any(row.address == path and row.access is Access.WRITE for row in ROWS):
                raise InvalidRequestError(f"{path} holds no value to listen to")
            raise NotFoundError(f"there is no node {path[:80]!r}")
        if not wanted:
            self.desk.clients.ignore(node, peer)
            return
        self.desk.clients.listen(node, peer)
        peer.send(encode(*self.desk.value_of(node, peer)))
