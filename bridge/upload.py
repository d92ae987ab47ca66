"""A request as it comes in, checked piece by piece, before anything is computed.

All that a header can say is refused before the first audio byte; audio is
counted against what the header claimed, and a block that does not fit ends the
call. Knows messages and values; neither sockets nor the engine.
"""

import uuid
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from bridge.errors import InvalidRequestError, UnsupportedError
from bridge.limits import MAX_ID_CHARACTERS, check_position
from bridge.messages import BYTES_PER_VALUE, samples_of, stem_kind_of
from bridge.model_time import mid_of
from bridge.ports import Audio, Stem, StemKind
from bridge.request import MAX_PRIME_SECONDS, MAX_RESULT_SECONDS, ContinueRequest, check_format
from bridge.request_messages import conditions_of, num_samples_of, plan_of
from protos import bridge_pb2

MAX_BLOCK_BYTES = 1024 * 1024
MAX_UPLOAD_BYTES = 512 * 1024 * 1024

Lane: TypeAlias = tuple[int, StemKind | None]
"""What a block belongs to: its role, and the kind if it is a stem's."""

PRIME: Lane = (bridge_pb2.ROLE_PRIME, None)
SUFFIX: Lane = (bridge_pb2.ROLE_SUFFIX, None)


@dataclass(slots=True)
class _Claimed:
    """A stretch of audio that the header claims, and what has come of it."""

    name: str
    start_sample: int
    num_samples: int
    data: bytearray = field(default_factory=bytearray)


class Upload:
    """One request, from its header to its last block."""

    def __init__(self, header: bridge_pb2.ContinueHeader, drawn_seed: int) -> None:
        """Check the header.

        Args:
            header: The first message of a call.
            drawn_seed: The seed of a request that brings none.

        Raises:
            InvalidRequestError: A claim or a value outside its limits.
        """
        self._rate = header.format.sample_rate
        self._num_channels = header.format.num_channels
        check_format(self._rate, self._num_channels)
        self._lanes = self._claims_of(header)
        self._check_total()
        self._draft = self._draft_of(header, drawn_seed)
        if SUFFIX in self._lanes:
            self._lanes[SUFFIX].start_sample = self._splice + self._draft.num_samples

    @property
    def claimed_bytes(self) -> int:
        """Return how many bytes of audio the header claims."""
        samples = sum(claim.num_samples for claim in self._lanes.values())
        return samples * self._sample_bytes

    def take(self, block: bridge_pb2.AudioBlock) -> None:
        """Add a block of audio.

        Raises:
            InvalidRequestError: Too large, torn, not claimed, not next, or not finite.
        """
        if len(block.samples) > MAX_BLOCK_BYTES:
            raise InvalidRequestError(
                f"an audio block holds {len(block.samples)} bytes, "
                f"the limit is {MAX_BLOCK_BYTES} bytes"
            )
        claim = self._claim_of(block)
        samples = samples_of(block.samples, self._num_channels)
        self._check_place(claim, block.start_sample, samples.shape[1])
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        if bad:
            raise InvalidRequestError(
                f"the {claim.name} block at sample {block.start_sample} holds {bad} samples "
                "that are NaN or infinite, 0 are allowed"
            )
        claim.data += block.samples

    def request(self) -> ContinueRequest:
        """Return the request, once the last block has come.

        Raises:
            InvalidRequestError: Less audio came than the header claimed.
        """
        for claim in self._lanes.values():
            received = len(claim.data) // self._sample_bytes
            if received != claim.num_samples:
                raise InvalidRequestError(
                    f"{received} samples of the {claim.name} came, "
                    f"the header claims {claim.num_samples} samples"
                )
        stems = tuple(
            Stem(kind=kind, start_sample=claim.start_sample, samples=mid_of(self._audio(claim)))
            for (_, kind), claim in self._lanes.items()
            if kind is not None
        )
        suffix = mid_of(self._audio(self._lanes[SUFFIX])) if SUFFIX in self._lanes else None
        conditions = replace(self._draft.conditions, stems=stems, suffix=suffix)
        return replace(self._draft, prime=self._audio(self._lanes[PRIME]), conditions=conditions)

    @property
    def _sample_bytes(self) -> int:
        return BYTES_PER_VALUE * self._num_channels

    @property
    def _splice(self) -> int:
        prime = self._lanes[PRIME]
        return prime.start_sample + prime.num_samples

    def _audio(self, claim: _Claimed) -> Audio:
        return samples_of(claim.data, self._num_channels)

    def _claims_of(self, header: bridge_pb2.ContinueHeader) -> dict[Lane, _Claimed]:
        lanes = {PRIME: _Claimed("prime", header.prime_start_sample, header.prime_samples)}
        for stem in header.stems:
            kind = stem_kind_of(stem.kind)
            lane = (bridge_pb2.ROLE_STEM, kind)
            if lane in lanes:
                raise InvalidRequestError(f"the header claims 2 stems of kind {kind}, 1 is allowed")
            lanes[lane] = _Claimed(f"{kind} stem", stem.start_sample, stem.num_samples)
        if header.suffix_samples:
            lanes[SUFFIX] = _Claimed("suffix", 0, header.suffix_samples)
        for lane, claim in lanes.items():
            check_position(claim.name, claim.start_sample)
            seconds = MAX_PRIME_SECONDS + (0 if lane == PRIME else MAX_RESULT_SECONDS)
            self._check_claim(claim, seconds)
        return lanes

    def _check_claim(self, claim: _Claimed, seconds: int) -> None:
        if claim.num_samples == 0:
            raise InvalidRequestError(f"the {claim.name} is empty: 0 samples, at least 1 is needed")
        limit = seconds * self._rate
        if not 0 < claim.num_samples <= limit:
            raise InvalidRequestError(
                f"the header claims {claim.num_samples} samples of the {claim.name} "
                f"({claim.num_samples * self._sample_bytes} bytes), the limit is {limit} samples "
                f"({seconds} s at {self._rate} Hz)"
            )

    def _check_total(self) -> None:
        if self.claimed_bytes > MAX_UPLOAD_BYTES:
            raise InvalidRequestError(
                f"the header claims {self.claimed_bytes} bytes of audio, "
                f"the limit is {MAX_UPLOAD_BYTES} bytes"
            )

    def _draft_of(self, header: bridge_pb2.ContinueHeader, drawn_seed: int) -> ContinueRequest:
        """Return the request with one sample of silence for a prime: all but audio is checked."""
        for name in ("request_id", "model"):
            _check_id(name, getattr(header, name))
        if header.idempotency_key:
            raise UnsupportedError("idempotency_key is not supported by this version")
        if header.HasField("anchor_sample"):
            check_position("code grid", header.anchor_sample)
        return ContinueRequest(
            request_id=header.request_id or uuid.uuid4().hex,
            sample_rate=self._rate,
            prime=np.zeros((self._num_channels, 1), np.float32),
            num_samples=num_samples_of(header.target, self._rate, self._splice),
            plan=plan_of(header.plan, drawn_seed),
            conditions=conditions_of(header.conditions),
            prime_start_sample=header.prime_start_sample,
            anchor_sample=header.anchor_sample if header.HasField("anchor_sample") else None,
            model=header.model,
            detached=header.detached,
            write_file=header.write_file,
        )

    def _claim_of(self, block: bridge_pb2.AudioBlock) -> _Claimed:
        is_stem = block.role == bridge_pb2.ROLE_STEM
        lane = (int(block.role), stem_kind_of(block.stem) if is_stem else None)
        claim = self._lanes.get(lane)
        if claim is None:
            claimed = ", ".join(claim.name for claim in self._lanes.values())
            stem = f" and stem kind {block.stem}" if is_stem else ""
            raise InvalidRequestError(
                f"an audio block has role {block.role}{stem}, the header claims: {claimed}"
            )
        return claim

    def _check_place(self, claim: _Claimed, start_sample: int, num_samples: int) -> None:
        received = len(claim.data) // self._sample_bytes
        expected = claim.start_sample + received
        if start_sample != expected:
            raise InvalidRequestError(
                f"a block of the {claim.name} starts at sample {start_sample}, "
                f"the next one is due at sample {expected}"
            )
        if received + num_samples > claim.num_samples:
            raise InvalidRequestError(
                f"{received + num_samples} samples of the {claim.name} came, "
                f"the header claims {claim.num_samples} samples"
            )


def _check_id(name: str, text: str) -> None:
    if len(text) > MAX_ID_CHARACTERS:
        raise InvalidRequestError(
            f"{name} has {len(text)} characters, the limit is {MAX_ID_CHARACTERS} characters"
        )
