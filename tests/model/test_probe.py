"""The scaling probe: trials are all pairs, sizes keep the width of a head."""

import pytest

from model.shipped import SMALL
from model.training.loop import Clock
from model.training.probe import HEAD_WIDTH, Outcome, Trial, sized, table_of, trials


def test_every_width_is_tried_with_every_share():
    found = {(one.width, one.share) for one in trials((192, 320), (0.2, 1.0))}
    assert found == {(192, 0.2), (192, 1.0), (320, 0.2), (320, 1.0)}


@pytest.mark.parametrize("width", [0, -64, 100])
def test_a_width_that_makes_no_heads_is_refused(width):
    with pytest.raises(ValueError, match=f"the width is {width}, .* multiple of {HEAD_WIDTH}"):
        trials((width,), (1.0,))


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"the share is {share}"):
        trials((192,), (share,))


def test_the_shipped_width_is_the_shipped_student():
    assert SMALL.student is not None
    assert sized(SMALL.student.transformer.width) == SMALL.student


def test_the_table_begins_with_the_best():
    clock = Clock(10, 1.0)
    outcomes = [
        Outcome(
            trial=Trial(width=width, share=1.0), hours=1.0, parameters=10**6, clock=clock, bits=bits
        )
        for width, bits in ((192, 9.5), (320, 9.0), (448, 9.8))
    ]
    assert list(table_of(outcomes).columns[0].cells) == ["320", "192", "448"]
