"""OSCQuery over HTTP 1.1, and its WebSocket: JSON down, `LISTEN` up, OSC packets both ways.

A browser that reads a stranger's page can reach a loopback port, so a Host that
is no loopback name and an Origin that is none are refused. Knows the namespace
as a function and clients as peers; no engine.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from itertools import count
from typing import Any, Final, cast
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

from bridge.errors import BridgeError, InvalidRequestError, NotFoundError, NotReadyError
from bridge.osc import answers
from bridge.osc.budget import is_loopback
from bridge.osc.clients import Peer
from bridge.osc.packet import encode
from bridge.osc.query import ATTRIBUTES, Json
from bridge.osc.stream import MAX_PACKET_BYTES
from bridge.sockets import check_port_free

log = logging.getLogger(__name__)

MAX_SOCKETS: Final = 32
MAX_QUEUED: Final = 1_024
"""Packets that wait for a WebSocket that reads too slowly; then it is closed."""
MAX_TARGET_BYTES: Final = 4_096


class QueryPeer:
    """One WebSocket."""

    connected = True

    def __init__(self, host: str, number: int) -> None:
        self.host = host
        self.key = f"ws:{host}:{number}"
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(MAX_QUEUED)
        self.overrun = asyncio.Event()

    def send(self, packet: bytes, port: int = 0) -> None:
        """Queue a packet; a port means nothing here."""
        del port
        try:
            self.queue.put_nowait(packet)
        except asyncio.QueueFull:
            self.overrun.set()


class QueryServer:
    """Answers what the namespace holds."""

    def __init__(
        self,
        *,
        describe: Callable[[str], Json | None],
        host_info: Callable[[], Json],
        receive: Callable[[bytes, Peer], None],
        listen: Callable[[str, Peer, bool], None],
        forget: Callable[[Peer], None],
    ) -> None:
        """Prepare to listen.

        Args:
            describe: Returns the node at a path, None if there is none.
            host_info: Returns HOST_INFO.
            receive: Takes an OSC packet.
            listen: Starts or ends to tell a peer of changes at a path, or raises `BridgeError`.
            forget: Is told when a peer has gone.
        """
        self._describe = describe
        self._host_info = host_info
        self._receive = receive
        self._listen = listen
        self._forget = forget
        self._numbers = count(1)
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is another one if 0 was given.

        Raises:
            BusyError: Another process holds the port.
            NotReadyError: The machine refuses the address or the port.
        """
        check_port_free(socket.SOCK_STREAM, host, port)
        app = web.Application(client_max_size=MAX_TARGET_BYTES)
        app.router.add_get("/{path:.*}", self._get)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise NotReadyError(f"TCP port {port} on {host} cannot be used: {error}") from error
        self._runner = runner
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Close all connections and the port."""
        for open_socket in list(self._sockets):
            await open_socket.close(code=WSCloseCode.GOING_AWAY)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if not _is_local(request):
            raise web.HTTPForbidden(text="the Host or the Origin is not this machine's loopback")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._converse(request)
        if "HOST_INFO" in request.query:
            return web.json_response(self._host_info())
        return self._answer(request.path, list(request.query))

    def _answer(self, path: str, asked: list[str]) -> web.Response:
        node = self._describe(path.rstrip("/") or "/")
        if node is None:
            raise web.HTTPNotFound(text=f"there is no node {path[:200]}")
        if not asked:
            return web.json_response(node)
        if len(asked) > 1 or asked[0] not in ATTRIBUTES:
            known = ", ".join(("HOST_INFO", *ATTRIBUTES))
            raise web.HTTPBadRequest(text=f"ask for one attribute of: {known}")
        if asked[0] not in node:
            return web.Response(status=204)
        return web.json_response({asked[0]: node[asked[0]]})

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        if len(self._sockets) >= MAX_SOCKETS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_SOCKETS} WebSockets are open, the limit")
        open_socket = web.WebSocketResponse(max_msg_size=MAX_PACKET_BYTES, heartbeat=30.0)
        await open_socket.prepare(request)
        peer = QueryPeer(request.remote or "", next(self._numbers))
        self._sockets.add(open_socket)
        writer = asyncio.create_task(_write_all(open_socket, peer), name=peer.key)
        try:
            async for message in open_socket:
                self._take(message.type, message.data, peer)
        finally:
            self._sockets.discard(open_socket)
            self._forget(peer)
            writer.cancel()
            await asyncio.wait([writer])
        return open_socket

    def _take(self, kind: WSMsgType, data: Any, peer: Peer) -> None:  # noqa: ANN401 - as aiohttp
        if kind is WSMsgType.BINARY:
            self._receive(data, peer)
        elif kind is WSMsgType.TEXT:
            try:
                command, path = _command_of(data)
                self._listen(path, peer, command == "LISTEN")
            except BridgeError as error:
                peer.send(encode(*answers.failure("", "", error)))


async def _write_all(open_socket: web.WebSocketResponse, peer: QueryPeer) -> None:
    try:
        while not peer.overrun.is_set():
            await open_socket.send_bytes(await peer.queue.get())
        log.warning("%s reads too slowly and is closed", peer.key)
        await open_socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
    except ConnectionError:
        log.debug("%s has gone", peer.key)


def _command_of(text: str) -> tuple[str, str]:
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{text[:80]!r} is no JSON") from error
    said = cast(dict[str, Any], said) if isinstance(said, dict) else {}
    command, path = said.get("COMMAND"), said.get("DATA")
    if command not in ("LISTEN", "IGNORE"):
        raise NotFoundError(f"the command is {str(command)[:40]!r}, known are LISTEN and IGNORE")
    if not isinstance(path, str):
        raise InvalidRequestError(f"DATA of {command} is {str(path)[:40]!r}, a path is needed")
    return str(command), path


def _is_local(request: web.Request) -> bool:
    origin = request.headers.get("Origin")
    names = [urlsplit(f"//{request.host}").hostname]
    if origin is not None:
        names.append(urlsplit(origin).hostname)
    return all(name == "localhost" or (name and is_loopback(name)) for name in names)
