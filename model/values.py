"""What the door takes: conditions and plans in the model's own numbers.

Positions are model samples from the anchor. Knows no vocabulary but its own
tables' row numbers.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from jaxtyping import Float32, Int64

from model.errors import ConditionError

Mono = Float32[np.ndarray, " samples"]
Notes = Int64[np.ndarray, "notes fields"]

TARGETS = ("mix", "drums", "bass", "vocals", "other")
"""Row order of the target and stem tables."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StemAudio:
    """A stem that the result must fit; `kind` indexes `TARGETS`."""

    kind: int
    start_sample: int
    samples: Mono


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """All that is known of a timeline besides its audio.

    `notes` has the fields of `model.conditioning.roll.NOTE_FIELDS`; silence
    means silence within `notes_span` alone, None where no notes were given, and
    within `composed_span`, where the model wrote them itself.
    """

    artist: int = 0
    genre: int = 0
    target: int = 0
    total_samples: int = 0
    offset_samples: int = 0
    notes: Notes
    notes_span: tuple[int, int] | None = None
    composed_span: tuple[int, int] | None = None
    stems: tuple[StemAudio, ...] = ()

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
    top_p: float = 1.0
    top_k: int = 0
    passes: int = 0

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
