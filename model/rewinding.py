"""A timeline as it was at an earlier frame: its codes are kept, its memory is built again.

What the sampler remembers is a function of codes and conditions, so it is built
by `FastSampler.remember`, a chunk a step, as it was built the first time. Knows
no sampler.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from model.attending import GROUP_STEPS
from model.conditioning.roll import DRUM_PROGRAM
from model.errors import ConditionError
from model.grains import START
from model.state import TimelineState
from model.values import Known, Notes


def rewound(state: TimelineState, sample: int, step_samples: int) -> TimelineState:
    """Return the state whose codes end at the last frame before a sample, its memory empty.

    Args:
        state: One that a student made.
        sample: Model sample; what was composed from it on is forgotten.
        step_samples: Of one composer's step.

    Raises:
        ConditionError: A teacher made the timeline, whose levels stand at different samples.
        ValueError: The sample is before the first frame's end, or not settled.
    """
    if state.by_teacher:
        raise ConditionError("a timeline that the teacher made cannot be left before its end")
    frames = sample // state.frame_samples
    if not 0 < frames <= len(state.codes):
        raise ValueError(
            f"sample {sample} is not one of the {state.settled_sample} settled samples, "
            f"the first frame ends at sample {state.frame_samples}"
        )
    end = frames * state.frame_samples
    steps = end // step_samples
    # Of a recording that ends earlier now, the last notes are heard anew, as if nobody had yet.
    noted = steps if frames >= state.drawn_from else steps // GROUP_STEPS * GROUP_STEPS
    return replace(
        state,
        known=_known_before(state.known, end, step_samples),
        codes=state.codes[:frames].copy(),
        memory=(),
        remembered_chunks=0,
        composed=None,
        generating=True,
        drawn_from=min(state.drawn_from, frames),
        reprised=state.reprised[state.reprised[:, START] < end],
        beat=state.beat if frames >= state.drawn_from else None,
        spectra=state.spectra[:steps],
        heard=state.heard[:noted],
        weighed=state.weighed[: end // (step_samples * GROUP_STEPS)],
        primed_sample=min(state.primed_sample, end),
    )


def _known_before(known: Known, end: int, step_samples: int) -> Known:
    """Return what is known without what was composed after an end; what was given stays.

    The composer's step under way at the end stays whole, since steps are not torn, and
    so does what was composed ahead of it: to the middle of the step after.
    """
    if known.composed_span is None:
        return known
    first, last = known.composed_span
    kept = min(last, -(-end // step_samples) * step_samples + step_samples // 2)
    if kept <= first:
        return replace(known, notes=_cut(known.notes, first, first), composed_span=None)
    return replace(known, notes=_cut(known.notes, first, kept), composed_span=(first, kept))


def _cut(notes: Notes, composed_from: int, end: int) -> Int64[np.ndarray, "kept fields"]:
    """Return the notes that begin before the composed stretch, or in it before its end.

    What the composer held on over the end stops there; hits are as long as they are.
    """
    starts = notes[:, 0]
    kept = notes[(starts < composed_from) | (starts < end)].copy()
    tones = kept[:, 4] != DRUM_PROGRAM
    kept[tones, 1] = np.minimum(kept[tones, 1], max(end, composed_from))
    return kept
