"""A request's events as messages, and the verbs that watch and end jobs.

Translates and decides nothing. Knows no socket, no token and no other wire.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

from bridge.grpc_gate import Call, Verb
from bridge.job_messages import message_of_job, states_of
from bridge.messages import messages_of_event
from protos import bridge_pb2


async def _watch(
    call: Call, asked: bridge_pb2.WatchRequest
) -> AsyncGenerator[bridge_pb2.RenderEvent]:
    call.request_id = asked.job_id
    start = asked.from_sample if asked.HasField("from_sample") else None
    async with aclosing(call.desk.engine().watch(asked.job_id, start)) as events:
        async for event in events:
            for message in messages_of_event(event):
                yield message


async def _cancel(
    call: Call, asked: bridge_pb2.CancelRequest
) -> AsyncGenerator[bridge_pb2.CancelResponse]:
    call.request_id = asked.job_id
    job = await call.desk.engine().cancel(asked.job_id)
    yield bridge_pb2.CancelResponse(job=message_of_job(job))


async def _list_jobs(
    call: Call, asked: bridge_pb2.ListJobsRequest
) -> AsyncGenerator[bridge_pb2.ListJobsResponse]:
    states = states_of(asked.states)
    jobs = await call.desk.engine().jobs()
    yield bridge_pb2.ListJobsResponse(
        jobs=[message_of_job(job) for job in jobs if not states or job.state in states]
    )


JOB_VERBS: Final[Mapping[str, Verb]] = {
    "Watch": _watch,
    "Cancel": _cancel,
    "ListJobs": _list_jobs,
}
