"""Log lines: for people, for programs, and with the request that they belong to."""

import asyncio
import io
import json
import logging
import sys

import pytest

from bridge import logs


@pytest.fixture
def lines(monkeypatch):
    """Return a function that sets up our logging alone and returns what is written since."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", root.level)
    stream = io.StringIO()

    def written(*setup):
        if setup:
            # Not earlier: pytest adds its own when the test begins.
            ours = [handler for handler in root.handlers if isinstance(handler, logs.LogHandler)]
            monkeypatch.setattr(root, "handlers", ours)
            logs.set_up(stream, *setup)
        return stream.getvalue().splitlines()

    return written


def test_a_line_for_people_names_its_request_if_there_is_one(lines):
    lines("info")
    log = logging.getLogger("bridge.some")
    log.info("alone %d", 1)
    with logs.working_for("take-7"):
        log.warning("busy")
    log.debug("too quiet")
    first, second = lines()
    assert first.endswith("INFO bridge.some: alone 1")
    assert second.endswith("WARNING bridge.some: [take-7] busy")


def test_a_line_for_programs_is_one_json_object_even_with_a_traceback(lines):
    lines("warning", "text")
    lines("debug", "json")
    log = logging.getLogger("bridge.some")
    with logs.working_for("é"):
        try:
            int("no number")
        except ValueError:
            log.exception("it failed")
    log.debug("done")
    failed, done = (json.loads(line) for line in lines())
    assert (failed["level"], failed["logger"], failed["message"]) == (
        "error",
        "bridge.some",
        "it failed",
    )
    assert failed["request"] == "é"
    assert "ValueError" in failed["error"]
    assert failed["time"].endswith("+00:00")
    assert set(done) == {"time", "level", "logger", "message"}


def test_tasks_keep_their_own_request(lines):
    lines("info")
    log = logging.getLogger("bridge.some")

    async def work(name):
        await asyncio.sleep(0)
        log.info("made by %s", name)

    async def both():
        tasks = []
        for name in ("a", "b"):
            with logs.working_for(name):
                tasks.append(asyncio.create_task(work(name)))
        await asyncio.gather(*tasks)

    asyncio.run(both())
    assert [line.split(": ", 1)[1] for line in lines()] == ["[a] made by a", "[b] made by b"]


def test_logging_that_others_have_set_up_stays_as_it_is(monkeypatch):
    root = logging.getLogger()
    theirs = logging.StreamHandler(io.StringIO())
    monkeypatch.setattr(root, "handlers", [theirs])
    monkeypatch.setattr(root, "level", logging.WARNING)
    logs.set_up(sys.stderr, "debug", "json")
    assert root.handlers == [theirs]
    assert (root.level, theirs.formatter) == (logging.WARNING, None)
