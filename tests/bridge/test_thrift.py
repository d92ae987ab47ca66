import pytest

from bridge.thrift import MARGIN, Thrift


def measured(asked=3, pass_s=0.1, closing_s=0.2, beside=0, sound_s=0.0, chunks=60):
    """Return a thrift that has seen chunks of one speed, each given all passes."""
    thrift = Thrift(asked, step_s=1.0)
    for _ in range(chunks):
        thrift.passes(None)
        for _ in range(beside + asked - 1):
            thrift.stepped(pass_s, closed=False)
        thrift.stepped(closing_s, closed=True)
        thrift.decoded(sound_s)
    return thrift


def test_full_passes_as_long_as_nobody_knows_when_it_sounds():
    assert measured(asked=4, pass_s=100.0).passes(None) == 4


@pytest.mark.parametrize(
    ("left_s", "passes"),
    [(9.0, 3), (0.41, 3), (0.39, 2), (0.31, 2), (0.29, 1), (0.0, 1), (-5.0, 1)],
)
def test_the_most_passes_that_come_in_time_and_never_none(left_s, passes):
    """Two open passes of 0.1 s and a closing one of 0.2 s cost 0.4 s, two 0.3 s, one 0.2 s."""
    assert measured().passes(MARGIN * left_s) == passes


def test_steps_beside_the_passes_and_the_decoding_count_too():
    assert measured(beside=1).passes(MARGIN * 0.45) == 2
    assert measured(sound_s=0.1).passes(MARGIN * 0.45) == 2


def test_a_change_of_speed_is_followed():
    thrift = measured()
    assert thrift.passes(MARGIN * 0.5) == 3
    for _ in range(30):
        thrift.passes(None)
        for _ in range(2):
            thrift.stepped(0.3, closed=False)
        thrift.stepped(0.6, closed=True)
    assert thrift.passes(MARGIN * 0.7) == 1


def test_chunks_that_were_given_less_are_counted_when_they_end():
    thrift = measured()
    assert thrift.thinned_chunks == 0
    thrift.passes(0.0)
    assert thrift.thinned_chunks == 0
    thrift.stepped(0.2, closed=True)
    assert thrift.thinned_chunks == 1
