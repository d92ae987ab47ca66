"""What training music is told of itself: true to it where it should be, silent where nothing is."""

import numpy as np
import pytest
import torch

from model.composer import OFF, STRUCK, Composer, score_of
from model.conditioning.cues import (
    DENSITY,
    ECHO,
    ECHO_SOUNDS,
    ECHO_STRUCK,
    ENERGY,
    GOAL,
    GOAL_SOUNDS,
    METRE,
)
from model.data.dataset import Example, Labels
from model.listening import STEP_SAMPLES
from model.shipped import TINY
from model.training.composer import held_out_losses, loss_of, random_rows
from model.training.telling import KINDS, HeardExample, Stretch, curves_of, pulse_of, told_of

STEPS = 200
BEAT = 8 * STEP_SAMPLES
SAMPLES = STEPS * STEP_SAMPLES


def example(spread=0, tempo_bpm=60 * 44_100 / BEAT):
    """Return music of two notes a beat, twice as loud from its middle on."""
    random = np.random.default_rng(1)
    starts = np.arange(0, SAMPLES - BEAT, BEAT // 2)
    starts = starts + random.integers(0, spread + 1, len(starts))
    pitches = 60 + np.arange(len(starts)) % 12
    rows = [
        (at, at + BEAT // 2, pitch, 80, 0, 3) for at, pitch in zip(starts, pitches, strict=True)
    ]
    loudness = np.where(np.arange(SAMPLES) < SAMPLES // 2, 2000, 4000)
    mix = (loudness * np.sin(np.arange(SAMPLES) / 9)).astype(np.int16)
    return Example(
        name="one",
        split="train",
        labels=Labels(
            work="w",
            composer="",
            genre="folk",
            tempo_bpm=tempo_bpm,
            meter="2/4",
            source_licence="",
            programs=(0,),
            augmentation={},
        ),
        num_samples=SAMPLES,
        notes=np.array(rows, np.int64),
        shard=mix,
        mix_offset=0,
        stem_offsets={},
    )


def heard_example(**changes):
    made = example(**changes)
    pulse = pulse_of(made)
    likely = np.zeros((STEPS, 128, 2), np.float16)
    likely[..., 0] = score_of(made.notes, 0, STEPS, STEP_SAMPLES) > OFF
    curves = None if pulse is None else curves_of(made, pulse)
    return HeardExample(example=made, likely=likely, pulse=pulse, curves=curves)


def stretch(one, first=40, steps=100):
    score = score_of(one.example.notes, 0, STEPS + 1, STEP_SAMPLES)
    return Stretch(one=one, first=first, steps=steps, score=score, likely=one.likely)


def told(kinds, seed=0, **changes):
    return told_of(stretch(heard_example(**changes)), np.random.default_rng(seed), frozenset(kinds))


def test_a_tempo_is_told_only_where_the_notes_keep_to_it():
    assert heard_example().pulse.knots.tolist() == [[0.0, 0.0, 0.0, pytest.approx(BEAT), 2.0]]
    assert heard_example(spread=BEAT // 12).pulse is None
    bar = told({"metre"})[:, METRE][:, 1]
    assert np.flatnonzero(bar).tolist() == [8, 24, 40, 56, 72, 88]
    assert not told({"metre", "energy", "density"}, spread=BEAT // 12).any()


def test_curves_are_those_of_each_bar():
    cues = told({"energy", "density"})
    assert cues[:, DENSITY.start].all()
    assert cues[:, DENSITY.start + 1] == pytest.approx(np.sqrt(2 / 8), abs=1e-4)
    soft, loud = cues[0, ENERGY], cues[-1, ENERGY]
    assert soft[0] == loud[0] == 1
    assert (12 * soft[1], 12 * loud[1]) == pytest.approx((-3.98, 2.04), abs=0.2)


def test_what_is_not_told_is_zero():
    assert not told(()).any()
    for kind in KINDS:
        assert told({kind}).any()


@pytest.mark.parametrize("seed", range(6))
def test_what_comes_back_is_the_truth_where_it_is_all_alike(seed):
    one = stretch(heard_example())
    cues = told_of(one, np.random.default_rng(seed), frozenset({"echo"}))
    inside = cues[:, ECHO.start] == 1
    (similarity,) = set(cues[inside, ECHO.start + 1].tolist())
    score = one.score[one.first : one.first + one.steps]
    right = (cues[:, ECHO_STRUCK] == (score == STRUCK)).all(axis=1)
    sounds = (cues[:, ECHO_SOUNDS] == (score > OFF)).all(axis=1)
    assert inside.any()
    if similarity == 1:
        assert right[inside].all()
        assert sounds[inside].all()
    assert not cues[~inside].any()


def test_a_suffix_is_what_is_heard_later_on():
    cues = told({"suffix"})
    coming = cues[:, GOAL.start] == 1
    assert coming[0]
    assert set(cues[coming].sum(axis=0)[GOAL_SOUNDS].nonzero()[0].tolist()) <= set(range(60, 72))
    nearness = cues[coming, GOAL.start + 1]
    assert (np.diff(nearness) > 0).all()


def test_a_batch_is_scored_and_every_kind_is_told_apart():
    torch.manual_seed(0)
    composer = Composer(TINY.composer)
    torch.nn.init.normal_(composer.cue.weight, std=0.5)
    torch.nn.init.normal_(composer.pitchwise.weight, std=0.5)
    rows = random_rows([heard_example()], (4, 32), np.random.default_rng(0))
    loss = loss_of(composer, rows)
    torch.autograd.backward(loss)
    assert composer.cue.weight.grad.abs().sum() > 0
    losses = held_out_losses(composer, [heard_example()], rows=4)
    assert set(losses) == {"nothing", "all", *KINDS}
    assert len({round(loss, 5) for loss in losses.values()}) == len(losses)
