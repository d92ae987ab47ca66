"""Models made of models, on a user's recordings: adapted to their sound, or a student distilled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.app.rows import translated_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningOrder:
    """What to learn from, with which model, until when.

    Attributes:
        data: The folder of recordings.
        out: Where the model goes; a training that it holds is gone on with.
        name: What a server calls the result.
        model: The folder of the model to begin with, or of the teacher; None: the one in the box.
        minutes: Of training, all sittings together.
        steps: Of each part at most; None: as many as the time allows.
        seed: With the number of steps it decides the weights.
    """

    data: Path
    out: Path
    name: str
    model: Path | None
    minutes: float
    steps: int | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningFacts:
    """What came of it: steps by part, and figures of what was kept aside, before and after."""

    folder: Path
    steps: Mapping[str, int]
    before: Mapping[str, float]
    after: Mapping[str, float]


def adapt(order: TuningOrder, say: Callable[[str], None], stop: Callable[[], bool]) -> TuningFacts:
    """Adapt a streaming model to recordings; return what came of it.

    Raises:
        InvalidRequestError: Recordings that cannot be used, or a folder that holds something else.
        NotReadyError: A model or a checkpoint that cannot be read.
    """
    from model.store import SHIPPED
    from model.training.adapt import AdaptOrder, adapt_model

    with translated_errors():
        made = adapt_model(
            AdaptOrder(
                data=order.data,
                out=order.out,
                name=order.name,
                base=order.model or SHIPPED,
                minutes=order.minutes,
                steps=order.steps,
                seed=order.seed,
            ),
            say,
            stop,
        )
    return TuningFacts(folder=made.folder, steps=made.steps, before=made.before, after=made.after)


def distil(order: TuningOrder, say: Callable[[str], None], stop: Callable[[], bool]) -> TuningFacts:
    """Distil a student from a model's top prior on recordings; return what came of it.

    Raises:
        InvalidRequestError: Recordings, or a teacher, that cannot be used.
        NotReadyError: A model or a checkpoint that cannot be read.
    """
    from model.store import SHIPPED
    from model.training.distill import DistilOrder
    from model.training.distill import distil as distil_from

    with translated_errors():
        made = distil_from(
            DistilOrder(
                teacher=order.model or SHIPPED,
                data=order.data,
                out=order.out,
                name=order.name,
                minutes=order.minutes,
                steps=order.steps,
                seed=order.seed,
            ),
            say,
            stop,
        )
    return TuningFacts(folder=made.folder, steps=made.steps, before=made.before, after=made.after)
