"""Small students trained alike for `ablation.py`: what each choice does to bits a code.

Not a benchmark itself. Every student has the same width and depth, the same random start, the same
batches and as many steps; one thing is changed at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from serving import Steps
from torch.nn import functional as F

from model.config import StudentConfig, TransformerConfig
from model.prior import Prior
from model.shipped import SMALL
from model.store import SHIPPED, load_bundle
from model.student import Student
from model.training.codes import CodedExample, open_coded
from model.training.examples import random_batch
from model.training.loop import LoopConfig, train
from model.training.prior import BITS
from model.training.student import step_of

WIDTH: Final = 128
DEPTH: Final = 6
STRETCH_FRAMES: Final = 16 * 64
"""Frames of one item of a batch, whatever a chunk holds."""
BATCH: Final = 4
CONTEXT_FRAMES: Final = 44 * 64
MEASURED_BATCHES: Final = 6
LEARNING_RATE: Final = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One student: how many frames a chunk holds, and whether the teacher has a say."""

    chunk_frames: int
    taught: bool

    @property
    def name(self) -> str:
        """Return what stands in the table."""
        teacher = "data and teacher" if self.taught else "data alone"
        return f"width {WIDTH}, chunk {self.chunk_frames}, {teacher}"


CHOICES: Final = (
    Choice(chunk_frames=64, taught=True),
    Choice(chunk_frames=64, taught=False),
    Choice(chunk_frames=32, taught=True),
)


def measured(data: Path, out: Path, steps: int, say: Steps) -> Iterator[dict[str, Any]]:
    """Yield a row for each student, trained as far as it is not yet; the shipped one last."""
    bundle = load_bundle(SHIPPED)
    learnt, kept = open_coded(data, "train"), open_coded(data, "held_out")
    for choice in CHOICES:
        say(f"students: {choice.name}, {steps} steps")
        torch.default_generator.manual_seed(1)
        student = Student(_config(choice))
        student.codebook.copy_(bundle.student.codebook)
        # One folder whatever the steps: more of them go on where fewer ended.
        folder = (
            out / "students" / f"{choice.chunk_frames}-{'taught' if choice.taught else 'alone'}"
        )
        _learn(student, bundle.top if choice.taught else None, learnt, (folder, steps))
        yield _row(choice.name, steps, student, kept)
    yield _row("the shipped one", 0, bundle.student, kept)


def _config(choice: Choice) -> StudentConfig:
    shipped = SMALL.student
    assert shipped is not None
    group = shipped.group_frames
    stack = TransformerConfig(
        width=WIDTH,
        depth=DEPTH,
        heads=2,
        frames=CONTEXT_FRAMES // group,
        rows=CONTEXT_FRAMES // choice.chunk_frames,
        attention_multiplier=0.5,
        mlp_multiplier=2.0,
        relative=True,
        causal_rows=False,
    )
    return replace(shipped, transformer=stack)


def _learn(
    student: Student,
    teacher: Prior | None,
    examples: Sequence[CodedExample],
    until: tuple[Path, int],
) -> None:
    out, steps = until
    rows = STRETCH_FRAMES // student.config.chunk_frames()
    config = LoopConfig(
        out=out,
        max_minutes=24 * 60.0,
        max_steps=steps,
        learning_rate=LEARNING_RATE,
        average=0.98,
        save_minutes=1.0,
        muon=True,
    )
    train(student, step_of(student, teacher, examples, BATCH, (rows, rows)), config)


@torch.no_grad()
def _row(
    name: str, steps: int, student: Student, examples: Sequence[CodedExample]
) -> dict[str, Any]:
    """Return bits a code, all codes of a chunk counted: each by the pass that decides it."""
    student.eval()
    numbers, config = np.random.default_rng(6), student.config
    place = torch.arange(STRETCH_FRAMES) % config.group_frames
    found: list[float] = []
    for _ in range(MEASURED_BATCHES):
        batch = random_batch(examples, BATCH, STRETCH_FRAMES, student.codebook, numbers)
        conditions = student.conditions(batch.inputs)
        for turn, decided in enumerate(config.order):
            before = torch.as_tensor(np.isin(place.numpy(), config.order[:turn]))
            shown = before.expand(BATCH, -1)
            logits = student(batch.codes, shown, conditions)[:, place == decided]
            codes = batch.codes[:, place == decided]
            loss = F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())
            found.append(float(loss) * BITS)
    return {
        "part": "students",
        "variant": name,
        "steps": steps,
        "parameters": sum(part.numel() for part in student.parameters()),
        "bits": float(np.mean(found)),
    }
