"""Labels: tables from a user's files, rows and back, and what no table has a row for."""

import numpy as np
import pytest
import torch

from model.conditioning.labels import (
    LabelShape,
    Piece,
    check_labels,
    label_shape,
    labels_of,
    labels_of_rows,
    read_tables,
)
from model.conditioning.text import V2, V3
from model.config import LabelConfig
from model.errors import LabelError, WindowError
from model.released import PRIOR_1B_LYRICS, PRIOR_5B, PRIOR_5B_LYRICS, UPSAMPLER_LEVEL_1

SHAPE = LabelShape(window_samples=100, genre_slots=3, lyric_slots=4)
TEXT = np.arange(1, 21)


def piece(**changes):
    return Piece(**{"lyrics": TEXT, "total_samples": 1000, **changes})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "v2_artist_ids.txt").write_text("unknown;0\nc_line_dion;7\nac_dc;9\n", "utf-8")
    (tmp_path / "v2_genre_ids.txt").write_text("unknown;0\nhip;3\nhop;4\n", "utf-8")
    (tmp_path / "v3_artist_ids.txt").write_text("Unknown;0\nCéline Dion;5\na;b;6\n", "utf-8")
    (tmp_path / "v3_genre_ids.txt").write_text("jazz fusion;1\nJazz Fusion;2\n", "utf-8")
    return tmp_path


def test_v2_names_are_words_without_accents_and_genres_are_split(folder):
    tables = read_tables(folder, "v2")
    assert [tables.artist(name) for name in ("Céline Dion", "Celine Dion", " AC/DC ")] == [7, 0, 9]
    assert tables.genre_ids("Hip-Hop rap") == (3, 4, 0)


def test_v3_names_are_whole_and_the_last_of_two_counts(folder):
    tables = read_tables(folder, "v3")
    assert [tables.artist(name) for name in ("CÉLINE DION", "Celine Dion", "A;B")] == [5, 0, 6]
    assert tables.genre_ids("Jazz Fusion") == (2,)


def test_tables_that_cannot_be_read_are_refused_with_the_line(folder):
    with pytest.raises(LabelError, match="'v4'"):
        read_tables(folder, "v4")
    (folder / "v2_genre_ids.txt").write_text("hip;3\nhop\n", "utf-8")
    with pytest.raises(LabelError, match=r"line 2 of .*v2_genre_ids\.txt is 'hop'"):
        read_tables(folder, "v2")
    (folder / "v2_genre_ids.txt").unlink()
    with pytest.raises(LabelError, match="v2_genre_ids"):
        read_tables(folder, "v2")


def test_labels_come_back_through_their_published_rows():
    pieces = [piece(artist=3, genres=(1, 2), offset_samples=50), piece(lyrics=TEXT[:2])]
    labels, windows = labels_of(pieces, SHAPE, 200)
    rows = labels.rows()
    assert rows[0].tolist() == [1000, 250, 100, 3, 1, 2, -1, *windows[0].ids]
    assert rows[1].tolist() == [1000, 200, 100, 0, 0, -1, -1, 0, 0, 1, 2]
    assert torch.equal(labels_of_rows(rows, 3).rows(), rows)


def test_lyrics_follow_the_window_and_short_ones_are_padded_before():
    heard = [labels_of([piece()], SHAPE, start)[1][0].indices.tolist() for start in (0, 400, 900)]
    assert heard == [[0, 1, 2, 3], [7, 8, 9, 10], [16, 17, 18, 19]]
    short = labels_of([piece(lyrics=TEXT[:3])], SHAPE)[1][0]
    assert short.indices.tolist() == [-1, 0, 1, 2]


def test_a_window_outside_of_the_piece_or_an_odd_one_hears_nothing():
    with pytest.raises(WindowError, match="sample 1000, the piece goes from 0 to below 1000"):
        labels_of([piece()], SHAPE, 1000)
    odd = LabelShape(window_samples=100, genre_slots=3, lyric_slots=5)
    with pytest.raises(WindowError, match="5 characters is odd"):
        labels_of([piece()], odd)


def test_more_genres_than_slots_are_refused():
    with pytest.raises(LabelError, match="4 genres are given, this model takes at most 3"):
        labels_of([piece(genres=(1, 2, 3, 4))], SHAPE)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"artist": 5}, "artist's id is 5, this model has 5 rows"),
        ({"artist": -1}, "artist's id is -1"),
        ({"genres": (2, 6)}, "genre's id is 6, this model has 6 rows"),
    ],
)
def test_an_id_without_a_row_is_refused(changes, text):
    config = LabelConfig(artists=5, genres=6)
    check_labels(labels_of([piece(artist=4, genres=(5,))], SHAPE)[0], config)
    with pytest.raises(LabelError, match=text):
        check_labels(labels_of([piece(**changes)], SHAPE)[0], config)


@pytest.mark.parametrize(
    ("config", "rules", "shape"),
    [
        (PRIOR_5B, V2, (1_048_576, 5, 0)),
        (PRIOR_5B_LYRICS, V2, (1_048_576, 5, 512)),
        (PRIOR_1B_LYRICS, V3, (786_432, 1, 384)),
    ],
)
def test_released_models_take_the_published_numbers_of_everything(config, rules, shape):
    made = label_shape(config, rules, 128)
    assert (made.window_samples, made.genre_slots, made.lyric_slots) == shape
    assert label_shape(UPSAMPLER_LEVEL_1, V2, 32).window_samples == 262_144
