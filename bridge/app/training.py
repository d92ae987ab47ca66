"""Trainings: what the command line asks for, handed to the model's side."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.app.rows import translated_errors

TRAINED_KINDS = ("codec", "prior", "upsampler")
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOrder:
    """What to train, on what, and until when.

    Attributes:
        kind: One of `TRAINED_KINDS`.
        config: The configuration file.
        data: The folder of recordings.
        out: Where checkpoints and the result go; what is there is gone on with.
        max_minutes: Training time, all sittings together.
        begin_with: The folder of a model whose weights are begun with; None for random ones.
        device: One of `DEVICES`.
        threads: Within an operation; 0 leaves the choice to PyTorch.
    """

    kind: str
    config: Path
    data: Path
    out: Path
    max_minutes: float
    begin_with: Path | None
    device: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFacts:
    """What came of a training.

    Attributes:
        folder: The model's folder, for `base` of the next training and for sampling.
        parts: What it holds, and after how many steps.
    """

    folder: Path
    parts: dict[str, int | None]


def train(
    order: TrainingOrder, say: Callable[[str], None], stop: Callable[[], bool]
) -> TrainedFacts:
    """Train until the time is up or a stop is asked for; return what came of it.

    Raises:
        InvalidRequestError: Configuration, recordings or sizes that do not fit.
        NotReadyError: A model or a checkpoint that cannot be read.
    """
    from model.training.published.run import Order, train_published

    with translated_errors():
        made = train_published(
            Order(
                kind=order.kind,
                config=order.config,
                data=order.data,
                out=order.out,
                max_minutes=order.max_minutes,
                begin_with=order.begin_with,
                device=order.device,
                threads=order.threads,
            ),
            say,
            stop,
        )
    parts = {name: row.get("step") for name, row in made.manifest["parts"].items()}
    return TrainedFacts(folder=made.folder, parts=parts)
