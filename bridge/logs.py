"""Log lines for people or for programs, each with the request that it belongs to.

The request's name travels in a context variable: whoever works for a request
says so once with `working_for`, and every line below it carries the name. Knows
no wire and no engine.
"""

import json
import logging
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Final

TEXT: Final = "text"
JSON: Final = "json"

_request: ContextVar[str] = ContextVar("request", default="")


@contextmanager
def working_for(request: str) -> Generator[None]:
    """Let every log line of this context name the request."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def set_up(stream: IO[str], level: str, style: str = TEXT) -> None:
    """Write log lines to a stream; where our handler is there already it changes its style.

    A root logger that another program has set up is left alone.

    Args:
        stream: Where lines go; stderr as a rule.
        level: The least that is written, `debug` to `error`.
        style: `text` or `json`.
    """
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler, LogHandler)]
    if not root.handlers:
        ours = [LogHandler(stream)]
        root.addHandler(ours[0])
    for handler in ours:
        handler.setFormatter(JsonLines() if style == JSON else TextLines())
        root.setLevel(level.upper())


class LogHandler(logging.StreamHandler[IO[str]]):
    """Our own handler, told from those of other programs; adds the request to each record."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Write a record, with the name of the request that is worked for."""
        record.request = _request.get()
        return bool(super().handle(record))


class TextLines(logging.Formatter):
    """A line for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s:%(request_words)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the request in brackets if there is one."""
        request = request_of(record)
        record.request_words = f" [{request}]" if request else ""
        return super().format(record)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request, and what went wrong."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; a traceback is a text in it, so that a record stays one line."""
        row = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = request_of(record)
        if request:
            row["request"] = request
        if record.exc_info and record.exc_info[1] is not None:
            row["error"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(row, ensure_ascii=False)


def request_of(record: logging.LogRecord) -> str:
    """Return the name of the request that a record belongs to, or nothing."""
    return str(getattr(record, "request", ""))
