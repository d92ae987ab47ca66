"""gRPC on one side, the engine's values on the other; decides nothing.

The whole error policy is one context manager. Knows neither OSC nor how music
is made.
"""

import logging
import secrets
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from bridge.engine import Engine
from bridge.errors import (
    BridgeError,
    BusyError,
    ErrorCode,
    InvalidRequestError,
)
from bridge.messages import message_of_model, messages_of_event
from bridge.request import RenderRequest
from bridge.sockets import check_port_free
from bridge.upload import MAX_UPLOAD_BYTES, Upload
from protos import bridge_pb2, bridge_pb2_grpc

log = logging.getLogger(__name__)

SERVICE = bridge_pb2.DESCRIPTOR.services_by_name["Bridge"].full_name
HEALTH_NAMES = ("", SERVICE)
MAX_UPLOADS_BYTES = 2 * MAX_UPLOAD_BYTES
"""Of audio that all calls together may have under way."""
MAX_CALLS = 64
SEED_BITS = 63
SERVER_OPTIONS = (("grpc.so_reuseport", 0),)
"""Else a second server would take half of the calls instead of failing."""

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
EngineSource: TypeAlias = Callable[[], Engine[Any]]
"""Returns the engine, or raises `NotReadyError` while there is none."""

# grpcio ships no types for what its tools generate, nor for the health servicer.
_bridge_grpc: Any = bridge_pb2_grpc
_health_grpc: Any = health_pb2_grpc
_aio_health: Any = vars(health)["aio"]


class BridgeService(bridge_pb2_grpc.BridgeServicer):
    """Translates calls; one for all clients."""

    def __init__(self, engine: EngineSource) -> None:
        self._engine = engine
        self._uploads = _Uploads()

    async def Continue(
        self, request_iterator: AsyncIterator[bridge_pb2.ContinueRequest], context: Context
    ) -> None:
        """Take a section in, stream its continuation out; a call that ends ends the work."""
        async with errors_as_status(context):
            engine = self._engine()
            request = await self._receive(request_iterator)
            # Written here and not yielded: a cancelled call then closes the engine's generator
            # at once, also while it waits for a slow reader.
            async with aclosing(engine.render(request)) as events:
                async for event in events:
                    for message in messages_of_event(event):
                        await context.write(message)

    async def ListModels(
        self, request: bridge_pb2.ListModelsRequest, context: Context
    ) -> bridge_pb2.ListModelsResponse:
        """Return the models held by the server."""
        del request
        answer = bridge_pb2.ListModelsResponse()
        async with errors_as_status(context):
            answer.models.append(message_of_model(self._engine().info))
        return answer

    async def _receive(self, incoming: AsyncIterator[bridge_pb2.ContinueRequest]) -> RenderRequest:
        first = await anext(incoming, None)
        if first is None or first.WhichOneof("part") != "header":
            raise InvalidRequestError("the first message of a call must be its header")
        upload = Upload(first.header, secrets.randbits(SEED_BITS))
        with self._uploads.held(upload.claimed_bytes):
            async for message in incoming:
                if message.WhichOneof("part") != "audio":
                    raise InvalidRequestError("after the header only audio blocks may come")
                upload.take(message.audio)
            return upload.request()


class GrpcServer:
    """The listening server: our service, health and reflection on one loopback port."""

    def __init__(self, engine: EngineSource) -> None:
        self._server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
        self._health: Any = _aio_health.HealthServicer()
        _bridge_grpc.add_BridgeServicer_to_server(BridgeService(engine), self._server)
        _health_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self, host: str, port: int) -> int:
        """Listen, saying NOT_SERVING; return the port, which is another one if 0 was given.

        Raises:
            BusyError: Another process holds the port.
            NotReadyError: The machine refuses the address or the port.
        """
        check_port_free(socket.SOCK_STREAM, host, port)
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)
        address = f"[{host}]" if ":" in host else host
        try:
            bound = self._server.add_insecure_port(f"{address}:{port}")
        except RuntimeError as error:
            raise BusyError(f"TCP port {port} on {host} cannot be used: {error}") from error
        await self._server.start()
        return bound

    async def serve(self) -> None:
        """Say SERVING: the engine is warm."""
        await self._tell(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Say NOT_SERVING, take no more calls, let running ones end for so long, cut the rest."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)

    async def _tell(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in HEALTH_NAMES:
            await self._health.set(name, status)


@asynccontextmanager
async def errors_as_status(context: Context) -> AsyncGenerator[None]:
    """Spell every failure inside as a gRPC status; cancellation passes untouched."""
    try:
        yield
    except BridgeError as error:
        await context.abort(grpc.StatusCode[error.code.name], str(error))
    except Exception:
        log.exception("unexpected failure in a call")
        await context.abort(grpc.StatusCode[ErrorCode.INTERNAL.name], "internal error")


class _Uploads:
    """The bytes that all calls together are sending."""

    def __init__(self) -> None:
        self._bytes = 0

    @contextmanager
    def held(self, num_bytes: int) -> Generator[None]:
        if self._bytes + num_bytes > MAX_UPLOADS_BYTES:
            raise BusyError(
                f"{self._bytes + num_bytes} bytes of audio would be under way, "
                f"the limit of all calls together is {MAX_UPLOADS_BYTES} bytes"
            )
        self._bytes += num_bytes
        try:
            yield
        finally:
            self._bytes -= num_bytes
