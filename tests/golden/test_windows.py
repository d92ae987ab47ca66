"""Published windows: starts, whole runs over three levels, and requests for some more codes."""

import pytest

from model.errors import WindowError
from model.windows import LevelShape, more_window, plan_windows, window_starts
from tests.vectors import files_of

HOPS = (8, 32, 128)
"""Samples a code by level; schedules are recorded with the released codec's."""


@files_of("starts")
def test_windows_start_where_published(document):
    for row in document.content:
        assert list(window_starts(row["total"], row["n_ctx"], row["hop"])) == row["starts"], row


def planned(row, levels=None):
    shapes = [
        LevelShape(hop_samples=samples, context_frames=frames, hop_fraction=fraction)
        for samples, frames, fraction in zip(HOPS, row["n_ctx"], row["hop_fraction"], strict=True)
    ]
    levels = row.get("levels") if levels is None else levels
    return plan_windows(shapes, row["sample_length"], have=row.get("have"), levels=levels)


def written(plan):
    return (
        None
        if plan is None
        else {
            "final": plan.final_frames,
            "windows": [
                [
                    window.start_frame,
                    window.given_frames,
                    window.frames,
                    None if window.upper is None else list(window.upper),
                ]
                for window in plan.windows
            ],
        }
    )


@files_of("schedules")
def test_each_level_has_the_published_windows_and_what_fails_there_is_refused_before(document):
    for row in document.content:
        results = row["result"]
        failed = [level for level, result in enumerate(results) if result and "error" in result]
        if failed:
            with pytest.raises(WindowError, match=f"level {failed[0]}"):
                planned(row)
        levels = [level for level, result in enumerate(results) if result and level not in failed]
        plans = planned(row, levels)
        for level, (plan, result) in enumerate(zip(plans, results, strict=True)):
            expected = result if level in levels else None
            if expected:
                expected = {key: expected[key] for key in ("final", "windows")}
            assert written(plan) == expected, row["name"]


@files_of("partial_windows")
def test_so_many_codes_more_are_added_by_the_published_windows(document):
    for row in document.content:
        present, windows, after = 0, [], []
        for more in row["requests"]:
            window = more_window(row["n_ctx"], present, more)
            windows.append([window.start_frame, window.given_frames, window.frames])
            present = window.end_frame()
            after.append([present, window.frames])
        assert windows == row["windows"], row["name"]
        assert after == row["length_and_sample_tokens_after"], row["name"]
