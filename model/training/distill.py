"""A student from any teacher: top-level codes of a folder of recordings, and the teacher's scores.

A streaming model's student learns on from its own top prior, and the folder that comes of it is
served as a whole. A model of published kind, imported or trained, gets a student of its own: it
reads that model's codes, fills chunks of them in a few passes, and is stored beside the
teacher's name. What a published teacher is told (labels, timing, lyrics) the student is not.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.conditioning.embeddings import FrameInputs
from model.conditioning.labels import labels_of
from model.conditioning.roll import ROLL_WIDTH
from model.config import LabelConfig, StudentConfig, TransformerConfig
from model.errors import TrainingError
from model.folders import read_table
from model.imported import KIND
from model.published.level import hear
from model.published.objective import window_logits
from model.student import Student
from model.trained import TRAINED, open_trained
from model.training.adapt import (
    SETTINGS,
    TRAINING,
    Adapted,
    AdaptOrder,
    AdaptSettings,
    adapt_model,
    clock_of,
    tuning_loop,
)
from model.training.loop import Figures, train
from model.training.published.clips import Batch
from model.training.published.configuration import asked
from model.training.published.crowd import Crowd
from model.training.published.prior_task import PriorTask
from model.training.published.ready import Ready, make_ready
from model.training.published.recordings import Recording, open_recordings
from model.training.published.run import Progress
from model.training.student import distillation, lesson, shown_frames
from model.training.student_files import save_student

CHUNKS: Final = (64, 32, 16, 8, 4)
"""Frames of a chunk: the most that the teacher's context holds a whole number of."""
GROUP: Final = 4
FIRST_MEASURED: Final = 2**41
"""Clips that are measured on are drawn as of this step: no training comes so far."""
MEASURED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilOrder:
    """Which teacher, on what music, until when."""

    teacher: Path
    data: Path
    out: Path
    name: str
    minutes: float = math.inf
    steps: int | None = None
    seed: int = 1
    width: int = 320
    """Of the student of a published teacher; its depth is 6."""
    batch: int = 2
    """Clips a step of a published teacher: each is its whole context."""
    settings: AdaptSettings = SETTINGS


def distil(
    order: DistilOrder, say: Callable[[str], None], stop: Callable[[], bool] = lambda: False
) -> Adapted:
    """Distil until the time is up or a stop is asked for; goes on with what `out` holds.

    Raises:
        TrainingError: Recordings, or a teacher, that cannot be used.
        CheckpointError: Weights that cannot be read.
    """
    if read_table(order.teacher).get("kind") in (KIND, TRAINED):
        return _distil_published(order, say, stop)
    return adapt_model(
        AdaptOrder(
            data=order.data,
            out=order.out,
            name=order.name,
            base=order.teacher,
            minutes=order.minutes,
            steps=order.steps,
            seed=order.seed,
            distils=True,
            settings=order.settings,
        ),
        say,
        stop,
    )


def student_config(task: PriorTask, width: int) -> StudentConfig:
    """Return the sizes of a student that reads a published teacher's codes.

    Raises:
        TrainingError: The context is no multiple of any chunk.
    """
    frames = task.sizes.context_frames
    chunk = next((size for size in CHUNKS if frames % size == 0), None)
    if chunk is None:
        raise TrainingError(
            f"the teacher's context has {frames} codes, a student needs a multiple of {CHUNKS[-1]}"
        )
    quantizer = task.codec.level(task.level).quantizer
    size, latents = quantizer.codebook.shape
    return StudentConfig(
        transformer=TransformerConfig(
            width=width,
            depth=6,
            heads=max(1, width // 64),
            frames=frames // GROUP,
            rows=frames // chunk,
            attention_multiplier=0.5,
            mlp_multiplier=2.0,
            relative=True,
            causal_rows=False,
        ),
        codebook_size=size,
        latent_width=latents,
        labels=LabelConfig(artists=1, genres=1),
    )


def _distil_published(
    order: DistilOrder, say: Callable[[str], None], stop: Callable[[], bool]
) -> Adapted:
    torch.set_num_threads(1)
    ready, measured = _prepared(order)
    for line in (*ready.notes, *measured.notes):
        say(line)
    assert isinstance(ready.task, PriorTask)
    task, sizes = ready.task, student_config(ready.task, order.width)
    torch.default_generator.manual_seed(order.seed)
    student = Student(sizes)
    student.set_codebook(task.codec.level(task.level).quantizer.codebook)
    before = _figures(student, task, measured)
    limits = order.minutes, order.steps
    config = tuning_loop(order.settings, order.out / TRAINING, limits, order.seed)
    progress = Progress(config.max_minutes, config.max_steps, say)
    train(
        student,
        lambda number, random, spent: _step(student, ready, order.batch, number, random),
        replace(config, learning_rate=order.settings.student_rate, muon=True),
        progress.show,
        stop,
    )
    after = _figures(student, task, measured)
    step = clock_of(order.out / TRAINING).step
    _save(order, student, (before, after), step)
    return Adapted(folder=order.out, steps={"student": step}, before=before, after=after)


def _prepared(order: DistilOrder) -> tuple[Ready, Ready]:
    """Return what teaches, on the music that is learnt from, and on what is kept aside."""
    recordings = open_recordings(order.data)
    aside = recordings[-1:] if len(recordings) > 1 else recordings
    rest = recordings[:-1] if len(recordings) > 1 else recordings
    return _ready(order, rest), _ready(order, aside)


def _ready(order: DistilOrder, recordings: tuple[Recording, ...]) -> Ready:
    teacher = open_trained(order.teacher)
    wanted = asked(
        "prior",
        {
            "base": str(order.teacher.resolve()),
            "learning": {"seed": order.seed},
            "data": {"batch_clips": order.batch},
        },
        Path(),
    )
    device = torch.device("cpu")
    ready = make_ready(
        wanted, recordings, begin_with=teacher.folder, facts=None, crowd=Crowd(), device=device
    )
    assert isinstance(ready.task, PriorTask)
    ready.task.module.eval().requires_grad_(False)
    return ready


def _step(
    student: Student, ready: Ready, batch: int, number: int, random: torch.Generator
) -> tuple[Tensor, Figures]:
    numbers = np.random.default_rng((random.initial_seed(), number))
    assert isinstance(ready.task, PriorTask)
    codes, scores = taught(ready.task, ready.cutter.batch(number, range(batch)))
    return lesson(student, codes, untold(student, codes), numbers, scores)


def taught(
    task: PriorTask, batch: Batch
) -> tuple[Int[Tensor, "batch frames"], Callable[[], Float[Tensor, "batch frames codebook"]]]:
    """Return a batch's codes, and what gives the teacher's scores of them."""
    with torch.no_grad():
        codes = task.codec.level(task.level).encode(batch.audio)
    pieces = [task.labelling.piece(clip) for clip in batch.clips]
    labels, _ = labels_of(pieces, task.sizes.labels(), single=False)
    playing, level = task.playing, task.codec.level(task.level)
    played = None if playing is None else playing.inputs(batch, level)

    def scores() -> Float[Tensor, "batch frames codebook"]:
        heard = hear(task.module, task.sizes, labels, None, played)
        logits = window_logits(task.module, task.sizes, heard, codes)
        return logits[:, task.sizes.prefix_frames :, task.sizes.shift :]

    return codes, scores


def untold(student: Student, codes: Int[Tensor, "batch frames"]) -> FrameInputs:
    """Return conditions of which nothing is known."""
    batch, groups = len(codes), codes.shape[1] // GROUP
    config = student.config
    return FrameInputs(
        artist=torch.zeros(batch, dtype=torch.long),
        genre=torch.zeros(batch, 1, dtype=torch.long),
        target=torch.zeros(batch, dtype=torch.long),
        total=torch.zeros(batch, groups),
        position=torch.zeros(batch, groups),
        roll=torch.zeros(batch, groups, ROLL_WIDTH),
        roll_known=torch.zeros(batch, groups, dtype=torch.bool),
        stems=torch.zeros(batch, config.stem_kinds, groups, config.latent_width),
        stems_given=torch.zeros(batch, config.stem_kinds, groups, dtype=torch.bool),
    )


@torch.no_grad()
def _figures(student: Student, task: PriorTask, ready: Ready) -> dict[str, float]:
    """Return bits a hidden code, and the divergence from the teacher, on clips kept aside."""
    bits: list[float] = []
    distances: list[float] = []
    for number in range(MEASURED):
        numbers = np.random.default_rng((5, number))
        codes, scores = taught(task, ready.cutter.batch(FIRST_MEASURED + number, range(1)))
        inputs = untold(student, codes)
        _, figures = lesson(student, codes, inputs, numbers, None)
        bits.append(figures["bits"])
        shown, prefix = shown_frames(
            student.config, 1, codes.shape[1] // student.config.chunk_frames(), numbers
        )
        if bool((prefix >= 0).any()):
            logits = student(codes, shown, student.conditions(inputs))
            distances.append(float(distillation(logits, scores, prefix)))
    found = {"student_bits_per_code": float(np.mean(bits))}
    if distances:
        found["teacher_divergence_nats"] = float(np.mean(distances))
    return {name: round(value, 4) for name, value in found.items()}


def _save(
    order: DistilOrder,
    student: Student,
    figures: tuple[Mapping[str, float], Mapping[str, float]],
    step: int,
) -> None:
    teacher = open_trained(order.teacher).manifest
    facts = {
        "name": order.name,
        "teacher": {"name": teacher["name"], "licence": teacher["licence"]},
        "licence": teacher["licence"],
        "output_licence": teacher["output_licence"],
        "recipe": {"kind": "distilled", "steps": step, "seed": order.seed},
        "figures": {"before": dict(figures[0]), "after": dict(figures[1])},
    }
    save_student(student, order.out, facts)
