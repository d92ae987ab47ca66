"""Bundles that wait: in order, within bounds, by a clock that is told the time."""

import asyncio

import pytest

from bridge.errors import BusyError, OutOfRangeError
from bridge.osc.schedule import (
    MAX_AHEAD_SECONDS,
    MAX_WAITING,
    MAX_WAITING_PER_CLIENT,
    Schedule,
)


def test_work_runs_in_the_order_of_its_times_and_equal_times_in_the_order_they_came():
    async def main():
        now = [100.0]
        schedule = Schedule(lambda: now[0])
        ran = []
        for due, name in ((103, "c"), (101, "a"), (102, "b"), (101, "a2")):
            schedule.add("me", due, lambda name=name: ran.append(name))
        schedule.run_due()
        assert ran == []
        now[0] = 102
        schedule.run_due()
        assert ran == ["a", "a2", "b"]
        now[0] = 200
        schedule.run_due()
        assert ran == ["a", "a2", "b", "c"]
        assert len(schedule) == 0

    asyncio.run(main())


def test_the_loop_runs_work_by_itself_when_its_time_has_come():
    async def main():
        loop = asyncio.get_running_loop()
        schedule = Schedule(loop.time)
        ran = asyncio.Event()
        schedule.add("me", loop.time() + 0.01, ran.set)
        assert not ran.is_set()
        await asyncio.wait_for(ran.wait(), 30)

    asyncio.run(main())


def test_bounds_are_kept_in_time_by_client_and_in_all():
    async def main():
        schedule = Schedule(lambda: 0.0)
        schedule.check("me", MAX_AHEAD_SECONDS)
        with pytest.raises(OutOfRangeError, match=r"60\.001 s, the limit is 60 s ahead"):
            schedule.check("me", MAX_AHEAD_SECONDS + 0.001)
        for number in range(MAX_WAITING_PER_CLIENT):
            schedule.check("me", 1.0)
            schedule.add("me", 1.0 + number, int)
        with pytest.raises(BusyError, match=f"the limit is {MAX_WAITING_PER_CLIENT}"):
            schedule.check("me", 1.0)
        schedule.check("another", 1.0)
        for number in range(MAX_WAITING - MAX_WAITING_PER_CLIENT):
            schedule.add(f"client {number}", 1.0, int)
        with pytest.raises(BusyError, match=f"{MAX_WAITING} bundles wait"):
            schedule.check("another", 1.0)
        schedule.close()
        assert len(schedule) == 0

    asyncio.run(main())


def test_what_a_client_left_behind_is_forgotten_and_the_rest_stays():
    async def main():
        now = [0.0]
        schedule = Schedule(lambda: now[0])
        ran = []
        for name in ("gone", "here", "gone"):
            schedule.add(name, 1.0, lambda name=name: ran.append(name))
        assert schedule.forget("gone") == 2
        now[0] = 2.0
        schedule.run_due()
        assert ran == ["here"]

    asyncio.run(main())
