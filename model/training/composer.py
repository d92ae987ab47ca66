"""Learns the composer: next notes from heard and sure ones, in any key.

The past before a random splice is what the listener makes of the audio, as it
will be of a recorded section; after it the notes are given. Every step predicts the
true notes of the next, told of its metre, of the energy and density of its bar,
of a suffix and of an earlier section, each of them sometimes.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional as F

from model.composer import FEATURES, LOWEST_PITCH, PITCHES, Composer, heard, score_of, sure
from model.conditioning.cues import CUES
from model.listener import Listener
from model.listening import STEP_SAMPLES
from model.shipped import SMALL
from model.training.loop import Figures, load_averaged, train
from model.training.precision import autocast
from model.training.stage import loop_of, stage_arguments, stage_parser
from model.training.telling import KINDS, HeardExample, Stretch, hear_all, told_of

TRANSPOSITION = 6
HELD_OUT_SEED = 77
log = logging.getLogger(__name__)


def random_steps(
    one: HeardExample, steps: int, random: np.random.Generator, told: frozenset[str] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the features of a stretch, what is told of the next steps, and their true states.

    Args:
        one: The example to take it from.
        steps: Its length.
        random: Draws the stretch, its key and what is told.
        told: The kinds of cues to tell, some of `KINDS`; None: each of them sometimes.
    """
    first = int(random.integers(len(one.likely) - steps))
    shift = int(random.integers(-TRANSPOSITION, TRANSPOSITION + 1))
    notes, likely = one.example.notes, _transposed(one.likely, shift)
    whole = _transposed(score_of(notes, 0, len(likely) + 1, STEP_SAMPLES), shift)
    score = whole[first : first + steps + 1]
    near = likely[first : first + steps].astype(np.float32)
    splice = _splice(steps, random)
    features = np.concatenate([heard(near[:splice]), sure(score[splice:steps])])
    unheard = int(random.integers(steps)) if random.random() < 0.3 else 0
    features[:unheard] = 0
    stretch = Stretch(one=one, first=first + 1, steps=steps, score=whole, likely=likely)
    return features, told_of(stretch, random, told), score[1:]


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


def random_rows(
    examples: Sequence[HeardExample],
    shape: tuple[int, int],
    random: np.random.Generator,
    told: frozenset[str] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `random_steps` of (batch, steps) stretches."""
    batch, steps = shape
    features = np.zeros((batch, steps, FEATURES), np.float32)
    cues = np.zeros((batch, steps, CUES), np.float32)
    states = np.zeros((batch, steps, PITCHES), np.int64)
    for row in range(batch):
        example = examples[int(random.integers(len(examples)))]
        features[row], cues[row], states[row] = random_steps(example, steps, random, told)
    return torch.as_tensor(features), torch.as_tensor(cues), torch.as_tensor(states)


def loss_of(composer: Composer, rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return the loss in nats a step, all pitches together."""
    features, cues, states = rows
    with autocast():
        scores = composer(features, cues)
    total = F.cross_entropy(scores.float().flatten(0, 2), states.flatten(), reduction="sum")
    return total / (len(features) * features.shape[1])


def step_of(
    composer: Composer, examples: Sequence[HeardExample], batch: int, seed: int = 14
) -> Callable[[int, torch.Generator, float], tuple[Tensor, Figures]]:
    """Return the composer's step."""
    numbers = np.random.default_rng(seed)
    shape = (batch, composer.config.transformer.frames)

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        del number, random, spent
        return loss_of(composer, random_rows(examples, shape, numbers)), {}

    return step


@torch.no_grad()
def held_out_losses(
    composer: Composer, examples: Sequence[HeardExample], rows: int = 200
) -> dict[str, float]:
    """Return the loss over the same stretches: nothing told, all told, and each kind alone."""
    shape = (rows, composer.config.transformer.frames)
    told = {"nothing": frozenset[str](), "all": frozenset(KINDS)}
    told |= {kind: frozenset({kind}) for kind in KINDS}
    return {
        name: float(
            loss_of(
                composer,
                random_rows(examples, shape, np.random.default_rng(HELD_OUT_SEED), kinds),
            )
        )
        for name, kinds in told.items()
    }


def main() -> None:
    """Train the composer; then say what each thing told is worth on held-out works."""
    parser = stage_parser(__doc__, max_minutes=15, batch=24, learning_rate=2e-3)
    parser.add_argument(
        "--more-data", type=Path, action="append", default=[], help="further folders to learn from"
    )
    arguments = stage_arguments(parser)
    assert SMALL.composer is not None
    assert SMALL.listener is not None
    listener = Listener(SMALL.listener)
    load_averaged(listener, arguments.runs / "listener")
    folders = [arguments.data, *arguments.more_data]
    examples = [one for folder in folders for one in hear_all(listener, folder, "train")]
    log.info("heard %d examples", len(examples))
    composer = Composer(SMALL.composer)
    train(
        composer,
        step_of(composer, examples, arguments.batch),
        replace(loop_of(arguments, arguments.runs / "composer"), muon=True),
    )
    held_out = hear_all(listener, arguments.data, "held_out")
    log.info("held out: %s", held_out_losses(composer, held_out))


if __name__ == "__main__":
    main()
