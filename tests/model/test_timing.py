"""Timing rows: they cover a piece, move with the window, and refuse what no row is for."""

import pytest
import torch

from model.conditioning.embeddings import TimingEmbedding
from model.conditioning.timing import Extent, stacked, timing_rows
from model.config import LabelConfig
from model.errors import WindowError
from tests.model.tiny import randomised

CONFIG = LabelConfig(artists=2, genres=2, timing_bins=8, seconds=(1.0, 16.0), sample_rate=100)


def extents(total=800, offset=0, window=400):
    return stacked([Extent(total_samples=total, offset_samples=offset, window_samples=window)])


def test_rows_are_shares_of_the_whole_and_of_the_longest_piece():
    rows = timing_rows(CONFIG, extents(), 4)
    assert rows.total.tolist() == [[3]]
    assert rows.absolute.tolist() == [[0, 0, 1, 1]]
    assert rows.relative.tolist() == [[0, 1, 2, 3]]


def test_a_window_moved_on_has_the_rows_of_its_new_place():
    start = Extent(total_samples=800, offset_samples=0, window_samples=400)
    rows = timing_rows(CONFIG, stacked([start.moved(400)]), 4)
    assert rows.relative.tolist() == [[4, 5, 6, 7]]
    assert rows.absolute.tolist() == [[2, 2, 3, 3]]


def test_a_window_s_vectors_are_the_sums_of_its_rows():
    timing = randomised(TimingEmbedding(CONFIG, 6))
    rows = timing_rows(CONFIG, extents(), 4)
    tables = (timing.total, timing.absolute, timing.relative)
    chosen = (rows.total[0].expand(4), rows.absolute[0], rows.relative[0])
    expected = sum(table.weight[row] for table, row in zip(tables, chosen, strict=True))
    torch.testing.assert_close(timing.window(extents(), 4)[0], expected)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (extents(total=99), "total is 99 samples.* from 100 to below 1600"),
        (extents(total=1600), "total is 1600 samples"),
        (extents(offset=-1), "begins at sample -1"),
        (extents(total=1500, offset=1300), "ends at sample 1700.* up to 1600"),
        (extents(offset=800), "begins at sample 800, the piece ends before"),
    ],
)
def test_what_the_tables_do_not_cover_is_refused_with_its_value(wrong, text):
    with pytest.raises(WindowError, match=text):
        timing_rows(CONFIG, wrong, 4)


def test_a_start_that_rounds_to_the_end_of_the_piece_is_refused():
    long = LabelConfig(artists=2, genres=2, seconds=(60.0, 600.0))
    near = extents(total=4_410_000, offset=4_409_999, window=1_048_576)
    with pytest.raises(WindowError, match="4409999, too near to the end"):
        timing_rows(long, near, 8192)
