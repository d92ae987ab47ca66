"""A finished result: what made it, and what it takes to make it again.

Codes plus plan are the take; audio is derived. Knows neither disk nor engine.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from bridge.ports import Conditions, Plan, Quality
from bridge.request import ContinueRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSummary:
    """A request without its audio: lengths, places and hashes."""

    request_id: str
    idempotency_key: str
    sample_rate: int
    num_channels: int
    prime_start_sample: int
    prime_samples: int
    prime_sha256: str
    anchor_sample: int
    num_samples: int
    conditions: Mapping[str, Any]
    """Names and numbers of the conditions; audio by its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """A finished result and its provenance."""

    id: str
    request: RequestSummary
    plan: Plan
    model: str
    fingerprint: str
    licence: str
    parents: tuple[str, ...]
    sha256: str
    num_samples: int
    gain_db: float
    codes: bytes
    """`State.to_bytes`: what `Generator.restore` takes."""

    @property
    def seed(self) -> int:
        """Return the seed that makes the take again."""
        return self.plan.seed


def summary(request: ContinueRequest, anchor_sample: int) -> RequestSummary:
    """Return what a take keeps of its request."""
    return RequestSummary(
        request_id=request.request_id,
        idempotency_key=request.idempotency_key,
        sample_rate=request.sample_rate,
        num_channels=request.prime.shape[0],
        prime_start_sample=request.prime_start_sample,
        prime_samples=request.prime.shape[1],
        prime_sha256=hashlib.sha256(request.prime.tobytes()).hexdigest(),
        anchor_sample=anchor_sample,
        num_samples=request.num_samples,
        conditions=_describe(request.conditions),
    )


def take_id(request: RequestSummary, plan: Plan, fingerprint: str, sha256: str) -> str:
    """Return the name of a take: equal for equal requests with equal results, whoever asks."""
    nameless = replace(request, request_id="", idempotency_key="")
    facts = [asdict(nameless), asdict(plan), fingerprint, sha256]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]


def to_record(take: Take) -> dict[str, Any]:
    """Return all of a take but its codes, as JSON can hold it."""
    record = asdict(replace(take, codes=b""))
    del record["codes"]
    return record


def from_record(record: Mapping[str, Any], codes: bytes) -> Take:
    """Return the take that `to_record` described.

    Raises:
        TypeError: A key is missing or unknown.
    """
    plan = dict(record["plan"])
    plan["quality"] = Quality(plan["quality"])
    rest = {key: value for key, value in record.items() if key not in ("request", "plan")}
    rest["parents"] = tuple(rest["parents"])
    return Take(request=RequestSummary(**record["request"]), plan=Plan(**plan), codes=codes, **rest)


def _describe(conditions: Conditions) -> dict[str, Any]:
    described = asdict(replace(conditions, stems=(), suffix=None))
    described["stems"] = [
        {
            "kind": stem.kind,
            "start_sample": stem.start_sample,
            "num_samples": stem.samples.shape[0],
            "sha256": hashlib.sha256(stem.samples.tobytes()).hexdigest(),
        }
        for stem in conditions.stems
    ]
    if conditions.suffix is not None:
        described["suffix"] = hashlib.sha256(conditions.suffix.tobytes()).hexdigest()
    return json.loads(json.dumps(described))
