"""What a client asks for and what comes back, free of any wire.

Positions are int64 samples of the session's timeline at the session's rate.
Checked here once, so that no wire decides what is allowed. Knows neither
engine nor model.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from bridge.errors import InvalidRequestError
from bridge.ports import Audio, Conditions, Plan

SAMPLE_RATES = (44_100, 48_000, 88_200, 96_000)
MAX_CHANNELS = 2
MAX_RESULT_SECONDS = 600
MAX_PRIME_SECONDS = 600
MAX_NOTES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueRequest:
    """A recorded section and how it should go on.

    `num_samples` is the exact length of the result; wires turn bars into it
    through `bridge.transport`. The splice is the end of the prime.

    Raises:
        InvalidRequestError: A value outside its limits; the text holds both and the unit.
    """

    request_id: str
    sample_rate: int
    prime: Audio
    num_samples: int
    plan: Plan
    conditions: Conditions
    prime_start_sample: int = 0
    anchor_sample: int | None = None
    model: str = ""
    detached: bool = False
    idempotency_key: str = ""
    write_file: bool = False

    @property
    def splice_sample(self) -> int:
        """Return the session sample at which the prime ends and the result begins."""
        return self.prime_start_sample + self.prime.shape[1]

    def __post_init__(self) -> None:
        """Refuse what no model could render."""
        check_format(self.sample_rate, self.prime.shape[0])
        seconds = self.prime.shape[1] / self.sample_rate
        _require(self.prime.shape[1] > 0, "the prime is empty: 0 samples, at least 1 is needed")
        _require(
            seconds <= MAX_PRIME_SECONDS,
            f"the prime lasts {seconds:.1f} s, the limit is {MAX_PRIME_SECONDS} s",
        )
        bad = int(np.count_nonzero(~np.isfinite(self.prime)))
        _require(bad == 0, f"the prime holds {bad} samples that are NaN or infinite, 0 are allowed")
        limit = MAX_RESULT_SECONDS * self.sample_rate
        _require(
            0 < self.num_samples <= limit,
            f"the result would have {self.num_samples} samples, allowed are 1 to {limit} samples",
        )


def check_format(sample_rate: int, num_channels: int) -> None:
    """Refuse a rate or a channel count that the engine does not serve.

    Raises:
        InvalidRequestError: Neither 44.1, 48, 88.2 nor 96 kHz, or not mono or stereo.
    """
    rates = ", ".join(str(rate) for rate in SAMPLE_RATES)
    _require(sample_rate in SAMPLE_RATES, f"the rate is {sample_rate} Hz, allowed are {rates} Hz")
    _require(
        1 <= num_channels <= MAX_CHANNELS,
        f"the audio has {num_channels} channels, allowed are 1 to {MAX_CHANNELS} channels",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The request was taken; the seed makes it repeatable."""

    request_id: str
    seed: int
    anchor_sample: int
    splice_sample: int
    expected_samples: int
    codec_fidelity: float
    advice: str
    model: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the work stands; `eta_seconds` comes from measured speed."""

    phase: str
    step: int
    total_steps: int
    eta_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioBlock:
    """Result audio from `start_sample` of the session's timeline on."""

    start_sample: int
    samples: Audio
    underrun: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The take is complete; `sha256` names its dry interleaved float32 sample data."""

    take_id: str
    path: Path | None
    sha256: str
    num_samples: int
    rtf: float
    first_audio_ms: float
    gain_db: float
    licence: str
    lead_in: Audio = field(
        default_factory=lambda: np.zeros((0, 0), np.float32), repr=False, compare=False
    )
    """Generated side of the crossfade that ends at the splice, for `bridge.splice.joined`; it is
    no part of the result."""


RenderEvent: TypeAlias = Accepted | Progress | AudioBlock | Done


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidRequestError(otherwise)
