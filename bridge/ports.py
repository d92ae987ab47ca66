"""What the engine needs from a model: values and protocols, no implementation.

Every position is an integer sample. In a request it counts on the session's
timeline at the session's rate; at the port it counts model samples from the
anchor, where the code grid starts. Knows numpy and nothing of torch or wires.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from jaxtyping import Float32, Int16

from bridge.model_info import KeptAnswers, ModelInfo

Mono = Float32[np.ndarray, " samples"]
Audio = Float32[np.ndarray, "channels samples"]
Codes = Int16[np.ndarray, " frames"]


class StemKind(StrEnum):
    """What a stem holds, and what a target may be."""

    MIX = "mix"
    DRUMS = "drums"
    BASS = "bass"
    VOCALS = "vocals"
    OTHER = "other"


class Quality(StrEnum):
    """The sampler: published, exact acceleration, or the student alone."""

    FAST = "fast"
    EXACT = "exact"
    TEACHER = "teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note; General MIDI program 0-127, or a drum key."""

    start_sample: int
    end_sample: int
    pitch: int
    velocity: int
    program: int = 0
    is_drum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MidiPart:
    """Notes, and the stretch in which silence means silence; outside it nothing is known."""

    notes: tuple[Note, ...]
    start_sample: int
    end_sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Words of the model's vocabulary; None leaves the choice to the model."""

    artist: str | None = None
    genre: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One part of a blend: whose sound, in which genre, and how much of it."""

    artist: str
    genre: str | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the stretch lies in its song (Jukebox section 4.2): total and offset, in samples."""

    total_samples: int
    offset_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """Audio that the result must fit, starting at `start_sample`."""

    kind: StemKind
    start_sample: int
    samples: Mono


@dataclass(frozen=True, slots=True, kw_only=True)
class PulsePoint:
    """Where a tempo or a meter begins: the beat (in quarter notes) and the bar there.

    Both go on from `sample` as fast as the point says, until the next one; the
    first holds before itself too.
    """

    sample: float
    beat: float
    bar: float
    samples_per_beat: float
    beats_per_bar: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suffix:
    """What follows the result from `start_sample` on."""

    start_sample: int
    samples: Mono


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A marked stretch of the form; equal names sound alike.

    `similarity`, 0 to 1, is the share of the first stretch of its name that comes back.
    """

    name: str
    start_sample: int
    end_sample: int
    similarity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """All that steers a result besides the prime; what a model cannot use it refuses by name."""

    labels: Labels = field(default_factory=Labels)
    timing: Timing | None = None
    midi: MidiPart | None = None
    stems: tuple[Stem, ...] = ()
    target: StemKind = StemKind.MIX
    suffix: Suffix | None = None
    pulse: tuple[PulsePoint, ...] = ()
    """The tempo map, if one is known: what composed notes keep to. A model that composes none
    has no use for it and need not refuse it."""
    energy_per_bar: tuple[float, ...] = ()
    """0 asks for 12 dB softer than the music before, 0.5 for as loud, 1 for 12 dB louder."""
    density_per_bar: tuple[float, ...] = ()
    """8 d squared onsets a quarter note: 0.5 is 2, 1 is 8."""
    curves_sample: int | None = None
    """A sample of the first bar of both curves; None: of the pulse's first point."""
    sections: tuple[Section, ...] = ()
    lyrics: str | None = None
    blend: tuple[Voice, ...] = ()
    """Instead of one artist and genre: the weighted sum of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelCodes:
    """The codes of one level from the anchor on; level 0 is the finest."""

    level: int
    codes: Codes


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPlan:
    """How one level is drawn; None leaves it to the plan, or to the model."""

    level: int
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    hop_fraction: float | None = None
    """How far apart windows start, relative to the level's context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """From a model sample on, counted from the anchor, chunks are given so many passes."""

    from_sample: int
    passes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to sample; with the conditions and the prime it fixes every byte of the result."""

    seed: int
    quality: Quality = Quality.FAST
    variation: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    guidance: float = 1.0
    passes: int = 0
    """Refinement passes per chunk of the student; 0 means the model's default."""
    finest_level: int = 0
    """The level to go down to; a coarser one is heard sooner, and duller."""
    levels: tuple[LevelPlan, ...] = ()
    """What differs by level, each level at most once."""
    reprise: bool = True
    """Whether a continuation without notes may be put together from the prime's own sound."""
    changes: tuple[PlanChange, ...] = ()
    """Where other passes hold, in order; how a take was made that had to be there in time."""

    def at(self, sample: int) -> "Plan":
        """Return the plan of the chunk that begins at a model sample, without changes."""
        made = [change.passes for change in self.changes if change.from_sample <= sample]
        return replace(self, passes=made[-1] if made else self.passes, changes=())

    def changed(self, sample: int, passes: int) -> "Plan":
        """Return the plan that gives so many passes from a model sample on."""
        before = tuple(change for change in self.changes if change.from_sample < sample)
        plan = replace(self, changes=before)
        if plan.at(sample).passes == passes:
            return plan
        return replace(plan, changes=(*before, PlanChange(from_sample=sample, passes=passes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedWord:
    """A word of the lyrics and when it is sung; `line` counts the lyrics' lines from 0."""

    text: str
    line: int
    start_sample: int
    end_sample: int
    character_samples: tuple[int, ...] = ()
    """Where each of its characters begins."""


class State(Protocol):
    """A session's past inside the model: opaque, immutable, consumed by each call."""

    @property
    def nbytes(self) -> int:
        """Return the memory held, shared pages counted once per holder."""
        ...

    @property
    def settled_sample(self) -> int:
        """Return the model sample before which codes are final (fed or generated)."""
        ...

    @property
    def decodable_sample(self) -> int:
        """Return the model sample before which `decode` may be asked."""
        ...

    def fork(self) -> Self:
        """Return a second state with the same past; pages are shared."""
        ...

    def to_bytes(self) -> bytes:
        """Return the state as bytes that `Generator.restore` takes."""
        ...


S = TypeVar("S", bound=State)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult(Generic[S]):
    """One state after one step, and what the step was."""

    state: S
    phase: str
    """`top`, `level1`, `level0`: which stage of the cascade worked."""
    left: int | None = None
    """How many steps are still to come, where the model knows."""
    between_chunks: bool = False
    """Whether the next step begins a chunk, to which other passes may be given."""


class Generator(Protocol[S]):
    """The one door to a model: chunk by chunk, so that the engine can be fair and can stop."""

    @property
    def info(self) -> ModelInfo:
        """Return what a caller may know of the model."""
        ...

    def open(self, conditions: Conditions, anchor_sample: int, end_sample: int | None) -> S:
        """Return the state of a timeline that has heard nothing; positions count from the anchor.

        Args:
            conditions: On the model's timeline.
            anchor_sample: The session sample on which model sample 0 lies.
            end_sample: The model sample before which all will be decoded: a model that does not
                stream sizes its work by it. None if the timeline has no end yet.

        Raises:
            UnsupportedError: A condition that this model cannot use, by name.
            NotFoundError: A label outside the vocabulary.
        """
        ...

    def begin(self, state: S, plan: Plan, end_sample: int) -> S:
        """Return the opened, adopted or restored state, ready to be stepped to an end by a plan.

        What the prime is, is still to come; everything else that can be refused is
        refused here, before a step is taken.

        Raises:
            InvalidRequestError: A length, a place or a number that the model cannot have.
            UnsupportedError: A condition or a way to sample that it has not, by name.
            NotFoundError: A label outside the vocabulary.
        """
        ...

    def feed(self, state: S, audio: Mono) -> S:
        """Return the state after hearing more of the prime, encoded and prefilled."""
        ...

    def steer(self, state: S, conditions: Conditions) -> S:
        """Return the state that goes on under other conditions; what it has heard stays heard.

        Asked before a state generates, of models that stream only. Where the conditions
        differ after the last sample fed alone, it is the state of who knew them all along.

        Raises:
            UnsupportedError: A condition that this model cannot use, by name.
            NotFoundError: A label outside the vocabulary.
        """
        ...

    def step(self, states: Sequence[S], plan: Plan) -> list[StepResult[S]]:
        """Return the states one step further: one chunk, level and pass.

        The plan is the one that holds there, without `changes`.

        The first step of a state drops the last incomplete frame of what was
        fed; generation starts at that frame's boundary, `settled_sample`.
        """
        ...

    def steps_per_second(self, plan: Plan) -> float:
        """Return how many steps one second of audio takes, for progress."""
        ...

    def decode(self, state: S, block: int) -> Mono:
        """Return model samples [block, block + 1) * block_samples, decoded from codes.

        Raises:
            ValueError: The block ends after `decodable_sample`.
        """
        ...

    def fidelity(self, audio: Mono) -> float:
        """Return how well the codec reproduces this audio, 0 (not at all) to 1 (same spectrum)."""
        ...

    def kept_answers(self) -> Mapping[str, KeptAnswers]:
        """Return what the model keeps of its networks' answers, by kind; any thread may ask."""
        ...

    def restore(self, data: bytes) -> S:
        """Return the state that `to_bytes` gave."""
        ...

    def rewind(self, state: S, sample: int) -> S:
        """Return the state as it was when its codes ended at the last frame before `sample`.

        Codes before it are kept and nothing is encoded; with the plan that made
        the rest, `step` makes the same rest again where `sample` ends a chunk.
        Asked of models that support `rewind` only.

        Raises:
            ValueError: The sample is not one that the state has settled.
        """
        ...

    def adopt(self, state: S, codes: Sequence[LevelCodes], finest_level: int) -> S:
        """Return the opened state with codes that were made elsewhere, to be upsampled by `step`.

        Asked of models that support `source:codes` only.

        Raises:
            UnsupportedError: Levels that this model cannot begin with or go down to.
        """
        ...

    def codes(self, state: S) -> tuple[LevelCodes, ...]:
        """Return the codes that are final, coarsest level first."""
        ...

    def words(self, state: S) -> tuple[TimedWord, ...]:
        """Return when each word of the lyrics is sung, in model samples; none if nobody knows."""
        ...

    def warm_up(self) -> None:
        """Run every path once, so that the first request is no slower than the tenth."""
        ...
