"""From model samples to result samples and back: where everything lies, and the last assembly.

Pure: the same request and the same decoded blocks give the same bytes. Knows
neither threads nor the loop nor how audio is decoded.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs]

from bridge.errors import InvalidRequestError
from bridge.ports import Audio, Conditions, MidiPart, ModelInfo, Mono, Note, Section, Stem, Timing
from bridge.request import ContinueRequest

LEAD_SECONDS = 0.5
"""Decoded audio before the splice, heard against the recording to match the level."""
EDGE_SAMPLES = 2048
"""Model samples beyond a stretch that a resampler needs to be exact within it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a request lies on the session's timeline and on the model's."""

    session_rate: int
    model_rate: int
    block_samples: int
    anchor_sample: int
    splice_sample: int
    num_samples: int

    @property
    def ratio(self) -> Fraction:
        """Return model samples per session sample."""
        return Fraction(self.model_rate, self.session_rate)

    @property
    def end_sample(self) -> int:
        """Return the session sample after the last one of the result."""
        return self.splice_sample + self.num_samples

    @property
    def lead_sample(self) -> int:
        """Return the session sample from which decoded audio is wanted."""
        lead = round(LEAD_SECONDS * self.session_rate)
        return max(self.anchor_sample, self.splice_sample - lead)

    @property
    def fed_samples(self) -> int:
        """Return how many model samples lie from the anchor to the splice."""
        return math.ceil(self.model_position(self.splice_sample))

    @property
    def first_block(self) -> int:
        """Return the first canonical block to decode."""
        wanted = math.floor(self.model_position(self.lead_sample)) - self.edge_samples
        return max(0, wanted) // self.block_samples

    @property
    def end_block(self) -> int:
        """Return the canonical block after the last one to decode."""
        wanted = math.ceil(self.model_position(self.end_sample)) + self.edge_samples
        return -(-wanted // self.block_samples)

    @property
    def edge_samples(self) -> int:
        """Return how much the resampler needs on both sides, in model samples."""
        return 0 if self.session_rate == self.model_rate else EDGE_SAMPLES

    def model_position(self, session_sample: int) -> Fraction:
        """Return where on the model's timeline a session sample lies."""
        return (session_sample - self.anchor_sample) * self.ratio

    def nearest_model_sample(self, session_sample: int) -> int:
        """Return the model sample nearest to a session sample, never before the anchor."""
        return max(0, round(self.model_position(session_sample)))


def place(request: ContinueRequest, info: ModelInfo) -> Placement:
    """Return where a request lies.

    Raises:
        InvalidRequestError: The anchor is not inside the prime.
    """
    given = request.anchor_sample
    anchor = choose_anchor(request, info) if given is None else given
    if not request.prime_start_sample <= anchor < request.splice_sample:
        raise InvalidRequestError(
            f"the anchor is at sample {anchor}, it must lie inside the prime: samples "
            f"{request.prime_start_sample} to {request.splice_sample - 1}"
        )
    return Placement(
        session_rate=request.sample_rate,
        model_rate=info.sample_rate,
        block_samples=info.block_samples,
        anchor_sample=anchor,
        splice_sample=request.splice_sample,
        num_samples=request.num_samples,
    )


def choose_anchor(request: ContinueRequest, info: ModelInfo) -> int:
    """Return the anchor that makes the longest useful prime end on a frame boundary.

    What lies after the last whole frame is lost to the model, so the frames are
    counted back from the splice. A prime shorter than a frame keeps its start.
    """
    rate = Fraction(request.sample_rate, info.sample_rate)
    useful = min(info.context_samples, math.floor(request.prime.shape[1] / rate))
    frames = useful // info.frame_samples
    if frames == 0:
        return request.prime_start_sample
    return request.splice_sample - math.ceil(frames * info.frame_samples * rate)


def heard(request: ContinueRequest, placement: Placement) -> Mono:
    """Return what the model hears: the prime's mid from the anchor on, at the model's rate."""
    skipped = placement.anchor_sample - request.prime_start_sample
    mid = request.prime[:, skipped:].mean(axis=0, dtype=np.float32)
    return _to_model_rate(mid, placement)[: placement.fed_samples]


def feed_blocks(audio: Mono, feed_samples: int) -> Iterator[Mono]:
    """Return the audio in canonical blocks; the last one may be shorter."""
    for start in range(0, audio.shape[0], feed_samples):
        yield audio[start : start + feed_samples]


def model_conditions(conditions: Conditions, placement: Placement, prime_start: int) -> Conditions:
    """Return the conditions on the model's timeline; what lies before the anchor is left out."""
    stems = [_stem(stem, placement) for stem in conditions.stems]
    return replace(
        conditions,
        timing=_timing(conditions.timing, placement, prime_start),
        midi=_midi(conditions.midi, placement),
        stems=tuple(stem for stem in stems if stem is not None),
        sections=tuple(_sections(conditions.sections, placement)),
        suffix=None if conditions.suffix is None else _to_model_rate(conditions.suffix, placement),
    )


class Assembly:
    """Decoded blocks in, result samples out, in order and without a gap."""

    def __init__(self, request: ContinueRequest, placement: Placement) -> None:
        self._place = placement
        self._channels = request.prime.shape[0]
        ratio = placement.ratio
        first = placement.first_block * placement.block_samples
        # A whole number of periods after the anchor both timelines have a sample.
        periods = -(-first // ratio.numerator)
        self._skipped = periods * ratio.numerator - first
        self._session_sample = placement.anchor_sample + periods * ratio.denominator
        self._resampler = None
        if ratio != 1:
            self._resampler = soxr.ResampleStream(
                placement.model_rate, placement.session_rate, 1, dtype="float32", quality="VHQ"
            )
        self.gain_db = 0.0

    def push(self, decoded: Mono, last: bool) -> Audio:
        """Return the result samples that one more canonical block makes possible, maybe none."""
        kept = decoded[self._skipped :]
        self._skipped = max(0, self._skipped - decoded.shape[0])
        mono = kept if self._resampler is None else self._resampler.resample_chunk(kept, last=last)
        start = self._session_sample
        self._session_sample += mono.shape[0]
        wanted = mono[max(0, self._place.splice_sample - start) :]
        wanted = wanted[: max(0, self._place.end_sample - max(start, self._place.splice_sample))]
        return np.repeat(wanted[np.newaxis], self._channels, axis=0)


def _to_model_rate(audio: Mono, placement: Placement) -> Mono:
    if placement.ratio == 1:
        return audio
    resampled = soxr.resample(audio, placement.session_rate, placement.model_rate, quality="VHQ")
    missing = math.ceil(audio.shape[0] * placement.ratio) - resampled.shape[0]
    return np.pad(resampled, (0, max(0, missing)))


def _timing(timing: Timing | None, placement: Placement, prime_start: int) -> Timing | None:
    if timing is None:
        return None
    offset = timing.offset_samples + placement.anchor_sample - prime_start
    return Timing(
        total_samples=round(timing.total_samples * placement.ratio),
        offset_samples=round(offset * placement.ratio),
    )


def _midi(midi: MidiPart | None, placement: Placement) -> MidiPart | None:
    if midi is None:
        return None
    notes = (_note(note, placement) for note in midi.notes)
    return MidiPart(
        notes=tuple(note for note in notes if note.end_sample > note.start_sample),
        start_sample=placement.nearest_model_sample(midi.start_sample),
        end_sample=placement.nearest_model_sample(midi.end_sample),
    )


def _note(note: Note, placement: Placement) -> Note:
    return replace(
        note,
        start_sample=placement.nearest_model_sample(note.start_sample),
        end_sample=placement.nearest_model_sample(note.end_sample),
    )


def _stem(stem: Stem, placement: Placement) -> Stem | None:
    """Return the stem from a sample on that both timelines have, at or after the anchor."""
    period = placement.ratio.denominator
    place_after_anchor = stem.start_sample - placement.anchor_sample
    audio = stem.samples[max(0, -place_after_anchor) :]
    if audio.shape[0] == 0:
        return None
    periods, silence = divmod(max(0, place_after_anchor), period)
    padded = np.pad(audio, (silence, 0))
    return Stem(
        kind=stem.kind,
        start_sample=periods * placement.ratio.numerator,
        samples=_to_model_rate(padded, placement),
    )


def _sections(sections: tuple[Section, ...], placement: Placement) -> Iterator[Section]:
    for section in sections:
        start = placement.nearest_model_sample(section.start_sample)
        end = placement.nearest_model_sample(section.end_sample)
        if end > start:
            yield replace(section, start_sample=start, end_sample=end)
