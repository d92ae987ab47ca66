"""A whole training of published kind, from a configuration file to a model's folder.

out/checkpoints/   what going on needs, the last few
out/model/         the result, with averaged weights: loads as an imported model
out/history.jsonl  figures, one row a report
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from model.checkpoint import Published
from model.imported import ImportedModel
from model.trained import NewPart, open_trained, write_trained
from model.training.loop import Box, Clock, Figures, run
from model.training.published.board import Board, TensorBoard
from model.training.published.checkpoints import newest
from model.training.published.clips import Batch, Cutter
from model.training.published.configuration import Asked, read_configuration
from model.training.published.crowd import Crowd, join_crowd, leave_crowd, own_device
from model.training.published.learner import MEBIBYTE, PublishedLearner
from model.training.published.ready import Ready, make_ready
from model.training.published.recompute import recompute_layers
from model.training.published.recordings import open_recordings

MODEL = "model"
BOARD = "tensorboard"
SHOWN = ("loss", "snr_0_db", "music_bits", "lyric_bits")
"""Figures of the progress line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for."""

    kind: str
    """`codec`, `prior` or `upsampler`."""
    config: Path
    data: Path
    out: Path
    max_minutes: float = math.inf
    begin_with: Path | None = None
    device: str = "cpu"
    threads: int = 0
    """Within an operation; 0 leaves the choice to PyTorch."""


def train_published(
    order: Order, say: Callable[[str], None], stop: Callable[[], bool] = lambda: False
) -> ImportedModel:
    """Train until time or steps are up, or a stop is asked for; return the model's folder, opened.

    A folder that holds a training already is gone on with, to the same numbers as without a stop.

    Args:
        order: What to train, on what, until when.
        say: Takes lines of progress; of several processes the first one's.
        stop: Asked after every step.

    Raises:
        TrainingError: Configuration, recordings or sizes that do not fit; before the first step.
        CheckpointError: A model or a checkpoint that cannot be read.
    """
    if order.threads:
        torch.set_num_threads(order.threads)
    asked = read_configuration(order.kind, order.config)
    recordings = open_recordings(order.data)
    kept = newest(order.out)
    device = own_device(order.device)
    crowd = join_crowd(device)
    try:
        ready = make_ready(
            asked,
            recordings,
            begin_with=order.begin_with,
            facts=None if kept is None else kept.numbers["facts"],
            crowd=crowd,
            device=device,
        )
        order.out.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(1, "clips") as reader:
            ahead = Ahead(ready.cutter, crowd.rows(asked.settings.data.batch_clips), reader)
            learner = _learner(order, asked, ready, ahead.batch, crowd, say)
            clock = Clock() if kept is None else learner.restore(kept)
            if crowd.rank == 0:
                for line in _opening(asked, ready, clock):
                    say(line)
            _run(order, asked, learner, clock, stop)
        if crowd.rank == 0:
            _export(order, ready, learner, clock)
        crowd.wait()
    finally:
        leave_crowd()
    return open_trained(order.out / MODEL)


class Ahead:
    """Reads the clips of the next step while this one is learnt from."""

    def __init__(self, cutter: Cutter, rows: range, reader: ThreadPoolExecutor) -> None:
        self._cutter, self._rows, self._reader = cutter, rows, reader
        self._next: tuple[int, Future[Batch]] | None = None

    def batch(self, step: int) -> Batch:
        """Return a step's clips.

        Raises:
            TrainingError: A file that cannot be read any more.
        """
        ready = self._next
        batch = (
            ready[1].result()
            if ready is not None and ready[0] == step
            else self._cutter.batch(step, self._rows)
        )
        coming = self._reader.submit(self._cutter.batch, step + 1, self._rows)
        self._next = (step + 1, coming)
        return batch


def _learner(
    order: Order,
    asked: Asked,
    ready: Ready,
    cut: Callable[[int], Batch],
    crowd: Crowd,
    say: Callable[[str], None],
) -> PublishedLearner:
    settings = asked.settings
    board: Board = Board()
    if settings.saving.tensorboard and crowd.rank == 0:
        board = TensorBoard(order.out / BOARD, ready.cutter.sample_rate)
    if settings.learning.checkpoint_layers:
        recompute_layers(ready.task.module)
    return PublishedLearner(
        task=ready.task,
        cut=cut,
        crowd=crowd,
        learning=settings.learning,
        saving=settings.saving,
        batch_clips=settings.data.batch_clips,
        out=order.out,
        facts=ready.facts,
        board=board,
        show=Progress(order.max_minutes, float(settings.learning.steps or math.inf), say).show,
    )


def _run(
    order: Order,
    asked: Asked,
    learner: PublishedLearner,
    clock: Clock,
    stop: Callable[[], bool],
) -> None:
    crowd, settings = learner.crowd, asked.settings
    box = Box(
        max_minutes=order.max_minutes,
        max_steps=float(settings.learning.steps or math.inf),
        save_minutes=settings.saving.save_minutes,
        report_steps=settings.saving.report_steps,
        agree=crowd.first,
        stop=lambda: crowd.any(stop()),
    )
    try:
        run(learner, clock, box)
    finally:
        learner.board.close()


def _export(order: Order, ready: Ready, learner: PublishedLearner, clock: Clock) -> None:
    module: Published = ready.task.module
    with learner.averaged():
        write_trained(
            order.out / MODEL,
            NewPart(name=ready.part, module=module, text=ready.text, step=clock.step),
            base=ready.base,
            tables=ready.tables,
            shard_bytes=learner.saving.shard_mib * MEBIBYTE,
        )


def _opening(asked: Asked, ready: Ready, clock: Clock) -> tuple[str, ...]:
    numbers = sum(value.numel() for value in ready.task.module.parameters())
    seconds = ready.cutter.clip_samples / ready.cutter.sample_rate
    lines = (
        f"{asked.kind} of size {asked.size}: {numbers / 1e6:.2f} M numbers, "
        f"{asked.settings.data.batch_clips} clips of {seconds:.2f} s a step",
        *ready.notes,
    )
    if clock.step:
        lines = (*lines, f"goes on at step {clock.step}, {clock.minutes:.1f} min")
    return lines


class Progress:
    """Turns reports into lines with the time that is left."""

    def __init__(self, max_minutes: float, max_steps: float, say: Callable[[str], None]) -> None:
        self._max_minutes, self._max_steps, self._say = max_minutes, max_steps, say
        self._last: tuple[int, float] | None = None

    def show(self, clock: Clock, figures: Figures) -> None:
        """Say a line of a report."""
        now = time.monotonic()
        speed = math.nan
        if self._last is not None and now > self._last[1]:
            speed = (clock.step - self._last[0]) / (now - self._last[1])
        self._last = (clock.step, now)
        shown = [f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures]
        self._say(f"step {clock.step}, {', '.join(shown)}{self._left(clock, speed)}")

    def _left(self, clock: Clock, speed: float) -> str:
        minutes = self._max_minutes - clock.minutes
        if not math.isnan(speed):
            minutes = min(minutes, (self._max_steps - clock.step) / speed / 60)
        pace = "" if math.isnan(speed) else f", {speed:.2f} steps/s"
        return pace + (f", {minutes:.1f} min left" if math.isfinite(minutes) else "")
