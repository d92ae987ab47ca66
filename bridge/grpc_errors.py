"""Our errors as gRPC statuses with `google.rpc` details, and back; for server and client.

A refusal names its reason (ErrorInfo), the field to blame (BadRequest) and when
to try again (RetryInfo). Knows no call and no channel of its own.
"""

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import (  # pyright: ignore[reportMissingTypeStubs]
    error_details_pb2,
    status_pb2,
)

from bridge.edge import failures_told
from bridge.errors import BridgeError, ErrorCode

DOMAIN: Final = "jukebox-bridge"
DETAILS_KEY: Final = "grpc-status-details-bin"

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@asynccontextmanager
async def errors_as_status(context: Context) -> AsyncGenerator[None]:
    """Spell every failure inside as a gRPC status; cancellation passes untouched."""
    failed: list[BridgeError] = []
    with failures_told("a call", failed.append):
        yield
    for error in failed:
        await abort(context, error)


async def abort(context: Context, error: BridgeError) -> None:
    """End a call with an error and its details."""
    status = status_of(error)
    details = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(grpc.StatusCode[error.code.name], status.message, details)


def status_of(error: BridgeError) -> status_pb2.Status:
    """Return an error as `google.rpc.Status`: number, text, details."""
    number, _ = grpc.StatusCode[error.code.name].value
    return status_pb2.Status(code=number, message=str(error), details=map(_packed, _details(error)))


def error_of(
    code: ErrorCode, text: str, metadata: Iterable[tuple[str, str | bytes]]
) -> BridgeError:
    """Return the error that a status and its trailing metadata stand for.

    The class comes from the reason where one is told, else from the code.
    """
    reason, field, retry_after_s = "", "", None
    for detail in _unpacked(metadata):
        match detail:
            case error_details_pb2.ErrorInfo() if detail.domain == DOMAIN:
                reason = detail.reason
            case error_details_pb2.BadRequest() if detail.field_violations:
                field = detail.field_violations[0].field
            case error_details_pb2.RetryInfo():
                delay = detail.retry_delay
                retry_after_s = delay.seconds + delay.nanos / 1e9
            case _:
                pass
    return kind_of(code, reason)(text, field=field, retry_after_s=retry_after_s)


def kind_of(code: ErrorCode, reason: str) -> type[BridgeError]:
    """Return the class of a reason, else one of the code, else the root."""
    kinds = [kind for kind in BridgeError.__subclasses__() if kind.code is code]
    named = [kind for kind in kinds if kind.reason() == reason]
    return (named or kinds or [BridgeError])[0]


def _details(error: BridgeError) -> list[Message]:
    found: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason(), domain=DOMAIN)]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=str(error)
        )
        found.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None:
        nanos, seconds = math.modf(max(0.0, error.retry_after_s))
        delay = Duration(seconds=int(seconds), nanos=int(nanos * 1e9))
        found.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return found


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


_KINDS: Final = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
)


def _unpacked(metadata: Iterable[tuple[str, str | bytes]]) -> list[Message]:
    data = next((value for key, value in metadata if key == DETAILS_KEY), b"")
    try:
        status = status_pb2.Status.FromString(data if isinstance(data, bytes) else data.encode())
    except DecodeError:
        return []  # of another server: the code and the text remain
    found: list[Message] = []
    for detail in status.details:
        for kind in _KINDS:
            message = kind()
            if detail.Unpack(message):
                found.append(message)
    return found
