"""Speculative sampling gives the target's distribution, and a wrong rule is found out."""

import numpy as np
import pytest
import torch

from model import speculative
from model.noise import choose
from model.speculative import DRAFT_TURN, Draws, chances_of, drafted_by, residual, verified
from tests.model.tiny import fed, plan, probability, sound, told

SEEDS = 4000
FRAME = 640
FRAMES = 2
WELL = 1e-3
"""The least probability of a right rule's counts; seeds are fixed, so this is no gamble."""
SURELY_WRONG = 1e-6


def proposed(chances, draws, first_frame):
    """Return a draft in one pass."""
    return choose(chances, draws.of(DRAFT_TURN, first_frame, len(chances)))


@pytest.fixture(scope="module")
def pair(generator):
    """Return the teacher's distributions by prefix, and the student's, at a chunk's beginning.

    Both are the smallest model's own, cooled until they differ clearly.
    """
    cool = plan(temperature=0.35)
    state = fed(generator, sound(2 * 64 * 128 + 2000), told())
    bundle, fast = generator.bundle, generator._fast
    chunk = state.remembered_chunks
    with torch.no_grad():
        nothing = torch.zeros(1, 64, dtype=torch.int64)
        student = bundle.student.look(
            nothing,
            torch.zeros(1, 64, dtype=torch.bool),
            fast._conditions(state, state.known),
            bundle.student.upon(state.memory),
        )[0, :FRAMES]
        prior = bundle.top
        conditions = prior.conditions(generator._inputs.of_chunk(state.known, chunk))
        conditions = conditions.repeat_interleave(4, dim=1)
        past = 0, prior.transformer.start(1)
        start = prior.start_vector(torch.tensor([0]), torch.tensor([[0]]))
        codes = torch.as_tensor(state.codes.astype(np.int64))[None]
        for row in range(len(state.codes) // 64):
            before = torch.cat([torch.tensor([[-1]]), codes], 1)[:, 64 * row : 64 * row + 64]
            made = prior.conditions(generator._inputs.of_chunk(state.known, row))
            _, past = prior.advance(before, start, made.repeat_interleave(4, dim=1), past)
        table = {}

        def scored(drafted):
            key = tuple(int(code) for code in drafted)
            if key not in table:
                given = torch.tensor([[int(state.codes[-1]), *key]])
                with torch.no_grad():
                    logits, _ = prior.advance(given, start, conditions[:, : len(key) + 1], past)
                table[key] = chances_of(logits[0], cool)
            return table[key]

        yield scored, chances_of(student, cool)


def drawn(pair, seeds):
    """Return two frames a seed, in as many rounds as it takes, each from a fresh draft.

    Every other seed drafts one frame alone, and takes the second one as it comes free.
    """
    scored, chances = pair
    made = []
    for seed in range(seeds):
        draws = Draws(plan=plan(seed=seed), level=2)
        codes = np.zeros(0, np.int64)
        while len(codes) < FRAMES:
            first = len(codes)
            one = slice(first, first + 1 if seed % 2 else FRAMES)
            drafted = proposed(chances[one], draws, FRAME + first)
            target = scored((*codes, *drafted)[: FRAMES - 1])[first:]
            round_ = verified(target, chances[one], drafted, draws, FRAME + first)
            codes = np.concatenate([codes, round_.codes])
        made.append(codes)
    return np.array(made)


def least_probability(pair):
    """Return the lesser of two tests: the first codes, and the second given the first."""
    scored, _ = pair
    made = drawn(pair, SEEDS)
    size = scored(()).shape[1]
    first = probability(np.bincount(made[:, 0], minlength=size), scored(())[0])
    mixed = sum(scored((code,))[1] for code in made[:, 0]) / len(made)
    return min(first, probability(np.bincount(made[:, 1], minlength=size), mixed))


def test_the_pair_differs_enough_to_tell_rules_apart(pair):
    scored, chances = pair
    distance = 0.5 * np.abs(scored(())[0] - chances[0]).sum()
    assert 0.1 < distance < 0.98


def test_the_distribution_is_the_teachers(pair):
    assert least_probability(pair) > WELL


def always(target, chances, drafted):
    return np.ones(len(drafted))


def the_other_way_round(target, chances, drafted):
    at = np.arange(len(drafted)), drafted
    return np.minimum(1.0, chances[at] / target[at])


def the_whole_target(target, chances):
    return target


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("acceptances", always),
        ("acceptances", the_other_way_round),
        ("residual", the_whole_target),
    ],
)
def test_a_wrong_rule_fails_the_same_test(pair, monkeypatch, name, rule):
    monkeypatch.setattr(speculative, name, rule)
    assert least_probability(pair) < SURELY_WRONG


def test_draws_of_a_rejected_frame_may_be_used_again():
    """Frames drafted twice, with the same numbers, still come out independent."""
    target = np.array([[0.7, 0.2, 0.1]])
    draft = np.array([[0.2, 0.3, 0.5]])
    counts = np.zeros((3, 3), np.int64)
    for seed in range(4000):
        draws = Draws(plan=plan(seed=seed), level=0)
        codes = np.zeros(0, np.int64)
        while len(codes) < 2:
            left = 2 - len(codes)
            chances = np.repeat(draft, left, 0)
            drafted = proposed(chances, draws, len(codes))
            done = verified(np.repeat(target, left, 0), chances, drafted, draws, len(codes))
            codes = np.concatenate([codes, done.codes])
        counts[codes[0], codes[1]] += 1
    assert probability(counts.ravel(), np.outer(target[0], target[0]).ravel()) > WELL


def test_a_draft_like_the_target_is_kept_whole_and_one_more_code_comes_free():
    chances = np.full((4, 8), 1 / 8)
    draws = Draws(plan=plan(seed=3), level=1)
    drafted = proposed(chances[:3], draws, 11)
    done = verified(chances, chances[:3], drafted, draws, 11)
    assert done.accepted == 3
    assert len(done.codes) == 4
    np.testing.assert_array_equal(done.codes[:3], drafted)


def test_without_a_score_after_it_a_kept_draft_ends_the_round():
    chances = np.full((3, 8), 1 / 8)
    draws = Draws(plan=plan(seed=3), level=1)
    done = verified(chances, chances, proposed(chances, draws, 11), draws, 11)
    assert (done.accepted, len(done.codes)) == (3, 3)


def test_a_code_that_the_target_never_draws_is_never_kept():
    target, chances = np.array([[0.0, 1.0]]), np.array([[0.9, 0.1]])
    for seed in range(50):
        draws = Draws(plan=plan(seed=seed), level=1)
        done = verified(target, chances, proposed(chances, draws, 0), draws, 0)
        assert list(done.codes) == [1]


def test_equal_distributions_leave_no_residual_and_the_target_stays():
    target = np.array([[0.25, 0.75]])
    np.testing.assert_array_equal(residual(target, target), target)


def test_the_same_seed_gives_the_same_codes_and_another_variation_others():
    chances = np.full((6, 64), 1 / 64)

    def codes(**changes):
        return list(proposed(chances, Draws(plan=plan(**changes), level=2), FRAME))

    assert codes(seed=5) == codes(seed=5)
    assert codes(seed=5) != codes(seed=5, variation=1)
    assert codes(seed=5) != codes(seed=6)


def test_a_draft_from_left_to_right_sees_what_it_drafted():
    """Each code is the one before it plus one, for the draft is sure of that."""

    def next_chances(codes):
        row = np.zeros((1, 10))
        row[0, (int(codes[-1]) + 1 if len(codes) else 4)] = 1.0
        return row

    codes, chances = drafted_by(next_chances, Draws(plan=plan(), level=2), 100, 4)
    assert list(codes) == [4, 5, 6, 7]
    assert chances.shape == (4, 10)


def test_scores_that_fit_no_draft_are_refused():
    chances = np.full((2, 4), 0.25)
    draws = Draws(plan=plan(), level=2)
    drafted = proposed(chances, draws, 0)
    with pytest.raises(ValueError, match="2 codes were drafted, from 2 distributions, and 1"):
        verified(chances[:1], chances, drafted, draws, 0)
    with pytest.raises(ValueError, match="scored can be 2 or 3 frames"):
        verified(np.full((4, 4), 0.25), chances, drafted, draws, 0)
