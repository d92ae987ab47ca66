"""Errors to statuses with details and back, for every class of the tree."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from bridge import errors
from bridge.errors import BridgeError, ErrorCode, InvalidRequestError, blaming
from bridge.grpc_errors import DETAILS_KEY, error_of, status_of

CLASSES = BridgeError.__subclasses__()


def trailing(error):
    return [("other", "x"), (DETAILS_KEY, status_of(error).SerializeToString())]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_comes_back_as_it_was(kind):
    sent = kind("17 bars, the limit is 16 bars", field="target.bars", retry_after_s=2.25)
    back = error_of(sent.code, str(sent), trailing(sent))
    assert type(back) is kind
    assert (str(back), back.field, back.retry_after_s) == (str(sent), "target.bars", 2.25)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_is_a_status_and_has_a_class(code):
    assert grpc.StatusCode[code.name].value[0] > 0
    assert code is ErrorCode.INTERNAL or code in {kind.code for kind in CLASSES}


def test_two_classes_never_share_a_reason():
    reasons = [kind.reason() for kind in [BridgeError, *CLASSES]]
    assert len(set(reasons)) == len(reasons)
    assert errors.InvalidRequestError.reason() == "INVALID_REQUEST"


def test_details_are_those_that_other_clients_know():
    status = status_of(InvalidRequestError("no", field="plan.top_p", retry_after_s=0.5))
    assert (status.code, status.message) == (3, "no")
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for packed, message in zip(status.details, (info, bad, retry), strict=True):
        assert packed.Unpack(message)
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "jukebox-bridge")
    assert bad.field_violations[0].field == "plan.top_p"
    assert retry.retry_delay.nanos == 500_000_000


def test_what_is_not_known_is_not_told():
    assert len(status_of(InvalidRequestError("no")).details) == 1


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff", status_pb2.Status().SerializeToString()])
def test_another_server_s_details_leave_the_code_and_the_text(data):
    back = error_of(ErrorCode.NOT_FOUND, "gone", [(DETAILS_KEY, data)])
    assert isinstance(back, errors.NotFoundError)
    assert (str(back), back.field, back.retry_after_s) == ("gone", "", None)


def test_a_path_grows_on_its_way_out():
    with pytest.raises(InvalidRequestError) as caught, blaming("header"), blaming("plan"):
        raise InvalidRequestError("no", field="top_p")
    assert caught.value.field == "header.plan.top_p"
