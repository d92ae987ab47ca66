"""Whole published systems: codes, windows, labels, audio and alignment of every recorded run."""

from functools import cache

import pytest
import torch

from model.published.alignment import Aligner, Head
from model.published.system import Made, SystemState
from model.windows import LevelPlan
from tests.golden.systems import GoldenSystem, raw_window, run
from tests.vectors import Case, assert_matches, cases, cases_of

TOP = 2


@cache
def golden(name: str) -> GoldenSystem:
    return GoldenSystem(Case(name, cases()[name]))


@cache
def finished(name: str) -> tuple[SystemState, SystemState, list[Made]]:
    """Return the first and last state of a recorded run, and what was drawn."""
    made, case = golden(name), Case(name, cases()[name])
    recorded, codes, levels = case.arrays(), None, (0, 1, 2)
    if case["mode"] == "primed":
        codes = [recorded[f"prompt_codes{level}"] for level in range(3)]
    if case["mode"] == "upsample":
        given = recorded["given_codes2"]
        codes, levels = [given[:, :0], given[:, :0], given], (0, 1)
    system = made.system()
    begun = system.begin(made.request(case["sample_length"], levels), codes)
    state, drawn = run(system, begun)
    return begun, state, drawn


@cache
def continued(name: str) -> tuple[SystemState, SystemState, list[Made]]:
    made = golden(name)
    system = made.system()
    request = made.request(made.case["continue_length"])
    begun = system.begin(request, finished(name)[1].codes)
    state, drawn = run(system, begun)
    return begun, state, drawn


def starts(plan: LevelPlan | None) -> list[int]:
    return [] if plan is None else [window.start_frame for window in plan.windows]


def assert_result(made: GoldenSystem, state: SystemState, prefix: str) -> None:
    recorded = made.case.arrays()
    for level in range(3):
        assert_matches(state.codes[level], recorded[f"{prefix}codes{level}"], f"level {level}")
        audio = made.codec.level(level).decode(state.codes[level])
        assert_matches(audio[..., None], recorded[f"{prefix}audio{level}"], f"level {level}")


def assert_raw(
    made: GoldenSystem, begun: SystemState, drawn: list[Made], ended: SystemState, prefix: str
) -> None:
    """Lyrics, given codes and drawn ones of each top window, in the joint vocabulary."""
    recorded, sizes = made.case.arrays(), made.sizes.level(TOP)
    plan = begun.plans[TOP]
    for index, window in enumerate(plan.windows if plan else ()):
        key = f"{prefix}top_window_raw{index}"
        if key not in recorded:
            continue
        labels, _ = made.levels[TOP].labels(made.items(TOP), window.start_frame)
        first = window.start_frame + window.given_frames
        given = ended.codes[TOP][:, window.start_frame : first] + sizes.shift
        new = raw_window(drawn, TOP, first, window.end_frame())
        assert_matches(torch.cat([labels.characters, given, new], dim=1), recorded[key], key)


def assert_alignment(made: GoldenSystem, state: SystemState, prefix: str) -> None:
    layer, head = made.case["alignment"][TOP]
    context = made.sizes.level(TOP).context_frames
    aligner = Aligner(
        made.levels[TOP],
        made.items(TOP),
        state.codes[TOP],
        Head(layer=layer, head=head),
        hop_frames=int(made.case["hop_fraction"][TOP] * context),
        chunk_frames=made.case["chunk_size"][TOP],
    )
    for _ in aligner.steps():
        pass
    for item, maps in enumerate(aligner.maps()):
        expected = made.case.arrays()[f"{prefix}alignment{item}"]
        assert_matches(torch.as_tensor(maps), expected, f"item {item}")


@cases_of("e2e")
@torch.no_grad()
def test_codes_and_audio_of_every_level(case):
    _, state, _ = finished(case.name)
    assert_result(golden(case.name), state, "")


@cases_of("e2e")
@torch.no_grad()
def test_a_prompt_s_codes(case):
    if case["mode"] != "primed":
        pytest.skip(f"a run of mode {case['mode']} has no prompt")
    recorded, codec = case.arrays(), golden(case.name).codec
    for level in range(3):
        made = codec.level(level).encode(recorded["prompt_audio"][..., 0])
        assert_matches(made, recorded[f"prompt_codes{level}"], f"level {level}")


@cases_of("e2e")
def test_windows_and_their_labels(case):
    begun, state, drawn = finished(case.name)
    made, recorded = golden(case.name), case.arrays()
    if TOP in begun.request.levels:
        assert starts(begun.plans[TOP]) == case["top_windows"]
        for index, start in enumerate(case["top_windows"]):
            labels, _ = made.levels[TOP].labels(made.items(TOP), start)
            assert_matches(labels.rows(), recorded["top_window_y"][index], f"from {start}")
    assert_raw(made, begun, drawn, state, "")


@cases_of("e2e")
def test_which_character_each_frame_sings(case):
    if case["alignment"][TOP][0] is None:
        pytest.skip("the top of this system hears no lyrics")
    assert_alignment(golden(case.name), finished(case.name)[1], "")


@cases_of("e2e")
@torch.no_grad()
def test_a_finished_run_goes_on(case):
    if "continue_length" not in case.facts:
        pytest.skip("no continuation of this run was recorded")
    made = golden(case.name)
    begun, state, drawn = continued(case.name)
    assert starts(begun.plans[TOP]) == case["continue_top_windows"]
    assert_result(made, state, "continued_")
    assert_raw(made, begun, drawn, state, "continued_")
    if case["alignment"][TOP][0] is not None:
        assert_alignment(made, state, "continued_")
