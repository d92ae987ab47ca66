"""Session audio to model audio and back, exact to the sample, whole or in pieces.

`ToModel` hears session audio from the anchor on; `ToSession` takes decoded model
audio and gives a named stretch of the session. Both count: sample k comes out at
its own time, and how the audio was cut on the way in changes no byte. A stream
cannot be copied; whoever forks a session opens a second one, which gives the same
bytes. Equal rates pass untouched. Knows positions and rates, not what is heard.
"""

from math import ceil
from typing import Final

import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs]
from jaxtyping import Float32

from bridge.ports import Audio, Mono
from bridge.transport import SampleMap

QUALITY: Final = "HQ"
REACH_SAMPLES: Final = 128
"""Model samples on each side that a resampled sample hears: the filter of soxr's "HQ" for 44.1 kHz
to higher rates reaches 98 before its response falls under -140 dB."""
_BLOCK_SAMPLES: Final = 1 << 16

_Interleaved = Float32[np.ndarray, "samples channels"]


def to_model(audio: Audio, session_rate: int, model_rate: int) -> Audio:
    """Return the model samples whose time lies within the audio; the first ones coincide.

    Of n session samples they are ceil(n * model_rate / session_rate). Beyond
    the end the audio counts as silent.
    """
    stream = ToModel(session_rate, model_rate, audio.shape[0])
    return np.concatenate([stream.push(audio), stream.finish()], axis=1)


class ToModel:
    """Turns session audio that begins at the anchor into model audio, as it arrives.

    Some 20 ms are held back until `push` or `finish` can complete them.
    """

    def __init__(self, session_rate: int, model_rate: int, num_channels: int = 1) -> None:
        self._map = SampleMap(anchor_sample=0, session_rate=session_rate, model_rate=model_rate)
        self._filter = _Filter(session_rate, model_rate, num_channels)
        self.heard_samples = 0
        """Session samples pushed so far."""
        self.given_samples = 0
        """Model samples given back so far."""

    def push(self, audio: Audio) -> Audio:
        """Return the model samples that became complete.

        Raises:
            ValueError: After `finish`.
        """
        self.heard_samples += audio.shape[1]
        return self._give(self._filter.push(audio))

    def finish(self) -> Audio:
        """Return the rest, up to the last model sample that lies within the audio."""
        missing = self._map.ceil_model(self.heard_samples) - self.given_samples
        return self._give(self._filter.finish(missing))

    def _give(self, audio: Audio) -> Audio:
        self.given_samples += audio.shape[1]
        return audio


class ToSession:
    """Turns decoded model audio into the session samples [start_sample, end_sample).

    The filter starts ahead of the stretch, at a model sample that coincides with
    a session sample, so nothing drifts and nothing is rounded. The bytes depend
    on the map and the stretch alone, not on the blocks. When `end_model_sample`
    is reached the rest comes out at once.

    Raises:
        ValueError: The stretch is empty or begins before the anchor.
    """

    def __init__(self, sample_map: SampleMap, start_sample: int, end_sample: int) -> None:
        first, end = model_range(sample_map, start_sample, end_sample)
        self.first_model_sample = first
        """The first model sample that is heard; earlier ones are skipped."""
        self.end_model_sample = end
        """The model sample after the last that is heard; later ones are skipped."""
        self.next_sample = start_sample
        """The session sample that comes out next."""
        self._end_sample = end_sample
        self._at = first
        self._early = start_sample - sample_map.ceil_session(first)
        self._filter = _Filter(sample_map.model_rate, sample_map.session_rate, 1)

    @property
    def next_model_sample(self) -> int:
        """Return the model sample that is wanted next."""
        return self._at

    @property
    def done(self) -> bool:
        """Return whether the whole stretch has come out."""
        return self.next_sample == self._end_sample

    def push(self, model_sample: int, audio: Mono) -> Mono:
        """Return the session samples that became complete with a block from `model_sample` on.

        Raises:
            ValueError: The block begins after the sample wanted next, so that audio is missing.
        """
        if self.done:
            return audio[:0]
        if model_sample > self._at:
            raise ValueError(f"the block begins at {model_sample}, {self._at} is wanted next")
        wanted = audio[self._at - model_sample : self.end_model_sample - model_sample]
        if not wanted.size:
            return wanted
        self._at += wanted.size
        made = self._filter.push(wanted[None])
        if self._at == self.end_model_sample:
            missing = self._early + self._end_sample - self.next_sample - made.shape[1]
            made = np.concatenate([made, self._filter.finish(missing)], axis=1)
        return self._give(made[0])

    def _give(self, made: Mono) -> Mono:
        given = made[self._early :][: self._end_sample - self.next_sample]
        self._early -= min(self._early, made.size)
        self.next_sample += given.size
        return given


def model_range(sample_map: SampleMap, start_sample: int, end_sample: int) -> tuple[int, int]:
    """Return the model samples [first, end) needed to make session samples [start, end).

    The first coincides with a session sample and leaves the filter its reach,
    as far as there is anything after the anchor.

    Raises:
        ValueError: The stretch is empty or begins before the anchor.
    """
    if not sample_map.anchor_sample <= start_sample < end_sample:
        raise ValueError(
            f"samples {start_sample} to {end_sample} are no stretch after the anchor "
            f"at {sample_map.anchor_sample}"
        )
    if sample_map.ratio == 1:
        return sample_map.floor_model(start_sample), sample_map.floor_model(end_sample)
    period = sample_map.ratio.numerator
    first = max(0, sample_map.floor_model(start_sample) - REACH_SAMPLES)
    return first - first % period, sample_map.ceil_model(end_sample) + REACH_SAMPLES


class _Filter:
    """soxr by channels and samples; gives exactly as many as asked for when it is finished."""

    def __init__(self, from_rate: int, to_rate: int, num_channels: int) -> None:
        self._num_channels = num_channels
        self._open = True
        self._soxr = None
        if from_rate != to_rate:
            self._soxr = soxr.ResampleStream(from_rate, to_rate, num_channels, quality=QUALITY)
        self._flush_samples = ceil(from_rate / to_rate) + 1

    def push(self, audio: Audio) -> Audio:
        if not self._open:
            raise ValueError("the stream is finished")
        if self._soxr is None:
            return audio
        return self._resampled(np.ascontiguousarray(audio.T, dtype=np.float32), last=False)

    def finish(self, num_samples: int) -> Audio:
        self._open = False
        if self._soxr is None:
            return np.zeros((self._num_channels, 0), dtype=np.float32)
        # soxr ends at the nearest sample; one more of silence lets it give the one above.
        silence = np.zeros((self._flush_samples, self._num_channels), dtype=np.float32)
        return self._resampled(silence, last=True)[:, :num_samples]

    def _resampled(self, audio: _Interleaved, *, last: bool) -> Audio:
        assert self._soxr is not None
        starts = range(0, max(1, len(audio)), _BLOCK_SAMPLES)
        made: list[_Interleaved] = [
            self._soxr.resample_chunk(
                audio[start : start + _BLOCK_SAMPLES], last=last and start == starts[-1]
            )
            for start in starts
        ]
        return np.ascontiguousarray(np.concatenate(made).T)
