"""A result beside the two toys: figures in one table, as JSON and as lines of text.

What a listener would ask first, in numbers: are the notes there, is it the same
sound, is it more than a loop. Drawing is `report_picture`. Knows no wire and no
model.
"""

import json
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import psutil

from bridge import figures, toys
from bridge.audio_file import write_whole
from bridge.figures import FIGURES, Heard
from bridge.ports import Audio, Note, TimedWord
from bridge.request import Accepted, Done

CONTINUATION: Final = "continuation"
REPEATED: Final = "last_bar_repeated"
SYNTH: Final = "plain_synth"

Row = Mapping[str, float | None]
Table = Mapping[str, Row]
"""Rows of figures by candidate."""

_OF_PRIME: Final = ("note_f1", "rhythm", "noisiness")
_WIDTH: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a result had to fit: the prime, its notes, and how long its last bar is.

    Positions are session samples at `sample_rate`; the prime ends at the splice.
    """

    prime: Audio
    sample_rate: int
    splice_sample: int
    bar_samples: int
    notes: tuple[Note, ...] = ()
    words: tuple[TimedWord, ...] = ()
    """Of the result, where it sings."""

    @property
    def prime_start_sample(self) -> int:
        """Return the session sample at which the prime begins."""
        return self.splice_sample - self.prime.shape[1]


def with_toys(result: Audio, scene: Scene) -> dict[str, Audio]:
    """Return the result and both toys of its length, by name."""
    num_samples = result.shape[1]
    synth = toys.synthesised(
        scene.notes,
        scene.sample_rate,
        start_sample=scene.splice_sample,
        num_samples=num_samples,
        like=scene.prime,
    )
    looped = toys.looped(scene.prime, num_samples, scene.bar_samples)
    return {CONTINUATION: result, REPEATED: looped, SYNTH: synth}


def compare(candidates: Mapping[str, Audio], scene: Scene) -> dict[str, dict[str, float | None]]:
    """Return the figures of each candidate for going on after the prime; None: nothing to measure.

    Candidates have the scene's rate and begin at the splice.
    """
    prime = _heard_prime(scene)
    return {
        name: figures.measure(
            Heard(audio, scene.sample_rate, start_sample=scene.splice_sample, notes=scene.notes),
            prime,
        )
        for name, audio in candidates.items()
    }


def of_prime(scene: Scene) -> dict[str, float | None]:
    """Return the figures of the recording itself, which a perfect result would come near."""
    prime = _heard_prime(scene)
    return {name: FIGURES[name].measure(prime, prime) for name in _OF_PRIME}


def facts(accepted: Accepted, done: Done) -> dict[str, Any]:
    """Return what the server said of a result, for a report."""
    return {
        "server_rtf": done.rtf,
        "server_first_audio_ms": done.first_audio_ms,
        "seed": accepted.seed,
        "sha256": done.sha256,
        "codec_fidelity": accepted.codec_fidelity,
        "advice": accepted.advice,
        "gain_db": done.gain_db,
        "model": accepted.model,
        "fingerprint": accepted.fingerprint,
        "licence": done.licence,
        "take_id": done.take_id,
    }


def meanings() -> dict[str, dict[str, str]]:
    """Return unit, direction and meaning of each figure."""
    return {
        name: {"unit": figure.unit, "better": figure.better, "meaning": figure.meaning}
        for name, figure in FIGURES.items()
    }


def as_text(table: Table) -> str:
    """Return the table as lines: a row for each figure, a column for each candidate."""
    head = [f"{name:>{_WIDTH}}" for name in table]
    lines = ["".join([f"{'figure':{_WIDTH}}", *head, "  better"])]
    for name, figure in FIGURES.items():
        cells = [_cell(row.get(name)) for row in table.values()]
        lines.append("".join([f"{name:{_WIDTH}}", *cells, f"  {figure.better}"]))
    return "\n".join(lines)


def write_json(path: Path, report: Mapping[str, Any]) -> Path:
    """Return where the report now lies, replacing one of that name; not-a-number becomes null.

    Raises:
        NotFoundError: The folder does not exist.
        NotReadyError: The folder cannot be written to.
    """
    text = json.dumps(_finite(dict(report)), indent=1, allow_nan=False) + "\n"
    return write_whole(path, (text.encode(),), overwrite=True)


def peak_rss_mb() -> float:
    """Return the most memory this process has held, and what its children hold, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    own_bytes = peak if sys.platform == "darwin" else peak * 1024
    children_bytes = 0
    for child in psutil.Process().children(recursive=True):
        try:
            children_bytes += int(child.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return (own_bytes + children_bytes) / 2**20


def _heard_prime(scene: Scene) -> Heard:
    return Heard(
        scene.prime,
        scene.sample_rate,
        start_sample=scene.prime_start_sample,
        notes=scene.notes,
    )


def _cell(value: float | None) -> str:
    return f"{'-':>{_WIDTH}}" if value is None else f"{value:>{_WIDTH}.3f}"


def _finite(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, dict):
        held = cast("dict[str, Any]", value)
        return {key: _finite(inner) for key, inner in held.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
