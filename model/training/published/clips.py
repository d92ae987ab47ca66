"""Clips of recordings: where each is cut, read as mono at the model's rate.

The clip of a step and a row depends on the seed and these two numbers alone:
not on how many processes share the rows, nor on what was read before, so that
a training that was stopped goes on with the same music.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import gcd
from typing import Any, Literal, cast

import numpy as np
import soundfile  # pyright: ignore[reportMissingTypeStubs]
import soxr  # pyright: ignore[reportMissingTypeStubs]
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from model.conditioning.roll import ROLL_FRAME_SAMPLES
from model.data.dataset import STEM_KINDS
from model.errors import TrainingError
from model.training.downmix import downmix
from model.training.examples import known_from, roles_of
from model.training.published.recordings import Recording, Source

_soundfile, _soxr = cast(Any, soundfile), cast(Any, soxr)
Channels = Float32[np.ndarray, "channels samples"]
MARGIN_SAMPLES = 512
"""Read beyond a clip's ends where it is resampled: more than the filter reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One stretch of a recording, and how it becomes mono."""

    recording: Recording
    source: Source
    start_samples: int
    """At the model's rate, in the recording."""
    left: float
    """Share of the left channel."""
    target: int = 0
    """What `source` is: 0 the mix, else a stem's number + 1."""
    given: tuple[str, ...] = ()
    """Kinds of stems that are told."""
    told_from_samples: int | None = None
    """Where in the clip notes begin to be told; None: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Audio, and where it comes from."""

    audio: Float[Tensor, "batch samples"]
    clips: tuple[Clip, ...]
    stems: tuple[Mapping[str, Float[Tensor, " samples"]], ...]
    """Of each clip the stems that are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutter:
    """Draws clips; holds no state."""

    recordings: tuple[Recording, ...]
    """All at least a clip long."""
    sample_rate: int
    clip_samples: int
    seed: int
    shift: bool = True
    downmix: Literal["random", "mid"] = "random"
    stem_share: float = 0.0
    plays: bool = False
    """Clips are told notes and stems, and may be of one part alone."""

    def batch(self, step: int, rows: range) -> Batch:
        """Return so many clips of a step.

        Raises:
            TrainingError: A file that cannot be read any more.
        """
        clips = tuple(self.clip(step, row) for row in rows)
        return Batch(
            audio=torch.stack([self._read(clip, clip.source) for clip in clips]),
            clips=clips,
            stems=tuple(
                {kind: self._read(clip, clip.recording.stems[kind]) for kind in clip.given}
                for clip in clips
            ),
        )

    def clip(self, step: int, row: int) -> Clip:
        """Return one row's clip of a step; every stretch of every recording is as likely."""
        numbers = np.random.default_rng((self.seed, step, row))
        starts = [self._starts(recording) for recording in self.recordings]
        ends = list(accumulate(starts))
        place = int(numbers.integers(ends[-1]))
        index = bisect_right(ends, place)
        recording, start = self.recordings[index], place - (ends[index] - starts[index])
        left = float(numbers.random())
        kinds = sorted(recording.stems)
        source = recording.mix
        if numbers.random() < self.stem_share and kinds:
            source = recording.stems[kinds[int(numbers.integers(len(kinds)))]]
        clip = Clip(
            recording=recording,
            source=source,
            start_samples=start if self.shift else start * self.clip_samples,
            left=left if self.downmix == "random" else 0.5,
        )
        return self._cast(clip, numbers) if self.plays else clip

    def _cast(self, clip: Clip, numbers: np.random.Generator) -> Clip:
        """Return a clip with the part it is of, and what is told of the others."""
        stems = clip.recording.stems
        present = [index for index, kind in enumerate(STEM_KINDS) if kind in stems]
        target, given = roles_of(present, numbers)
        groups = -(-self.clip_samples // ROLL_FRAME_SAMPLES)
        first = known_from(groups, numbers)
        return replace(
            clip,
            source=stems[STEM_KINDS[target - 1]] if target else clip.recording.mix,
            target=target,
            given=tuple(STEM_KINDS[index] for index in given),
            told_from_samples=first * ROLL_FRAME_SAMPLES if first < groups else None,
        )

    def _starts(self, recording: Recording) -> int:
        length = recording.mix.samples(self.sample_rate)
        if self.shift:
            return length - self.clip_samples + 1
        return length // self.clip_samples

    def _read(self, clip: Clip, source: Source) -> Float[Tensor, " samples"]:
        samples = read_stretch(source, clip.start_samples, self.clip_samples, self.sample_rate)
        if len(samples) == 1:
            return torch.as_tensor(samples[0])
        return downmix(torch.as_tensor(samples)[None], clip.left)[0]


def read_stretch(source: Source, start_samples: int, samples: int, sample_rate: int) -> Channels:
    """Return a stretch of a file at a rate; start and length are counted at that rate.

    Raises:
        TrainingError: The file cannot be read.
    """
    if source.sample_rate == sample_rate:
        return _raw(source, start_samples, samples)
    # Both rates have a sample at every multiple of this: there the resampled grid begins.
    unit = source.sample_rate // gcd(source.sample_rate, sample_rate)
    ratio = source.sample_rate / sample_rate
    first = max(0, int(start_samples * ratio) - MARGIN_SAMPLES) // unit * unit
    last = min(source.frames, int((start_samples + samples) * ratio) + MARGIN_SAMPLES)
    raw = _raw(source, first, last - first)
    made: np.ndarray = _soxr.resample(raw.T, source.sample_rate, sample_rate, quality="HQ")
    skip = start_samples - first * sample_rate // source.sample_rate
    stretch = np.zeros((source.channels, samples), np.float32)
    part = made[skip : skip + samples].T
    stretch[:, : part.shape[1]] = part
    return stretch


def _raw(source: Source, first: int, frames: int) -> Channels:
    try:
        made: np.ndarray = _soundfile.read(
            str(source.path), frames, first, dtype="float32", always_2d=True
        )[0]
    except (RuntimeError, OSError) as error:
        raise TrainingError(f"{source.path} cannot be read any more: {error}") from error
    if len(made) != frames or not np.isfinite(made).all():
        raise TrainingError(
            f"{source.path} gave {len(made)} samples from {first} on, {frames} finite ones are "
            "needed: it is damaged, or not what it was"
        )
    return np.ascontiguousarray(made.T)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Recordings that can be cut, and why the others cannot."""

    usable: tuple[Recording, ...]
    left_out: tuple[str, ...]


def sort_out(
    recordings: Sequence[Recording],
    sample_rate: int,
    clip_samples: int,
    fault: Callable[[Recording], str | None] = lambda _: None,
) -> Sorted:
    """Return which recordings hold a clip, and the reasons of the others.

    Raises:
        TrainingError: None does.
    """
    usable: list[Recording] = []
    left_out: list[str] = []
    for recording in recordings:
        length = recording.mix.samples(sample_rate)
        why = fault(recording)
        if length < clip_samples:
            why = f"{length / sample_rate:.2f} s long, a clip is {clip_samples / sample_rate:.2f} s"
        if why is None:
            usable.append(recording)
        else:
            left_out.append(f"{recording.mix.path.name}: {why}")
    if not usable:
        raise TrainingError(
            f"none of {len(recordings)} recordings can be used; {'; '.join(left_out[:5])}"
        )
    return Sorted(usable=tuple(usable), left_out=tuple(left_out))
