"""Which codes of each level are in use, and how evenly, over minutes of music.

Whole pieces are encoded and nothing is decoded. Counts are written down piece by piece, so that
a run that was stopped goes on.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from bridge.app.codec import CodecTrips
from bridge.audio_file import write_whole
from bridge.evaluation.pieces import Piece
from bridge.spectra import ANALYSIS_RATE

LEAST_MINUTES: Final = 10.0
"""Less music says nothing: what was not played is no code that is not used."""
LEAST_USED_SHARE: Final = 0.8


def counts_path(out: Path, fingerprint: str) -> Path:
    """Return where a model's counts over a set lie."""
    return out / "codes" / f"{fingerprint}.json"


def count_codes(
    codec: CodecTrips,
    pieces: Iterable[Piece],
    path: Path,
    minutes: float,
    tell: Callable[[str], None],
) -> None:
    """Count the codes of pieces until so many minutes, former runs included, are counted."""
    table = _read(path) or {
        "pieces": [],
        "samples": 0,
        "counts": [[0] * size for size in codec.codebook_sizes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    for piece in pieces:
        if table["samples"] >= minutes * 60 * ANALYSIS_RATE:
            return
        if piece.name in table["pieces"]:
            continue
        for level, size in enumerate(codec.codebook_sizes):
            found = np.bincount(codec.codes(level, piece.audio), minlength=size)
            table["counts"][level] = (np.array(table["counts"][level]) + found).tolist()
        table["pieces"].append(piece.name)
        table["samples"] += piece.audio.size
        write_whole(path, (json.dumps(table).encode(),), overwrite=True)
        counted = table["samples"] / ANALYSIS_RATE / 60
        tell(f"codes of {counted:.1f} of {minutes:g} min counted")


def codebook_use(path: Path) -> dict[str, Any]:
    """Return, by level, the share of codes in use, their perplexity and the minutes of music.

    Empty if nothing was counted; a share is met only over enough music.
    """
    table = _read(path)
    if table is None:
        return {}
    minutes = table["samples"] / ANALYSIS_RATE / 60
    found: dict[str, Any] = {}
    for level, row in enumerate(table["counts"]):
        counts = np.array(row, np.float64)
        share = counts[counts > 0] / counts.sum()
        used = float(np.mean(counts > 0))
        found[f"level{level}"] = {
            "used_share": used,
            "met": used > LEAST_USED_SHARE,
            "enough": minutes >= LEAST_MINUTES,
            "perplexity": float(np.exp(-(share * np.log(share)).sum())),
            "minutes": minutes,
        }
    return found


def as_lines(found: dict[str, Any]) -> list[str]:
    """Return what was found as lines."""
    lines: list[str] = []
    for level, row in found.items():
        verdict = "holds" if row["met"] else "MISSED"
        verdict = verdict if row["enough"] else "little"
        lines.append(
            f"{verdict:6} {level}: {row['used_share']:.0%} of the codes in use, more than "
            f"{LEAST_USED_SHARE:.0%} asked over {LEAST_MINUTES:g} min, perplexity "
            f"{row['perplexity']:.0f}, over {row['minutes']:.1f} min"
        )
    return lines


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
