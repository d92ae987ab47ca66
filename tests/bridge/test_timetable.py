import pytest

from bridge.errors import InvalidRequestError
from bridge.ports import Conditions, Plan
from bridge.request import Nothing, RenderRequest
from bridge.timetable import Timetable

RATE = 48_000
SPLICE = 1_000


class Watch:
    """Says the time that it was told."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def request(**changes):
    values = {
        "request_id": "r",
        "sample_rate": RATE,
        "source": Nothing(start_sample=SPLICE),
        "num_samples": 10 * RATE,
        "plan": Plan(seed=1),
        "conditions": Conditions(),
        "live": True,
    }
    return RenderRequest(**{**values, **changes})


@pytest.fixture
def watch():
    return Watch()


def table_of(watch, **changes):
    table = Timetable(request(**changes), SPLICE, watch)
    table.begin()
    return table


def test_playing_begins_with_the_first_block_where_nothing_else_is_said(watch):
    table = table_of(watch)
    assert table.due_s(SPLICE) is None
    assert table.left_s(SPLICE) is None
    assert table.order_s(SPLICE + RATE) == 100.0, "as urgent as can be until then"
    watch.now_s = 103.0
    assert table.send(SPLICE, 480) is False
    assert table.due_s(SPLICE + RATE) == 104.0
    assert table.order_s(SPLICE + RATE) == 104.0
    assert table.left_s(SPLICE + RATE) == 1.0


def test_what_is_sent_after_its_time_is_late_and_the_others_keep_theirs(watch):
    table = table_of(watch, due_in_s=0.5)
    assert table.due_s(SPLICE) == 100.5
    watch.now_s = 100.5
    assert table.send(SPLICE, RATE) is False
    watch.now_s = 101.75
    assert table.send(SPLICE + RATE, RATE) is True
    watch.now_s = 102.5
    assert table.send(SPLICE + 2 * RATE, RATE) is False
    assert (table.sent_blocks, table.late_blocks) == (3, 1)


def test_time_counts_from_the_beginning_of_the_job_not_from_its_making(watch):
    table = Timetable(request(due_in_s=1.0), SPLICE, watch)
    watch.now_s = 200.0
    table.begin()
    assert table.due_s(SPLICE) == 201.0


def test_what_is_not_heard_has_no_time_of_its_own(watch):
    table = table_of(watch, due_in_s=0.0, heard_sample=SPLICE + RATE)
    watch.now_s = 109.0
    assert table.send(SPLICE, RATE) is False
    assert table.sent_blocks == 0
    assert table.due_s(SPLICE) == table.due_s(SPLICE + RATE) == 100.0
    assert table.due_s(SPLICE + 2 * RATE) == 101.0


@pytest.mark.parametrize("changes", [{"due_in_s": 1.0}, {"keep_up": True}])
def test_only_what_is_live_sounds_at_a_time(changes):
    with pytest.raises(InvalidRequestError, match="only a live request"):
        request(live=False, **changes)


@pytest.mark.parametrize("due_in_s", [-1.0, 1e9])
def test_a_time_outside_its_limits_is_refused(due_in_s):
    with pytest.raises(InvalidRequestError, match="allowed are 0 to"):
        request(due_in_s=due_in_s)
