"""Where a result lies, and its last assembly from decoded blocks.

Pure: the same request and the same decoded blocks give the same bytes. Knows
neither threads nor how audio is decoded.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from bridge.errors import InvalidRequestError
from bridge.model_info import ModelInfo
from bridge.ports import Audio, Mono, TimedWord
from bridge.request import Nothing, Prime, RenderRequest, StoredCodes
from bridge.resample import ToSession, model_range
from bridge.splice import FADE_SECONDS, MATCH_SECONDS, amplified, level_gain_db, softened
from bridge.stereo import StereoImage, measured_image, mid_of, start, widened
from bridge.transport import SampleMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where what a result stands on begins and ends."""

    first_sample: int
    """The earliest session sample of which anything is known; the anchor is not before it."""
    splice_sample: int
    anchor_sample: int | None = None
    """Given for what has a code grid already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """The sound that a result must meet."""

    recorded: Mono
    """The recording's mid before the splice, whose level the result takes; empty if none."""
    image: StereoImage
    level_db: float = 0.0
    """The gain where nothing is recorded: that of the take that goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a request lies on the session's timeline, and which canonical blocks it needs."""

    sample_map: SampleMap
    lead_sample: int
    """From here on decoded audio is wanted: heard against the prime to match the level."""
    splice_sample: int
    end_sample: int
    fed_samples: int
    """Model samples from the anchor to the splice."""
    block_samples: int
    first_block: int
    end_block: int
    """The block after the last one."""
    needed_samples: int
    """The model sample before which audio is wanted, within the last block."""

    @property
    def decoded_samples(self) -> int:
        """Return the model sample before which all must be decodable."""
        return self.end_block * self.block_samples


def ground_of(source: Prime | Nothing | StoredCodes) -> Ground:
    """Return where the result of a source that is no take begins."""
    if isinstance(source, Prime):
        return Ground(first_sample=source.start_sample, splice_sample=source.end_sample)
    start = source.start_sample
    return Ground(first_sample=start, splice_sample=start, anchor_sample=start)


def likeness_of(
    source: Prime | Nothing | StoredCodes,
    sample_rate: int,
    level_db: float | None = None,
    image: StereoImage | None = None,
) -> Likeness:
    """Return the sound that a source asks for; this takes a while.

    Args:
        source: What the result stands on.
        sample_rate: Of the session.
        level_db: The gain that meets the source's level, if it is known.
        image: How the source lies in the stereo field, if it is known.
    """
    nothing = np.zeros(0, np.float32)
    if isinstance(source, Prime):
        tail = mid_of(source.samples)[-_match_samples(sample_rate) :]
        return Likeness(
            recorded=tail if level_db is None else nothing,
            image=image or measured_image(source.samples, sample_rate),
            level_db=level_db or 0.0,
        )
    image = StereoImage(sample_rate=sample_rate, num_channels=source.num_channels)
    return Likeness(recorded=nothing, image=image)


def place(request: RenderRequest, ground: Ground, info: ModelInfo) -> Placement:
    """Return where a request lies.

    Raises:
        InvalidRequestError: The anchor is not inside the prime.
    """
    anchor = _anchor(request, ground, info)
    splice = ground.splice_sample + request.lead_samples
    stretch = splice, splice + request.num_samples
    known = request.level_db is not None
    placement = place_at(anchor, stretch, request.sample_rate, info, level_is_known=known)
    return replace(placement, fed_samples=placement.sample_map.ceil_model(ground.splice_sample))


def place_at(
    anchor_sample: int,
    stretch: tuple[int, int],
    sample_rate: int,
    info: ModelInfo,
    *,
    level_is_known: bool = False,
) -> Placement:
    """Return where a stretch of session samples, from a splice to an end, lies after an anchor.

    Where the level is known, no more than the crossfade is decoded before the splice.
    """
    splice, end = stretch
    sample_map = SampleMap(
        anchor_sample=anchor_sample, session_rate=sample_rate, model_rate=info.sample_rate
    )
    before = round(FADE_SECONDS * sample_rate) if level_is_known else _match_samples(sample_rate)
    lead = max(anchor_sample, splice - before)
    first_model, end_model = model_range(sample_map, lead, end)
    return Placement(
        sample_map=sample_map,
        lead_sample=lead,
        splice_sample=splice,
        end_sample=end,
        fed_samples=sample_map.ceil_model(splice),
        block_samples=info.block_samples,
        first_block=first_model // info.block_samples,
        end_block=-(-end_model // info.block_samples),
        needed_samples=end_model,
    )


def words_on_session(words: Sequence[TimedWord], placement: Placement) -> tuple[TimedWord, ...]:
    """Return those words that are sung within the result, in session samples."""
    to_session = placement.sample_map.ceil_session
    moved = (
        replace(
            word,
            start_sample=to_session(word.start_sample),
            end_sample=min(to_session(word.end_sample), placement.end_sample),
            character_samples=tuple(map(to_session, word.character_samples)),
        )
        for word in words
    )
    begins, ends = placement.splice_sample, placement.end_sample
    return tuple(word for word in moved if begins <= word.start_sample < ends)


def choose_anchor(sample_rate: int, ground: Ground, info: ModelInfo) -> int:
    """Return the anchor that makes the longest useful prime end on a frame boundary.

    An incomplete last frame is lost to the model, so whole frames are counted
    back from the splice. A prime shorter than a frame keeps its start.
    """
    rate = Fraction(sample_rate, info.sample_rate)
    recorded_samples = ground.splice_sample - ground.first_sample
    useful = min(info.context_samples, math.floor(recorded_samples / rate))
    frames = useful // info.frame_samples
    if frames == 0:
        return ground.first_sample
    return ground.splice_sample - math.ceil(frames * info.frame_samples * rate)


def _anchor(request: RenderRequest, ground: Ground, info: ModelInfo) -> int:
    if ground.anchor_sample is not None:
        return _its_own_anchor(request, ground.anchor_sample)
    if request.anchor_sample is None:
        return choose_anchor(request.sample_rate, ground, info)
    if not ground.first_sample <= request.anchor_sample < ground.splice_sample:
        raise InvalidRequestError(
            f"the anchor is at sample {request.anchor_sample}, it must lie inside the prime: "
            f"samples {ground.first_sample} to {ground.splice_sample - 1}"
        )
    return request.anchor_sample


def _its_own_anchor(request: RenderRequest, anchor_sample: int) -> int:
    if request.anchor_sample not in (None, anchor_sample):
        raise InvalidRequestError(
            f"the anchor is at sample {request.anchor_sample}, the code grid of what goes on "
            f"starts at sample {anchor_sample}"
        )
    return anchor_sample


def _match_samples(sample_rate: int) -> int:
    return round(MATCH_SECONDS * sample_rate)


class Assembly:
    """Decoded blocks in, result samples out, in order and without a gap.

    Attributes:
        lead_in: The generated side of the crossfade, ending at the splice.
        level_db: The gain that met the level of what is recorded, once the lead has come.
        next_sample: The session sample that the next result block begins with.
    """

    def __init__(self, likeness: Likeness, placement: Placement) -> None:
        self._place = placement
        self._fade_samples = round(FADE_SECONDS * placement.sample_map.session_rate)
        self._missing_lead = placement.splice_sample - placement.lead_sample
        self._recorded = likeness.recorded[-self._missing_lead :]
        self._stream = ToSession(placement.sample_map, placement.lead_sample, placement.end_sample)
        self._image = likeness.image
        self._stereo = start(self._image)
        self._lead: list[Mono] = []
        self.level_db = likeness.level_db
        self._softened_db = 0.0
        self._hash = hashlib.sha256()
        self.lead_in = np.zeros((likeness.image.num_channels, 0), np.float32)
        self.next_sample = placement.splice_sample

    @property
    def gain_db(self) -> float:
        """Return the gain that met the prime's level and kept the loudest sample under 1."""
        return self.level_db + self._softened_db

    @property
    def sha256(self) -> str:
        """Return the hash of the result so far, as interleaved little-endian float32."""
        return self._hash.hexdigest()

    def push(self, block: int, decoded: Mono) -> Audio:
        """Return the result samples that one more canonical block completes, maybe none."""
        mono = self._stream.push(block * self._place.block_samples, decoded)
        lead, rest = mono[: self._missing_lead], mono[self._missing_lead :]
        if self._missing_lead:
            self._lead.append(lead)
            self._missing_lead -= lead.shape[0]
            if not self._missing_lead:
                self._meet(np.concatenate(self._lead))
        result = self._finished(rest)
        self.next_sample += result.shape[1]
        self._hash.update(np.ascontiguousarray(result.T, dtype="<f4").data)
        return result

    def _meet(self, lead: Mono) -> None:
        if self._recorded.size:
            self.level_db = level_gain_db(self._recorded, lead)
        self.lead_in = self._finished(lead)[:, -self._fade_samples :]
        self._lead.clear()

    def _finished(self, mono: Mono) -> Audio:
        """Return the samples levelled, widened and kept under 1; to be called in their order."""
        levelled = amplified(mono, self.level_db)
        wide, self._stereo = widened(self._image, self._stereo, levelled)
        soft, softened_db = softened(wide)
        self._softened_db = min(self._softened_db, softened_db)
        return soft
