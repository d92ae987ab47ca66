"""What was measured, a line a clip and candidate: a file that grows, read again on resume."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

MEASURE: Final = 3
"""Changes whenever a figure does: older records are then no answer."""

Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The figures of one candidate on one clip.

    Attributes:
        clip: The clip's name.
        work: What it is of.
        kind: `rendered`, `recording`, `loop`, or `part`.
        candidate: Whose audio.
        model: Fingerprint, empty where no model has a part.
        plan: How it was sampled, empty where nothing was.
        seconds: How much of the result was heard.
        figures: By name; None where there is nothing to measure.
        vectors: One embedding for every 2 s.
        measure: Which figures these are; others are not read.
    """

    clip: str
    work: str
    kind: str
    candidate: str
    model: str
    plan: str
    seconds: float
    figures: Figures
    vectors: tuple[tuple[float, ...], ...] = field(default=())
    measure: int = MEASURE

    @property
    def key(self) -> tuple[str, str, str, str, float]:
        """Return what the record is the answer to."""
        return (self.clip, self.candidate, self.model, self.plan, self.seconds)


class Records:
    """All records of a file; what is added is there after a crash."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a line cut short by a crash is dropped."""
        self._path = path
        self._records = {record.key: record for record in _read(path)}

    def __iter__(self) -> Iterator[Record]:
        """Yield the records, oldest first."""
        return iter(self._records.values())

    def has(self, key: tuple[str, str, str, str, float]) -> bool:
        """Return whether a candidate was measured on a clip already."""
        return key in self._records

    def add(self, records: list[Record]) -> None:
        """Keep the records of a candidate, all or none."""
        text = "".join(json.dumps(asdict(record)) + "\n" for record in records)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)
        self._records |= {record.key: record for record in records}


def _read(path: Path) -> Iterator[Record]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if row.get("measure") != MEASURE:
            continue
        vectors = tuple(tuple(vector) for vector in row.pop("vectors"))
        yield Record(**row, vectors=vectors)
