"""What is heard of a live session: exact samples, late answers, gaps that are counted."""

import numpy as np
import pytest
from fakes import ramp

from bridge.live_player import MIN_FADE_SAMPLES, LivePlayer

BLOCK = 64
FADE = 100


def dry(num_samples):
    return np.full((1, num_samples), 0.5, np.float32)


def voiced(first, last, sign=1):
    return sign * ramp(first, last - first)[None]


def played(player, num_samples, block=BLOCK):
    """Return what a player plays over an input of 0.5."""
    parts = []
    while num_samples > 0:
        size = min(block, num_samples)
        parts.append(player.play(dry(size))[0])
        num_samples -= size
    return np.concatenate(parts)


@pytest.mark.parametrize("block", [1, 7, 64, 1024, 5000])
def test_an_answer_sounds_alone_from_its_bar_line_and_the_input_before_its_fade(block):
    player = LivePlayer(1)
    player.plan("a", 1_000, 3_000, FADE)
    player.add("a", 900, voiced(900, 6_000))
    out = played(player, 2_900, block)
    np.testing.assert_array_equal(out[:900], dry(900)[0])
    np.testing.assert_array_equal(out[1_000:], ramp(1_000, 1_900))
    assert player.gap_samples == 0
    assert [(one.start_sample, one.late_samples) for one in player.hand_overs] == [(1_000, 0)]


@pytest.mark.parametrize("block", [1, 64, 1024])
def test_one_answer_hands_over_to_the_next_without_a_gap(block):
    player = LivePlayer(1)
    for name, start, sign in (("a", 1_000, 1), ("b", 3_000, -1)):
        player.plan(name, start, start + 2_000, FADE)
        player.add(name, start - FADE, voiced(start - FADE, start + 3_500, sign))
    out = played(player, 4_800, block)
    np.testing.assert_array_equal(out[1_000:2_900], ramp(1_000, 1_900))
    np.testing.assert_array_equal(out[3_000:4_800], -ramp(3_000, 1_800))
    assert player.gap_samples == 0


def test_after_the_last_answer_the_input_comes_back():
    player = LivePlayer(1)
    player.plan("a", 1_000, 2_000, FADE)
    player.add("a", 900, voiced(900, 3_000))
    out = played(player, 3_000)
    np.testing.assert_array_equal(out[1_000:1_900], ramp(1_000, 900))
    np.testing.assert_array_equal(out[2_000:], dry(1_000)[0])
    assert player.gap_samples == 0


def test_what_comes_of_an_answer_while_it_fades_in_is_not_lost():
    player = LivePlayer(1)
    player.plan("a", 1_000, 2_000, FADE)
    player.add("a", 900, voiced(900, 1_100))
    played(player, 950)
    player.add("a", 1_100, voiced(1_100, 2_000))
    out = played(player, 900)
    np.testing.assert_array_equal(out[50:], ramp(1_000, 850))
    assert player.gap_samples == 0


def test_an_end_that_moves_is_followed():
    player = LivePlayer(1)
    player.plan("a", 1_000, 2_000, FADE)
    player.add("a", 900, voiced(900, 4_000))
    played(player, 1_200)
    player.plan("a", 1_000, 3_000, FADE)
    out = played(player, 2_000)
    np.testing.assert_array_equal(out[:1_700], ramp(1_200, 1_700))
    np.testing.assert_array_equal(out[1_800:], dry(200)[0])


def test_a_late_answer_joins_when_it_is_there_and_the_reserve_fills_the_time():
    player = LivePlayer(1)
    player.plan("a", 1_000, 2_000, FADE)
    player.add("a", 900, voiced(900, 2_600))
    player.plan("b", 2_000, 3_000, FADE)
    before = played(player, 2_176)
    np.testing.assert_array_equal(before[1_000:], ramp(1_000, 1_176))
    player.add("b", 1_900, voiced(1_900, 3_500, -1))
    after = played(player, 600)
    np.testing.assert_array_equal(after[FADE:], -ramp(2_276, 500))
    assert player.gap_samples == 0
    assert player.hand_overs[1].late_samples == 276


def test_what_is_missing_is_silent_and_counted():
    player = LivePlayer(1)
    player.plan("a", 1_000, 2_000, 0)
    player.add("a", 1_000, voiced(1_000, 2_050))
    player.plan("b", 2_000, 3_000, 0)
    out = played(player, 2_112)
    assert player.gap_samples == 62
    np.testing.assert_array_equal(out[2_050:], np.zeros(62))
    player.add("b", 2_000, voiced(2_000, 3_500, -1))
    out = played(player, 256)
    np.testing.assert_array_equal(out[MIN_FADE_SAMPLES:], -ramp(2_112 + MIN_FADE_SAMPLES, 192))


def test_an_answer_that_never_came_is_passed_over():
    player = LivePlayer(1)
    player.plan("a", 1_000, 2_000, FADE)
    player.plan("b", 2_000, 3_000, FADE)
    played(player, 1_500)
    player.add("b", 1_900, voiced(1_900, 4_000))
    out = played(player, 1_000)
    np.testing.assert_array_equal(out[:400], dry(400)[0])
    np.testing.assert_array_equal(out[500:], ramp(2_000, 500))
    assert player.missed == ["a"]


def test_the_input_goes_through_beside_an_answer_if_that_is_wanted():
    player = LivePlayer(1, through=0.5)
    player.plan("a", 100, 2_000, 0)
    player.add("a", 100, voiced(100, 2_000))
    out = played(player, 1_000)
    np.testing.assert_array_equal(out[100:], ramp(100, 900) + np.float32(0.25))


def test_when_an_answer_was_ready_is_told_by_the_clock():
    times = iter((1.5, 2.5))
    player = LivePlayer(1, clock=lambda: next(times))
    player.plan("a", 1_000, 2_000, FADE)
    player.add("a", 900, voiced(900, 1_000))
    player.add("a", 1_000, voiced(1_000, 1_500))
    played(player, 1_100)
    assert player.hand_overs[0].ready_s == 1.5
