"""The DAW plugin's socket: frames over TCP or a unix socket, the messages of a live session inside.

Translates and decides nothing. It has neither TLS nor accounts: loopback or a
unix socket alone, and a token where the server asks for tokens. Knows no other
wire and no implementation.
"""

import asyncio
import logging
import socket
import struct
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from google.protobuf.message import DecodeError

from bridge.engine import Engine
from bridge.errors import (
    BridgeError,
    InvalidRequestError,
    NotReadyError,
    StoppingError,
    UnsupportedError,
)
from bridge.job_messages import message_of_take, verdict_of
from bridge.live import LiveSession
from bridge.live_messages import failure, opened, setup_of
from bridge.live_talk import LiveTalk
from bridge.security import LOCAL, SCHEME, UNIX, Keyring, is_local
from bridge.sockets import check_port_free, clear_unix_path, private_files, unix_path
from bridge.upload import check_id
from protos import bridge_pb2

log = logging.getLogger(__name__)

PROTOCOL: Final = 1
MAX_FRAME_BYTES: Final = 2 * 1024 * 1024
MAX_PLUGINS: Final = 64
MAX_MIDI_MESSAGES: Final = 65_536
"""In one frame."""
MAX_WAITING_MESSAGES: Final = 256
HELLO_SECONDS: Final = 10.0
LOADING_SECONDS: Final = 120.0
"""A session that a plugin opens while the model is loading waits for it so long."""
LOOK_SECONDS: Final = 0.1
NAME: Final = "jukebox-bridge"
_LENGTH: Final = struct.Struct("<I")

EngineSource: TypeAlias = Callable[[], Engine[Any]]
"""Returns the engine, or raises `NotReadyError` while there is none."""


class PluginServer:
    """The listening socket, and a conversation for each plugin."""

    def __init__(
        self,
        engine: EngineSource,
        keys: Callable[[], Keyring | None] = lambda: None,
        *,
        on_midi: Callable[[bridge_pb2.PluginMidi], None] | None = None,
    ) -> None:
        """Prepare to listen.

        Args:
            engine: Returns what renders.
            keys: Returns the tokens that are asked for, None asks nobody; called at the start.
            on_midi: Is handed what the hosts' MIDI inputs brought; None leaves it.
        """
        self._engine = engine
        self._read_keys = keys
        self._keys: Keyring | None = None
        self._on_midi = on_midi
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def num_plugins(self) -> int:
        """Return how many plugins are connected."""
        return len(self._talks)

    async def start(self, host: str, port: int) -> int:
        """Listen on a loopback port or on `unix:PATH`; return the port, 0 for a path.

        Raises:
            UnsupportedError: A host that other machines can reach.
            BusyError: Another process listens there.
            NotReadyError: The machine refuses the place, or the tokens cannot be read.
        """
        if not is_local(host):
            raise UnsupportedError(
                f"the plugin's socket has no TLS and listens on loopback alone, not on {host!r}"
            )
        self._keys = self._read_keys()
        if host.startswith(UNIX):
            path = unix_path(host)
            clear_unix_path(path)
            with private_files():
                self._server = await asyncio.start_unix_server(self._accept, path)
            self._path = path
            return 0
        check_port_free(socket.SOCK_STREAM, host, port)
        self._server = await asyncio.start_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Take no more plugins and cut the others off: they play on what they have."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        for task in self._talks:
            task.cancel()
        if self._talks:
            await asyncio.wait(self._talks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        conversation = _Conversation(self._engine, self._keys, self._on_midi, reader, writer)
        try:
            if len(self._talks) > MAX_PLUGINS:
                await conversation.refuse(_too_many())
            else:
                await conversation.run()
        except (ConnectionError, asyncio.IncompleteReadError):
            log.debug("a plugin has gone")
        except asyncio.CancelledError:
            # The end of the server, which nobody waits for through this task.
            log.debug("a plugin was cut off")
        finally:
            self._talks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


class _Conversation:
    """One plugin, from its hello to its end."""

    def __init__(
        self,
        engine: EngineSource,
        keys: Keyring | None,
        on_midi: Callable[[bridge_pb2.PluginMidi], None] | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._engine = engine
        self._keys = keys
        self._on_midi = on_midi
        self._reader = reader
        self._writer = writer
        self._caller = LOCAL
        self._connection = uuid.uuid4().hex
        self._session: _Session | None = None

    async def run(self) -> None:
        """Return when the plugin has gone, or has said what cannot be understood."""
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                await self._greet()
            while (request := await self._next()) is not None:
                await self._take(request)
        except TimeoutError:
            await self.refuse(InvalidRequestError(f"no hello came within {HELLO_SECONDS:g} s"))
        except BridgeError as error:
            await self.refuse(error)
        finally:
            await self._end_session()

    async def refuse(self, error: BridgeError) -> None:
        """Tell why the connection, or its session, ends."""
        log.info("plugin: %s", error)
        await self._send(bridge_pb2.PluginEvent(failed=failure("", error)))

    async def _greet(self) -> None:
        request = await self._next()
        if request is None or request.WhichOneof("part") != "hello":
            raise InvalidRequestError("the first message of a plugin must be its hello")
        hello = request.hello
        if hello.protocol != PROTOCOL:
            raise UnsupportedError(
                f"the plugin speaks protocol {hello.protocol}, this server {PROTOCOL}: "
                "build the plugin of this version"
            )
        if self._keys is not None:
            self._caller = self._keys.caller(f"{SCHEME}{hello.token}")
        log.info("plugin connected: %.80s", hello.plugin)
        try:
            model = self._engine().info.name
        except (NotReadyError, StoppingError):
            model = ""
        welcome = bridge_pb2.PluginWelcome(protocol=PROTOCOL, server=NAME, model=model)
        await self._send(bridge_pb2.PluginEvent(welcome=welcome))

    async def _take(self, request: bridge_pb2.PluginRequest) -> None:
        match request.WhichOneof("part"):
            case "live":
                await self._take_live(request.live)
            case "midi":
                if len(request.midi.messages) > MAX_MIDI_MESSAGES:
                    raise InvalidRequestError(
                        f"a frame holds {len(request.midi.messages)} MIDI messages, "
                        f"the limit is {MAX_MIDI_MESSAGES} messages"
                    )
                if self._on_midi is not None:
                    self._on_midi(request.midi)
            case "tag":
                await self._tag(request.tag)
            case _:
                raise InvalidRequestError("after the hello only live, midi and tag may come")

    async def _take_live(self, message: bridge_pb2.LiveRequest) -> None:
        if message.WhichOneof("part") == "header":
            await self._end_session()
            client_id = f"plugin:{self._caller}/{self._connection}"
            self._session = _Session(self._engine, client_id, message.header, self._send)
        elif self._session is not None:
            await self._session.put(message)
        # Without a session it was meant for one that has failed, which was told.

    async def _tag(self, asked: bridge_pb2.TagTakeRequest) -> None:
        try:
            check_id("take_id", asked.take_id)
            store = self._engine().store
            name = asked.name if asked.HasField("name") else None
            entry = await asyncio.to_thread(store.tag, asked.take_id, verdict_of(asked.mark), name)
        except BridgeError as error:
            failed = bridge_pb2.LiveEvent(failed=failure(asked.take_id, error))
            await self._send(bridge_pb2.PluginEvent(live=failed))
        else:
            await self._send(bridge_pb2.PluginEvent(tagged=message_of_take(entry)))

    async def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.end()

    async def _next(self) -> bridge_pb2.PluginRequest | None:
        head = await self._reader.read(_LENGTH.size)
        if not head:
            return None
        head += await self._reader.readexactly(_LENGTH.size - len(head))
        (size,) = _LENGTH.unpack(head)
        if size > MAX_FRAME_BYTES:
            raise InvalidRequestError(
                f"a frame of {size} bytes is announced, the limit is {MAX_FRAME_BYTES} bytes"
            )
        data = await self._reader.readexactly(size)
        try:
            return bridge_pb2.PluginRequest.FromString(data)
        except DecodeError as error:
            raise InvalidRequestError(f"{size} bytes are no PluginRequest: {error}") from error

    async def _send(self, event: bridge_pb2.PluginEvent) -> None:
        data = event.SerializeToString()
        self._writer.write(_LENGTH.pack(len(data)) + data)
        await self._writer.drain()


class _Session:
    """One live session of a plugin; a failure ends it and not the connection."""

    def __init__(
        self,
        engine: EngineSource,
        client_id: str,
        header: bridge_pb2.LiveHeader,
        send: Callable[[bridge_pb2.PluginEvent], Any],
    ) -> None:
        self._engine = engine
        self._client_id = client_id
        self._header = header
        self._send = send
        self._incoming: asyncio.Queue[bridge_pb2.LiveRequest] = asyncio.Queue(MAX_WAITING_MESSAGES)
        self._task = asyncio.create_task(self._run(), name=f"live session of {client_id}")

    async def put(self, message: bridge_pb2.LiveRequest) -> None:
        """Hand on a message; returns when there was room for it, or nobody left to read it."""
        putting = asyncio.create_task(self._incoming.put(message))
        try:
            await asyncio.wait((putting, self._task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Who waits here may be cancelled; its message must not wait on for a session that ends.
            putting.cancel()

    async def end(self) -> None:
        """Return once it has ended and nothing is computed for it."""
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        try:
            await self._live()
        except BridgeError as error:
            log.info("plugin: %s", error)
            await self._send(bridge_pb2.PluginEvent(failed=failure("", error)))
        except ConnectionError:
            log.debug("a plugin has gone")

    async def _live(self) -> None:
        for name in ("request_id", "model"):
            check_id(name, getattr(self._header, name))
        setup = setup_of(self._client_id, self._header)
        session: LiveSession[Any] = LiveSession(await self._loaded(), setup)
        try:
            await session.open()
            await self._send(bridge_pb2.PluginEvent(live=opened(session, setup)))
            events = LiveTalk(session, setup, self._header).events(self._messages())
            try:
                async for event in events:
                    await self._send(bridge_pb2.PluginEvent(live=event))
            finally:
                await events.aclose()
        finally:
            await session.close()

    async def _loaded(self) -> Engine[Any]:
        """Return the engine, once the model is there: a server that was started again loads it.

        Raises:
            NotReadyError: It is not there in time.
            StoppingError: The server goes away.
        """
        end_s = time.monotonic() + LOADING_SECONDS
        while True:
            try:
                return self._engine()
            except NotReadyError:
                if time.monotonic() > end_s:
                    raise
            await asyncio.sleep(LOOK_SECONDS)

    async def _messages(self) -> AsyncIterator[bridge_pb2.LiveRequest]:
        while True:
            yield await self._incoming.get()


def _too_many() -> BridgeError:
    return NotReadyError(f"{MAX_PLUGINS} plugins are connected, more are not served")
