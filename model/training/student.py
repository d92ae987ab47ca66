"""Learns the block-parallel student, from data and, where it has a view, from the teacher.

A chunk shows the frames that earlier passes decide, or a prefix, or both; after
a bare prefix the autoregressive teacher's distribution is the target of the first
hidden frame, since there nothing to the right has been shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from model.conditioning.embeddings import FrameInputs
from model.config import StudentConfig
from model.prior import Prior
from model.shipped import SMALL
from model.student import Student
from model.training.codes import TOP, CodedExample, open_coded_training
from model.training.examples import Batch, random_batch
from model.training.loop import Figures, load_averaged, train
from model.training.precision import autocast
from model.training.prior import BITS, frame_conditions
from model.training.stage import loop_of, stage_arguments, stage_parser, trained_level

PREFIX_SHARE = 0.2
DISTIL_WEIGHT = 0.3

Shown = Bool[Tensor, "batch frames"]
Scores = Callable[[], Float[Tensor, "batch frames codebook"]]


def shown_frames(
    config: StudentConfig, batch: int, chunks: int, random: np.random.Generator
) -> tuple[Shown, Int[Tensor, "batch chunks"]]:
    """Return which frames each chunk shows, and its prefix's length (-1: a pass of the order)."""
    frames = config.chunk_frames()
    shown = np.zeros((batch, chunks, frames), bool)
    prefix = np.full((batch, chunks), -1)
    place = np.arange(frames) % config.group_frames
    for row in range(batch):
        for chunk in range(chunks):
            draw = random.random()
            if draw >= PREFIX_SHARE:
                done = config.order[: int(random.integers(len(config.order)))]
                shown[row, chunk] = np.isin(place, done)
            if draw < 2 * PREFIX_SHARE:
                length = int(random.integers(frames))
                shown[row, chunk, :length] = True
                prefix[row, chunk] = length if draw < PREFIX_SHARE else -1
    return torch.as_tensor(shown.reshape(batch, -1)), torch.as_tensor(prefix)


def step_of(
    student: Student,
    teacher: Prior | None,
    examples: Sequence[CodedExample],
    batch: int,
    rows: tuple[int, int],
) -> Callable[[int, torch.Generator, float], tuple[Tensor, Figures]]:
    """Return the student's step; stretches grow from `rows[0]` to `rows[1]` chunks."""
    config = student.config

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        numbers = np.random.default_rng((random.initial_seed(), number))
        chunks = rows[0] if spent < 0.6 else rows[1]
        size = max(1, batch * rows[0] // chunks)
        frames = chunks * config.chunk_frames()
        made = random_batch(examples, size, frames, student.codebook, numbers)
        target = None if teacher is None else partial(_teachers_scores, teacher, made)
        return lesson(student, made.codes, made.inputs, numbers, target)

    return step


def lesson(
    student: Student,
    codes: Int[Tensor, "batch frames"],
    inputs: FrameInputs,
    random: np.random.Generator,
    target: Scores | None,
) -> tuple[Tensor, Figures]:
    """Return the loss of whole chunks, and figures; `target` gives a teacher's scores, if any."""
    config = student.config
    shown, prefix = shown_frames(
        config, len(codes), codes.shape[1] // config.chunk_frames(), random
    )
    with autocast():
        logits = student(codes, shown, student.conditions(inputs))
    hidden = ~shown
    loss = F.cross_entropy(logits[hidden].float(), codes[hidden])
    figures = {"bits": float(loss.detach()) * BITS}
    if target is not None:
        distance = distillation(logits, target, prefix)
        figures["teacher_kl"] = float(distance.detach())
        loss = loss + DISTIL_WEIGHT * distance
    return loss, figures


def distillation(
    logits: Float[Tensor, "batch frames codebook"],
    target: Scores,
    prefix: Int[Tensor, "batch chunks"],
) -> Float[Tensor, ""]:
    """Return the divergence from the teacher at the first hidden frame after each prefix."""
    chunk_frames = logits.shape[1] // prefix.shape[1]
    rows, chunks = torch.nonzero(prefix >= 0, as_tuple=True)
    if len(rows) == 0:
        return logits.new_zeros(())
    at = chunks * chunk_frames + prefix[rows, chunks]
    with torch.no_grad(), autocast():
        wanted = target()
    return F.kl_div(
        logits[rows, at].float().log_softmax(-1),
        wanted[rows, at].float().log_softmax(-1),
        reduction="batchmean",
        log_target=True,
    )


def _teachers_scores(teacher: Prior, batch: Batch) -> Float[Tensor, "batch frames codebook"]:
    start = teacher.start_vector(batch.inputs.artist, batch.inputs.genre)
    return teacher(batch.codes, start, frame_conditions(teacher, batch.inputs))


def main() -> None:
    """Train the student named on the command line; resumes, with or without a teacher."""
    parser = stage_parser(__doc__, max_minutes=60, batch=8, learning_rate=2e-3)
    parser.add_argument("--teacher", action="store_true", help="distil from runs/prior2 as well")
    parser.add_argument("--rows", type=int, nargs=2, default=(16, 44))
    arguments = stage_arguments(parser)
    assert SMALL.student is not None
    runs: Path = arguments.runs
    student = Student(SMALL.student)
    level = trained_level(runs, TOP)
    student.set_codebook(level.quantizer.codebook)
    teacher = None
    if arguments.teacher:
        teacher = Prior(SMALL.priors[TOP])
        load_averaged(teacher, runs / f"prior{TOP}")
    train(
        student,
        step_of(
            student,
            teacher,
            open_coded_training(arguments.data),
            arguments.batch,
            (arguments.rows[0], arguments.rows[1]),
        ),
        replace(loop_of(arguments, runs / "student"), muon=True),
    )


if __name__ == "__main__":
    main()
