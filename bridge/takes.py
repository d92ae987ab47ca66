"""A finished result: what made it, and what it takes to make it again.

Codes plus plan are the take; audio is derived. Knows neither disk nor engine.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bridge.codes_file import CodesFile
from bridge.errors import InvalidRequestError
from bridge.model_info import ModelInfo
from bridge.ports import (
    Conditions,
    LevelCodes,
    LevelPlan,
    Mono,
    Plan,
    PlanChange,
    Quality,
    TimedWord,
)
from bridge.render import Ground, Likeness, Placement, ground_of
from bridge.request import Nothing, Prime, RenderRequest, Source, StoredCodes, TakePoint
from bridge.stereo import StereoImage


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSummary:
    """A request without its audio: lengths, places and hashes."""

    request_id: str
    client_id: str
    sample_rate: int
    num_channels: int
    source: Mapping[str, Any]
    """`kind` is prime, nothing, take or codes; the rest is the source's own, audio by its hash."""
    anchor_sample: int
    splice_sample: int
    num_samples: int
    conditions: Mapping[str, Any]
    """Names and numbers of the conditions; audio by its hash."""
    level_is_known: bool = False
    """Whether the level was measured before the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """A finished result and its provenance.

    Attributes:
        id: Equal for equal requests with equal results.
        request: What was asked, without audio.
        plan: How it was sampled.
        model: Its name.
        fingerprint: Of the model: the same bytes come again within it.
        licence: Of the result.
        parent: The take that it departs from; None if it stands on something else.
        sha256: Of the dry interleaved float32 sample data.
        num_samples: At the request's rate.
        gain_db: Applied in all.
        level_db: The part of the gain that met the recording's level; a take that goes on from
            here takes it over.
        image: The stereo image, taken over likewise.
        codes: `State.to_bytes`: what `Generator.restore` takes.
        words: When each word of the lyrics is sung, in session samples; none if nobody knows.
    """

    id: str
    request: RequestSummary
    plan: Plan
    model: str
    fingerprint: str
    licence: str
    parent: str | None
    sha256: str
    num_samples: int
    gain_db: float
    level_db: float
    image: StereoImage
    codes: bytes
    words: tuple[TimedWord, ...] = ()

    @property
    def seed(self) -> int:
        """Return the seed that makes the take again."""
        return self.plan.seed

    @property
    def start_sample(self) -> int:
        """Return the session sample of the first sample."""
        return self.request.splice_sample

    @property
    def end_sample(self) -> int:
        """Return the session sample after the last."""
        return self.request.splice_sample + self.num_samples

    @property
    def departure_sample(self) -> int | None:
        """Return where the take leaves its parent; None without a parent."""
        return None if self.parent is None else self.request.splice_sample


def summary(request: RenderRequest, placement: Placement, num_channels: int) -> RequestSummary:
    """Return what a take keeps of its request."""
    return RequestSummary(
        request_id=request.request_id,
        client_id=request.client_id,
        sample_rate=request.sample_rate,
        num_channels=num_channels,
        source=described_source(request.source),
        anchor_sample=placement.sample_map.anchor_sample,
        splice_sample=placement.splice_sample,
        num_samples=request.num_samples,
        conditions=described_conditions(request.conditions),
        level_is_known=request.level_db is not None,
    )


def ground_for(source: Source, parent: Take | None) -> Ground:
    """Return where the result of a source begins; `parent` is the take that it names.

    Raises:
        InvalidRequestError: The departure lies outside the take.
    """
    if not isinstance(source, TakePoint):
        return ground_of(source)
    assert parent is not None
    departure = source.departure_sample
    if departure is None:
        return ground_of_take(parent, parent.end_sample)
    if not parent.start_sample <= departure <= parent.end_sample:
        raise InvalidRequestError(
            f"the departure is at sample {departure}, allowed are samples "
            f"{parent.start_sample} to {parent.end_sample} of the take {parent.id}"
        )
    return ground_of_take(parent, departure)


def ground_of_take(take: Take, splice_sample: int) -> Ground:
    """Return where what stands on a take's codes begins."""
    anchor = take.request.anchor_sample
    return Ground(first_sample=anchor, splice_sample=splice_sample, anchor_sample=anchor)


def likeness_of_take(take: Take) -> Likeness:
    """Return the sound that a take has, so that it can be heard again and gone on with."""
    nothing = np.zeros(0, np.float32)
    return Likeness(recorded=nothing, image=take.image, level_db=take.level_db)


def codes_of_take(take: Take, levels: tuple[LevelCodes, ...], info: ModelInfo) -> CodesFile:
    """Return the codes of a take with all that is known of it."""
    asked = take.request
    return CodesFile(
        levels=levels,
        model=take.model,
        fingerprint=take.fingerprint,
        model_rate=info.sample_rate,
        hops=info.hops,
        sample_rate=asked.sample_rate,
        anchor_sample=asked.anchor_sample,
        splice_sample=asked.splice_sample,
        num_samples=take.num_samples,
        licence=take.licence,
        facts={
            "take": take.id,
            "parent": take.parent,
            "seed": take.seed,
            "plan": json.loads(json.dumps(asdict(take.plan))),
            "conditions": dict(asked.conditions),
            "source": dict(asked.source),
        },
    )


def take_id(request: RequestSummary, plan: Plan, fingerprint: str, sha256: str) -> str:
    """Return the name of a take: equal for equal requests with equal results, whoever asks."""
    nameless = replace(request, request_id="", client_id="")
    facts = [asdict(nameless), asdict(plan), fingerprint, sha256]
    return digest(facts)[:20]


def request_digest(request: RenderRequest) -> str:
    """Return a hash of all that decides the result: equal for equal requests, whoever asks."""
    plan = replace(request.plan, seed=0) if request.seed_drawn else request.plan
    facts = {
        "sample_rate": request.sample_rate,
        "source": described_source(request.source),
        "num_samples": request.num_samples,
        "plan": asdict(plan),
        "seed_drawn": request.seed_drawn,
        "conditions": described_conditions(request.conditions),
        "anchor_sample": request.anchor_sample,
        "lead_samples": request.lead_samples,
        "level_db": request.level_db,
        "model": request.model,
        "write_file": request.write_file,
    }
    return digest(facts)


def digest(facts: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """Return the SHA-256 of facts that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


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
    own = ("request", "plan", "image", "words")
    rest = {key: value for key, value in record.items() if key not in own}
    return Take(
        request=RequestSummary(**record["request"]),
        plan=plan_from(record["plan"]),
        image=image_from(record["image"]),
        codes=codes,
        words=words_from(record.get("words", ())),
        **rest,
    )


def plan_from(record: Mapping[str, Any]) -> Plan:
    """Return the plan whose fields JSON held."""
    plan = dict(record)
    plan["quality"] = Quality(plan["quality"])
    plan["levels"] = tuple(LevelPlan(**level) for level in plan.get("levels", ()))
    plan["changes"] = tuple(PlanChange(**change) for change in plan.get("changes", ()))
    return Plan(**plan)


def words_from(records: Sequence[Mapping[str, Any]]) -> tuple[TimedWord, ...]:
    """Return the timed words whose fields JSON held."""
    return tuple(
        TimedWord(
            text=record["text"],
            line=record["line"],
            start_sample=record["start_sample"],
            end_sample=record["end_sample"],
            character_samples=tuple(record["character_samples"]),
        )
        for record in records
    )


def image_from(record: Mapping[str, Any]) -> StereoImage:
    """Return the stereo image whose fields JSON held."""
    image = dict(record)
    for name in ("pans", "widths"):
        image[name] = tuple(image[name])
    return StereoImage(**image)


def described_source(source: Source) -> dict[str, Any]:
    """Return a source by names, numbers and hashes."""
    match source:
        case Prime():
            return {
                "kind": "prime",
                "start_sample": source.start_sample,
                "num_samples": source.samples.shape[1],
                "num_channels": source.samples.shape[0],
                "sha256": hashlib.sha256(source.samples.tobytes()).hexdigest(),
            }
        case Nothing():
            return {"kind": "nothing", **asdict(source)}
        case TakePoint():
            return {"kind": "take", **asdict(source)}
        case StoredCodes():
            levels = [_described_level(level) for level in source.levels]
            return {"kind": "codes", **asdict(replace(source, levels=())), "levels": levels}


def described_conditions(conditions: Conditions) -> dict[str, Any]:
    """Return conditions by names, numbers and hashes."""
    described = asdict(replace(conditions, stems=(), suffix=None))
    described["stems"] = [
        {
            "kind": stem.kind,
            "start_sample": stem.start_sample,
            "num_samples": stem.samples.shape[0],
            "sha256": _sha256(stem.samples),
        }
        for stem in conditions.stems
    ]
    if conditions.suffix is not None:
        described["suffix"] = {
            "start_sample": conditions.suffix.start_sample,
            "num_samples": conditions.suffix.samples.shape[0],
            "sha256": _sha256(conditions.suffix.samples),
        }
    return json.loads(json.dumps(described))


def _described_level(level: LevelCodes) -> dict[str, Any]:
    codes = hashlib.sha256(level.codes.tobytes()).hexdigest()
    return {"level": level.level, "num_frames": level.codes.size, "sha256": codes}


def _sha256(audio: Mono) -> str:
    return hashlib.sha256(audio.tobytes()).hexdigest()
