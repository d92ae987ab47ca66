import asyncio
import threading

import pytest

from bridge.workers import Worker

WAIT_SECONDS = 30


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, WAIT_SECONDS))


class Held:
    """A worker whose thread is kept busy, so that turns gather behind it."""

    def __init__(self) -> None:
        self.worker = Worker("test")
        self.order: list[str] = []
        self._release = threading.Event()

    async def __aenter__(self):
        self._holding = asyncio.create_task(
            self.worker.run("holder", lambda: self._release.wait(WAIT_SECONDS))
        )
        await spun()
        return self

    async def __aexit__(self, *_):
        self._release.set()
        await self.worker.close()
        await self._holding

    def release(self) -> None:
        self._release.set()

    async def turns(self, job: str, count: int) -> None:
        for _ in range(count):
            await self.worker.run(job, lambda: self.order.append(job))


async def spun() -> None:
    """Give every task that can go on its chance to do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_jobs_take_turns():
    async def scenario():
        async with Held() as held:
            tasks = [asyncio.create_task(held.turns(job, 4)) for job in "abc"]
            await spun()
            held.release()
            await asyncio.gather(*tasks)
        return "".join(held.order)

    assert run(scenario()) == "abcabcabcabc"


@pytest.mark.parametrize("turns_before", [0, 1])
def test_a_newcomer_and_one_that_slept_take_turns_at_once_and_do_not_catch_up(turns_before):
    async def scenario():
        async with Held() as held:
            held.release()
            await held.turns("late", turns_before)
            await held.turns("busy", 50)
            held.order.clear()
            gate = threading.Event()
            holding = asyncio.create_task(held.worker.run("busy", gate.wait))
            await spun()
            tasks = [asyncio.create_task(held.turns(job, 5)) for job in ("busy", "late")]
            await spun()
            gate.set()
            await asyncio.gather(*tasks, holding)
        return held.order

    order = run(scenario())
    assert order.count("late") == order.count("busy") == 5
    ahead = [order[:n].count("late") - order[:n].count("busy") for n in range(len(order))]
    assert set(ahead) <= {0, 1, 2}


def test_a_live_job_leaves_the_turns_of_offline_jobs_even():
    async def scenario():
        async with Held() as held:
            held.worker.set_deadline("live", 1.0)
            held.release()
            await held.turns("a", 3)
            await held.turns("live", 50)
            held.order.clear()
            gate = threading.Event()
            holding = asyncio.create_task(held.worker.run("holder", gate.wait))
            await spun()
            tasks = [asyncio.create_task(held.turns(job, 4)) for job in ("a", "b")]
            await spun()
            gate.set()
            await asyncio.gather(*tasks, holding)
        return "".join(held.order)

    assert run(scenario()) in ("abababab", "babababa")


def test_a_live_job_keeps_the_worker_as_long_as_it_has_turns():
    async def scenario():
        async with Held() as held:
            held.worker.set_deadline("live", 1.0)
            tasks = [asyncio.create_task(held.turns(job, 5)) for job in ("offline", "live")]
            await spun()
            held.release()
            await asyncio.gather(*tasks)
        return held.order

    assert run(scenario()) == ["live"] * 5 + ["offline"] * 5


@pytest.mark.parametrize(("at_once", "beside"), [(2, 0), (4, 1), (6, 2)])
def test_beside_live_work_the_rest_takes_less_than_half_of_the_places(at_once, beside):
    async def scenario():
        worker = Worker("test", at_once)
        worker.set_deadline("live", 1.0)
        gate, begun = threading.Event(), []

        def work(job):
            begun.append(job)
            gate.wait(WAIT_SECONDS)

        jobs = ["live", *(f"offline {number}" for number in range(at_once))]
        tasks = [asyncio.create_task(worker.run(job, lambda job=job: work(job))) for job in jobs]
        await spun()
        at_first = worker.turns
        gate.set()
        await asyncio.gather(*tasks)
        await worker.close()
        return at_first, begun

    at_first, begun = run(scenario())
    assert at_first == 1 + beside
    assert len(begun) == 1 + at_once


def test_a_job_without_deadline_is_offline_again():
    async def scenario():
        async with Held() as held:
            held.worker.set_deadline("b", 1.0)
            held.worker.set_deadline("b", None)
            tasks = [asyncio.create_task(held.turns(job, 2)) for job in "ab"]
            await spun()
            held.release()
            await asyncio.gather(*tasks)
        return "".join(held.order)

    assert run(scenario()) == "abab"


def test_a_turn_that_is_given_up_before_it_came_never_runs():
    async def scenario():
        async with Held() as held:
            given_up = asyncio.create_task(held.turns("a", 1))
            kept = asyncio.create_task(held.turns("b", 1))
            await spun()
            given_up.cancel()
            await spun()
            held.release()
            await kept
            await held.worker.idle()
        return held.order

    assert run(scenario()) == ["b"]


def test_giving_up_a_turn_in_flight_lets_it_end_and_the_next_one_begin():
    async def scenario():
        worker = Worker("test")
        started, release, ended = (threading.Event() for _ in range(3))

        def work() -> None:
            started.set()
            release.wait(WAIT_SECONDS)
            ended.set()

        task = asyncio.create_task(worker.run("a", work))
        await asyncio.to_thread(started.wait, WAIT_SECONDS)
        task.cancel()
        await asyncio.wait([task])
        following = asyncio.create_task(worker.run("b", ended.is_set))
        await spun()
        resting = asyncio.create_task(worker.idle())
        await spun()
        assert not resting.done()
        release.set()
        result = await following
        await resting
        await worker.close()
        return task.cancelled(), result

    assert run(scenario()) == (True, True)


def test_a_failure_is_raised_where_it_is_awaited_and_the_worker_goes_on():
    async def scenario():
        worker = Worker("test")
        with pytest.raises(ZeroDivisionError):
            await worker.run("a", lambda: 1 // 0)
        result = await worker.run("a", lambda: 7)
        await worker.close()
        return result, worker.turns

    assert run(scenario()) == (7, 2)


def test_a_failure_that_nobody_awaits_is_logged(caplog):
    async def scenario():
        worker = Worker("test")
        started, release = threading.Event(), threading.Event()

        def work() -> None:
            started.set()
            release.wait(WAIT_SECONDS)
            raise RuntimeError("too late")

        task = asyncio.create_task(worker.run("a", work))
        await asyncio.to_thread(started.wait, WAIT_SECONDS)
        task.cancel()
        release.set()
        await worker.close()

    run(scenario())
    assert "too late" in caplog.text


def test_work_runs_on_the_workers_own_thread():
    async def scenario():
        worker = Worker("named")
        names = {await worker.run("a", lambda: threading.current_thread().name) for _ in range(3)}
        await worker.close()
        return names

    names = run(scenario())
    assert len(names) == 1
    assert names.pop().startswith("named")


def test_clients_take_turns_and_so_do_the_jobs_of_each():
    async def scenario():
        async with Held() as held:
            for job in ("a1", "a2", "b1"):
                held.worker.join(job, job[0])
            tasks = [
                asyncio.create_task(held.turns(job, count))
                for job, count in (("a1", 4), ("a2", 4), ("b1", 8))
            ]
            await spun()
            held.release()
            await asyncio.gather(*tasks)
        return held.order

    order = run(scenario())
    for first in range(0, 16, 4):
        assert sorted(job[0] for job in order[first : first + 4]) == ["a", "a", "b", "b"]
    assert [order[:8].count(job) for job in ("a1", "a2")] == [2, 2]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_so_many_pieces_of_work_run_beside_each_other_and_no_more(at_once):
    running, most = [], []
    everybody = threading.Barrier(at_once)

    def work():
        running.append(1)
        most.append(len(running))
        # Each waits until all that may run do: with fewer this would never end.
        everybody.wait(30)
        running.pop()

    async def scenario():
        worker = Worker("test", at_once)
        await asyncio.gather(*(worker.run(f"job {n}", work) for n in range(3 * at_once)))
        await worker.close()

    asyncio.run(scenario())
    assert max(most) <= at_once
    assert len(most) == 3 * at_once
