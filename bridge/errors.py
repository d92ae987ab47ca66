"""The one error tree: every wire spells these, none invents its own.

A row of `ErrorCode` is the gRPC status of the same name and the word sent in
OSC's `/jukebox/fail`. Knows no wire.
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """The meaning of a failure, named as its gRPC status is."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class BridgeError(Exception):
    """What a caller can act upon; its text holds the value, the limit and the unit."""

    code = ErrorCode.INTERNAL


class InvalidRequestError(BridgeError):
    """The request can never work: mend it."""

    code = ErrorCode.INVALID_ARGUMENT


class NotFoundError(BridgeError):
    """Something named (model, file, take, label, session) does not exist."""

    code = ErrorCode.NOT_FOUND


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
