"""Learns the autoregressive teachers: the top prior, and the upsamplers below it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from model.codec import Level
from model.conditioning.embeddings import FrameInputs, normalised
from model.data.dataset import Example, open_split
from model.prior import Prior
from model.shipped import SMALL
from model.training.codec import random_clips
from model.training.codes import TOP, CodedExample, open_coded_training
from model.training.examples import GROUP, random_batch
from model.training.loop import Figures, train
from model.training.precision import autocast
from model.training.stage import loop_of, stage_arguments, stage_parser, trained_level
from model.upsampler import Upsampler

Step = Callable[[int, torch.Generator, float], tuple[Tensor, Figures]]
BITS = 1 / np.log(2)


def frame_conditions(prior: Prior, inputs: FrameInputs) -> Float[Tensor, "batch frames width"]:
    """Return one condition vector for each top-level frame."""
    assert prior.conditions is not None
    return prior.conditions(inputs).repeat_interleave(GROUP, dim=1)


def top_step(
    prior: Prior, examples: Sequence[CodedExample], codebook: Tensor, batch: int, rows: int
) -> Step:
    """Return the top prior's step: cross entropy in bits over random stretches."""
    numbers = np.random.default_rng(11)
    frames = rows * prior.config.transformer.row_frames()

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        del number, random, spent
        made = random_batch(examples, batch, frames, codebook, numbers)
        with autocast():
            start = prior.start_vector(made.inputs.artist, made.inputs.genre)
            logits = prior(made.codes, start, frame_conditions(prior, made.inputs))
        loss = F.cross_entropy(logits.float().flatten(0, 1), made.codes.flatten())
        return loss, {"bits": float(loss.detach()) * BITS}

    return step


def upsampler_step(
    upsampler: Upsampler, levels: tuple[Level, Level], examples: Sequence[Example], batch: int
) -> Step:
    """Return an upsampler's step: codes of (lower, upper) level made from audio as it goes."""
    lower, upper = levels
    frames = upsampler.config.transformer.frames
    samples = frames * lower.hop

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        del number, spent
        audio = random_clips(examples, batch, samples, random)
        with torch.no_grad(), autocast():
            codes = lower.encode(audio)
            above = upper.encode(audio)
        labels = torch.zeros(batch, dtype=torch.long)
        with autocast():
            start = upsampler.prior.start_vector(labels, labels.unsqueeze(1))
            logits = upsampler(codes, above, start)
        loss = F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())
        return loss, {"bits": float(loss.detach()) * BITS}

    return step


def main() -> None:
    """Train the level named on the command line."""
    parser = stage_parser(__doc__, max_minutes=30, batch=2, learning_rate=8e-4)
    parser.add_argument("--level", type=int, required=True)
    parser.add_argument("--rows", type=int, default=44)
    arguments = stage_arguments(parser)
    level: int = arguments.level
    runs: Path = arguments.runs
    if level == TOP:
        module: torch.nn.Module = Prior(SMALL.priors[level])
        step = top_step(
            module,
            open_coded_training(arguments.data),
            normalised(trained_level(runs, TOP).quantizer.codebook),
            arguments.batch,
            arguments.rows,
        )
    else:
        module = Upsampler(SMALL.priors[level])
        levels = (trained_level(runs, level), trained_level(runs, level + 1))
        examples = open_split(arguments.data, "train")
        step = upsampler_step(module, levels, examples, arguments.batch)
    train(
        module,
        step,
        replace(loop_of(arguments, runs / f"prior{level}"), muon=True, average=0.99),
    )


if __name__ == "__main__":
    main()
