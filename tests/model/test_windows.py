"""Published windows: they cover, they overlap as asked, and fail before they begin."""

from dataclasses import replace

import pytest

from model.errors import WindowError
from model.released import PRIOR_1B_LYRICS, PRIOR_5B, UPSAMPLER_LEVEL_0, VQVAE
from model.windows import (
    LevelShape,
    level_shape,
    more_window,
    plan_windows,
    window_starts,
    windows_of,
)

SMALL = LevelShape(hop_samples=1, context_frames=64, hop_fraction=0.5)
SYSTEM = tuple(replace(SMALL, hop_samples=hop) for hop in (8, 32, 128))


@pytest.mark.parametrize("hop", [1, 7, 32, 64])
@pytest.mark.parametrize("total", [64, 65, 100, 128, 1000])
@pytest.mark.parametrize("have", [0, 1, 40, 64, 99, 1000])
def test_windows_add_every_missing_frame_once_and_in_order(total, hop, have):
    plan = windows_of(replace(SMALL, hop_fraction=hop / 64), total, have)
    made = have
    for window in plan.windows:
        assert window.start_frame + window.given_frames == made
        assert window.given_frames < window.frames == 64
        made = window.end_frame()
    assert made == plan.final_frames == max(total, have)


def test_the_last_window_is_pulled_back_to_end_with_the_total():
    assert window_starts(100, 64, 32) == (0, 32, 36)


@pytest.mark.parametrize("have", [0, 10, 63, 64, 200])
@pytest.mark.parametrize("more", [1, 30, 64])
def test_one_window_adds_what_is_asked_and_hears_as_much_as_fits(have, more):
    window = more_window(64, have, more)
    assert window.end_frame() == have + more
    assert window.frames - window.given_frames == more
    assert window.frames == min(64, have + more)


def test_upsamplers_hear_the_codes_above_their_own_window():
    lower, middle, top = plan_windows(SYSTEM, 128 * 64)
    assert [window.start_frame for window in top.windows] == [0]
    for plan, above in ((middle, top), (lower, middle)):
        for window in plan.windows:
            first, last = window.upper
            assert (4 * first, 4 * last) == (window.start_frame, window.end_frame())
        assert plan.final_frames == 4 * above.final_frames


def test_only_the_levels_asked_for_are_planned_over_what_there_is():
    plans = plan_windows(SYSTEM, 128 * 64, have=(0, 0, 64), levels=(1,))
    assert plans[0] is None
    assert plans[2] is None
    assert plans[1].final_frames == 256
    with pytest.raises(WindowError, match="level 2, which has 20 frames"):
        plan_windows(SYSTEM, 128 * 64, have=(0, 0, 20), levels=(1,))


@pytest.mark.parametrize(
    ("shapes", "samples", "text"),
    [
        (SYSTEM, 127, "127 samples are to be made, one code is 128 samples"),
        (SYSTEM, 128 * 15, r"1920 samples \(60 frames\) are to be made at level 1.*2048 samples"),
        (tuple(replace(shape, hop_fraction=0.1) for shape in SYSTEM), 128 * 64, "level 1.*6,.*4"),
        (tuple(replace(shape, hop_fraction=0.01) for shape in SYSTEM), 128 * 64, "0.01: 0 frames"),
        (tuple(replace(shape, hop_fraction=1.5) for shape in SYSTEM), 128 * 64, "1.5: 96 frames"),
        ((*SYSTEM[:2], replace(SMALL, hop_samples=100)), 128 * 64, "100 samples over 32"),
    ],
)
def test_what_some_window_could_not_do_is_refused_before_the_first(shapes, samples, text):
    with pytest.raises(WindowError, match=text):
        plan_windows(shapes, samples)


@pytest.mark.parametrize("have", [(0, 0), (0, -1, 0)])
def test_codes_that_exist_are_counted_for_every_level(have):
    with pytest.raises(WindowError, match="expected 3 counts"):
        plan_windows(SYSTEM, 128 * 64, have=have)


@pytest.mark.parametrize("more", [0, 65])
def test_one_window_cannot_add_nothing_or_more_than_itself(more):
    with pytest.raises(WindowError, match=f"{more} frames more"):
        more_window(64, 0, more)


def test_a_total_below_one_window_has_no_whole_window():
    with pytest.raises(WindowError, match="40 frames are to be made, a whole window has 64"):
        window_starts(40, 64, 32)
    with pytest.raises(WindowError, match="0 frames apart"):
        window_starts(100, 64, 0)


def test_lyrics_in_the_prior_s_own_sequence_are_no_part_of_its_window():
    assert level_shape(VQVAE, PRIOR_1B_LYRICS, 2, 0.125).context_frames == 6144
    assert level_shape(VQVAE, PRIOR_5B, 2, 0.125).hop_frames() == 1024
    assert level_shape(VQVAE, UPSAMPLER_LEVEL_0, 0, 0.5).hop_samples == 8
