"""What a client asks for and what comes back, free of any wire.

One value serves all verbs: what differs is the source, the music that a result
stands on. Positions are int64 samples of the session's timeline at the
session's rate. Checked here once, so that no wire decides what is allowed.
Knows neither engine nor model.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from bridge.errors import InvalidRequestError
from bridge.ports import Audio, Conditions, LevelCodes, Plan, TimedWord

SAMPLE_RATES = (44_100, 48_000, 88_200, 96_000)
MAX_CHANNELS = 2
MAX_RESULT_SECONDS = 600
MAX_PRIME_SECONDS = 600
MAX_NOTES = 100_000
MAX_DEADLINE_SECONDS: Final = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prime:
    """Recorded audio that goes on (Continue), or whose timbre plays the notes (RenderMidi)."""

    samples: Audio
    start_sample: int = 0

    @property
    def end_sample(self) -> int:
        """Return the session sample at which the recording ends and the result begins."""
        return self.start_sample + self.samples.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No music at all: the result is made from the conditions alone (Generate)."""

    num_channels: int = 1
    start_sample: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakePoint:
    """A take of ours, left at a sample (Vary), or gone on with as if it had never ended (None).

    Where no sample is named, what the model had made beyond the end, less than
    half a second, is used; so the same plan makes what a longer take would have
    been. Its codes are used as they are: what the model made is never encoded again.
    Rate, channels, anchor, level, stereo image and conditions are the take's own.
    """

    take_id: str
    departure_sample: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCodes:
    """Codes of one or more levels, to be upsampled down to a finer level and decoded (Upsample).

    Attributes:
        levels: Codes by level, coarsest first; level 0 is the finest.
        finest_level: The level to go down to.
        num_channels: Of the result; both channels alike.
        start_sample: Where the first code lies.
    """

    levels: tuple[LevelCodes, ...]
    finest_level: int = 0
    num_channels: int = 1
    start_sample: int = 0


Source: TypeAlias = Prime | Nothing | TakePoint | StoredCodes


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """What a result stands on, how long it is, and how it shall be made.

    `num_samples` is the exact length of the result; wires turn bars into it
    through `bridge.transport`. The splice, where the result begins, is the end
    of the prime, the departure of the take, or where nothing or the codes start.

    Attributes:
        request_id: The caller's name for it; told back in Accepted, need not be unique.
        sample_rate: Of the session, and so of the result.
        source: What the result stands on.
        num_samples: Exact length of the result.
        plan: How to sample.
        conditions: What steers the result besides the source.
        anchor_sample: Where the code grid starts, inside the prime; None lets the engine choose.
        model: Its name; empty is the one loaded.
        client_id: Who asks: between clients the work is shared evenly. Empty: a client of its own.
        live: Goes before what is not live; for those who hear the result while it is made.
        deadline_s: Seconds from the request on after which the result is of no use: what is not
            done by then is cancelled. None: no deadline.
        detached: Goes on when its caller goes away; ends only by itself or by `Engine.cancel`.
        idempotency_key: The same key and the same request name the same job: nothing is computed
            twice. With another request the key is refused. Keys belong to their client.
        seed_drawn: The seed was drawn by the server, not asked for: two requests that differ in it
            alone are the same request.
        write_file: Also write a Broadcast Wave file into the spool.
        due_in_s: Seconds from the request on after which it sounds, sample after sample: live
            blocks that come later are told as underruns. None: once its first block is there.
        heard_sample: Session sample that sounds then; what comes before it is not heard.
            None: the splice.
        keep_up: Give a chunk fewer passes rather than be late; the take's plan tells which.
        lead_samples: So many samples after the source are made and belong to no result, which
            begins after them: for who must begin to compute before the source has ended.
        level_db: The gain that meets the source's level, where it was measured before; None: it is
            measured over the source's end.
        keep_source: Write down what it stands on, so that it can be begun again after a crash; not
            for the phrases of a live loop, whose recording would fill the disk.

    Raises:
        InvalidRequestError: A value outside its limits; the text holds both and the unit.
    """

    request_id: str
    sample_rate: int
    source: Source
    num_samples: int
    plan: Plan
    conditions: Conditions
    anchor_sample: int | None = None
    model: str = ""
    client_id: str = ""
    live: bool = False
    deadline_s: float | None = None
    detached: bool = False
    idempotency_key: str = ""
    seed_drawn: bool = False
    write_file: bool = False
    keep_source: bool = True
    lead_samples: int = 0
    level_db: float | None = None
    due_in_s: float | None = None
    heard_sample: int | None = None
    keep_up: bool = False

    def __post_init__(self) -> None:
        """Refuse what no model could render."""
        check_source(self.source, self.sample_rate)
        if isinstance(self.source, StoredCodes):
            finest, wanted = self.source.finest_level, self.plan.finest_level
            _require(
                wanted in (0, finest),
                f"the plan goes down to level {wanted}, the codes to level {finest}: name one",
            )
        limit = MAX_RESULT_SECONDS * self.sample_rate
        _require(
            0 < self.num_samples <= limit,
            f"the result would have {self.num_samples} samples, allowed are 1 to {limit} samples",
        )
        _require(
            0 <= self.lead_samples <= limit,
            f"the lead has {self.lead_samples} samples, allowed are 0 to {limit} samples",
        )
        _require(
            self.live or not (self.keep_up or self.due_in_s is not None),
            "only a live request has a time at which it sounds, and can keep up with it",
        )
        if self.due_in_s is not None:
            _require(
                0 <= self.due_in_s <= MAX_DEADLINE_SECONDS,
                f"the result sounds in {self.due_in_s:g} s, "
                f"allowed are 0 to {MAX_DEADLINE_SECONDS:g} s",
            )
        if self.deadline_s is not None:
            _require(
                0 < self.deadline_s <= MAX_DEADLINE_SECONDS,
                f"the deadline is {self.deadline_s:g} s away, "
                f"allowed are more than 0 to {MAX_DEADLINE_SECONDS:g} s",
            )


def check_source(source: Source, sample_rate: int) -> None:
    """Refuse a source that no model could stand on.

    Raises:
        InvalidRequestError: A rate, a channel count, a length or a sample outside its limits.
    """
    match source:
        case Prime():
            check_format(sample_rate, source.samples.shape[0])
            _check_prime(source, sample_rate)
        case Nothing():
            check_format(sample_rate, source.num_channels)
        case TakePoint():
            check_format(sample_rate, 1)
            _require(bool(source.take_id), "the take has no name: 0 characters, at least 1 needed")
        case StoredCodes():
            check_format(sample_rate, source.num_channels)
            _check_codes(source)


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
class Queued:
    """The request was taken and waits; told again whenever its place changes.

    `position` counts the jobs before it, from 1 on; `eta_seconds`, until it
    begins, comes from measured speed.
    """

    job_id: str
    request_id: str
    position: int
    eta_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The request has begun; the seed makes it repeatable."""

    request_id: str
    seed: int
    anchor_sample: int
    splice_sample: int
    expected_samples: int
    codec_fidelity: float
    advice: str
    model: str
    fingerprint: str
    job_id: str = ""


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
    """The take is complete and on disk; `sha256` names its dry interleaved float32 sample data."""

    take_id: str
    path: Path | None
    sha256: str
    num_samples: int
    rtf: float
    first_audio_ms: float
    gain_db: float
    licence: str
    words: tuple[TimedWord, ...] = ()
    """When each word of the lyrics is sung, in session samples; none if nobody knows."""
    late_blocks: int = 0
    """Of a live result: blocks that were sent after the time at which they sound."""
    lead_in: Audio = field(
        default_factory=lambda: np.zeros((0, 0), np.float32), repr=False, compare=False
    )
    """Generated side of the crossfade that ends at the splice, for `bridge.splice.joined`; it is
    no part of the result."""


RenderEvent: TypeAlias = Queued | Accepted | Progress | AudioBlock | Done


def _check_prime(prime: Prime, sample_rate: int) -> None:
    num_samples = prime.samples.shape[1]
    seconds = num_samples / sample_rate
    _require(num_samples > 0, "the prime is empty: 0 samples, at least 1 is needed")
    _require(
        seconds <= MAX_PRIME_SECONDS,
        f"the prime lasts {seconds:.1f} s, the limit is {MAX_PRIME_SECONDS} s",
    )
    bad = int(np.count_nonzero(~np.isfinite(prime.samples)))
    _require(bad == 0, f"the prime holds {bad} samples that are NaN or infinite, 0 are allowed")


def _check_codes(codes: StoredCodes) -> None:
    _require(bool(codes.levels), "the codes hold 0 levels, at least 1 is needed")
    for level in codes.levels:
        _require(level.codes.size > 0, f"level {level.level} holds 0 codes, at least 1 is needed")
    finest = min(level.level for level in codes.levels)
    _require(
        0 <= codes.finest_level <= finest,
        f"level {codes.finest_level} is asked for, allowed are 0 to {finest}, the finest given",
    )


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidRequestError(otherwise)
