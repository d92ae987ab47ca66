"""Where a result lies, and its last assembly from decoded blocks.

Pure: the same request and the same decoded blocks give the same bytes. Knows
neither threads nor how audio is decoded.
"""

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bridge.errors import InvalidRequestError
from bridge.ports import Audio, ModelInfo, Mono
from bridge.request import ContinueRequest
from bridge.resample import ToSession, model_range
from bridge.splice import FADE_SECONDS, MATCH_SECONDS, amplified, level_gain_db, softened
from bridge.stereo import measured_image, mid_of, start, widened
from bridge.transport import SampleMap


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

    @property
    def decoded_samples(self) -> int:
        """Return the model sample before which all must be decodable."""
        return self.end_block * self.block_samples


def place(request: ContinueRequest, info: ModelInfo) -> Placement:
    """Return where a request lies.

    Raises:
        InvalidRequestError: The anchor is not inside the prime.
    """
    anchor, splice = _anchor(request, info), request.splice_sample
    sample_map = SampleMap(
        anchor_sample=anchor, session_rate=request.sample_rate, model_rate=info.sample_rate
    )
    lead = max(anchor, splice - round(MATCH_SECONDS * request.sample_rate))
    end = splice + request.num_samples
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
    )


def choose_anchor(request: ContinueRequest, info: ModelInfo) -> int:
    """Return the anchor that makes the longest useful prime end on a frame boundary.

    An incomplete last frame is lost to the model, so whole frames are counted
    back from the splice. A prime shorter than a frame keeps its start.
    """
    rate = Fraction(request.sample_rate, info.sample_rate)
    useful = min(info.context_samples, math.floor(request.prime.shape[1] / rate))
    frames = useful // info.frame_samples
    if frames == 0:
        return request.prime_start_sample
    return request.splice_sample - math.ceil(frames * info.frame_samples * rate)


def _anchor(request: ContinueRequest, info: ModelInfo) -> int:
    if request.anchor_sample is None:
        return choose_anchor(request, info)
    if not request.prime_start_sample <= request.anchor_sample < request.splice_sample:
        raise InvalidRequestError(
            f"the anchor is at sample {request.anchor_sample}, it must lie inside the prime: "
            f"samples {request.prime_start_sample} to {request.splice_sample - 1}"
        )
    return request.anchor_sample


class Assembly:
    """Decoded blocks in, result samples out, in order and without a gap.

    Attributes:
        lead_in: The generated side of the crossfade, ending at the splice.
        next_sample: The session sample that the next result block begins with.
    """

    def __init__(self, request: ContinueRequest, placement: Placement) -> None:
        self._place = placement
        self._fade_samples = round(FADE_SECONDS * request.sample_rate)
        lead_samples = placement.splice_sample - placement.lead_sample
        self._recorded = mid_of(request.prime[:, -lead_samples:])
        self._stream = ToSession(placement.sample_map, placement.lead_sample, placement.end_sample)
        self._image = measured_image(request.prime, request.sample_rate)
        self._stereo = start(self._image)
        self._lead: list[Mono] = []
        self._missing_lead = self._recorded.shape[0]
        self._level_db = 0.0
        self._softened_db = 0.0
        self._hash = hashlib.sha256()
        self.lead_in = np.zeros((request.prime.shape[0], 0), np.float32)
        self.next_sample = placement.splice_sample

    @property
    def gain_db(self) -> float:
        """Return the gain that met the prime's level and kept the loudest sample under 1."""
        return self._level_db + self._softened_db

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
        self._level_db = level_gain_db(self._recorded, lead)
        self.lead_in = self._finished(lead)[:, -self._fade_samples :]
        self._lead.clear()

    def _finished(self, mono: Mono) -> Audio:
        """Return the samples levelled, widened and kept under 1; to be called in their order."""
        levelled = amplified(mono, self._level_db)
        wide, self._stereo = widened(self._image, self._stereo, levelled)
        soft, softened_db = softened(wide)
        self._softened_db = min(self._softened_db, softened_db)
        return soft
