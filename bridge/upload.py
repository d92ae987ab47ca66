"""A request as it comes in, checked piece by piece, before anything is computed.

All that a header can say is refused before the first audio byte; audio is
counted against what the header claimed, and a block that does not fit ends the
call. Knows messages and values; neither sockets nor the engine.
"""

import uuid
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from bridge.errors import InvalidRequestError, blaming
from bridge.limits import MAX_ID_CHARACTERS, check_position
from bridge.messages import BYTES_PER_VALUE, samples_of, stem_kind_of
from bridge.model_time import mid_of
from bridge.ports import Audio, PulsePoint, Stem, StemKind, Suffix
from bridge.request import (
    MAX_PRIME_SECONDS,
    MAX_RESULT_SECONDS,
    Nothing,
    Prime,
    RenderRequest,
    Source,
    check_format,
)
from bridge.request_messages import (
    Verb,
    conditions_of,
    num_samples_of,
    plan_of,
    tempo_map_of,
)
from bridge.transport import pulse_of
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

    def __init__(
        self, header: bridge_pb2.ContinueHeader, drawn_seed: int, verb: Verb = Verb.CONTINUE
    ) -> None:
        """Check the header.

        Args:
            header: The first message of a call.
            drawn_seed: The seed of a request that brings none.
            verb: What is asked for: whether there must be a prime, and where the result begins.

        Raises:
            InvalidRequestError: A claim or a value outside its limits.
        """
        self._verb = verb
        self._rate = header.format.sample_rate
        self._num_channels = header.format.num_channels
        with blaming("header"):
            with blaming("format"):
                check_format(self._rate, self._num_channels)
            self._splice = self._splice_of(header)
            self._lanes = self._claims_of(header)
            self._check_total()
            self._draft = self._draft_of(header, drawn_seed)
        if SUFFIX in self._lanes:
            self._lanes[SUFFIX].start_sample = self._splice + self._draft.num_samples

    @property
    def request_id(self) -> str:
        """Return the request's name, drawn if the header has none."""
        return self._draft.request_id

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

    def request(self) -> RenderRequest:
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
        conditions = replace(self._draft.conditions, stems=stems, suffix=self._suffix())
        return replace(self._draft, source=self._source(), conditions=conditions)

    def _suffix(self) -> Suffix | None:
        if SUFFIX not in self._lanes:
            return None
        claim = self._lanes[SUFFIX]
        return Suffix(start_sample=claim.start_sample, samples=mid_of(self._audio(claim)))

    def _source(self) -> Source:
        if PRIME not in self._lanes:
            return Nothing(num_channels=self._num_channels, start_sample=self._splice)
        prime = self._lanes[PRIME]
        return Prime(samples=self._audio(prime), start_sample=prime.start_sample)

    @property
    def _sample_bytes(self) -> int:
        return BYTES_PER_VALUE * self._num_channels

    def _audio(self, claim: _Claimed) -> Audio:
        return samples_of(claim.data, self._num_channels)

    def _splice_of(self, header: bridge_pb2.ContinueHeader) -> int:
        """Return where the result begins."""
        match self._verb:
            case Verb.CONTINUE:
                return header.prime_start_sample + header.prime_samples
            case Verb.GENERATE:
                return header.prime_start_sample
            case Verb.RENDER_MIDI:
                if not header.conditions.HasField("midi"):
                    raise InvalidRequestError(
                        "a MIDI part is to be played, none was given", field="conditions.midi"
                    )
                if header.prime_start_sample or header.HasField("anchor_sample"):
                    raise InvalidRequestError(
                        f"the prime starts at sample {header.prime_start_sample} with an anchor "
                        f"at {header.anchor_sample}: here it is heard just before the part, "
                        "so both must stay unset",
                        field="prime_start_sample",
                    )
                return header.conditions.midi.start_sample

    def _claims_of(self, header: bridge_pb2.ContinueHeader) -> dict[Lane, _Claimed]:
        lanes: dict[Lane, _Claimed] = {}
        if self._verb is not Verb.GENERATE:
            start = self._splice - header.prime_samples
            lanes[PRIME] = _Claimed("prime", start, header.prime_samples)
        elif header.prime_samples:
            raise InvalidRequestError(
                f"the header claims {header.prime_samples} samples of prime, here 0 are allowed",
                field="prime_samples",
            )
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
            with blaming("stems" if lane[1] else f"{claim.name}_samples"):
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

    def _draft_of(self, header: bridge_pb2.ContinueHeader, drawn_seed: int) -> RenderRequest:
        """Return the request as if it had no prime: all but audio is checked."""
        for name in ("request_id", "model", "idempotency_key"):
            check_id(name, getattr(header, name))
        if header.HasField("anchor_sample"):
            with blaming("anchor_sample"):
                check_position("code grid", header.anchor_sample)
        with blaming("plan"):
            plan = plan_of(header.plan, drawn_seed)
        with blaming("conditions"):
            conditions = conditions_of(header.conditions)
        with blaming("target"):
            num_samples = self._num_samples_of(header)
            pulse = self._pulse_of(header)
        has_curves = conditions.energy_per_bar or conditions.density_per_bar
        curves_sample = self._splice if has_curves else None
        return RenderRequest(
            request_id=header.request_id or uuid.uuid4().hex,
            sample_rate=self._rate,
            source=Nothing(num_channels=self._num_channels, start_sample=self._splice),
            num_samples=num_samples,
            plan=plan,
            conditions=replace(conditions, pulse=pulse, curves_sample=curves_sample),
            anchor_sample=header.anchor_sample if header.HasField("anchor_sample") else None,
            model=header.model,
            detached=header.detached,
            idempotency_key=header.idempotency_key,
            seed_drawn=not header.plan.HasField("seed"),
            write_file=header.write_file,
        )

    def _pulse_of(self, header: bridge_pb2.ContinueHeader) -> tuple[PulsePoint, ...]:
        changes = header.target.tempo_map
        return pulse_of(tempo_map_of(changes, self._rate)) if changes else ()

    def _num_samples_of(self, header: bridge_pb2.ContinueHeader) -> int:
        if self._verb is Verb.RENDER_MIDI and header.target.WhichOneof("length") is None:
            return header.conditions.midi.end_sample - header.conditions.midi.start_sample
        return num_samples_of(header.target, self._rate, self._splice)

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


def check_id(name: str, text: str) -> None:
    """Refuse a name that is too long.

    Raises:
        InvalidRequestError: More than `MAX_ID_CHARACTERS`.
    """
    if len(text) > MAX_ID_CHARACTERS:
        raise InvalidRequestError(
            f"{name} has {len(text)} characters, the limit is {MAX_ID_CHARACTERS} characters",
            field=name,
        )
