"""The model as the engine wants it: our values to the model's numbers, its errors to ours.

The model knows nothing of the bridge and speaks in rows of its own tables;
names become rows here. Torch is imported when a model is loaded, not before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bridge.app.rows import translated_errors
from bridge.errors import InvalidRequestError, NotFoundError, UnsupportedError
from bridge.ports import (
    Conditions,
    KeptAnswers,
    LevelCodes,
    MidiPart,
    ModelInfo,
    Mono,
    Plan,
    PulsePoint,
    Quality,
    Section,
    StemKind,
    StepResult,
    TimedWord,
)
from bridge.ports import Generator as ModelGenerator
from model.conditioning.cues import ENERGY_DB, MOST_ONSETS
from model.conditioning.roll import DRUM_PROGRAM, NOTE_FIELDS
from model.values import (
    TARGETS,
    Echo,
    Known,
    Notes,
    Pulse,
    SamplingPlan,
    StemAudio,
    SuffixAudio,
)

if TYPE_CHECKING:
    from model.generator import StreamingGenerator
    from model.state import TimelineState

Load: TypeAlias = Callable[[], ModelGenerator[Any]]

HALF = "half"
"""Of `model.published.linear.Precision`: as the released files hold their maps."""
UNLABELLED = 0
"""The row of a label that was not given; names follow from row 1 on."""
CONDITIONS = ("timing", "midi", "stems", "suffix", "energy", "density", "sections", "guidance")
SOURCES = ("source:prime", "source:nothing", "source:take", "rewind", "changes")
QUALITIES = (Quality.FAST, Quality.EXACT, Quality.TEACHER)
PHASES = ("level0", "level1", "top")


def shipped_model(folder: Path | None = None, precision: str = HALF) -> Load:
    """Return what loads a folder of weights, or the model in the box.

    Args:
        folder: Of a model that streams, was imported or trained; None: the model in the box.
        precision: What an imported model's maps are held in; the others know one alone.
    """
    return partial(_load_shipped, folder, precision)


def _load_shipped(folder: Path | None, precision: str) -> ModelGenerator[Any]:
    from model.offline_loading import is_offline

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


def known_of(conditions: Conditions, info: ModelInfo) -> Known:
    """Return conditions in the model's own numbers.

    Raises:
        InvalidRequestError: Curves without the bars that they count.
        NotFoundError: A label outside the vocabulary.
        UnsupportedError: A condition that this model cannot use, by name.
    """
    _refuse_unused(conditions, info.name)
    timing, midi, suffix = conditions.timing, conditions.midi, conditions.suffix
    pulse = conditions.pulse
    curves = conditions.curves_sample
    return Known(
        artist=_row_of("artist", conditions.labels.artist, info.artists),
        genre=_row_of("genre", conditions.labels.genre, info.genres),
        target=TARGETS.index(conditions.target),
        total_samples=0 if timing is None else timing.total_samples,
        offset_samples=0 if timing is None else timing.offset_samples,
        notes=notes_of(midi),
        notes_span=None if midi is None else (midi.start_sample, midi.end_sample),
        stems=stems_of(conditions),
        pulse=_pulse_of(pulse) if pulse else None,
        curves_sample=round(pulse[0].sample) if curves is None and pulse else curves or 0,
        energy=tuple(ENERGY_DB * (2 * value - 1) for value in conditions.energy_per_bar),
        density=tuple(MOST_ONSETS * value**2 for value in conditions.density_per_bar),
        suffix=None
        if suffix is None
        else SuffixAudio(start_sample=suffix.start_sample, samples=suffix.samples),
        echoes=echoes_of(conditions.sections),
    )


def echoes_of(sections: Sequence[Section]) -> tuple[Echo, ...]:
    """Return the sections whose name was there before, each with where that one began."""
    first: dict[str, int] = {}
    echoes: list[Echo] = []
    for section in sorted(sections, key=lambda section: section.start_sample):
        source = first.setdefault(section.name, section.start_sample)
        if source < section.start_sample and section.similarity > 0:
            echoes.append(
                Echo(
                    start_sample=section.start_sample,
                    end_sample=section.end_sample,
                    source_sample=source,
                    similarity=section.similarity,
                )
            )
    return tuple(echoes)


def _pulse_of(points: Sequence[PulsePoint]) -> Pulse:
    rows = [
        (point.sample, point.beat, point.bar, point.samples_per_beat, point.beats_per_bar)
        for point in points
    ]
    return Pulse(knots=np.array(rows, np.float64))


def stems_of(conditions: Conditions) -> tuple[StemAudio, ...]:
    """Return given stems in the model's own numbers."""
    return tuple(
        StemAudio(
            kind=TARGETS.index(stem.kind),
            start_sample=stem.start_sample,
            samples=stem.samples,
        )
        for stem in conditions.stems
    )


def sampling_plan_of(plan: Plan) -> SamplingPlan:
    """Return a plan in the model's words.

    Raises:
        UnsupportedError: A quality that this model has not, or guidance with one that it has.
    """
    if plan.quality not in QUALITIES:
        raise UnsupportedError(f"this model has no quality {plan.quality}")
    if plan.guidance != 1.0 and plan.quality is not Quality.FAST:
        raise UnsupportedError(
            f"guidance is {plan.guidance:g}, quality {plan.quality} can do 1 (off) only: it draws "
            "code by code, and each would be computed twice"
        )
    return SamplingPlan(
        seed=plan.seed,
        teacher=plan.quality is not Quality.FAST,
        exact=plan.quality is Quality.EXACT,
        variation=plan.variation,
        temperature=plan.temperature,
        guidance=plan.guidance,
        top_p=plan.top_p,
        top_k=plan.top_k,
        passes=plan.passes,
    )


def _refuse_unused(conditions: Conditions, model: str) -> None:
    if conditions.lyrics is not None:
        raise UnsupportedError(f"the model {model} cannot use: lyrics")
    steering = {
        "suffix": conditions.suffix is not None,
        "energy": bool(conditions.energy_per_bar),
        "density": bool(conditions.density_per_bar),
        "sections": bool(conditions.sections),
    }
    names = [name for name, is_given in steering.items() if is_given]
    if names and (conditions.stems or conditions.target is not StemKind.MIX):
        raise UnsupportedError(
            f"the model {model} composes no notes for a part or beside stems, so it cannot use: "
            f"{', '.join(names)}"
        )
    for name in ("energy", "density"):
        if name in names and not conditions.pulse:
            raise InvalidRequestError(
                f"{name} is given bar by bar, and no tempo map says where bars are: 0 tempo "
                "changes, at least 1 is needed",
                field="target.tempo_map",
            )


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


def _row_of(what: str, name: str | None, words: tuple[str, ...]) -> int:
    if name is None:
        return UNLABELLED
    if name not in words:
        raise NotFoundError(
            f"the {what} {name[:80]!r} is unknown, {len(words)} are known: {', '.join(words)}"
        )
    return UNLABELLED + 1 + words.index(name)


def notes_of(midi: MidiPart | None) -> Notes:
    """Return notes in the model's own numbers; whose part each is stays open."""
    notes = () if midi is None else midi.notes
    rows = [
        (
            note.start_sample,
            note.end_sample,
            note.pitch,
            note.velocity,
            DRUM_PROGRAM if note.is_drum else note.program,
            0,
        )
        for note in notes
    ]
    return np.array(rows, np.int64).reshape(-1, len(NOTE_FIELDS))


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
