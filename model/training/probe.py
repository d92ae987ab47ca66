"""The scaling probe: which size of student, on how much music, learns most in the time there is.

`python -m model.training.probe --data DIR --runs DIR --minutes 4` trains students of several
widths from nothing on shares of the training music, each for the same minutes of this device,
and prints what each then guesses of works held out. Runs go on where they were stopped.

What it says holds for so short a time alone: larger ones overtake later.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from model.config import StudentConfig
from model.data.dataset import SAMPLE_RATE
from model.shipped import SMALL
from model.student import Student
from model.training.codes import TOP, CodedExample, open_coded
from model.training.figures import student_figures
from model.training.loop import CHECKPOINT, Clock, LoopConfig, load_averaged, train
from model.training.stage import trained_level
from model.training.student import step_of

HEAD_WIDTH = 64
WIDTHS = (192, 320, 448)
SHARES = (0.2, 1.0)
BATCH = 8
ROWS = (16, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One student: how wide, on what share of the training music."""

    width: int
    share: float

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"width{self.width}-share{round(100 * self.share)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a trial."""

    trial: Trial
    hours: float
    parameters: int
    clock: Clock
    bits: float
    """A code, on works held out, over the passes of a chunk."""


def trials(widths: Sequence[int], shares: Sequence[float]) -> tuple[Trial, ...]:
    """Return every width with every share.

    Raises:
        ValueError: A width that does not divide into heads, or a share not in (0, 1].
    """
    for width in widths:
        if width <= 0 or width % HEAD_WIDTH:
            raise ValueError(f"the width is {width}, it must be a multiple of {HEAD_WIDTH}")
    for share in shares:
        if not 0 < share <= 1:
            raise ValueError(f"the share is {share}, it must be above 0 and at most 1")
    return tuple(Trial(width=width, share=share) for width in widths for share in shares)


def sized(width: int) -> StudentConfig:
    """Return the shipped student's configuration at another width."""
    assert SMALL.student is not None
    stack = replace(SMALL.student.transformer, width=width, heads=width // HEAD_WIDTH)
    return replace(SMALL.student, transformer=stack)


def tried(trial: Trial, data: Path, runs: Path, minutes: float) -> Outcome:
    """Return what a student of the trial's size has learnt after so many minutes."""
    examples = open_coded(data, "train")
    examples = examples[: max(1, round(trial.share * len(examples)))]
    torch.default_generator.manual_seed(1)
    student = Student(sized(trial.width))
    student.set_codebook(trained_level(runs, TOP).quantizer.codebook)
    out = runs / "probe" / trial.name
    config = LoopConfig(out=out, max_minutes=minutes, learning_rate=2e-3, average=0.98, muon=True)
    train(student, step_of(student, None, examples, BATCH, ROWS), config)
    load_averaged(student, out)
    figures = student_figures(student.eval(), open_coded(data, "held_out"))
    kept = torch.load(out / CHECKPOINT, weights_only=True)
    return Outcome(
        trial=trial,
        hours=_hours(examples),
        parameters=sum(parameter.numel() for parameter in student.parameters()),
        clock=Clock(kept["step"], kept["minutes"]),
        bits=figures["student_bits_per_code"],
    )


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """Return the outcomes, best first."""
    table = Table(title="students from nothing, equal time")
    for name in ("width", "parameters", "hours of music", "minutes", "steps", "bits a code"):
        table.add_column(name, justify="right")
    for one in sorted(outcomes, key=lambda outcome: outcome.bits):
        table.add_row(
            str(one.trial.width),
            f"{one.parameters / 1e6:.1f} M",
            f"{one.hours:.1f}",
            f"{one.clock.minutes:.1f}",
            str(one.clock.step),
            f"{one.bits:.2f}",
        )
    return table


def _hours(examples: Sequence[CodedExample]) -> float:
    return sum(one.example.num_samples for one in examples) / SAMPLE_RATE / 3600


def main() -> None:
    """Try every size on every share named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=4.0, help="of each student")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    wanted = trials(arguments.widths, arguments.shares)
    done = [tried(one, arguments.data, arguments.runs, arguments.minutes) for one in wanted]
    Console().print(table_of(done))


if __name__ == "__main__":
    main()
