"""The tables of an evaluation, as JSON and as text, and pictures of its worst clips.

Knows records and the folder they lie in; what was measured is not measured again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]

from bridge.audio_file import write_whole
from bridge.evaluation import (
    bars,
    beside,
    candidates,
    codebooks,
    intervals,
    making,
    pictures,
    summary,
)
from bridge.evaluation.bars import Bar
from bridge.evaluation.candidates import Kept
from bridge.evaluation.records import Record, Records
from bridge.evaluation.run import OTHER_SEEDS, PART, PRIME_SECONDS
from bridge.evaluation.summary import Clips
from bridge.ports import Mono, Quality

_DRAWN: Final = (
    candidates.codec_name(0),
    candidates.codec_name(2),
    candidates.FINISHER,
    candidates.made_name(Quality.FAST, candidates.NOTES),
    candidates.made_name(Quality.FAST, candidates.FREE),
)
"""What a picture shows beside the truth."""
_KEPT: Final = {
    "gated": "adherence, gated",
    "ungated": "adherence, ungated",
    "onsets": "adherence, onsets",
    "drums": "adherence, drums",
    "key": "key kept",
    "tempo": "tempo kept",
    "beat": "beat kept",
}
_COLUMN: Final = 17
_FIRST: Final = 24


def tables_of(out: Path, models: Sequence[str]) -> dict[str, Any]:
    """Return all tables of the first model, and of two models their differences too."""
    records = list(Records(out / "records.jsonl"))
    tables = _tables(records, models[0], out)
    if len(models) > 1:
        tables["against"] = models[1]
        pair = (models[0], models[1])
        tables["differences"] = beside.model_tables(records, pair)
        tables["kernel_differences"] = beside.model_kernels(records, pair)
        tables["other"] = _tables(records, models[1], out)
    return tables


def write_tables(out: Path, tables: Mapping[str, Any]) -> None:
    """Write `report.json`, `report.txt` and a picture of each set, replacing those of that name."""
    as_json = json.dumps(tables, indent=1) + "\n"
    write_whole(out / "report.json", (as_json.encode(),), overwrite=True)
    write_whole(out / "report.txt", ((as_text(tables) + "\n").encode(),), overwrite=True)
    for name, rows in tables["sets"].items():
        title = f"{name}, {rows['clips']} clips of {rows['works']} works, model {tables['model']}"
        picture = pictures.overview_picture(title, rows["figures"])
        path = out / f"report-{name.replace(', ', '-').replace(' ', '')}.png"
        write_whole(path, (picture,), overwrite=True)


def write_pictures(out: Path, model: str, number: int) -> list[Path]:
    """Draw the clips whose timbre the fast model misses furthest; return the files."""
    records = [r for r in Records(out / "records.jsonl") if r.model == model]
    free = candidates.made_name(Quality.FAST, candidates.FREE)
    rows = [record for record in records if record.candidate == free]
    rows.sort(key=lambda record: -(record.figures["timbre_of_truth_db"] or 0.0))
    folder = out / "pictures"
    folder.mkdir(exist_ok=True)
    drawn: list[Path] = []
    for clip in list(dict.fromkeys(record.clip for record in rows))[:number]:
        audio = _audio_of(Kept(out / "audio"), model, clip)
        title = f"{clip}: prime, splice, result"
        picture = pictures.clip_picture(title, audio, PRIME_SECONDS)
        path = folder / f"{clip.replace('/', '-')}.png"
        drawn.append(write_whole(path, (picture,), overwrite=True))
    return drawn


def as_text(tables: Mapping[str, Any]) -> str:
    """Return the tables as lines."""
    lines = [f"model {tables['model']}"]
    lines += codebooks.as_lines(tables["codebooks"])
    for name, rows in tables["sets"].items():
        lines += ["", f"== {name}: {rows['clips']} clips of {rows['works']} works", *_text(rows)]
    for length, rows in tables["parts"].items():
        lines += ["", f"== bass made to fit the other stems, {length}", *_figure_lines(rows)]
    if "differences" in tables:
        lines += ["", f"== {tables['model']} minus {tables['against']}"]
        lines += _figure_lines(tables["differences"])
        lines += [
            f"{name}: {beside.kernel_line(distances)}"
            for name, distances in tables["kernel_differences"].items()
        ]
        lines += ["", "== the other", as_text(tables["other"])]
    return "\n".join(lines)


def _tables(records: Sequence[Record], model: str, out: Path) -> dict[str, Any]:
    own = [record for record in records if record.model in ("", model)]
    mixes = [record for record in own if record.kind != PART]
    sets: dict[str, Any] = {}
    for kind, seconds in sorted({(record.kind, record.seconds) for record in mixes}):
        chosen = [r for r in mixes if r.kind == kind and r.seconds == seconds]
        sets[f"{kind}, {seconds:g} s"] = _set_tables(chosen, kind)
    return {
        "model": model,
        "sets": sets,
        "parts": beside.part_tables([record for record in own if record.kind == PART]),
        "codebooks": codebooks.codebook_use(codebooks.counts_path(out, model)),
    }


def _set_tables(records: Sequence[Record], kind: str) -> dict[str, Any]:
    clips = Clips(records)
    free = candidates.made_name(Quality.FAST, candidates.FREE)
    seeds = [making.with_seed(free, seed) for seed in OTHER_SEEDS]
    judged = [name for name in clips.by_name if making.drawn(name) and name not in seeds]
    return {
        "clips": len(clips.by_name.get(candidates.TRUTH, {})),
        "works": len({record.work for record in records}),
        "figures": summary.table(clips),
        "adherence": {name: _adherence(clips, name) for name in clips.by_name},
        "codec": {
            name: {f: intervals.as_row(clips.mean(name, f)) for f in summary.CODEC_FIGURES}
            for level in range(making.LEVELS)
            if (name := candidates.codec_name(level)) in clips.by_name
        },
        "bars": {
            "codec": [_bar_row(bar) for bar in bars.codec_bars(clips, kind)],
            **{name: [_bar_row(bar) for bar in bars.bars(clips, name)] for name in judged},
        },
        "kernel_distances": summary.kernel_distances(records),
        "diversity": intervals.as_row(summary.diversity(records, free, seeds)),
        "teacher": beside.teacher_tables(records),
    }


def _adherence(clips: Clips, name: str) -> dict[str, Any]:
    return {
        "gated": intervals.as_row(summary.adherence(clips, name, gated=True)),
        "ungated": intervals.as_row(summary.adherence(clips, name, gated=False)),
        "onsets": intervals.as_row(summary.onset_adherence(clips, name)),
        "drums": intervals.as_row(summary.drum_adherence(clips, name)),
        "key": intervals.as_row(summary.kept_key(clips, name)),
        "tempo": intervals.as_row(summary.kept_tempo(clips, name)),
        "beat": intervals.as_row(summary.kept_beat(clips, name)),
    }


def _audio_of(kept: Kept, model: str, clip: str) -> dict[str, Mono]:
    """Return prime and result of whatever was made of a clip."""
    found: dict[str, Mono] = {}
    for owner in (candidates.TRUTH, *(f"{model}/{name}" for name in _DRAWN)):
        path = kept.path(owner, clip)
        if path.is_file():
            samples, _ = sf.read(path, dtype="float32")  # pyright: ignore[reportUnknownMemberType]
            found[owner.rpartition("/")[2]] = np.asarray(samples, np.float32)
    return found


def _text(rows: Mapping[str, Any]) -> list[str]:
    lines = _figure_lines(rows["figures"])
    for kind, title in _KEPT.items():
        cells = [_cell(row[kind]) for row in rows["adherence"].values()]
        lines.append("".join([f"{title:{_FIRST}}", *cells]))
    lines += _figure_lines(rows["codec"]) if rows["codec"] else []
    for name, asked in rows["bars"].items():
        lines += [f"{name}: {_bar_text(bar)}" for bar in asked]
    for name, spreads in rows["kernel_distances"].items():
        cells = [
            f"{key} {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            for key, row in spreads.items()
        ]
        lines.append(f"kernel distance of {name}: " + "; ".join(cells))
    if rows["diversity"] is not None:
        lines.append(f"diversity over seeds, 1 as over works: {_cell(rows['diversity']).strip()}")
    for name, pair in rows["teacher"].items():
        lines += ["", f"-- {name}, on the same {pair['clips']} clips"]
        lines += [*_figure_lines(pair["figures"]), beside.kernel_line(pair["kernel"])]
    return lines


def _figure_lines(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = list(table)
    figures = list(dict.fromkeys(figure for rows in table.values() for figure in rows))
    lines = ["".join([" " * _FIRST, *(f"{name[: _COLUMN - 1]:>{_COLUMN}}" for name in names)])]
    for figure in figures:
        cells = [_cell(table[name].get(figure)) for name in names]
        lines.append("".join([f"{figure:{_FIRST}}", *cells]))
    return lines


def _bar_row(bar: Bar) -> dict[str, Any]:
    return {**asdict(bar), "found": intervals.as_row(bar.found), "met": bar.met}


def _bar_text(bar: Mapping[str, Any]) -> str:
    found, side = bar["found"], "at most" if bar["at_most"] else "at least"
    verdict = "holds" if bar["met"] else "MISSED"
    return (
        f"{verdict:6} {bar['name']}: {found['value']:.3f} [{found['low']:.3f}, "
        f"{found['high']:.3f}], {side} {bar['limit']:.3g} "
        f"({found['clips']} clips, {found['works']} works)"
    )


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return f"{'-':>{_COLUMN}}"
    half = (row["high"] - row["low"]) / 2
    return f"{row['value']:>{_COLUMN - 8}.2f} ±{half:<6.2f}"
