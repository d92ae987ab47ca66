"""Frames drawn several at a time: the teacher's distribution, the same bytes, fewer passes."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from model import exact
from model.draft import recent_codes
from model.errors import ConditionError, ConfigError
from model.exact import START, Stretch, previous_codes, speculated
from model.prior import Prior
from model.speculative import Draws, Verified, chances_of
from model.state import restored
from model.teacher import FRAMES_PER_STEP
from tests.model.tiny import CHUNK, fed, plan, probability, sound, stepped, told

SEEDS = 700
FRAMES = 3
PRIME = CHUNK + 3000
COOL = 0.35
"""Cooled until the guess differs clearly from what is drawn."""
EXACT = plan(teacher=True, exact=True)
WELL = 1e-3
SURELY_WRONG = 1e-6


@pytest.fixture(scope="module")
def stretch(generator):
    """Return the next frames of the top level of a timeline that has read its prime."""
    state = fed(generator, sound(PRIME), told())
    teacher = generator._teacher
    for _ in range(40):
        state = generator.step([state], EXACT)[0].state
        turn = teacher._next(state) if state.lower else None
        if turn is not None and turn.level == 2 and not turn.known:
            break
    level, prior = state.lower[2], generator.bundle.top
    return Stretch(
        prior=prior,
        start=teacher._start(state, prior),
        codes=level.codes,
        conditions=teacher._conditions(state, turn)[:, :FRAMES],
        past=(level.seen, level.memory),
    )


def drawn(stretch, seeds):
    """Return the frames of each seed, in as many rounds as they take, and how many those were."""
    made, rounds = [], 0
    first = len(stretch.codes)
    with torch.no_grad():
        for seed in range(seeds):
            left, draws = stretch, Draws(plan=plan(seed=seed, temperature=COOL), level=2)
            while len(left.codes) < first + FRAMES:
                codes, past = speculated(left, draws)
                conditions = left.conditions[:, past[0] - left.past[0] :]
                left = replace(left, codes=codes, past=past, conditions=conditions)
                rounds += 1
            made.append(left.codes[first:])
    return np.array(made, np.int64), rounds


def least_probability(stretch, made):
    """Return the least of three tests: each frame's codes given those before it."""
    table = {}

    def target(before):
        if before not in table:
            codes = np.array([stretch.codes[-1], *before], np.int64)
            with torch.no_grad():
                logits, _ = stretch.scored(torch.as_tensor(codes)[None])
            table[before] = chances_of(logits[-1:], plan(temperature=COOL))[0]
        return table[before]

    size, found = len(target(())), []
    for frame in range(FRAMES):
        mixed = sum(target(tuple(codes[:frame])) for codes in made) / len(made)
        found.append(probability(np.bincount(made[:, frame], minlength=size), mixed))
    return min(found)


def test_the_distribution_is_the_teachers(stretch):
    made, rounds = drawn(stretch, SEEDS)
    assert least_probability(stretch, made) > WELL
    # Both ways were taken: drafts kept whole, and drafts cut.
    assert SEEDS < rounds < FRAMES * SEEDS


def test_keeping_every_guess_fails_the_same_test(stretch, monkeypatch):
    def kept(target, chances, drafted, draws, first_frame):
        return Verified(codes=drafted, accepted=len(drafted))

    monkeypatch.setattr(exact, "verified", kept)
    made, _ = drawn(stretch, SEEDS)
    assert least_probability(stretch, made) < SURELY_WRONG


@torch.no_grad()
def test_what_is_remembered_is_what_was_decided(stretch):
    """After a round of any length the next scores are those after the codes one by one."""
    lengths = set()
    for seed in range(40):
        codes, past = speculated(stretch, Draws(plan=plan(seed=seed), level=2))
        made = len(codes) - len(stretch.codes)
        lengths.add(made)
        assert past[0] == stretch.past[0] + made
        one = stretch.past
        for frame in range(stretch.past[0], past[0]):
            offset = frame - stretch.past[0]
            _, one = stretch.prior.advance(
                previous_codes(codes, frame, 1),
                stretch.start,
                stretch.conditions[:, offset : offset + 1],
                one,
            )
        given = torch.tensor([[int(codes[-1])]]), stretch.start, stretch.conditions[:, :1]
        here, _ = stretch.prior.advance(*given, past)
        there, _ = stretch.prior.advance(*given, one)
        torch.testing.assert_close(here, there)
    assert lengths == {1, 2, 3}


@torch.no_grad()
def test_a_round_costs_one_pass_and_decides_a_right_draft_and_one_code_more(stretch, monkeypatch):
    prior = copy.deepcopy(stretch.prior)
    # Whatever both hear, all codes are as likely to both.
    prior.codes.weight.zero_()
    passes, scored = [], Stretch.scored
    monkeypatch.setattr(
        Stretch, "scored", lambda self, given: passes.append(given.shape[1]) or scored(self, given)
    )
    monkeypatch.setattr(exact, "DRAFT_FRAMES", FRAMES - 1)
    codes, past = speculated(replace(stretch, prior=prior), Draws(plan=plan(), level=2))
    assert passes == [FRAMES]
    assert past[0] == len(codes) == len(stretch.codes) + FRAMES


@torch.no_grad()
def test_a_draft_reads_the_last_codes_and_no_later_ones(stretch):
    reach = stretch.prior.config.draft.reach
    codes = torch.arange(20)[None] % 32
    recent = recent_codes(codes, reach)
    assert recent[0, 0].tolist() == [START] * reach
    assert recent[0, reach].tolist() == codes[0, :reach].tolist()
    conditions = stretch.conditions[:, :1].expand(1, 20, -1)
    before = stretch.prior.draft_logits(recent, conditions)
    changed = codes.clone()
    changed[0, 10] += 1
    after = stretch.prior.draft_logits(recent_codes(changed, reach), conditions)
    heard = (after - before).abs().amax((0, 2)) > 1e-6
    assert heard.nonzero().flatten().tolist() == list(range(11, 11 + reach))


def test_a_prior_without_a_draft_says_so(stretch):
    prior = Prior(replace(stretch.prior.config, draft=None))
    with pytest.raises(ConfigError, match="no draft"):
        prior.draft_logits(torch.zeros(1, 1, 4, dtype=torch.long), stretch.conditions[:, :1])


def test_before_the_first_code_stands_the_start():
    codes = np.array([5, 6, 7], np.int16)
    assert previous_codes(codes, 0, 3).tolist() == [[START, 5, 6]]
    assert previous_codes(codes, 2, 2).tolist() == [[6, 7]]


@pytest.fixture(scope="module")
def run(generator):
    """Return the states of a run and the levels that worked."""
    states, phases = [fed(generator, sound(PRIME), told())], []
    for _ in range(40):
        step = generator.step([states[-1]], EXACT)[0]
        states.append(step.state)
        phases.append(step.phase)
    return states, phases


def test_all_levels_advance_and_a_step_draws_as_many_frames_as_told(run):
    states, phases = run
    assert set(phases) == {"top", "level1", "level0"}
    most = {0: 0, 1: 0, 2: 0}
    for before, after in itertools.pairwise(states[1:]):
        for level in most:
            grown = len(after.lower[level].codes) - len(before.lower[level].codes)
            most[level] = max(most[level], grown)
    assert tuple(most.values()) == FRAMES_PER_STEP


def test_a_seed_gives_its_codes_wherever_the_work_is_cut(generator, run):
    states, _ = run
    again = stepped(generator, restored(states[12].to_bytes()), EXACT, len(states) - 13)
    other = stepped(generator, states[0], plan(teacher=True, exact=True, variation=1), 39)
    for level in range(3):
        kept = states[-1].lower[level].codes
        np.testing.assert_array_equal(again.lower[level].codes, kept)
    assert not np.array_equal(other.codes, states[-2].codes)


def test_exact_without_a_teacher_is_refused():
    with pytest.raises(ConditionError, match="needs `teacher`"):
        plan(exact=True)
