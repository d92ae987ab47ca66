from collections import Counter

import pytest

from bridge.scheduler import Candidate, choose, entry_count


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
