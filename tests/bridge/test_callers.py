"""Counts by caller, and the record of calls."""

import json
import stat

import pytest

from bridge.callers import AuditEntry, AuditLog, CallerLimits, Callers
from bridge.errors import BusyError, NotReadyError

LIMITS = CallerLimits(max_calls=2, max_upload_bytes=100, max_total_upload_bytes=150)


def test_a_caller_may_have_so_many_calls_and_others_do_not_count():
    callers = Callers(LIMITS)
    with callers.calling("ada"), callers.calling("ada"):
        with pytest.raises(BusyError, match="ada has 2 calls open, the limit is 2") as caught:
            callers.calling("ada").__enter__()
        assert caught.value.retry_after_s is not None
        with callers.calling("bob"):
            pass
    with callers.calling("ada"):
        pass


def test_bytes_are_bounded_for_each_and_for_all():
    callers = Callers(LIMITS)
    with callers.uploading("ada", 80):
        with pytest.raises(BusyError, match=r"101 bytes of audio of ada .* 100 bytes"):
            callers.uploading("ada", 21).__enter__()
        with pytest.raises(BusyError, match=r"151 bytes of audio of all calls .* 150 bytes"):
            callers.uploading("bob", 71).__enter__()
        with callers.uploading("bob", 70):
            pass
    with callers.uploading("ada", 100):
        pass


def test_a_call_that_fails_is_counted_no_more():
    callers = Callers(LIMITS)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), callers.uploading("ada", 100):
            raise ZeroDivisionError


def entry(**changes):
    fields = {"caller": "ada", "peer": "ipv4:1.2.3.4:5", "verb": "Continue", "seconds": 0.5}
    return AuditEntry(**(fields | {"request_id": "r\n1", "outcome": "OK"} | changes))


def test_each_call_is_one_line_of_a_private_file_and_of_the_log(tmp_path, caplog):
    path = tmp_path / "audit.jsonl"
    caplog.set_level("INFO", logger="bridge.audit")
    for outcome in ("OK", "CANCELLED"):
        log = AuditLog(path, lambda: "2026-01-01T00:00:00Z")
        log.write(entry(outcome=outcome))
        log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["OK", "CANCELLED"]
    assert lines[0] == {
        "at": "2026-01-01T00:00:00Z",
        "caller": "ada",
        "outcome": "OK",
        "peer": "ipv4:1.2.3.4:5",
        "request_id": "r\n1",
        "seconds": 0.5,
        "verb": "Continue",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(caplog.records) == 2


def test_an_audit_file_that_cannot_be_written_keeps_the_server_from_starting(tmp_path):
    with pytest.raises(NotReadyError, match="audit file"):
        AuditLog(tmp_path / "none" / "audit", lambda: "")
