"""Learns the composer: next notes from heard and sure ones, in any key.

The past before a random splice is what the ear makes of true codes, as it will
be of a recorded section; after it the notes are given. Every step predicts the
true notes of the next.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16
from torch import Tensor
from torch.nn import functional as F

from model.composer import FEATURES, PITCHES, Composer, heard, score_of, sure
from model.config import SMALL
from model.finisher import Finisher
from model.training.codes import CodedExample, open_coded
from model.training.examples import FRAME_SAMPLES, GROUP
from model.training.loop import Figures, LoopConfig, load_averaged, train

TRANSPOSITION = 6
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardExample:
    """An example with what the ear hears in its mix, a row a roll frame."""

    coded: CodedExample
    likely: Float16[np.ndarray, "groups pitches"]


@torch.no_grad()
def hear_all(finisher: Finisher, examples: Sequence[CodedExample]) -> list[HeardExample]:
    """Return the examples as the ear hears them."""
    made: list[HeardExample] = []
    for coded in examples:
        codes = torch.as_tensor(coded.mix.astype(np.int64))[None]
        likely = finisher.hear(codes)[0].float().sigmoid()
        whole = len(likely) // GROUP * GROUP
        rows = np.asarray(likely, np.float32)[:whole].reshape(-1, GROUP, PITCHES)
        made.append(HeardExample(coded=coded, likely=rows.mean(1).astype(np.float16)))
    return made


def random_steps(
    example: HeardExample, steps: int, step_frames: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of a stretch and the true states of the steps that follow each."""
    groups = step_frames // GROUP
    first = int(random.integers(len(example.likely) - (steps + 1) * groups))
    step_samples = step_frames * FRAME_SAMPLES
    start = first * GROUP * FRAME_SAMPLES
    score = score_of(example.coded.example.notes, start, steps + 1, step_samples)
    likely = example.likely[first : first + steps * groups].astype(np.float32)
    likely = likely.reshape(steps, groups, PITCHES).mean(1)
    shift = int(random.integers(-TRANSPOSITION, TRANSPOSITION + 1))
    score, likely = np.roll(score, shift, axis=1), np.roll(likely, shift, axis=1)
    splice = _splice(steps, random)
    features = np.concatenate([heard(likely[:splice]), sure(score[splice:steps])])
    unheard = int(random.integers(steps)) if random.random() < 0.3 else 0
    features[:unheard] = 0
    return features, score[1:]


def _splice(steps: int, random: np.random.Generator) -> int:
    draw = random.random()
    if draw < 0.2:
        return 0
    return steps if draw < 0.35 else int(random.integers(steps))


def step_of(
    composer: Composer, examples: Sequence[HeardExample], batch: int
) -> Callable[[int, torch.Generator, float], tuple[Tensor, Figures]]:
    """Return the composer's step; the loss is in nats a step, all pitches together."""
    numbers = np.random.default_rng(14)
    steps = composer.config.transformer.frames

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        del number, random, spent
        features = np.zeros((batch, steps, FEATURES), np.float32)
        states = np.zeros((batch, steps, PITCHES), np.int64)
        for row in range(batch):
            example = examples[int(numbers.integers(len(examples)))]
            made = random_steps(example, steps, composer.config.step_frames, numbers)
            features[row], states[row] = made
        with torch.autocast("cpu", torch.bfloat16):
            scores = composer(torch.as_tensor(features))
        loss = F.cross_entropy(
            scores.float().flatten(0, 2), torch.as_tensor(states).flatten(), reduction="sum"
        ) / (batch * steps)
        return loss, {}

    return step


def main() -> None:
    """Train the composer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--max-minutes", type=float, default=15)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.default_generator.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    assert SMALL.composer is not None
    assert SMALL.finisher is not None
    finisher = Finisher(SMALL.finisher)
    load_averaged(finisher, arguments.runs / "finisher")
    examples = hear_all(finisher, open_coded(arguments.data, "train"))
    log.info("heard %d examples", len(examples))
    composer = Composer(SMALL.composer)
    train(
        composer,
        step_of(composer, examples, arguments.batch),
        LoopConfig(
            out=arguments.runs / "composer",
            max_minutes=arguments.max_minutes,
            learning_rate=arguments.learning_rate,
            seed=arguments.seed,
            muon=True,
        ),
    )


if __name__ == "__main__":
    main()
