"""The gate of the gRPC server: who calls, what a call may take, and how a verb becomes a handler.

Every verb of the table runs inside the same frame: counted for its caller,
written to the audit log, its errors spelled as statuses. Knows no verb.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from bridge.callers import AuditEntry, AuditLog, Callers
from bridge.engine import Engine
from bridge.errors import AccessError, BridgeError, ErrorCode, InvalidRequestError
from bridge.grpc_errors import Context, abort, errors_as_status
from bridge.limits import MAX_ID_CHARACTERS
from bridge.messages import messages_of_event
from bridge.request import MAX_DEADLINE_SECONDS, RenderEvent, RenderRequest
from bridge.security import LOCAL, Keyring, Security, read_public, read_secret
from bridge.shelf import Shelf
from protos import bridge_pb2

EngineSource: TypeAlias = Callable[[], Engine[Any]]
"""Returns the engine, or raises `NotReadyError` while there is none."""

AUTHORIZATION: Final = "authorization"
CLIENT_NAME: Final = "jukebox-client"
"""Metadata in which a program may name itself, so that all its connections count as one."""
MAX_CALLS: Final = 512
SERVER_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # else a second server would take half of the calls, not fail
    ("grpc.keepalive_time_ms", 60_000),  # a client that fell silent is noticed
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 5),
    ("grpc.max_metadata_size", 16 * 1024),
)
CLOCK: Final = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What all verbs share."""

    engine: EngineSource
    shelf: Shelf
    callers: Callers
    audit: AuditLog
    keys: Keyring | None
    """None asks nobody for a token."""
    begun_s: float = field(default_factory=lambda: CLOCK())

    def caller(self, metadata: Iterable[tuple[str, str | bytes]]) -> str:
        """Return who calls.

        Raises:
            AccessError: A token is wanted and was not brought.
        """
        return LOCAL if self.keys is None else self.keys.caller(_text(metadata, AUTHORIZATION))


@dataclass(slots=True, kw_only=True)
class Call:
    """One call: who makes it, how, and the request that it turns out to be about."""

    desk: Desk
    context: Context
    verb: str
    caller: str
    request_id: str = ""
    begun_s: float = field(default_factory=lambda: CLOCK())

    def client_id(self) -> str:
        """Return whom the engine shares its work between: a named program, else a connection."""
        name = _text(self.context.invocation_metadata() or (), CLIENT_NAME)
        if name is not None and len(name) > MAX_ID_CHARACTERS:
            raise InvalidRequestError(
                f"{CLIENT_NAME} has {len(name)} characters, the limit is "
                f"{MAX_ID_CHARACTERS} characters"
            )
        return f"grpc:{self.caller}/{name or self.context.peer()}"

    def signed(self, request: RenderRequest) -> RenderRequest:
        """Return a request with the caller's name and the call's deadline on it.

        A detached job outlives its call, so the call's deadline is not its own.
        """
        self.request_id = request.request_id
        left_s = cast("float | None", self.context.time_remaining())
        if request.detached or left_s is None or left_s > MAX_DEADLINE_SECONDS:
            left_s = None
        return replace(
            request,
            client_id=self.client_id(),
            # Keys are the server's; with the caller before them, two callers' never meet.
            idempotency_key=f"{self.caller}/{key}" if (key := request.idempotency_key) else "",
            deadline_s=None if left_s is None else max(left_s, 0.001),
        )


Request = TypeVar("Request")
Response = TypeVar("Response")
Verb: TypeAlias = Callable[[Call, Any], AsyncGenerator[Any, None]]
"""Yields the messages of its answer; one alone where the service says so."""


async def rendered(call: Call, request: RenderRequest) -> AsyncGenerator[bridge_pb2.RenderEvent]:
    """Yield a request's events as messages; closing it ends the request, unless it is detached."""
    events: AsyncGenerator[RenderEvent] = call.desk.engine().render(call.signed(request))
    async with aclosing(events):
        async for event in events:
            for message in messages_of_event(event):
                yield message


def handlers(
    desk: Desk, service: ServiceDescriptor, verbs: Mapping[str, Verb]
) -> grpc.GenericRpcHandler:
    """Return what answers a service's calls, a verb for each method of its descriptor."""
    table = {method.name: _handler(desk, method, verbs[method.name]) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, table)


class Gate(grpc.aio.ServerInterceptor):
    """Lets in whoever has a token, whatever is called: verbs, health or reflection."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Request, Response] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Request, Response] | None:
        """Return the handler of a call, or one that refuses it."""
        try:
            self._desk.caller(handler_call_details.invocation_metadata or ())
        except AccessError as error:
            return _refusal(self._desk, str(handler_call_details.method), error)
        return await continuation(handler_call_details)


def credentials(security: Security) -> grpc.ServerCredentials | None:
    """Return the server's side of TLS, or None where it is off.

    Raises:
        NotReadyError: A file cannot be read, or others could read the key.
    """
    if security.certificate is None or security.private_key is None:
        return None
    key = read_secret(security.private_key)
    chain = read_public(security.certificate)
    authority = None if security.client_ca is None else read_public(security.client_ca)
    return grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=authority, require_client_auth=authority is not None
    )


def _handler(desk: Desk, method: MethodDescriptor, verb: Verb) -> grpc.RpcMethodHandler[Any, Any]:
    kind = "_".join(
        "stream" if streams else "unary"
        for streams in (method.client_streaming, method.server_streaming)
    )
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    behaviour = _streaming if method.server_streaming else _single
    # Read inside the frame: grpcio answers bytes that are no message with UNKNOWN and a traceback.
    return make(
        behaviour(desk, method, verb),
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


def _streaming(
    desk: Desk, method: MethodDescriptor, verb: Verb
) -> Callable[[Any, Context], Awaitable[None]]:
    read = _reader(method)

    async def answer(request: Any, context: Context) -> None:  # noqa: ANN401 - bytes, or many
        # Written here and not yielded: a cancelled call then closes the engine's generator at
        # once, also while it waits for a slow reader.
        async with (
            _framed(desk, method.name, context) as call,
            aclosing(verb(call, read(request))) as messages,
        ):
            async for message in messages:
                await context.write(message)

    return answer


def _single(
    desk: Desk, method: MethodDescriptor, verb: Verb
) -> Callable[[Any, Context], Awaitable[Any]]:
    read = _reader(method)

    async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401 - bytes, or many
        async with (
            _framed(desk, method.name, context) as call,
            aclosing(verb(call, read(request))) as messages,
        ):
            return await anext(messages)

    return answer


def _reader(method: MethodDescriptor) -> Callable[[Any], Any]:
    """Return what makes messages of a call's bytes, one or a stream of them."""
    kind: Any = GetMessageClass(method.input_type)

    def one(data: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return kind.FromString(data)
        except DecodeError as error:
            raise InvalidRequestError(
                f"{len(data)} bytes are no {method.input_type.full_name}: {error}"
            ) from error

    async def many(stream: AsyncIterable[bytes]) -> AsyncGenerator[Any]:
        async for data in stream:
            yield one(data)

    return many if method.client_streaming else one


@asynccontextmanager
async def _framed(desk: Desk, verb: str, context: Context) -> AsyncGenerator[Call]:
    async with errors_as_status(context):
        caller = desk.caller(context.invocation_metadata() or ())
        call = Call(desk=desk, context=context, verb=verb, caller=caller)
        async with _audited(call):
            with desk.callers.calling(caller):
                yield call


@asynccontextmanager
async def _audited(call: Call) -> AsyncGenerator[None]:
    outcome = ErrorCode.INTERNAL.name
    try:
        yield
        outcome = "OK"
    except BridgeError as error:
        outcome = error.code.name
        raise
    except asyncio.CancelledError:
        outcome = "CANCELLED"
        raise
    finally:
        call.desk.audit.write(
            AuditEntry(
                caller=call.caller,
                peer=str(call.context.peer()),
                verb=call.verb,
                request_id=call.request_id,
                outcome=outcome,
                seconds=round(CLOCK() - call.begun_s, 3),
            )
        )


def _refusal(desk: Desk, method: str, error: AccessError) -> grpc.RpcMethodHandler[Any, Any]:
    async def refuse(_: Any, context: Context) -> None:  # noqa: ANN401 - any message
        verb = method.rpartition("/")[2]
        desk.audit.write(
            AuditEntry(
                caller="",
                peer=str(context.peer()),
                verb=verb,
                request_id="",
                outcome=error.code.name,
                seconds=0.0,
            )
        )
        await abort(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)


def _text(metadata: Iterable[tuple[str, str | bytes]], name: str) -> str | None:
    for key, value in metadata:
        if key == name:
            return value if isinstance(value, str) else value.decode("utf-8", "replace")
    return None
