"""How jobs end, for those who listen and for the ledger: one meaning in both.

Knows values only.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bridge.errors import (
    BridgeError,
    DeadlineError,
    ErrorCode,
    InvalidRequestError,
    JobCancelledError,
    NotFoundError,
    NotReadyError,
    StorageError,
    UnsupportedError,
)
from bridge.jobs import JobInfo, JobState
from bridge.request import Accepted, Done
from bridge.session import Session, SessionState
from bridge.takes import Take, words_from

_KINDS: Final[Mapping[str, type[BridgeError]]] = {
    kind.code: kind
    for kind in (
        DeadlineError,
        InvalidRequestError,
        JobCancelledError,
        NotFoundError,
        NotReadyError,
        StorageError,
        UnsupportedError,
    )
}


def outcome(
    session: Session, task: asyncio.Task[None] | None
) -> tuple[SessionState, BaseException | None]:
    """Return how a job ended, and the error that its listeners shall see."""
    if task is None or task.cancelled():
        reason = session.reason or JobCancelledError("the job was cancelled")
        return SessionState.CANCELLED, reason
    error = task.exception()
    return (SessionState.DONE, None) if error is None else (SessionState.FAILED, error)


def ended(info: JobInfo, error: BaseException, *, cancelled: bool) -> JobInfo:
    """Return what the ledger keeps of a job that made no take."""
    known = isinstance(error, BridgeError)
    return replace(
        info,
        state=JobState.CANCELLED if cancelled else JobState.FAILED,
        error_code=error.code if known else ErrorCode.INTERNAL,
        error_text=str(error) if known else "internal error",
    )


def error_of(info: JobInfo) -> BridgeError:
    """Return the error that a job ended with, as its listeners saw it."""
    if not info.state.ended:
        return NotReadyError(f"the job {info.id} runs in another server on the same folder")
    return _KINDS.get(info.error_code, BridgeError)(info.error_text)


def accepted_from(told: Mapping[str, Any]) -> Accepted:
    """Return the event that `bridge.job.told` kept."""
    return Accepted(**told)


def done_from(told: Mapping[str, Any]) -> Done:
    """Return the event that `bridge.job.told` kept, its lead-in left out."""
    values = dict(told)
    path, words = values.pop("path"), values.pop("words", ())
    return Done(path=None if path is None else Path(path), words=words_from(words), **values)


def done_of(take: Take, path: Path) -> Done:
    """Return the event of a take whose job is forgotten: it took no time now."""
    return Done(
        take_id=take.id,
        path=path if path.exists() else None,
        sha256=take.sha256,
        num_samples=take.num_samples,
        rtf=0.0,
        first_audio_ms=0.0,
        gain_db=take.gain_db,
        licence=take.licence,
        words=take.words,
    )
