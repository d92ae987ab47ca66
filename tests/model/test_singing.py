"""When lyrics are sung: a path that never goes back through what was attended to."""

import numpy as np
import pytest

from model.singing import UNSUNG, character_starts, monotone_path, words_of


def attention_of(places, characters, frames_each=4, noise=0.02, seed=0):
    """Return attention that stays with each character in turn for some frames."""
    random = np.random.default_rng(seed)
    made = noise * random.random((len(places) * frames_each, characters))
    for step, place in enumerate(places):
        made[step * frames_each : (step + 1) * frames_each, place] += 1.0
    return made.astype(np.float32)


def test_each_character_begins_where_it_is_attended_to():
    starts = character_starts(attention_of(range(9), 9), step_frames=4)
    assert starts.tolist() == [4 * place for place in range(9)]


def test_what_is_attended_to_out_of_turn_does_not_turn_the_path_back():
    places = [0, 1, 2, 0, 3, 4, 1, 5, 6, 7]
    starts = character_starts(attention_of(places, 8), step_frames=4)
    assert (np.diff(starts) >= 0).all()
    # Where nothing of the path is attended to, it may wait or go on: a step either way.
    assert np.abs(starts - [0, 4, 8, 16, 20, 28, 32, 36]).max() <= 4


def test_characters_passed_over_share_the_time_between():
    starts = character_starts(attention_of([0, 4], 5, frames_each=8), step_frames=8)
    assert starts.tolist() == [0, 2, 4, 6, 8]


def test_what_the_music_does_not_reach_is_unsung():
    starts = character_starts(attention_of([2, 3], 6), step_frames=4)
    assert starts.tolist() == [UNSUNG, UNSUNG, 0, 4, UNSUNG, UNSUNG]
    assert character_starts(np.zeros((0, 3), np.float32), 4).tolist() == [UNSUNG] * 3
    assert character_starts(np.zeros((3, 0), np.float32), 4).size == 0


@pytest.mark.parametrize("seed", range(5))
def test_no_other_path_that_never_goes_back_scores_more(seed):
    scores = np.random.default_rng(seed).standard_normal((5, 4))
    path = monotone_path(scores)
    assert (np.diff(path) >= 0).all()
    found = scores[np.arange(5), path].sum()
    every = np.stack(np.meshgrid(*[np.arange(4)] * 5), -1).reshape(-1, 5)
    never_back = every[(np.diff(every, axis=1) >= 0).all(axis=1)]
    best = scores[np.arange(5), never_back].sum(axis=1).max()
    assert found == pytest.approx(best)


def test_words_are_what_is_between_white_space_and_whole():
    text = "one two\nthree"
    starts = np.array([0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, UNSUNG, UNSUNG])
    one, two = words_of(text, starts, 50)
    assert (one.text, one.line, one.start_frame, one.end_frame) == ("one", 0, 0, 3)
    assert (two.text, two.line, two.start_frame, two.end_frame) == ("two", 0, 4, 9)
    assert two.character_frames == (4, 5, 6)
    last = words_of("la", np.array([3, 5]), 8)[0]
    assert (last.start_frame, last.end_frame) == (3, 8)
    assert words_of("", np.zeros(0, np.int64), 8) == ()
