"""What is drawn stays as loud as what was heard."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.data.dataset import Example, Labels
from model.loudness import DRAWN_FRAMES, LEAST_FRAMES, MOST_LEAN, CodeLoudness
from model.training.codes import CodedExample
from model.training.examples import FRAME_SAMPLES
from model.training.loudness import measure_loudness
from model.values import nothing_known
from tests.model.tiny import CHUNK, plan, tiny_bundle, tiny_generator

SOFT, LOUD = 0, 1


def state_of(heard, drawn, bundle=None):
    """Return a timeline of so many frames of one code heard, and of another drawn."""
    state = tiny_generator(bundle or tiny_bundle()).open(nothing_known(), 0)
    codes = np.repeat(np.array([heard[0], drawn[0]], np.int16), [heard[1], drawn[1]])
    return replace(
        state, codes=codes, drawn_from=heard[1], remembered_chunks=len(codes) // 64, generating=True
    )


@pytest.mark.parametrize(
    ("heard", "drawn", "weight"),
    [
        ((LOUD, 400), (SOFT, DRAWN_FRAMES), MOST_LEAN),
        ((SOFT, 400), (LOUD, DRAWN_FRAMES), -MOST_LEAN),
        ((LOUD, 400), (LOUD, DRAWN_FRAMES), 0.0),
        ((LOUD, 400), (SOFT, 0), 0.0),
        ((LOUD, LEAST_FRAMES - 1), (SOFT, DRAWN_FRAMES), 0.0),
    ],
)
def test_draws_lean_towards_the_loudness_that_was_heard(heard, drawn, weight):
    loudness = CodeLoudness(2)
    loudness.log_power.copy_(torch.tensor([-3.0, 3.0]))
    lean = loudness.lean(state_of(heard, drawn))
    torch.testing.assert_close(lean, weight * torch.tensor([-3.0, 3.0]))


def test_a_chunk_drawn_after_soft_ones_is_louder_for_it():
    bundle = tiny_bundle()
    order = bundle.loudness.log_power.argsort()
    softest, loudest = int(order[0]), int(order[-1])
    state = state_of((loudest, 8 * 64), (softest, 8 * 64), bundle)
    powers = bundle.loudness.log_power.clone()
    leaning = _drawn_power(bundle, state, powers)
    bundle.loudness.log_power.zero_()
    assert leaning > _drawn_power(bundle, state, powers)


def test_the_table_is_the_mean_log_power_of_a_codes_frames():
    levels = np.array([0.5, 0.25, 0.5, 0.1], np.float32)
    codes = np.array([3, 5, 3, 5], np.int16)
    audio = np.repeat(levels * 32768, FRAME_SAMPLES).astype(np.int16)
    loudness = CodeLoudness(8)
    measure_loudness(loudness, [coded(audio, codes)])
    powers = np.log(np.square(levels))
    expected = np.full(8, powers.mean())
    expected[3], expected[5] = powers[0], (powers[1] + powers[3]) / 2
    np.testing.assert_allclose(loudness.log_power.numpy(), expected, atol=1e-3)


def test_no_examples_measure_nothing():
    with pytest.raises(ValueError, match="no coded examples"):
        measure_loudness(CodeLoudness(8), [])


def coded(audio, codes):
    """Return an example of this sound and these codes."""
    labels = Labels(
        work="w",
        composer="bach",
        genre="chorale",
        tempo_bpm=100.0,
        meter="4/4",
        source_licence="",
        programs=(),
        augmentation={},
    )
    example = Example(
        name="train-00000",
        split="train",
        labels=labels,
        num_samples=len(audio),
        notes=np.zeros((0, 6), np.int64),
        shard=audio,
        mix_offset=0,
        stem_offsets={},
    )
    return CodedExample(example=example, mix=codes, stems=np.zeros((0, len(codes)), np.int16))


def _drawn_power(bundle, state, powers):
    generator = tiny_generator(bundle)
    while state.settled_sample < 17 * CHUNK:
        state = generator.step([state], plan())[0].state
    return float(powers[torch.as_tensor(state.codes[16 * 64 :].astype(np.int64))].mean())
