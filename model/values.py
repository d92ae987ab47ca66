"""What the door takes: conditions and plans in the model's own numbers.

Positions are model samples from the anchor. Knows no vocabulary but its own
tables' row numbers.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from jaxtyping import Float32, Float64, Int64

from model.errors import ConditionError

Mono = Float32[np.ndarray, " samples"]
Notes = Int64[np.ndarray, "notes fields"]

TARGETS = ("mix", "drums", "bass", "vocals", "other")
"""Row order of the target and stem tables."""
MIX = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StemAudio:
    """A stem that the result must fit; `kind` indexes `TARGETS`."""

    kind: int
    start_sample: int
    samples: Mono


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pulse:
    """Where beats and bars lie: lines through knots, the first and last going on for ever.

    A row of `knots` is a sample, its beat (in quarter notes) and bar, and from there on
    samples a beat and beats a bar.
    """

    knots: Float64[np.ndarray, "knots 5"]

    def places(self, samples: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Return the knot that holds at each sample."""
        return np.maximum(np.searchsorted(self.knots[:, 0], samples, side="right") - 1, 0)

    def beats(self, samples: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Return the beat at each sample, and the part of it that has passed."""
        knots = self.knots[self.places(samples)]
        return knots[:, 1] + (samples - knots[:, 0]) / knots[:, 3]

    def bars(self, samples: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Return the bar at each sample, and the part of it that has passed."""
        knots = self.knots[self.places(samples)]
        return knots[:, 2] + (samples - knots[:, 0]) / (knots[:, 3] * knots[:, 4])

    def samples(self, beats: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Return the place of each beat, in samples."""
        found = np.searchsorted(self.knots[:, 1], beats, side="right") - 1
        knots = self.knots[np.maximum(found, 0)]
        return knots[:, 0] + (beats - knots[:, 1]) * knots[:, 3]


def steady_pulse(samples_a_beat: float, beats_a_bar: float) -> Pulse:
    """Return one tempo and meter; beat 0 and bar 0 begin at sample 0."""
    return Pulse(knots=np.array([[0.0, 0.0, 0.0, samples_a_beat, beats_a_bar]]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SuffixAudio:
    """What follows the result from `start_sample` on."""

    start_sample: int
    samples: Mono


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """A stretch that shall be like an earlier one, which began at `source_sample`.

    `similarity` is the share of it that comes back, 0 to 1.
    """

    start_sample: int
    end_sample: int
    source_sample: int
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """All that is known of a timeline besides its audio.

    `notes` has the fields of `model.conditioning.roll.NOTE_FIELDS`; silence
    means silence within `notes_span` alone, None where no notes were given, and
    within `composed_span`, where the model wrote them itself. What follows `stems`
    steers composed notes alone: `energy` has a value a bar in decibels relative to
    the prime, `density` in onsets a quarter note, both from `curves_sample` on.
    """

    artist: int = 0
    genre: int = 0
    target: int = MIX
    total_samples: int = 0
    offset_samples: int = 0
    notes: Notes
    notes_span: tuple[int, int] | None = None
    composed_span: tuple[int, int] | None = None
    stems: tuple[StemAudio, ...] = ()
    pulse: Pulse | None = None
    curves_sample: int = 0
    energy: tuple[float, ...] = ()
    density: tuple[float, ...] = ()
    suffix: SuffixAudio | None = None
    echoes: tuple[Echo, ...] = ()

    def may_recur(self) -> bool:
        """Return whether a recording may go on by itself: a mix, or a part beside its stems."""
        return self.target == MIX or bool(self.stems)

    def spans(self) -> tuple[tuple[int, int], ...]:
        """Return the stretches whose notes are all known, given ones first."""
        both = (self.notes_span, self.composed_span)
        return tuple(span for span in both if span is not None)


def nothing_known() -> Known:
    """Return the conditions of a request without any."""
    return Known(notes=np.zeros((0, 6), np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan:
    """How to draw; `passes` 0 is the student's default, `top_k` 0 and `top_p` 1 keep all.

    `exact` is the teacher's distribution several frames at a time: only with `teacher`.
    """

    seed: int
    teacher: bool = False
    exact: bool = False
    variation: int = 0
    temperature: float = 1.0
    guidance: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    passes: int = 0
    reprise: bool = True
    """Whether a continuation without notes may be put together from what was heard."""

    def __post_init__(self) -> None:
        """Refuse numbers that no draw can be made with; `model.noise` knows its own limits.

        Raises:
            ConditionError: One is out of range.
        """
        if not 0 < self.temperature < inf:
            raise ConditionError(f"the temperature is {self.temperature:g}, it must be above 0")
        if not 0 < self.top_p <= 1:
            raise ConditionError(f"top_p is {self.top_p:g}, it must be above 0 and at most 1")
        if self.exact and not self.teacher:
            raise ConditionError("exact draws what the teacher would: it needs `teacher` too")
        for name, value in (("top_k", self.top_k), ("passes", self.passes)):
            if value < 0:
                raise ConditionError(f"{name} is {value}, the least is 0")
