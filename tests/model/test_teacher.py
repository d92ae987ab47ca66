"""The published way on a timeline: three levels row by row, bit for bit the same."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.teacher import FRAMES_PER_STEP, _Turn
from model.values import nothing_known
from tests.model.tiny import CHUNK, fed, plan, sound, stepped, told

PRIME = 3 * CHUNK + 3000
TEACHER = plan(teacher=True)
STEPS = 85


@pytest.fixture(scope="module")
def run(generator):
    """Return the states of a run, and which level worked at each step."""
    states, phases = [fed(generator, sound(PRIME), told())], []
    for _ in range(STEPS):
        step = generator.step([states[-1]], TEACHER)[0]
        states.append(step.state)
        phases.append(step.phase)
    return states, phases


def lengths(state):
    return [len(level.codes) for level in state.lower]


def test_all_levels_advance_together(run):
    states, phases = run
    assert set(phases) == {"top", "level1", "level0"}
    top, middle, fine = reversed(lengths(states[-1]))
    # A lower row waits for its own and two more codes above: it is never far behind.
    assert 0 <= top - middle / 4 <= 64 + 16 + 2
    assert 0 <= middle - fine / 4 <= 64 + 16 + 2
    assert fine * 8 > PRIME + 2 * CHUNK // 3


def test_a_step_draws_a_few_frames_of_one_level_or_reads_a_row(run):
    states, phases = run
    for before, after, phase in zip(states[1:], states[2:], phases[1:], strict=False):
        level = {"level0": 0, "level1": 1, "top": 2}[phase]
        grown = [b - a for a, b in zip(lengths(before), lengths(after), strict=True)]
        read = after.lower[level].seen - before.lower[level].seen
        assert grown[level] in (0, *range(1, FRAMES_PER_STEP[level] + 1))
        assert grown[level] in (0, read)
        assert 0 < read <= 64
        assert sum(grown) == grown[level]


def test_the_count_of_steps_is_as_told(generator, run):
    states, _ = run
    drawn = [state for state in states[1:] if state.decodable_sample > PRIME - 640]
    first, last = drawn[0], drawn[-1]
    # By level, for the levels run ahead of each other by up to a row.
    told = generator.steps_per_second(TEACHER)
    rates = [generator.bundle.config.codec.frame_rate(level) for level in range(3)]
    taken = [
        (b - a) / per_step / ((b - a) / rate)
        for a, b, per_step, rate in zip(
            lengths(first), lengths(last), FRAMES_PER_STEP, rates, strict=True
        )
    ]
    assert sum(taken) == pytest.approx(told, rel=0.2)
    steps = len(drawn) - 1
    made = sum(
        (b - a) / per_step
        for a, b, per_step in zip(lengths(first), lengths(last), FRAMES_PER_STEP, strict=True)
    )
    assert steps == pytest.approx(made, rel=0.2)


@pytest.mark.parametrize("known", [told(), nothing_known()], ids=["told", "composed"])
def test_a_block_is_the_same_decoded_early_or_late(generator, run, known):
    """While the prime grows the finisher decodes, afterwards the codec: each keeps its blocks."""
    states, _ = run
    if known.notes_span is None:
        states = [fed(generator, sound(PRIME))]
        while states[-1].decodable_sample < 3 * CHUNK:
            states.append(generator.step([states[-1]], TEACHER)[0].state)
    early = {}
    for state in states:
        for block in range(state.decodable_sample // CHUNK):
            early.setdefault(block, generator.decode(state, block))
    assert states[0].decodable_sample > CHUNK
    assert len(early) >= 3
    for block, samples in early.items():
        assert np.array_equal(generator.decode(states[-1], block), samples)
    grew = [state.decodable_sample for state in states]
    assert grew == sorted(grew)


def test_the_last_chunk_before_the_splice_is_left_to_the_codec(generator, run):
    states, _ = run
    assert states[0].decodable_sample == 2 * CHUNK - 5 * 128
    assert states[-1].primed_sample == states[0].primed_sample
    first = states[-1]
    other = replace(
        first, lower=(replace(first.lower[0], codes=first.lower[0].codes * 0), *first.lower[1:])
    )
    assert not np.array_equal(generator.decode(other, 2), generator.decode(first, 2))


@pytest.mark.parametrize(("index", "first"), [(1, 0), (1, 640), (0, 64), (0, 2624)])
def test_a_row_s_conditions_are_those_of_all_the_codes_above(generator, run, index, first):
    state = run[0][-1]
    turn = _Turn(level=index, first=first, frames=64, known=True)
    with torch.no_grad():
        made = generator._teacher._conditions(state, turn)
        upper = torch.as_tensor(state.lower[index + 1].codes.astype(np.int64))[None]
        whole = generator.bundle.upsamplers[index].conditioner(upper)
    torch.testing.assert_close(made, whole[:, first : first + 64], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_resumed_from_bytes_or_forked_beside_others_it_goes_on_the_same(generator, run, cut):
    states, _ = run
    ours, fork = generator.restore(states[cut].to_bytes()), states[cut].fork()
    theirs = fed(generator, sound(PRIME, seed=3), told())
    for _ in range(12):
        ours, theirs = (step.state for step in generator.step([ours, theirs], TEACHER))
        fork = generator.step([fork], TEACHER)[0].state
    expected = states[cut + 12].to_bytes()
    assert ours.to_bytes() == fork.to_bytes() == expected


@pytest.mark.parametrize("pieces", [[CHUNK], [5000, 1]], ids=str)
@pytest.mark.parametrize("chunks", [1, 6], ids=["short", "beyond_the_context"])
def test_how_the_prime_arrived_does_not_matter(generator, pieces, chunks):
    audio = sound(chunks * CHUNK + 500)
    ours = stepped(generator, fed(generator, audio), TEACHER, 3)
    theirs = stepped(generator, fed(generator, audio, pieces=pieces), TEACHER, 3)
    assert ours.to_bytes() == theirs.to_bytes()


def test_lower_codes_of_a_long_prime_are_those_its_encoders_hear(generator):
    audio = sound(7 * CHUNK + 500)
    state = stepped(generator, fed(generator, audio, told()), TEACHER, 1)
    kept = 3 * CHUNK
    for index in (0, 1):
        level = generator.bundle.codec.level(index)
        hearing = generator._hearing[index]
        heard = np.concatenate([hearing.encode(audio, 0, chunk) for chunk in range(3, 8)])
        codes = state.lower[index].codes[kept // level.hop :]
        assert np.array_equal(codes, heard[: len(codes)])
        assert len(state.lower[index].codes) * level.hop == state.settled_sample


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"variation": 1}, {"temperature": 0.2}, {"top_k": 1}], ids=str
)
def test_another_plan_draws_other_codes(generator, run, change):
    states, _ = run
    made = stepped(generator, states[0], replace(TEACHER, **change), 18)
    drawn = [hashlib.sha256(level.codes.tobytes()).digest() for level in made.lower]
    reference = [hashlib.sha256(level.codes.tobytes()).digest() for level in states[18].lower]
    assert drawn[2] != reference[2]


@pytest.mark.parametrize(
    "known",
    [
        {"artist": 2},
        {"genre": 2},
        {"target": 1},
        {"total_samples": 10**6},
        {"notes_span": (0, 99)},
    ],
    ids=lambda known: next(iter(known)),
)
def test_the_top_level_hears_the_conditions(generator, run, known):
    states, _ = run
    state = fed(generator, sound(PRIME), told(**known))
    made = stepped(generator, state, TEACHER, 18)
    assert not np.array_equal(made.codes, states[18].codes)


@pytest.mark.parametrize("samples", [0, 100, 300, CHUNK + 143])
def test_any_prime_goes_on(generator, samples):
    state = stepped(generator, fed(generator, sound(samples), told()), TEACHER, 1)
    frames = max(0, (samples - 144) // 128)
    assert lengths(state) == [16 * frames, 4 * frames, frames]
    later = stepped(generator, state, TEACHER, 14)
    assert later.settled_sample > state.settled_sample


def test_a_timeline_keeps_to_the_sampler_that_began_it(generator, run):
    states, _ = run
    with pytest.raises(ValueError, match="teacher is False, the timeline began with the other"):
        generator.step([states[5]], plan())
    fast = stepped(generator, fed(generator, sound(500)), plan(), 1)
    with pytest.raises(ValueError, match="teacher is True"):
        generator.step([fast], TEACHER)
