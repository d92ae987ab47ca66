import asyncio

import pytest

from bridge.edge import INTERNAL_TEXT, failures_told
from bridge.errors import BridgeError, ErrorCode, NotFoundError


def test_our_errors_are_told_as_they_are():
    told = []
    error = NotFoundError("there is none")
    with failures_told("a wire", told.append):
        raise error
    assert told == [error]


def test_other_failures_go_to_the_log_and_reach_nobody(caplog):
    told = []
    with failures_told("a wire", told.append):
        raise ZeroDivisionError("of a secret")
    (error,) = told
    assert (type(error), error.code, str(error)) == (
        BridgeError,
        ErrorCode.INTERNAL,
        INTERNAL_TEXT,
    )
    (record,) = caplog.records
    assert record.getMessage() == "unexpected failure at a wire"
    assert record.exc_info[0] is ZeroDivisionError


def test_cancellation_passes():
    told = []
    with pytest.raises(asyncio.CancelledError), failures_told("a wire", told.append):
        raise asyncio.CancelledError
    assert told == []
