"""Jobs, takes and counts as messages, and what asks for them as values.

Knows no socket, no engine and no model.
"""

from collections.abc import Sequence
from typing import Final

from bridge.entries import TakeEntry, Verdict
from bridge.errors import InvalidRequestError
from bridge.jobs import JobInfo, JobState
from bridge.messages import message_of_word
from bridge.request_messages import message_of_plan
from protos import bridge_pb2

_STATES: Final = {
    JobState.QUEUED: bridge_pb2.JOB_STATE_QUEUED,
    JobState.RUNNING: bridge_pb2.JOB_STATE_RUNNING,
    JobState.DONE: bridge_pb2.JOB_STATE_DONE,
    JobState.FAILED: bridge_pb2.JOB_STATE_FAILED,
    JobState.CANCELLED: bridge_pb2.JOB_STATE_CANCELLED,
}
_MARKS: Final = {
    Verdict.NONE: bridge_pb2.MARK_NONE,
    Verdict.KEEP: bridge_pb2.MARK_KEPT,
    Verdict.REJECT: bridge_pb2.MARK_REJECTED,
}
_STATE_OF: Final = {int(number): state for state, number in _STATES.items()}
_VERDICT_OF: Final = {int(number): verdict for verdict, number in _MARKS.items()}


def states_of(numbers: Sequence[int]) -> frozenset[JobState]:
    """Return the states that wire numbers name.

    Raises:
        InvalidRequestError: A number without a state.
    """
    for number in numbers:
        if number not in _STATE_OF:
            raise InvalidRequestError(
                f"the job state is {number}, known are {sorted(_STATE_OF)}", field="states"
            )
    return frozenset(_STATE_OF[number] for number in numbers)


def mark_of(verdict: Verdict | None) -> bridge_pb2.Mark:
    """Return the wire's number of a verdict; of None, unspecified."""
    return bridge_pb2.MARK_UNSPECIFIED if verdict is None else _MARKS[verdict]


def verdict_of(number: int) -> Verdict | None:
    """Return the verdict that a wire number names; None for unspecified.

    Raises:
        InvalidRequestError: A number without a verdict.
    """
    if number == bridge_pb2.MARK_UNSPECIFIED:
        return None
    if number not in _VERDICT_OF:
        raise InvalidRequestError(
            f"the mark is {number}, known are {sorted(_VERDICT_OF)}", field="mark"
        )
    return _VERDICT_OF[number]


def message_of_job(job: JobInfo) -> bridge_pb2.Job:
    """Return all that is known of a job."""
    return bridge_pb2.Job(
        job_id=job.id,
        request_id=job.request_id,
        client_id=job.client_id,
        state=_STATES[job.state],
        position=job.position,
        eta_seconds=job.eta_seconds,
        phase=job.phase,
        step=job.step,
        total_steps=job.total_steps,
        detached=job.detached,
        take_id=job.take_id,
        error=job.error_text,
        model=job.model,
        created_seconds=job.created_s,
    )


def message_of_take(entry: TakeEntry) -> bridge_pb2.Take:
    """Return all that is kept of a take but its codes."""
    take, request = entry.take, entry.take.request
    return bridge_pb2.Take(
        take_id=take.id,
        name=entry.name,
        mark=mark_of(entry.verdict),
        parent_id=take.parent or "",
        departure_sample=take.departure_sample,
        request_id=request.request_id,
        format=bridge_pb2.AudioFormat(
            sample_rate=request.sample_rate, num_channels=request.num_channels
        ),
        anchor_sample=request.anchor_sample,
        splice_sample=request.splice_sample,
        num_samples=take.num_samples,
        plan=message_of_plan(take.plan, seed=take.plan.seed),
        model=take.model,
        fingerprint=take.fingerprint,
        licence=take.licence,
        sha256=take.sha256,
        gain_db=take.gain_db,
        created_seconds=entry.created_s,
        words=[message_of_word(word) for word in take.words],
    )
