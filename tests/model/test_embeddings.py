"""Conditions as vectors: each counts, and "not said" is something else than zero or silence."""

from dataclasses import replace

import pytest
import torch

from model.conditioning.embeddings import (
    FrameConditions,
    FrameInputs,
    LabelEmbedding,
    TimingEmbedding,
    normalised,
)
from model.conditioning.roll import ROLL_WIDTH
from model.config import LabelConfig
from tests.model.tiny import randomised

LABELS = LabelConfig(artists=5, genres=6, timing_bins=8, seconds=(0.0, 1.0), sample_rate=800)
WIDTH, GROUPS = 6, 4


@pytest.fixture(scope="module")
def conditions():
    made = randomised(FrameConditions(LABELS, WIDTH, latents=3, stem_kinds=5))
    return made.eval().requires_grad_(False)


@pytest.fixture
def inputs():
    random = torch.Generator().manual_seed(0)
    return FrameInputs(
        artist=torch.tensor([1]),
        genre=torch.tensor([[2]]),
        target=torch.tensor([0]),
        total=torch.full((1, GROUPS), 400.0),
        position=torch.arange(GROUPS)[None] * 50.0,
        roll=torch.zeros(1, GROUPS, ROLL_WIDTH),
        roll_known=torch.ones(1, GROUPS, dtype=torch.bool),
        stems=torch.randn(1, 5, GROUPS, 3, generator=random),
        stems_given=torch.zeros(1, 5, GROUPS, dtype=torch.bool),
    )


def changed_groups(conditions, ours, theirs):
    return ((conditions(ours) - conditions(theirs)).abs().amax(-1)[0] > 1e-6).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"artist": torch.tensor([2])},
        {"genre": torch.tensor([[3]])},
        {"target": torch.tensor([4])},
        {"total": torch.zeros(1, GROUPS)},
        {"roll": torch.ones(1, GROUPS, ROLL_WIDTH)},
        {"roll_known": torch.zeros(1, GROUPS, dtype=torch.bool)},
        {"stems_given": torch.ones(1, 5, GROUPS, dtype=torch.bool)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_condition_counts(conditions, inputs, change):
    assert all(changed_groups(conditions, inputs, replace(inputs, **change)))


def test_a_condition_of_one_frame_stays_in_it(conditions, inputs):
    known = inputs.roll_known.clone()
    known[0, 2] = False
    stems = inputs.stems_given.clone()
    stems[0, 1, 3] = True
    changed = replace(inputs, roll_known=known, stems_given=stems)
    assert changed_groups(conditions, inputs, changed) == [False, False, True, True]


def test_silence_that_is_known_differs_from_notes_nobody_gave(conditions, inputs):
    unknown = replace(inputs, roll_known=torch.zeros_like(inputs.roll_known))
    assert all(changed_groups(conditions, inputs, unknown))
    noisy = replace(unknown, roll=torch.ones_like(inputs.roll))
    assert not any(changed_groups(conditions, unknown, noisy))


def test_a_stem_that_is_not_given_is_not_heard(conditions, inputs):
    louder = replace(inputs, stems=inputs.stems + 1)
    assert not any(changed_groups(conditions, inputs, louder))
    given = inputs.stems_given.clone()
    given[0, 2] = True
    ours, theirs = replace(inputs, stems_given=given), replace(louder, stems_given=given)
    assert all(changed_groups(conditions, ours, theirs))


def test_the_same_sound_as_another_kind_of_stem_is_another_condition(conditions, inputs):
    stems = inputs.stems[:, :1].expand(-1, 5, -1, -1)
    made = []
    for kind in (1, 2):
        given = torch.zeros_like(inputs.stems_given)
        given[0, kind] = True
        made.append(conditions(replace(inputs, stems=stems, stems_given=given)))
    assert not torch.allclose(*made)


def test_genre_slots_of_minus_one_add_nothing():
    labels = randomised(LabelEmbedding(LABELS, WIDTH))
    artist = torch.tensor([1])
    one = labels(artist, torch.tensor([[2]]))
    assert torch.equal(labels(artist, torch.tensor([[2, -1, -1]])), one)
    two = labels(artist, torch.tensor([[2, 3]]))
    torch.testing.assert_close(two - one, labels.genre(torch.tensor([3])))


@pytest.mark.parametrize(
    ("total", "position", "rows"),
    [
        (400.0, 0.0, (4, 0, 0)),
        (400.0, 99.0, (4, 0, 1)),
        (400.0, 100.0, (4, 1, 2)),
        (400.0, 399.0, (4, 3, 7)),
        (400.0, 9000.0, (4, 7, 7)),  # beyond the end: the last bins
        (9000.0, 0.0, (7, 0, 0)),
        (1.0, 0.0, (0, 0, 0)),
    ],
)
def test_timing_is_binned_by_total_place_and_share(total, position, rows):
    timing = randomised(TimingEmbedding(LABELS, WIDTH))
    made = timing(torch.tensor([[total]]), torch.tensor([[position]]))[0, 0]
    tables = timing.total, timing.absolute, timing.relative
    expected = sum(table.weight[row] for table, row in zip(tables, rows, strict=True))
    torch.testing.assert_close(made, expected)


@pytest.mark.parametrize("total", [0.0, -1.0])
def test_a_total_that_is_not_said_leaves_timing_out(total):
    timing = randomised(TimingEmbedding(LABELS, WIDTH))
    assert not timing(torch.tensor([[total]]), torch.tensor([[50.0]])).any()


def test_a_codebook_of_equal_rows_normalises_to_zero_and_not_to_nonsense():
    assert not normalised(torch.full((4, 3), 2.5)).any()
