import asyncio
import itertools

import numpy as np
import pytest

from bridge.jobs import JobInfo, JobState
from bridge.ports import Conditions, Plan
from bridge.request import AudioBlock, Prime, RenderRequest
from bridge.session import NEXT, Outbox, Session, SessionState

ENDS = (SessionState.DONE, SessionState.FAILED, SessionState.CANCELLED)


def session() -> Session:
    request = RenderRequest(
        request_id="r",
        sample_rate=48_000,
        source=Prime(samples=np.zeros((1, 10), np.float32)),
        num_samples=10,
        plan=Plan(seed=1),
        conditions=Conditions(),
    )
    info = JobInfo(
        id="job",
        request_id="r",
        client_id="",
        state=JobState.QUEUED,
        detached=False,
        live=False,
        seed=1,
        model="m",
        fingerprint="f",
        created_s=0.0,
        splice_sample=10,
        num_samples=10,
    )
    return Session(info, request, max_events=2)


def block(start_sample: int) -> AudioBlock:
    return AudioBlock(start_sample=start_sample, samples=np.zeros((1, 4), np.float32))


@pytest.mark.parametrize(("here", "there"), list(itertools.product(SessionState, SessionState)))
def test_the_table_alone_says_which_state_follows(here, there):
    moved = session()
    moved.state = here
    if there in NEXT[here]:
        moved.move(there)
        assert moved.state is there
    else:
        with pytest.raises(ValueError, match=f"{here} cannot become {there}"):
            moved.move(there)
        assert moved.state is here


def test_every_state_is_reachable_and_every_way_ends():
    reached, todo = set(), [SessionState.QUEUED]
    while todo:
        state = todo.pop()
        reached.add(state)
        todo += NEXT[state] - reached
        assert state in ENDS or {SessionState.FAILED, SessionState.CANCELLED} <= NEXT[state]
    assert reached == set(SessionState)
    assert [state for state in SessionState if not NEXT[state]] == list(ENDS)


def test_events_come_out_in_order_and_then_none():
    async def scenario():
        outbox = Outbox(8)
        for start in range(5):
            await outbox.put(block(start))
        outbox.end()
        starts = [(await outbox.get()).start_sample for _ in range(5)]
        return starts, await outbox.get()

    assert asyncio.run(scenario()) == ([0, 1, 2, 3, 4], None)


def test_an_error_comes_after_the_events_before_it():
    async def scenario():
        outbox = Outbox(8)
        await outbox.put(block(7))
        outbox.end(RuntimeError("broken"))
        first = await outbox.get()
        with pytest.raises(RuntimeError, match="broken"):
            await outbox.get()
        return first.start_sample

    assert asyncio.run(scenario()) == 7


def test_a_writer_waits_for_a_reader_that_is_too_far_behind():
    async def scenario():
        outbox = Outbox(2)
        writing = asyncio.create_task(write(outbox, 5))
        held = [await settled(writing)]
        for _ in range(3):
            await outbox.get()
            held.append(await settled(writing))
        return held

    async def write(outbox, count):
        for start in range(count):
            await outbox.put(block(start))

    assert asyncio.run(scenario()) == [False, False, False, True]


def test_a_reader_that_leaves_frees_the_writer():
    async def scenario():
        outbox = Outbox(1)
        await outbox.put(block(0))
        writing = asyncio.create_task(outbox.put(block(1)))
        before = await settled(writing)
        outbox.leave()
        return before, await settled(writing)

    assert asyncio.run(scenario()) == (False, True)


async def settled(task) -> bool:
    """Return whether the task is done once the loop has had every chance to finish it."""
    for _ in range(20):
        await asyncio.sleep(0)
    return task.done()
