"""What may be known of a job, whoever asks and wherever it stands: values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bridge.ports import PlanChange


class JobState(StrEnum):
    """Where a job stands, as it is told and as it is kept."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Return whether nothing can follow."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A job: what was asked, and how far it has come.

    `position` counts the jobs that begin before a queued one, from 1 on, and is
    0 otherwise. `eta_seconds` is until the end, from measured speed.
    """

    id: str
    request_id: str
    client_id: str
    state: JobState
    detached: bool
    live: bool
    seed: int
    model: str
    fingerprint: str
    created_s: float
    """Unix time."""
    splice_sample: int
    num_samples: int
    deadline_unix_s: float | None = None
    position: int = 0
    phase: str = ""
    step: int = 0
    total_steps: int = 0
    eta_seconds: float = 0.0
    made_samples: int = 0
    take_id: str = ""
    error_code: str = ""
    error_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a job had come: blocks of the prime fed, and the state after them.

    `changes` are those of the plan that a job which had to be there in time has made so far.
    """

    fed_blocks: int
    state: bytes
    changes: tuple[PlanChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    """What is kept of a job that is over, to tell it again."""

    info: JobInfo
    accepted: Mapping[str, Any] = field(default_factory=dict[str, Any])
    done: Mapping[str, Any] = field(default_factory=dict[str, Any])
