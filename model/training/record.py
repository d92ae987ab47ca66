"""Recordings as one more split of a data folder: `DATA/recorded`, beside what was rendered.

`python -m model.training.record --recordings DIR --data DATA --runs RUNS` cuts the
recordings into excerpts, hears their notes with the listener as it stands in RUNS, and writes
shards in the layout of `model.data.dataset`. Trainings then learn from both. `DIR/sources.json`
says of every file where it comes from and what allows its use; a file without that is refused.
Mono, no labels, one stem of no known kind: the mix itself.
"""

import argparse
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int16

from model.data.dataset import RECORDED, SAMPLE_RATE, STEM_KINDS
from model.errors import TrainingError
from model.listener import Listener
from model.shipped import SMALL
from model.training.loop import load_averaged
from model.training.published.recordings import Recording, open_recordings
from model.training.recorded import KIND, heard_notes, mono_of

log = logging.getLogger(__name__)
EXCERPT_SAMPLES = 24 * SAMPLE_RATE
MOST_EXCERPTS = 12
"""Of one recording, spread over it: long pieces would crowd out the others."""
SILENT_RMS = 0.003
SOURCES = "sources.json"

Pcm = Int16[np.ndarray, " samples"]


def sources_of(folder: Path, recordings: tuple[Recording, ...]) -> dict[str, dict[str, str]]:
    """Return where each recording comes from and its licence, by file name.

    Raises:
        TrainingError: A recording has neither, or there is no `sources.json`.
    """
    path = folder / SOURCES
    if not path.is_file():
        raise TrainingError(f"{path} is missing: it says what allows the use of each recording")
    said: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))
    for recording in recordings:
        row = said.get(recording.mix.path.name, {})
        if not row.get("licence") or not row.get("source"):
            raise TrainingError(f"{path} says no source and licence of {recording.mix.path.name}")
    return {one.mix.path.name: said[one.mix.path.name] for one in recordings}


def excerpts(audio: Pcm) -> Iterator[Pcm]:
    """Yield stretches of one length, at most so many, none of them silent."""
    count = len(audio) // EXCERPT_SAMPLES
    stride = max(1, -(-count // MOST_EXCERPTS)) * EXCERPT_SAMPLES
    for start in range(0, len(audio) - EXCERPT_SAMPLES + 1, stride):
        excerpt = audio[start : start + EXCERPT_SAMPLES]
        if np.sqrt(np.mean((excerpt / 32768.0) ** 2)) >= SILENT_RMS:
            yield excerpt


def write_recording(
    listener: Listener, recording: Recording, row: Mapping[str, str], path: Path
) -> None:
    """Write one recording as a shard; the table comes last and whole, none for no excerpt."""
    table: list[dict[str, Any]] = []
    offset = 0
    with path.with_suffix(".i16").open("wb") as shard:
        for number, excerpt in enumerate(excerpts(mono_of(recording.mix))):
            notes = heard_notes(listener, excerpt.astype(np.float32) / 32768)
            notes[:, 5] = KIND
            shard.write(excerpt.astype("<i2").tobytes())
            name = f"{RECORDED}-{path.stem[-4:]}-{number:02d}"
            table.append(_row(name, recording, row["licence"], notes.tolist(), offset))
            offset += EXCERPT_SAMPLES
    if not table:
        path.with_suffix(".i16").unlink()
        return
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps({"sample_rate": SAMPLE_RATE, "examples": table}), "utf-8")
    unfinished.replace(path.with_suffix(".json"))


def _row(
    name: str, recording: Recording, licence: str, notes: list[list[int]], offset: int
) -> dict[str, Any]:
    return {
        "name": name,
        "split": RECORDED,
        "work": f"{RECORDED}/{recording.mix.path.stem}",
        "composer": "",
        "genre": "",
        "tempo_bpm": 0.0,
        "meter": "",
        "source_licence": licence,
        "programs": [],
        "augmentation": {},
        "num_samples": EXCERPT_SAMPLES,
        "notes": notes,
        "mix_offset": offset,
        "stems": {STEM_KINDS[KIND]: offset},
    }


def main() -> None:
    """Write the split of the folder named on the command line; finished shards are skipped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    recordings = open_recordings(arguments.recordings)
    sources = sources_of(arguments.recordings, recordings)
    assert SMALL.listener is not None
    listener = Listener(SMALL.listener)
    load_averaged(listener, arguments.runs / "listener")
    out = arguments.data / RECORDED
    out.mkdir(parents=True, exist_ok=True)
    (out / SOURCES).write_text(json.dumps(sources, indent=1, sort_keys=True), "utf-8")
    for number, recording in enumerate(recordings):
        path = out / f"shard-{number:04d}.json"
        if not path.is_file():
            write_recording(listener, recording, sources[recording.mix.path.name], path)
            log.info("%d/%d %s", number + 1, len(recordings), recording.mix.path.name)


if __name__ == "__main__":
    main()
