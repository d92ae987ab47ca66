"""Whole published systems in small: refused in time, stopped anywhere, the same codes every way."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.conditioning.labels import Piece
from model.conditioning.text import V2
from model.config import (
    BlockConfig,
    CodecConfig,
    LabelConfig,
    LyricConfig,
    PriorConfig,
    TransformerConfig,
)
from model.errors import ConditionError, LabelError, WindowError
from model.prior import Prior
from model.published.alignment import Aligner, Head
from model.published.level import PublishedLevel
from model.published.request import Item, LevelSettings, SystemRequest, SystemSizes, Voice
from model.published.system import PublishedSystem
from model.upsampler import Upsampler
from tests.model.tiny import randomised

RATE = 441
TOTAL = 16 * 128
"""Samples: 16 codes at the top, two windows of 12."""
LABELS = LabelConfig(artists=6, genres=5, timing_bins=8, seconds=(1.0, 60.0), sample_rate=RATE)


def stack_of(frames: int, rows: int, **changes) -> TransformerConfig:
    return TransformerConfig(
        width=16,
        depth=3,
        heads=2,
        frames=frames,
        rows=rows,
        **{"attention_multiplier": 0.5} | changes,
    )


def upsampler() -> PriorConfig:
    return PriorConfig(
        vocabulary=20,
        transformer=stack_of(32, 4),
        labels=LABELS,
        upper=BlockConfig(stride=2, repeats=2, width=4, depth=2, decoder_widens=True),
        upper_vocabulary=20,
    )


def top_of(kind: str = "plain") -> PriorConfig:
    plain = PriorConfig(vocabulary=20, transformer=stack_of(12, 4), labels=LABELS, timing=True)
    if kind == "joint":
        shape = stack_of(16, 4, pattern=("row", "prefix"), prefix_frames=4)
        return replace(plain, vocabulary=20 + 80, transformer=shape)
    if kind == "encoder":
        lyrics = LyricConfig(vocabulary=80, transformer=stack_of(4, 2))
        shape = stack_of(12, 4, pattern=("row", "encoder"))
        return replace(plain, merged=True, lyrics=lyrics, transformer=shape)
    return plain


def sizes_of(kind: str = "plain") -> SystemSizes:
    codec = CodecConfig(
        sample_rate=RATE,
        codebook_size=20,
        levels=tuple(
            tuple(
                BlockConfig(stride=2, repeats=repeats, width=4, depth=1)
                for repeats in (3, 2, 2)[: level + 1]
            )
            for level in range(3)
        ),
    )
    return SystemSizes(
        codec=codec, priors=(upsampler(), upsampler(), top_of(kind)), rules=(V2, V2, V2)
    )


def levels_of(kind: str = "plain") -> list[PublishedLevel]:
    sizes = sizes_of(kind)
    made = []
    for level, config in enumerate(sizes.priors):
        module = randomised(Upsampler(config) if config.upper else Prior(config), seed=level)
        made.append(PublishedLevel(module, sizes.level(level)))
    return made


@pytest.fixture(scope="module")
def levels():
    return levels_of()


def piece(**changes) -> Piece:
    facts = {
        "artist": 1,
        "genres": (2, 3),
        "lyrics": np.arange(1, 12),
        "total_samples": 20 * RATE,
        "offset_samples": RATE,
    }
    return Piece(**facts | changes)


def request_of(variations=(0, 1, 2), items=None, **changes) -> SystemRequest:
    row = tuple(items or [Item(piece=piece()) for _ in variations])
    facts = {
        "items": (row, row, row),
        "total_samples": TOTAL,
        "seed": 5,
        "variations": tuple(variations),
        "settings": tuple(LevelSettings(chunk_frames=5, batch_items=2) for _ in range(3)),
    }
    return SystemRequest(**facts | changes)


def run(levels, request, codes=None, *, sizes=None, stop=False, positions=32):
    """Return the last state, and what was drawn; `stop` throws the cache away at every step."""
    system = PublishedSystem(
        sizes or sizes_of(), lambda level: levels[level], step_positions=positions
    )
    state, drawn = system.begin(request, codes), []
    while not state.finished:
        state, made = system.step(state)
        drawn += [] if made is None else [made]
        if stop and made is not None:
            state = state.stored()
    return state, drawn


@pytest.fixture(scope="module")
def whole(levels):
    return run(levels, request_of())


def assert_same(ours, theirs):
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_every_level_is_drawn_once_top_first_and_whole(whole):
    state, drawn = whole
    assert [codes.shape for codes in state.codes] == [(3, 256), (3, 64), (3, 16)]
    assert [made.level for made in drawn] == sorted((made.level for made in drawn), reverse=True)
    for level in range(3):
        places = [
            (item, made.first_frame + frame)
            for made in drawn
            if made.level == level
            for item in made.items
            for frame in range(made.codes.shape[1])
        ]
        assert len(places) == len(set(places)) == state.codes[level].numel()
        for made in drawn:
            if made.level == level:
                rows = state.codes[level][made.items.start : made.items.stop]
                span = slice(made.first_frame, made.first_frame + made.codes.shape[1])
                assert torch.equal(rows[:, span], made.codes)


def test_a_run_stopped_at_every_step_draws_the_same_codes(levels, whole):
    stopped, _ = run(levels, request_of(), stop=True, positions=40)
    assert_same(stopped.codes, whole[0].codes)


def test_a_step_draws_no_more_than_it_is_bounded_to(levels):
    state, drawn = run(levels, request_of(levels=(2,)), positions=3)
    assert max(made.codes.shape[1] for made in drawn) == 3
    assert state.codes[0].shape == (3, 0)


def test_company_and_chunks_change_nothing(levels, whole):
    alone, _ = run(levels, request_of(variations=(1,)))
    assert_same(alone.codes, [codes[1:2] for codes in whole[0].codes])
    settings = tuple(LevelSettings(chunk_frames=64, batch_items=3) for _ in range(3))
    other, _ = run(levels, request_of(settings=settings))
    assert_same(other.codes, whole[0].codes)


def test_variations_and_seeds_draw_otherwise_and_equal_ones_alike(levels, whole):
    codes = whole[0].codes[2]
    assert not torch.equal(codes[0], codes[1])
    twins, _ = run(levels, request_of(variations=(4, 4), levels=(2,)))
    assert torch.equal(twins.codes[2][0], twins.codes[2][1])
    other, _ = run(levels, request_of(seed=6, levels=(2,)))
    assert not torch.equal(other.codes[2], codes)


def test_levels_are_asked_for_one_after_the_other_coarsest_first(levels):
    asked = []

    def source(level):
        asked.append(level)
        return levels[level]

    system = PublishedSystem(sizes_of(), source)
    state = system.begin(request_of(variations=(0,)))
    assert asked == []
    while not state.finished:
        state, _ = system.step(state)
    assert asked == sorted(asked, reverse=True)
    assert set(asked) == {0, 1, 2}


def test_progress_counts_every_code_once(levels):
    system = PublishedSystem(sizes_of(), lambda level: levels[level])
    state = system.begin(request_of(variations=(0, 1)))
    counts = [state.drawn_frames]
    while not state.finished:
        state, _ = system.step(state)
        counts.append(state.drawn_frames)
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == state.total_frames == 256 + 64 + 16


def test_a_finished_run_is_continued_and_given_codes_are_kept(levels, whole):
    done = whole[0].codes
    longer, _ = run(levels, request_of(total_samples=TOTAL + 4 * 128), done)
    assert longer.codes[2].shape == (3, 20)
    assert_same(
        [codes[:, : old.shape[1]] for codes, old in zip(longer.codes, done, strict=True)], done
    )
    again, drawn = run(levels, request_of(), done)
    assert not drawn
    assert_same(again.codes, done)


def test_lower_levels_alone_are_drawn_under_codes_that_exist(levels, whole):
    top = whole[0].codes[2]
    given = (top[:, :0], top[:, :0], top)
    state, drawn = run(levels, request_of(levels=(0, 1)), given)
    assert {made.level for made in drawn} == {0, 1}
    assert_same(state.codes, whole[0].codes)


def test_a_blend_of_one_is_that_one_and_of_two_is_between(levels):
    def start(*voices):
        items = [Item(piece=piece(), blend=tuple(voices))]
        return levels[2].hear(items, 0, None).start

    first = Voice(artist=1, genres=(2, 3), weight=1.0)
    second = Voice(artist=4, genres=(), weight=1.0)
    plain = levels[2].hear([Item(piece=piece())], 0, None).start
    torch.testing.assert_close(start(first), plain)
    mixed = start(replace(first, weight=0.25), replace(second, weight=0.75))
    torch.testing.assert_close(mixed, 0.25 * start(first) + 0.75 * start(second))


@pytest.mark.parametrize("kind", ["joint", "encoder"])
def test_lyrics_are_heard(kind):
    levels, sizes = levels_of(kind), sizes_of(kind)
    first, _ = run(levels, request_of(levels=(2,)), sizes=sizes)
    other = [Item(piece=piece(lyrics=np.arange(30, 41)))] * 3
    changed, _ = run(levels, request_of(levels=(2,), items=other), sizes=sizes)
    assert not torch.equal(first.codes[2], changed.codes[2])
    assert int(first.codes[2].min()) >= 0
    assert int(first.codes[2].max()) < 20


def test_alignment_covers_every_frame_and_the_whole_text_and_refuses_deaf_layers():
    level = levels_of("encoder")[2]
    items = [Item(piece=piece())] * 2
    codes = torch.zeros(2, 24, dtype=torch.long)
    aligner = Aligner(level, items, codes, Head(layer=1, head=1), hop_frames=6)
    left = list(aligner.steps())
    assert left == sorted(left, reverse=True)
    assert aligner.done
    for maps in aligner.maps():
        assert maps.shape == (24, 11)
        assert maps.sum(1).min() > 1 - 1e-5
    with pytest.raises(ConditionError, match="layer 0 is of kind row, which hears no lyrics"):
        Aligner(level, items, codes, Head(layer=0, head=0), hop_frames=6)
    with pytest.raises(ConditionError, match="layer 9 head 0"):
        Aligner(level, items, codes, Head(layer=9, head=0), hop_frames=6)


def hop(fraction):
    return {"settings": (LevelSettings(hop_fraction=fraction), *[LevelSettings()] * 2)}


def labelled(**changes):
    return {"items": [Item(piece=piece(**changes))] * 3}


def blended(**changes):
    voice = Voice(**{"artist": 1, "genres": (), "weight": 1.0} | changes)
    return {"items": [Item(piece=piece(), blend=(voice,))] * 3}


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        (hop(0.3), WindowError, "multiple of 4"),
        (hop(0.001), WindowError, "hop fraction of level 0"),
        ({"total_samples": 3 * 128}, WindowError, "at least one window of 1024 samples"),
        (labelled(artist=6), LabelError, "artist's id is 6, this model has 6 rows"),
        (labelled(genres=(1, 7)), LabelError, "genre's id is 7"),
        (labelled(genres=(1,) * 6), LabelError, "6 genres"),
        (labelled(total_samples=60 * RATE), WindowError, "totals from 441 to below 26460"),
        (labelled(total_samples=RATE + 1), WindowError, "the piece"),
        (labelled(offset_samples=-1), WindowError, "-1"),
        (blended(artist=9), LabelError, "voice's artist id is 9"),
        (blended(genres=(5,)), LabelError, "voice's genre id is 5"),
        (blended(weight=float("nan")), LabelError, "weight is nan"),
        ({"seed": -1}, ConditionError, "seed is -1"),
        ({"variations": (0, 1)}, ConditionError, r"\[3, 3, 3\] results by level, and 2"),
        ({"levels": (0, 3)}, ConditionError, r"levels \[3\]"),
        ({"settings": ()}, ConditionError, "settings are given for 0 levels"),
    ],
)
def test_what_would_fail_later_is_refused_before_any_weights_are_asked_for(changes, error, text):
    def source(level):
        raise AssertionError(f"level {level} was asked for")

    items = changes.pop("items", None) if "items" in changes else None
    request = (
        request_of(items=items, **changes)
        if "variations" not in changes
        else replace(request_of(), **changes)
    )
    with pytest.raises(error, match=text):
        PublishedSystem(sizes_of(), source).begin(request)


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        (torch.full((3, 8), 20), "allowed are 0 to 19"),
        (torch.zeros(2, 8, dtype=torch.long), "codes of 2 results"),
    ],
)
def test_codes_that_no_run_left_are_refused(codes, text):
    given = (codes[:, :0], codes[:, :0], codes)
    if len(codes) == 3:
        given = (torch.zeros(3, 0, dtype=torch.long),) * 2 + (codes,)
    with pytest.raises(ConditionError, match=text):
        PublishedSystem(sizes_of(), lambda level: pytest.fail(str(level))).begin(
            request_of(), given
        )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"top_k": 3, "top_p": 0.9}, "choose one of the two"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"chunk_frames": 0}, "chunk_frames is 0"),
        ({"batch_items": 0}, "batch_items is 0"),
    ],
)
def test_settings_that_no_draw_can_be_made_with_are_refused(settings, text):
    with pytest.raises(ConditionError, match=text):
        LevelSettings(**settings)
