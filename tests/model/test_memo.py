"""What was made once is not made again, within a budget."""

import pytest

from model.memo import Memo


def filled(limit_bytes, keys=("a", "b", "c")):
    memo = Memo(limit_bytes, len)
    for key in keys:
        memo.of(key.encode(), lambda key=key: key * 10)
    return memo


def test_a_value_is_made_once():
    memo, made = Memo(100, len), []
    for _ in range(3):
        assert memo.of(b"key", lambda: made.append(1) or "value") == "value"
    assert len(made) == 1
    stats = memo.stats()
    assert (stats.hits, stats.misses, stats.held, stats.held_bytes) == (2, 1, 1, 5)


@pytest.mark.parametrize(("limit", "held"), [(0, 0), (9, 0), (10, 1), (29, 2), (30, 3), (99, 3)])
def test_the_budget_holds(limit, held):
    stats = filled(limit).stats()
    assert (stats.held, stats.held_bytes, stats.limit_bytes) == (held, 10 * held, limit)
    # What is larger than the whole budget is not held at all, and so pushes nothing out.
    assert stats.evictions == (3 - held if limit >= 10 else 0)


def test_what_was_wanted_least_recently_goes_first():
    memo = filled(30)
    memo.of(b"a", lambda: pytest.fail("a is held"))
    memo.of(b"d", lambda: "d" * 10)
    assert memo.of(b"a", lambda: pytest.fail("a was wanted since")) == "a" * 10
    assert memo.of(b"b", lambda: "anew") == "anew"


def test_a_failure_leaves_nothing():
    memo = Memo(30, len)

    def failing():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        memo.of(b"key", failing)
    assert memo.stats().held == 0
    assert memo.of(b"key", lambda: "x") == "x"
