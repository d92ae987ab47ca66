"""The one error tree: every wire spells these, none invents its own.

A row of `ErrorCode` is the gRPC status of the same name and the word sent in
OSC's `/jukebox/fail`. Knows no wire.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum


class ErrorCode(StrEnum):
    """The meaning of a failure, named as its gRPC status is."""

    CANCELLED = "CANCELLED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class BridgeError(Exception):
    """What a caller can act upon; its text holds the value, the limit and the unit.

    Attributes:
        field: Path of the request's field that is to blame, such as `plan.top_p`; empty if none.
        retry_after_s: When to try again, in seconds from now; None if that is not known.
    """

    code = ErrorCode.INTERNAL

    def __init__(
        self, text: str = "", *, field: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(text)
        self.field = field
        self.retry_after_s = retry_after_s

    @classmethod
    def reason(cls) -> str:
        """Return the class's name as a word for programs: `InvalidRequestError` INVALID_REQUEST."""
        words = re.findall("[A-Z][a-z]+", cls.__name__.removesuffix("Error"))
        return "_".join(words).upper()


@contextmanager
def blaming(field: str) -> Generator[None]:
    """Put this field before the path that an error raised inside blames."""
    try:
        yield
    except BridgeError as error:
        error.field = f"{field}.{error.field}" if error.field else field
        raise


class InvalidRequestError(BridgeError):
    """The request can never work: mend it."""

    code = ErrorCode.INVALID_ARGUMENT


class NotFoundError(BridgeError):
    """Something named (model, file, take, label, session) does not exist."""

    code = ErrorCode.NOT_FOUND


class AccessError(BridgeError):
    """The caller did not show a token that is known: bring one."""

    code = ErrorCode.UNAUTHENTICATED


class ConflictError(BridgeError):
    """The name is taken by something else, such as a key that stood for another request."""

    code = ErrorCode.ALREADY_EXISTS


class NotReadyError(BridgeError):
    """The state forbids it now: loading, stopped, refused by a plugin."""

    code = ErrorCode.FAILED_PRECONDITION


class OutOfRangeError(BridgeError):
    """A stretch of the timeline that the playhead has passed."""

    code = ErrorCode.OUT_OF_RANGE


class BusyError(BridgeError):
    """All slots or bytes are taken: back off and try again."""

    code = ErrorCode.RESOURCE_EXHAUSTED


class UnsupportedError(BridgeError):
    """The loaded model or this version cannot do it; named, never ignored."""

    code = ErrorCode.UNIMPLEMENTED


class StoppingError(BridgeError):
    """The server is going away: try again later."""

    code = ErrorCode.UNAVAILABLE


class StorageError(BridgeError):
    """The disk is full or refuses: make room; what was kept before is whole."""

    code = ErrorCode.RESOURCE_EXHAUSTED


class JobCancelledError(BridgeError):
    """The job was cancelled, by its caller or by someone else."""

    code = ErrorCode.CANCELLED


class DeadlineError(BridgeError):
    """The result was not done in the time that the caller gave."""

    code = ErrorCode.DEADLINE_EXCEEDED
