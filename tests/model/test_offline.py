"""Whole pieces behind the door: the audio is that of the codes, weights go one after the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.conditioning.text import V2
from model.errors import CheckpointError, ConditionError, WindowError
from model.offline_checks import OfflinePlan, items_of
from model.offline_state import restored
from model.offline_steps import StepCount, position_products
from model.published.request import LevelSettings, SystemRequest, SystemSizes
from model.published.system import PublishedSystem
from model.released import PRIOR_5B, UPSAMPLER_LEVEL_0, UPSAMPLER_LEVEL_1, VQVAE
from tests.published import CODEC, CONTEXT, generator_of, sizes_of, song_of

END = 2_000
PLAN = OfflinePlan(
    seed=3,
    settings=tuple(LevelSettings(hop_fraction=0.5, temperature=2.0) for _ in range(3)),
)


def begun(generator, plan=PLAN, end=END, **song):
    return generator.begin(generator.open(song_of(**song), end), plan, end)


def run(generator, state, plan=PLAN):
    """Return the finished state, and phase and steps left of each step."""
    steps = []
    while state.decodable_sample < state.end_sample:
        step = generator.step(state, plan)
        state = step.state
        steps.append((step.phase, step.left))
    return state, steps


@pytest.fixture(scope="module")
def finished():
    loaded = []
    generator = generator_of(loaded=loaded)
    state, steps = run(generator, begun(generator))
    return generator, state, steps, loaded


def test_levels_are_loaded_one_after_the_other_coarse_to_fine(finished):
    _, state, steps, loaded = finished
    assert loaded == [2, 1, 0]
    assert [phase for phase, _ in steps if phase == "loading"] == ["loading"] * 3
    assert [len(codes) for codes in state.codes] == [256, 64, 16]
    assert steps[-1][1] == 0
    assert all(after >= 1 for _, after in steps[:-1])


def test_the_steps_that_were_promised_are_those_that_were_taken(finished):
    generator, _, steps, _ = finished
    assert abs(begun(generator).left - len(steps)) <= 2
    seconds = END / CODEC.sample_rate
    assert 0.4 < generator.steps_per_second(PLAN) * seconds / len(steps) < 2.5


def test_blocks_are_the_whole_decoded_at_once(finished):
    generator, state, _, _ = finished
    size = generator.block_samples
    blocks = [generator.decode(state, block) for block in range(state.decodable_sample // size)]
    made = np.concatenate(blocks)
    with torch.no_grad():
        codes = torch.as_tensor(state.codes[0].astype(np.int64))[None]
        whole = generator._codec.level(0).decode(codes)[0].numpy()
    assert np.abs(made[: len(whole)] - whole).max() < 1e-5
    assert np.abs(whole).max() > 0.01


def test_codes_are_those_of_the_published_sampler(finished):
    generator, state, _, _ = finished
    sizes = sizes_of()
    asked = SystemRequest(
        items=items_of(song_of(), sizes),
        total_samples=16 * 128,
        seed=3,
        variations=(0,),
        settings=PLAN.settings,
    )
    system = PublishedSystem(sizes, generator._shelf.level)
    run_state = system.begin(asked)
    while not run_state.finished:
        run_state, _ = system.step(run_state)
    for ours, theirs in zip(state.codes, run_state.codes, strict=True):
        assert np.array_equal(ours, theirs[0].numpy())


def test_a_short_prime_is_counted_into_the_whole_once(finished):
    generator = finished[0]
    end = CONTEXT[1]
    state = begun(generator, end=end)
    state = generator.feed(state, np.sin(np.arange(500) / 7).astype(np.float32))
    made, _ = run(generator, state)
    assert [len(codes) for codes in made.codes] == [end // 8, end // 32, end // 128]
    with pytest.raises(ValueError, match="the prime can grow no more"):
        generator.feed(made, np.zeros(9, np.float32))


def test_a_state_is_bytes_and_back_and_damage_is_told(finished):
    state = finished[1]
    data = state.to_bytes()
    assert restored(data).to_bytes() == data
    assert state.nbytes >= sum(codes.nbytes for codes in state.codes)
    for wrong in (b"", data[:40], data[:-1], b"\xff" * 64):
        with pytest.raises(CheckpointError, match="no state of a timeline"):
            restored(wrong)


def test_a_state_goes_back_to_an_earlier_end(finished):
    generator, state, _, _ = finished
    back = generator.rewind(state, 700)
    assert [len(codes) for codes in back.codes] == [80, 20, 5]
    with pytest.raises(ValueError, match="not within"):
        generator.rewind(state, 10 * END)


def test_an_unsaid_length_grows_with_the_piece_and_a_said_one_does_not(finished):
    generator = finished[0]
    song = song_of(total_samples=0, stretches=True)
    state = generator.begin(generator.open(song, END), PLAN, 2 * END)
    assert state.song.total_samples == 2 * END // 128 * 128 + 128
    # Whatever it was begun for before, as a state that is kept for others may have been.
    assert generator.begin(state, PLAN, 1_100).song.total_samples == CONTEXT[2]
    assert begun(generator, end=END).song.total_samples == song_of().total_samples


@pytest.mark.parametrize(
    ("plan", "end", "song", "kind", "words"),
    [
        (PLAN, 800, {}, WindowError, "level 1 is made in windows of 0.02 s"),
        (replace(PLAN, finest_level=3), END, {}, ConditionError, "levels 0 to 2"),
        (PLAN, END, {"lyrics": "la"}, ConditionError, "hears no lyrics"),
        (PLAN, END, {"total_samples": 100}, WindowError, "said to last 0.00 s"),
        (PLAN, END, {"offset_samples": -1}, WindowError, "the least is 0"),
    ],
)
def test_what_cannot_be_made_is_refused_without_weights(finished, plan, end, song, kind, words):
    generator = generator_of(loaded=(loaded := []))
    with pytest.raises(kind, match=words):
        begun(generator, plan, end, **song)
    assert loaded == []


def test_lyrics_that_no_character_can_be_read_of_are_refused():
    with pytest.raises(ConditionError, match="can read none"):
        begun(generator_of("5b_lyrics"), lyrics="%%%")


@pytest.mark.parametrize("name", ["5b_lyrics", "1b_lyrics"])
def test_lyrics_are_timed_once_the_top_level_is_done(name):
    generator = generator_of(name)
    plan = replace(PLAN, finest_level=2)
    state, steps = run(generator, begun(generator, plan, lyrics="la le li"), plan)
    phases = [phase for phase, _ in steps]
    assert phases[-1] == "align"
    assert abs(begun(generator, plan, lyrics="la le li").left - len(steps)) <= 2
    sung = state.starts[state.starts >= 0]
    assert sung.size
    assert (np.diff(sung) >= 0).all()
    assert sung.max() < len(state.codes[2])
    assert restored(state.to_bytes()).starts.tolist() == state.starts.tolist()


def test_steps_of_all_levels_take_about_as_long():
    top = replace(PRIOR_5B, timing=False)
    sizes = SystemSizes(
        codec=VQVAE, priors=(UPSAMPLER_LEVEL_0, UPSAMPLER_LEVEL_1, top), rules=(V2,) * 3
    )
    count = StepCount(sizes)
    assert count.positions == (6, 6, 1)
    work = [
        positions * position_products(prior)
        for positions, prior in zip(count.positions, sizes.priors, strict=True)
    ]
    assert max(work) / min(work) < 1.2
    assert StepCount(sizes_of()).positions == (32, 32, 32)
