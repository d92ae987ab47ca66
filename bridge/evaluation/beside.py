"""Two of a kind on the same clips: fast and teacher, a made bass and the true one, two models.

Only clips that both have count, and differences are taken clip by clip, so that what clips
differ in by themselves falls out. Pure: records in, tables out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bridge.evaluation import candidates, distribution, intervals, making, parts, summary
from bridge.evaluation.distribution import Spread
from bridge.evaluation.intervals import Estimate
from bridge.evaluation.records import Record
from bridge.ports import Quality

DIFFERENCE: Final = "difference"
_EVERY: Final = tuple(
    dict.fromkeys((*summary.CODEC_FIGURES, *summary.SHOWN, *parts.FIGURES)),
)

Table = dict[str, Any]
_ByClip = Mapping[tuple[str, float], Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two that are compared: its title and its records, by clip and length."""

    title: str
    records: _ByClip

    def among(self, other: "Side") -> "Side":
        """Return the clips that another has too, in the order of their names."""
        both = sorted(self.records.keys() & other.records.keys())
        return Side(title=self.title, records={key: self.records[key] for key in both})

    def mean(self, figure: str) -> Estimate | None:
        """Return the mean of a figure."""
        return intervals.estimate(_rows(self.records.values(), figure), intervals.mean)


def side(title: str, records: Sequence[Record], name: str, model: str | None = None) -> Side:
    """Return the records of a candidate, of one model alone if one is given."""
    chosen = [
        record
        for record in records
        if record.candidate == name and (model is None or record.model == model)
    ]
    return Side(title=title, records={(record.clip, record.seconds): record for record in chosen})


def figures(first: Side, second: Side, names: Sequence[str]) -> Table:
    """Return the means of both over the clips they share, and of what the first has more."""
    ours, theirs = first.among(second), second.among(first)
    table: Table = {
        each.title: {name: intervals.as_row(each.mean(name)) for name in names}
        for each in (ours, theirs)
    }
    more = {name: intervals.as_row(difference(ours, theirs, name)) for name in names}
    return table | {DIFFERENCE: more}


def difference(first: Side, second: Side, figure: str) -> Estimate | None:
    """Return how much more of a figure the first has, clip by clip; None where no clip has both."""
    rows: list[tuple[str, list[float]]] = []
    for key, record in first.among(second).records.items():
        values = (record, second.records[key])
        more, less = (summary.figure_of(value.figures, figure) for value in values)
        if more is not None and less is not None:
            rows.append((record.work, [more - less]))
    return intervals.estimate(rows, intervals.mean)


def kernel(truth: Side, first: Side, second: Side) -> Table | None:
    """Return the kernel distances of both from the truth over the same clips and halves.

    `overlap` says whether their intervals do. None with fewer than four works.
    """
    sides = first.among(second), second.among(first)
    real = _by_work(truth.among(sides[0]))
    found = distribution.distances(real, {each.title: _by_work(each) for each in sides})
    if not found:
        return None
    spreads = {name: asdict(spread) for name, spread in found.items()}
    return {"spreads": spreads, "overlap": _overlap(found[first.title], found[second.title])}


def teacher_tables(records: Sequence[Record]) -> dict[str, Table]:
    """Return fast beside teacher, told the notes or not, as far as both were made."""
    found: dict[str, Table] = {}
    for known in (candidates.NOTES, candidates.FREE):
        names = [candidates.made_name(q, known) for q in (Quality.FAST, Quality.TEACHER)]
        fast, slow = (side(name, records, name) for name in names)
        both = fast.among(slow)
        if both.records:
            truth = side(candidates.TRUTH, records, candidates.TRUTH)
            found[f"{fast.title} beside {slow.title}"] = {
                "clips": len(both.records),
                "figures": figures(fast, slow, summary.SHOWN),
                "kernel": kernel(truth, fast, slow),
            }
    return found


_OVER: Final = {
    "over truth": making.BASS_TRUTH,
    "over other": making.BASS_OTHER,
    "over last bar": making.BASS_LAST_BAR,
}


def part_tables(records: Sequence[Record]) -> dict[str, Table]:
    """Return, by length, the figures of each bass, and the made one's over the others'."""
    found: dict[str, Table] = {}
    for seconds in sorted({record.seconds for record in records}):
        chosen = [record for record in records if record.seconds == seconds]
        names = dict.fromkeys(record.candidate for record in chosen)
        sides = {name: side(name, chosen, name) for name in names}
        table: Table = {
            name: {f: intervals.as_row(own.mean(f)) for f in parts.FIGURES}
            for name, own in sides.items()
        }
        made = sides.get(making.BASS_FAST)
        for title, name in _OVER.items():
            if made is not None and name in sides:
                table[title] = {
                    f: intervals.as_row(difference(made, sides[name], f)) for f in parts.FIGURES
                }
        found[f"{seconds:g} s"] = table
    return found


def model_tables(records: Sequence[Record], models: tuple[str, str]) -> dict[str, Table]:
    """Return how much more of each figure the first of two models has, by candidate."""
    names = sorted({record.candidate for record in records if record.model in models})
    found: dict[str, Table] = {}
    for name in names:
        first, second = (side(model, records, name, model) for model in models)
        found[name] = {f: intervals.as_row(difference(first, second, f)) for f in _EVERY}
    return found


def model_kernels(records: Sequence[Record], models: tuple[str, str]) -> dict[str, Table]:
    """Return the kernel distances of two models from the truth, by kind, length and candidate."""
    found: dict[str, Table] = {}
    for kind, seconds in sorted({(record.kind, record.seconds) for record in records}):
        chosen = [r for r in records if r.kind == kind and r.seconds == seconds]
        truth = side(candidates.TRUTH, chosen, candidates.TRUTH)
        for name in sorted({record.candidate for record in chosen if record.model in models}):
            distances = kernel(truth, *(side(model, chosen, name, model) for model in models))
            if distances is not None:
                found[f"{kind}, {seconds:g} s, {name}"] = distances
    return found


def kernel_line(found: Mapping[str, Any] | None) -> str:
    """Return the kernel distances of two as a line."""
    if found is None:
        return "kernel distances: too few works"
    cells = [
        f"{name} {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        for name, row in found["spreads"].items()
    ]
    verdict = "overlap" if found["overlap"] else "lie apart"
    return f"kernel distances, intervals {verdict}: " + "; ".join(cells)


def _rows(records: Iterable[Record], figure: str) -> list[tuple[str, list[float]]]:
    return [
        (record.work, [value])
        for record in records
        if (value := summary.figure_of(record.figures, figure)) is not None
    ]


def _by_work(own: Side) -> dict[str, list[tuple[float, ...]]]:
    rows: dict[str, list[tuple[float, ...]]] = {}
    for record in own.records.values():
        if record.vectors:
            rows.setdefault(record.work, []).extend(record.vectors)
    return rows


def _overlap(first: Spread, second: Spread) -> bool:
    return first.low <= second.high and second.low <= first.high
