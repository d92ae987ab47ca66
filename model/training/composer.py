"""Learns the composer: next notes from heard and sure ones, in any key.

The past before a random splice is what the listener makes of the audio, as it
will be of a recorded section; after it the notes are given. Every step predicts the
true notes of the next.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16, Shaped
from torch import Tensor
from torch.nn import functional as F

from model.composer import FEATURES, LOWEST_PITCH, PITCHES, Composer, heard, score_of, sure
from model.data.dataset import Example, open_split
from model.listener import Listener
from model.listening import STEP_SAMPLES
from model.shipped import SMALL
from model.training.listener import spectra_of
from model.training.loop import Figures, load_averaged, train
from model.training.stage import loop_of, stage_arguments, stage_parser

TRANSPOSITION = 6
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardExample:
    """An example's notes with what the listener hears in its mix, step by step."""

    example: Example
    likely: Float16[np.ndarray, "steps rows states"]


@torch.no_grad()
def hear_all(listener: Listener, folder: Path) -> list[HeardExample]:
    """Return the examples of the training split as the listener hears them."""
    examples = open_split(folder, "train")
    made: list[HeardExample] = []
    for example, one in zip(examples, spectra_of(folder, "train", examples), strict=True):
        spectra = torch.as_tensor(one.spectra.astype(np.float32))[None]
        likely = listener(spectra)[0].sigmoid().numpy().astype(np.float16)
        made.append(HeardExample(example=example, likely=likely))
    return made


def random_steps(
    one: HeardExample, steps: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of a stretch and the true states of the steps that follow each."""
    first = int(random.integers(len(one.likely) - steps))
    score = score_of(one.example.notes, first * STEP_SAMPLES, steps + 1, STEP_SAMPLES)
    likely = one.likely[first : first + steps].astype(np.float32)
    shift = int(random.integers(-TRANSPOSITION, TRANSPOSITION + 1))
    score, likely = _transposed(score, shift), _transposed(likely, shift)
    splice = _splice(steps, random)
    features = np.concatenate([heard(likely[:splice]), sure(score[splice:steps])])
    unheard = int(random.integers(steps)) if random.random() < 0.3 else 0
    features[:unheard] = 0
    return features, score[1:]


def _transposed(
    rows: Shaped[np.ndarray, "steps rows ..."], shift: int
) -> Shaped[np.ndarray, "steps rows ..."]:
    """Return the pitches moved; drums stay."""
    moved = rows.copy()
    moved[:, LOWEST_PITCH:] = np.roll(rows[:, LOWEST_PITCH:], shift, axis=1)
    return moved


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
            made = random_steps(example, steps, numbers)
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
    parser = stage_parser(__doc__, max_minutes=15, batch=24, learning_rate=2e-3)
    arguments = stage_arguments(parser)
    assert SMALL.composer is not None
    assert SMALL.listener is not None
    listener = Listener(SMALL.listener)
    load_averaged(listener, arguments.runs / "listener")
    examples = hear_all(listener, arguments.data)
    log.info("heard %d examples", len(examples))
    composer = Composer(SMALL.composer)
    train(
        composer,
        step_of(composer, examples, arguments.batch),
        replace(loop_of(arguments, arguments.runs / "composer"), muon=True),
    )


if __name__ == "__main__":
    main()
