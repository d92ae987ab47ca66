"""Learns the autoregressive teachers: the top prior, and the upsamplers below it.

From nothing, tables of codes begin with the codec's own latents, so that codes
that sound alike are alike from the first step on.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from model.codec import Level
from model.conditioning.embeddings import FrameInputs, normalised
from model.data.dataset import Example, open_split
from model.draft import recent_codes
from model.prior import Prior
from model.shipped import SMALL
from model.training.codec import random_clips
from model.training.codes import TOP, CodedExample, open_coded_training
from model.training.examples import GROUP, random_batch
from model.training.loop import Figures, load_averaged, train
from model.training.precision import autocast
from model.training.stage import loop_of, stage_arguments, stage_parser, trained_level
from model.upsampler import Upsampler

Step = Callable[[int, torch.Generator, float], tuple[Tensor, Figures]]
Lessons: TypeAlias = "Callable[[torch.Generator], Lesson]"
BITS = 1 / np.log(2)
CODES_STD = 0.04
"""Of a table that is also the head: greater ones begin with firm and wrong guesses."""
UPPER_STD = 0.4


@torch.no_grad()
def begin_with_codebook(table: nn.Embedding, level: Level, std: float) -> None:
    """Let a table of codes begin with the latents that a level's codes stand for.

    Their axes and their power, each centred and of the same deviation, are turned at random
    into the table's width, which is at least one more than theirs.
    """
    book = level.quantizer.codebook.float()
    book = (book - book.mean(0)) / book.sub(book.mean(0)).square().mean().sqrt()
    power = book.square().mean(1, keepdim=True)
    axes = torch.cat([book, (power - power.mean()) / power.std().clamp(min=1e-6)], dim=1)
    made = axes @ nn.init.orthogonal_(torch.empty(table.embedding_dim, axes.shape[1])).T
    table.weight.copy_(std * made / made.std().clamp(min=1e-6))


def frame_conditions(prior: Prior, inputs: FrameInputs) -> Float[Tensor, "batch frames width"]:
    """Return one condition vector for each top-level frame."""
    assert prior.conditions is not None
    return prior.conditions(inputs).repeat_interleave(GROUP, dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Codes that a prior is to foretell, with what it is told."""

    codes: Int[Tensor, "batch frames"]
    start: Float[Tensor, "batch width"]
    conditions: Float[Tensor, "batch frames width"]


def top_lessons(
    prior: Prior, examples: Sequence[CodedExample], codebook: Tensor, batch: int, rows: int
) -> Lessons:
    """Return what draws random stretches of the top level, with what may be known of them."""
    numbers = np.random.default_rng(11)
    frames = rows * prior.config.transformer.row_frames()

    def lesson(random: torch.Generator) -> Lesson:
        del random
        made = random_batch(examples, batch, frames, codebook, numbers)
        start = prior.start_vector(made.inputs.artist, made.inputs.genre)
        conditions = frame_conditions(prior, made.inputs)
        return Lesson(codes=made.codes, start=start, conditions=conditions)

    return lesson


def upsampler_lessons(
    upsampler: Upsampler, levels: tuple[Level, Level], examples: Sequence[Example], batch: int
) -> Lessons:
    """Return what draws codes of (lower, upper) level, made from audio as it goes."""
    lower, upper = levels
    samples = upsampler.config.transformer.frames * lower.hop

    def lesson(random: torch.Generator) -> Lesson:
        audio = random_clips(examples, batch, samples, random)
        with torch.no_grad():
            codes = lower.encode(audio)
            above = upper.encode(audio)
        labels = torch.zeros(batch, dtype=torch.long)
        start = upsampler.prior.start_vector(labels, labels.unsqueeze(1))
        return Lesson(codes=codes, start=start, conditions=upsampler.conditioner(above))

    return lesson


def prior_step(prior: Prior, lessons: Lessons) -> Step:
    """Return a prior's step: cross entropy in bits."""

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        del number, spent
        with autocast():
            lesson = lessons(random)
            logits = prior(lesson.codes, lesson.start, lesson.conditions)
        loss = F.cross_entropy(logits.float().flatten(0, 1), lesson.codes.flatten())
        return loss, {"bits": float(loss.detach()) * BITS}

    return step


def draft_step(prior: Prior, lessons: Lessons) -> Step:
    """Return the step of a prior's draft: its divergence from the prior, which stays as it is."""

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        del number, spent
        with torch.no_grad(), autocast():
            lesson = lessons(random)
        with autocast():
            scores = draft_scores(prior, lesson)
        kept = float(scores.kept.detach())
        return scores.divergence, {"bits": float(scores.divergence.detach()) * BITS, "kept": kept}

    return step


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftScores:
    """How far a draft is from its prior."""

    divergence: Float[Tensor, ""]
    """Kullback and Leibler's, of the draft from the prior, in nats a code."""
    kept: Float[Tensor, ""]
    """How often a guess of the draft would be kept: what the two distributions share."""


def draft_scores(prior: Prior, lesson: Lesson) -> DraftScores:
    """Return the scores of a prior and its draft; only the draft gets gradients.

    Raises:
        ConfigError: The prior has no draft.
    """
    with torch.no_grad():
        wanted = prior(lesson.codes, lesson.start, lesson.conditions).float().log_softmax(-1)
    recent = recent_codes(lesson.codes, prior.draft_reach())
    guess = prior.draft_logits(recent, lesson.conditions).float().log_softmax(-1)
    loss = F.kl_div(guess, wanted, log_target=True, reduction="none").sum(-1).mean()
    shared = torch.minimum(guess, wanted).exp().sum(-1).mean()
    return DraftScores(divergence=loss, kept=shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taught:
    """A level's network, the prior within it, and what it learns from."""

    module: nn.Module
    prior: Prior
    lessons: Lessons


def main() -> None:
    """Train the level named on the command line."""
    parser = stage_parser(__doc__, max_minutes=60, batch=4, learning_rate=5e-3)
    parser.add_argument("--level", type=int, required=True)
    parser.add_argument("--rows", type=int, default=22, help="of a top-level stretch")
    parser.add_argument("--draft", action="store_true", help="the draft of a prior that has learnt")
    arguments = stage_arguments(parser)
    runs: Path = arguments.runs
    taught = _taught(arguments)
    if not arguments.draft:
        loop = loop_of(arguments, runs / f"prior{arguments.level}")
        step = prior_step(taught.prior, taught.lessons)
        train(taught.module, step, replace(loop, muon=True, average=0.99))
        return
    load_averaged(taught.module, runs / f"prior{arguments.level}")
    draft = taught.prior.draft
    assert draft is not None
    draft.requires_grad_(True)
    loop = loop_of(arguments, runs / f"draft{arguments.level}")
    train(draft, draft_step(taught.prior, taught.lessons), replace(loop, average=0.99))


def _taught(arguments: argparse.Namespace) -> _Taught:
    level: int = arguments.level
    runs: Path = arguments.runs
    own = trained_level(runs, level)
    if level == TOP:
        top = Prior(SMALL.priors[level])
        begin_with_codebook(top.codes, own, CODES_STD)
        codebook = normalised(own.quantizer.codebook)
        examples = open_coded_training(arguments.data)
        lessons = top_lessons(top, examples, codebook, arguments.batch, arguments.rows)
        return _Taught(module=top, prior=top, lessons=lessons)
    upsampler = Upsampler(SMALL.priors[level])
    levels = (own, trained_level(runs, level + 1))
    begin_with_codebook(upsampler.prior.codes, own, CODES_STD)
    begin_with_codebook(upsampler.conditioner.codes, levels[1], UPPER_STD)
    examples = open_split(arguments.data, "train")
    lessons = upsampler_lessons(upsampler, levels, examples, arguments.batch)
    return _Taught(module=upsampler, prior=upsampler.prior, lessons=lessons)


if __name__ == "__main__":
    main()
