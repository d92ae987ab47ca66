"""A picture of a data folder: pitches, polyphony, tempi, genres, programs, levels."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Int64
from matplotlib.figure import Figure

from model.data.dataset import END, KIND, PITCH, SAMPLE_RATE, START, STEM_KINDS, Example, open_split

# matplotlib types its axes only in part
Axes = Any

_COLOURS = ("#d1495b", "#00798c", "#edae49", "#30638e")
_POLYPHONY_STEP = SAMPLE_RATE // 20


def show(folder: Path, png: Path) -> None:
    """Write the summary of the training split to a PNG file.

    Raises:
        CorruptDataError: The folder holds no readable training split.
    """
    examples = open_split(folder, "train")
    figure: Any = cast(Any, Figure)(figsize=(14, 8), layout="constrained")
    axes: list[Axes] = list(figure.subplots(2, 3).flat)
    hours = sum(example.num_samples for example in examples) / SAMPLE_RATE / 3600
    figure.suptitle(f"training split: {len(examples)} excerpts, {hours:.2f} h")
    _pitches(axes[0], examples)
    _counts(axes[1], "genre", Counter(example.labels.genre for example in examples))
    _polyphony(axes[2], examples)
    _histogram(axes[3], "tempo, quarter notes a minute", [e.labels.tempo_bpm for e in examples])
    _counts(axes[4], "meter", Counter(f"in {example.labels.meter}" for example in examples))
    _histogram(axes[5], "notes in an excerpt", [float(len(e.notes)) for e in examples])
    figure.savefig(png, dpi=110)


def polyphony(example: Example) -> Int64[np.ndarray, "instants"]:
    """Return how many notes are held, twenty times a second."""
    instants = np.arange(0, example.num_samples, _POLYPHONY_STEP)
    started = np.searchsorted(np.sort(example.notes[:, START]), instants, side="right")
    ended = np.searchsorted(np.sort(example.notes[:, END]), instants, side="right")
    return np.asarray(started - ended, dtype=np.int64)


def _pitches(axes: Axes, examples: Sequence[Example]) -> None:
    notes = np.concatenate([example.notes for example in examples])
    pitches = [notes[notes[:, KIND] == kind, PITCH] for kind in range(len(STEM_KINDS))]
    bins = np.arange(21, 109)
    axes.hist(pitches, bins=bins.tolist(), stacked=True, color=_COLOURS, label=STEM_KINDS)
    axes.set_xlabel("MIDI pitch, by stem")
    axes.legend()


def _polyphony(axes: Axes, examples: Sequence[Example]) -> None:
    held = np.concatenate([polyphony(example) for example in examples])
    axes.bar(np.arange(13), np.bincount(np.minimum(held, 12), minlength=13) / len(held))
    axes.set_xlabel("notes held at once (12: or more), share of time")


def _counts(axes: Axes, name: str, counts: Counter[str]) -> None:
    ordered = sorted(counts.items(), key=lambda item: item[1])
    axes.barh([label for label, _ in ordered], [count for _, count in ordered])
    axes.set_xlabel(f"excerpts by {name}")


def _histogram(axes: Axes, name: str, values: Sequence[float]) -> None:
    axes.hist(values, bins=30)
    axes.set_xlabel(name)
