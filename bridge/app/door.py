"""The model as the engine wants it: our values to the model's numbers, its errors to ours.

The model knows nothing of the bridge and speaks in rows of its own tables;
names become rows here. Torch is imported when a model is loaded, not before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bridge.app.numbers import QUALITIES, known_of, sampling_plan_of
from bridge.app.numbers import notes_of as notes_of
from bridge.app.rows import translated_errors
from bridge.errors import UnsupportedError
from bridge.model_info import KeptAnswers, ModelInfo
from bridge.ports import Conditions, LevelCodes, Mono, Plan, StemKind, StepResult, TimedWord
from bridge.ports import Generator as ModelGenerator

if TYPE_CHECKING:
    from model.generator import StreamingGenerator
    from model.state import TimelineState

Load: TypeAlias = Callable[[], ModelGenerator[Any]]

HALF = "half"
"""Of `model.published.linear.Precision`: as the released files hold their maps."""
CONDITIONS = ("timing", "midi", "stems", "suffix", "energy", "density", "sections", "guidance")
SOURCES = ("source:prime", "source:nothing", "source:take", "rewind", "changes")
PHASES = ("level0", "level1", "top")


def shipped_model(folder: Path | None = None, precision: str = HALF) -> Load:
    """Return what loads a folder of weights, or the model in the box.

    Args:
        folder: Of a model that streams, was imported or trained; None: the model in the box.
        precision: What an imported model's maps are held in; the others know one alone.
    """
    return partial(_load_shipped, folder, precision)


def _load_shipped(folder: Path | None, precision: str) -> ModelGenerator[Any]:
    from model.trained import is_offline

    with translated_errors():
        if folder is not None and is_offline(folder):
            from bridge.app.published import load_published

            return TranslatedGenerator(load_published(folder, precision))
        from model.generator import load_generator

        return TranslatedGenerator(ShippedGenerator(load_generator(folder)))


class ShippedGenerator:
    """A streaming model behind the engine's port."""

    def __init__(self, model: "StreamingGenerator") -> None:
        self._model = model
        self._info = _info_of(model)

    @property
    def info(self) -> ModelInfo:
        """Return what a caller may know of the model."""
        return self._info

    def open(
        self, conditions: Conditions, anchor_sample: int, end_sample: int | None
    ) -> "TimelineState":
        """Return the state of a timeline that has heard nothing; its end is of no matter.

        Raises:
            NotFoundError: A label outside the vocabulary.
            UnsupportedError: A condition that this model cannot use, by name.
        """
        del end_sample
        return self._model.open(known_of(conditions, self._info), anchor_sample)

    def begin(self, state: "TimelineState", plan: Plan, end_sample: int) -> "TimelineState":
        """Return the state as it is: it goes on as long as it is stepped.

        Raises:
            UnsupportedError: A way to sample that this model has not.
        """
        del end_sample
        self.steps_per_second(plan)
        return state

    def feed(self, state: "TimelineState", audio: Mono) -> "TimelineState":
        """Return the state after hearing more."""
        return self._model.feed(state, audio)

    def steer(self, state: "TimelineState", conditions: Conditions) -> "TimelineState":
        """Return the state that goes on under other conditions.

        Raises:
            NotFoundError: A label outside the vocabulary.
            UnsupportedError: A condition that this model cannot use, by name.
        """
        return replace(state, known=known_of(conditions, self._info))

    def step(
        self, states: Sequence["TimelineState"], plan: Plan
    ) -> list[StepResult["TimelineState"]]:
        """Return the states one step further."""
        steps = self._model.step(states, sampling_plan_of(plan))
        return [
            StepResult(state=step.state, phase=step.phase, between_chunks=True) for step in steps
        ]

    def steps_per_second(self, plan: Plan) -> float:
        """Return how many steps one second of audio takes."""
        return self._model.steps_per_second(sampling_plan_of(plan))

    def decode(self, state: "TimelineState", block: int) -> Mono:
        """Return one block of model samples."""
        return self._model.decode(state, block)

    def fidelity(self, audio: Mono) -> float:
        """Return how well the codec reproduces this audio."""
        return self._model.fidelity(audio)

    def kept_answers(self) -> dict[str, KeptAnswers]:
        """Return what the model keeps of its networks' answers, by kind."""
        return {kind: KeptAnswers(**asdict(stats)) for kind, stats in self._model.memos().items()}

    def restore(self, data: bytes) -> "TimelineState":
        """Return the state that `to_bytes` gave."""
        return self._model.restore(data)

    def rewind(self, state: "TimelineState", sample: int) -> "TimelineState":
        """Return the state as it was when its codes ended before a sample.

        Raises:
            UnsupportedError: The teacher made it.
        """
        return self._model.rewind(state, sample)

    def adopt(
        self, state: "TimelineState", codes: Sequence[LevelCodes], finest_level: int
    ) -> "TimelineState":
        """Refuse: its levels are made together, never one from another's codes alone."""
        del state, codes, finest_level
        raise UnsupportedError(f"the model {self._info.name} cannot upsample stored codes")

    def codes(self, state: "TimelineState") -> tuple[LevelCodes, ...]:
        """Return the top-level codes, and those below that the teacher made."""
        lower = enumerate(level.codes for level in state.lower)
        below = [LevelCodes(level=level, codes=codes) for level, codes in lower if codes.size]
        return (LevelCodes(level=len(PHASES) - 1, codes=state.codes), *reversed(below))

    def words(self, state: "TimelineState") -> tuple[TimedWord, ...]:
        """Return nothing: this model does not sing."""
        del state
        return ()

    def warm_up(self) -> None:
        """Run every path once."""
        self._model.warm_up()


def _info_of(model: "StreamingGenerator") -> ModelInfo:
    card, grid = model.bundle.card, model.grid
    labels = {"artist": card.artists, "genre": card.genres}
    return ModelInfo(
        name=card.name,
        fingerprint=card.fingerprint,
        sample_rate=model.bundle.config.codec.sample_rate,
        frame_samples=grid.frame_samples,
        block_samples=model.block_samples,
        feed_samples=grid.chunk_samples,
        lookahead_samples=grid.lookahead_samples,
        context_samples=model.context_samples,
        streams=True,
        supports=frozenset(
            {
                *CONDITIONS,
                *SOURCES,
                *(name for name, words in labels.items() if words),
                *(f"target:{kind}" for kind in StemKind),
                *(f"quality:{quality}" for quality in QUALITIES),
            }
        ),
        artists=card.artists,
        genres=card.genres,
        licence=card.licence,
        output_licence=card.output_licence,
        hops=tuple(model.bundle.config.codec.hop(level) for level in range(len(PHASES))),
        keeps_level=True,
        passes=_passes_of(model),
    )


def _passes_of(model: "StreamingGenerator") -> int:
    student = model.bundle.config.student
    return 0 if student is None else student.passes


class TranslatedGenerator:
    """A generator whose errors are ours."""

    def __init__(self, generator: ModelGenerator[Any]) -> None:
        self._generator = generator

    @property
    def info(self) -> ModelInfo:
        """Return what a caller may know of the model."""
        return self._generator.info

    def open(self, conditions: Conditions, anchor_sample: int, end_sample: int | None) -> Any:  # noqa: ANN401 - opaque
        """Return the state of a timeline that has heard nothing."""
        with translated_errors():
            return self._generator.open(conditions, anchor_sample, end_sample)

    def begin(self, state: Any, plan: Plan, end_sample: int) -> Any:  # noqa: ANN401 - opaque
        """Return the state that is ready to be stepped to an end."""
        with translated_errors():
            return self._generator.begin(state, plan, end_sample)

    def feed(self, state: Any, audio: Mono) -> Any:  # noqa: ANN401 - opaque
        """Return the state after hearing more."""
        with translated_errors():
            return self._generator.feed(state, audio)

    def steer(self, state: Any, conditions: Conditions) -> Any:  # noqa: ANN401 - opaque
        """Return the state that goes on under other conditions."""
        with translated_errors():
            return self._generator.steer(state, conditions)

    def step(self, states: Sequence[Any], plan: Plan) -> list[StepResult[Any]]:
        """Return the states one step further."""
        with translated_errors():
            return self._generator.step(states, plan)

    def steps_per_second(self, plan: Plan) -> float:
        """Return how many steps one second of audio takes."""
        with translated_errors():
            return self._generator.steps_per_second(plan)

    def decode(self, state: Any, block: int) -> Mono:  # noqa: ANN401 - opaque
        """Return one block of model samples."""
        with translated_errors():
            return self._generator.decode(state, block)

    def fidelity(self, audio: Mono) -> float:
        """Return how well the codec reproduces this audio."""
        with translated_errors():
            return self._generator.fidelity(audio)

    def kept_answers(self) -> Mapping[str, KeptAnswers]:
        """Return what the model keeps of its networks' answers, by kind."""
        return self._generator.kept_answers()

    def restore(self, data: bytes) -> Any:  # noqa: ANN401 - opaque
        """Return the state that `to_bytes` gave."""
        with translated_errors():
            return self._generator.restore(data)

    def rewind(self, state: Any, sample: int) -> Any:  # noqa: ANN401 - opaque
        """Return the state as it was when its codes ended before a sample."""
        with translated_errors():
            return self._generator.rewind(state, sample)

    def adopt(self, state: Any, codes: Sequence[LevelCodes], finest_level: int) -> Any:  # noqa: ANN401 - opaque
        """Return the opened state with codes that were made elsewhere."""
        with translated_errors():
            return self._generator.adopt(state, codes, finest_level)

    def codes(self, state: Any) -> tuple[LevelCodes, ...]:  # noqa: ANN401 - opaque
        """Return the codes that are final."""
        return self._generator.codes(state)

    def words(self, state: Any) -> tuple[TimedWord, ...]:  # noqa: ANN401 - opaque
        """Return when each word is sung."""
        return self._generator.words(state)

    def warm_up(self) -> None:
        """Run every path once."""
        with translated_errors():
            self._generator.warm_up()
