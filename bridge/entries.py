"""Takes as a list shows them: what was said of each, and which are asked for.

Knows no table of a database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bridge.takes import Take


class Verdict(StrEnum):
    """What a listener thinks of a take."""

    NONE = ""
    KEEP = "keep"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeEntry:
    """A take without its codes, and what was said of it."""

    take: Take
    created_s: float
    """Unix time."""
    verdict: Verdict
    name: str
    used_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeQuery:
    """Which takes to list; what is None is not asked."""

    verdict: Verdict | None = None
    parent: str | None = None
    name: str | None = None
    before_s: float | None = None
    limit: int = 100

    def asked(self) -> Mapping[str, Any]:
        """Return the conditions that a take must meet, each with its value."""
        every = {
            "verdict = ?": self.verdict,
            "parent = ?": self.parent,
            "name = ?": self.name,
            "created_s < ?": self.before_s,
        }
        return {condition: value for condition, value in every.items() if value is not None}
