"""What the documents say of verbs, reasons and limits is what the code does."""

from pathlib import Path

import pytest

from bridge import grpc_gate, grpc_service, grpc_takes, live_talk, upload
from bridge.client import Client
from bridge.errors import BridgeError
from bridge.limits import (
    MAX_BARS_OF_CURVES,
    MAX_ID_CHARACTERS,
    MAX_SECTIONS,
    MAX_TEXT_CHARACTERS,
)
from bridge.request import MAX_NOTES, MAX_PRIME_SECONDS
from bridge.security import MIN_TOKEN_CHARACTERS, Security
from protos import bridge_pb2

DOCS = Path(__file__).parents[2] / "docs"
VERBS = [method.name for method in bridge_pb2.DESCRIPTOR.services_by_name["Bridge"].methods]


def rows(name):
    """Return the cells of every table row of a document."""
    lines = (DOCS / name).read_text("utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]


def test_every_verb_has_its_row_and_its_methods_exist():
    told = {row[0].strip("`"): row for row in rows("grpc.md")}
    assert set(VERBS) <= set(told)
    for verb in VERBS:
        names = [word.strip("`,") for word in told[verb][3].split() if word.startswith("`")]
        methods = [name for name in names if "=" not in name]
        assert all(callable(getattr(Client, name)) for name in methods), verb
        assert methods or "Verb." in told[verb][3]


@pytest.mark.parametrize("kind", [BridgeError, *BridgeError.__subclasses__()])
def test_every_reason_has_its_row_with_its_status(kind):
    told = {row[0].strip("`"): row[1].strip("`") for row in rows("grpc.md") if len(row) == 3}
    assert told[kind.reason()] == kind.code.name


def test_the_limits_are_those_of_the_code():
    told = {row[0]: row[1] for row in rows("security.md") if len(row) == 2}
    mib, locks = 1024**2, Security()
    calls = f"{locks.max_calls} by caller (`security.max_calls`), {grpc_gate.MAX_CALLS} in all"
    assert told["calls open at once"] == calls
    assert f"audio block {upload.MAX_BLOCK_BYTES // mib} MiB" in told["one message"]
    assert f"{upload.MAX_UPLOAD_BYTES // mib} MiB" in told["audio of one request"]
    assert f"{MAX_PRIME_SECONDS} s each" in told["audio of one request"]
    under_way = told["audio under way"]
    assert f"{locks.max_upload_bytes // mib // 1024} GiB by caller" in under_way
    assert f"{grpc_service.MAX_UPLOADS_BYTES // mib // 1024} GiB in all" in under_way
    assert told["variations of one call"] == str(grpc_takes.MAX_VARIATIONS)
    assert f"{live_talk.MAX_WAITING_EVENTS} events" in told["a live session's answers"]
    counts = [MAX_NOTES, MAX_BARS_OF_CURVES, MAX_SECTIONS, MAX_TEXT_CHARACTERS]
    assert told["notes, bars of curves, sections, characters"] == "; ".join(
        f"{count:,}" for count in counts
    )
    assert told["names, ids, keys"] == f"{MAX_ID_CHARACTERS} characters"
    text = (DOCS / "security.md").read_text("utf-8")
    assert f"({MIN_TOKEN_CHARACTERS} characters or more)" in text
