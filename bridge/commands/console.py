"""What commands write: results to stdout, the rest to stderr.

A progress bar shows on a terminal only; elsewhere one line says what runs.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from bridge.request import Progress


def say(line: str) -> None:
    """Write a line of the result to stdout, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Write a line about the work to stderr, at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Bar(Protocol):
    """Shows how far the work has come."""

    def stage(self, words: str) -> None:
        """Name what is done now, of unknown length."""
        ...

    def show(self, progress: Progress) -> None:
        """Show a step of a render, and the time left."""
        ...


@contextmanager
def progress_bar(title: str) -> Generator[Bar]:
    """Yield a bar on stderr that goes away at the end; without a terminal one line, the title."""
    console = Console(stderr=True)
    if not console.is_terminal:
        note(title)
        yield _NoBar()
        return
    with RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        transient=True,
    ) as rich:
        yield _RichBar(rich, rich.add_task(title, total=None, left=""))


class _NoBar:
    def stage(self, words: str) -> None:
        """Show nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""


class _RichBar:
    def __init__(self, rich: RichProgress, task: TaskID) -> None:
        self._rich = rich
        self._task = task

    def stage(self, words: str) -> None:
        self._rich.update(self._task, description=words, total=None, left="")

    def show(self, progress: Progress) -> None:
        self._rich.update(
            self._task,
            description=progress.phase,
            completed=progress.step,
            total=progress.total_steps,
            left=f"{progress.step}/{progress.total_steps}, {progress.eta_seconds:.1f} s left",
        )
