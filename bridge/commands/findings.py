"""What a check found, whether that will do, and what to do about it; as text and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a finding means: fine, slower or odd, or nothing will work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at, and what to do about it."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def finding(name: str, found: str, *, worst: Verdict | None = None, advice: str = "") -> Finding:
    """Return a finding; without a verdict all is well and there is nothing to advise."""
    if worst is None:
        return Finding(name=name, verdict=Verdict.OK, found=found)
    return Finding(name=name, verdict=worst, found=found, advice=advice)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 if one of the findings stops everything, else 0."""
    return int(any(found.verdict is Verdict.FAIL for found in findings))


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON list."""
    return json.dumps([asdict(found) for found in findings], indent=1)


def as_text(findings: Sequence[Finding]) -> str:
    """Return a table: verdict, name, what was found, and below it what to do."""
    width = max(len(found.name) for found in findings)
    lines: list[str] = []
    for found in findings:
        lines.append(f"{found.verdict:4}  {found.name:{width}}  {found.found}")
        if found.advice:
            lines.append(f"      {'':{width}}  -> {found.advice}")
    return "\n".join(lines)
