from collections import Counter

import pytest

from bridge.scheduler import Candidate, FairQueue, choose, entry_count


def test_live_goes_before_offline_however_often_it_was_served():
    offline = Candidate(job="offline", served=0)
    live = Candidate(job="live", served=1000, deadline_s=9.0)
    assert choose([offline, live]) == "live"


def test_among_live_jobs_the_earliest_deadline_goes_first():
    late = Candidate(job="late", served=0, deadline_s=2.5)
    soon = Candidate(job="soon", served=7, deadline_s=2.0)
    assert choose([late, soon]) == "soon"


def test_a_deadline_that_has_passed_is_still_the_most_urgent():
    passed = Candidate(job="passed", served=0, deadline_s=-1.0)
    now = Candidate(job="now", served=0, deadline_s=0.0)
    assert choose([now, passed]) == "passed"


@pytest.mark.parametrize("num_jobs", [2, 3, 7])
def test_offline_jobs_share_the_steps_evenly(num_jobs):
    served = Counter({f"job-{n}": 0 for n in range(num_jobs)})
    for _ in range(10 * num_jobs + 1):
        served[choose([Candidate(job=job, served=count) for job, count in served.items()])] += 1
        assert max(served.values()) - min(served.values()) <= 1


def test_equal_claims_go_in_the_order_of_arrival():
    assert choose([Candidate(job="b", served=3), Candidate(job="a", served=3)]) == "b"


@pytest.mark.parametrize(("served", "current", "entry"), [(0, 12, 12), (12, 12, 12), (13, 12, 13)])
def test_nobody_asks_with_less_than_the_job_served_last(served, current, entry):
    assert entry_count(served, current) == entry


def test_nobody_waiting_is_an_error():
    with pytest.raises(ValueError, match="0 jobs wait"):
        choose([])


def test_clients_share_the_steps_whatever_number_of_jobs_they_have():
    served = {"a1": 0, "a2": 0, "a3": 0, "b1": 0}
    clients = Counter({"a": 0, "b": 0})
    for _ in range(60):
        job = choose(
            [
                Candidate(job=job, client=job[0], served=count, client_served=clients[job[0]])
                for job, count in served.items()
            ]
        )
        served[job] += 1
        clients[job[0]] += 1
    assert clients == {"a": 30, "b": 30}
    assert served == {"a1": 10, "a2": 10, "a3": 10, "b1": 30}


def popped(queue: FairQueue, *, live: bool = False) -> list[str]:
    return list(iter(lambda: queue.pop(live=live), None))


def test_a_queue_serves_clients_in_turn_and_a_clients_jobs_in_order():
    queue = FairQueue()
    for job in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.add(job, job[0], 1.0)
    assert [one.job for one in queue.order()] == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert popped(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert queue.pop(live=False) is None


def test_a_newcomer_does_not_go_before_those_whose_turn_has_come():
    queue = FairQueue()
    for job in ("a1", "a2", "a3"):
        queue.add(job, "a", 1.0)
    assert [queue.pop(live=False) for _ in range(2)] == ["a1", "a2"]
    queue.add("b1", "b", 1.0)
    assert popped(queue) == ["b1", "a3"]


def test_live_jobs_are_a_queue_of_their_own_and_come_first_in_the_order():
    queue = FairQueue()
    queue.add("offline", "a", 1.0)
    queue.add("live", "b", 1.0, live=True)
    assert [one.job for one in queue.order()] == ["live", "offline"]
    assert popped(queue) == ["offline"]
    assert popped(queue, live=True) == ["live"]


def test_what_leaves_the_queue_costs_its_client_nothing():
    queue = FairQueue()
    queue.add("a1", "a", 100.0)
    queue.add("a2", "a", 1.0)
    queue.add("b1", "b", 2.0)
    queue.add("b2", "b", 1.0)
    queue.remove("a1")
    queue.remove("unknown")
    assert (len(queue), queue.count("a"), queue.count("b")) == (2 + 1, 1, 2)
    assert popped(queue) == ["a2", "b1", "b2"]


def test_a_client_is_forgiven_once_nobody_waits():
    queue = FairQueue()
    queue.add("a1", "a", 100.0)
    assert popped(queue) == ["a1"]
    queue.add("a2", "a", 1.0)
    queue.add("b1", "b", 1.0)
    assert popped(queue) == ["a2", "b1"]
