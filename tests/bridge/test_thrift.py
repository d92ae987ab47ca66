import pytest

from bridge.thrift import MARGIN, Thrift


def measured(asked=3, steps_s=(0.4,), sound_s=0.0, chunks=40):
    """Return a thrift that has seen chunks of one speed, each given all passes."""
    thrift = Thrift(asked, chunk_s=9.0)
    for _ in range(chunks):
        made(thrift, steps_s)
        thrift.sounded(sound_s)
    return thrift


def made(thrift, steps_s):
    thrift.passes(None)
    for seconds in steps_s[:-1]:
        thrift.stepped(seconds, closed=False)
    thrift.stepped(steps_s[-1], closed=True)


def test_all_passes_as_long_as_nobody_knows_when_it_sounds():
    assert measured(asked=4, steps_s=(100.0,)).passes(None) == 4


@pytest.mark.parametrize("steps_s", [(0.4,), (0.1, 0.1, 0.2), (0.05, 0.35)])
@pytest.mark.parametrize(
    ("left_s", "passes"),
    [(9.0, 3), (0.41, 3), (0.39, 2), (0.31, 2), (0.29, 1), (0.0, 1), (-5.0, 1)],
)
def test_the_most_passes_that_come_in_time_and_never_none(left_s, passes, steps_s):
    """Three passes and what is beside them last 0.4 s, in however many steps: 0.1 s a pass."""
    assert measured(steps_s=steps_s).passes(MARGIN * left_s) == passes


def test_the_decoding_counts_too():
    assert measured(sound_s=0.1).passes(MARGIN * 0.45) == 2


def test_the_first_measurement_replaces_what_was_assumed():
    assert Thrift(3, chunk_s=9.0).passes(1.0) == 1
    assert measured(chunks=1).passes(MARGIN * 0.41) == 3


def test_a_change_of_speed_is_followed():
    thrift = measured()
    assert thrift.passes(MARGIN * 0.5) == 3
    for _ in range(30):
        made(thrift, (1.2,))
    assert thrift.passes(MARGIN * 0.7) == 1


def test_chunks_that_were_given_less_are_counted_when_they_end():
    thrift = measured()
    assert thrift.thinned_chunks == 0
    thrift.passes(0.0)
    thrift.stepped(0.1, closed=False)
    assert thrift.thinned_chunks == 0
    thrift.stepped(0.1, closed=True)
    assert thrift.thinned_chunks == 1
