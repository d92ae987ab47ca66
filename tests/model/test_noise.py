"""Draws that depend on their place alone."""

import numpy as np
import pytest

from model.noise import MAX_SEED, choose, uniform

PLACE = {"seed": 5, "level": 2, "turn": 1, "variation": 3}


def draws(first=0, frames=64, **changes):
    return uniform(
        **{**PLACE, **changes},
        first_frame=first,
        frames=frames,
    )


@pytest.mark.parametrize("first", [0, 1, 1000, 2**40])
@pytest.mark.parametrize("pieces", [[64], [1] * 64, [7, 30, 27]])
def test_any_cut_gives_the_same_draws(first, pieces):
    at, made = first, []
    for size in pieces:
        made.append(draws(at, size))
        at += size
    assert np.array_equal(np.concatenate(made), draws(first))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"seed": MAX_SEED},
        {"level": 1},
        {"turn": 2},
        {"turn": 255},
        {"variation": 4},
        {"variation": 2**32 - 1},
        {"level": 0, "turn": 0, "variation": 0},
    ],
    ids=str,
)
def test_every_part_of_the_place_matters(change):
    ours, theirs = draws(frames=512), draws(frames=512, **change)
    assert not np.isin(ours, theirs).any()
    assert abs(np.corrcoef(ours, theirs)[0, 1]) < 0.15


def test_neighbouring_frames_are_no_shifted_copies():
    assert len(np.unique(draws(frames=4096))) == 4096


@pytest.mark.parametrize("place", [{}, {"seed": 0, "level": 0, "turn": 0, "variation": 0}], ids=str)
def test_draws_are_even_and_within_range(place):
    made = draws(frames=20_000, **place)
    assert made.min() >= 0
    assert made.max() < 1
    counts, _ = np.histogram(made, bins=20, range=(0, 1))
    # 99.9 % point of chi-square with 19 degrees of freedom.
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    assert abs(np.corrcoef(made[1:], made[:-1])[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "the seed is -1, allowed are 0 to 18446744073709551615"),
        ({"seed": MAX_SEED + 1}, "the seed is 18446744073709551616"),
        ({"variation": 2**32}, "the variation is 4294967296, allowed are 0 to 4294967295"),
        ({"turn": 2**24}, "the turn is"),
        ({"level": 256}, "the level is 256"),
    ],
)
def test_what_has_no_room_in_the_key_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        draws(**change)


def test_a_draw_falls_where_the_cumulative_distribution_says():
    probabilities = np.array([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]])
    for draw, code in [(0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (1 - 2**-53, 4)]:
        assert choose(probabilities, np.array([draw])).tolist() == [code]


@pytest.mark.parametrize("total", [1.0, 0.1, 3.3, 0.7])
def test_a_code_without_chance_is_never_drawn(total):
    probabilities = np.tile([0.0, total / 3, 0.0, total / 3, total / 3, 0.0], (2, 1))
    assert choose(probabilities, np.array([0.0, 1 - 2**-53])).tolist() == [1, 4]
