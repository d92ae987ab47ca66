"""Measures continuations of a folder of pieces beside two toys and beside the truth.

    python benchmarks/quality.py DIR [--seconds 6] [--without-notes] [--model DIR] [--json]

Every folder of DIR holds `mix.flac` and `score.mid`, whose time 0 is the mix's first sample. The
first half of what is asked is the prime, the second the truth. Pieces must be ones that the model
never trained on. Prints each piece's figures and the means; `jukebox-bridge demo` tells what they
mean.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from bridge.app import embedded_server
from bridge.audio_file import read_audio
from bridge.client import Client, Continuation
from bridge.config import private_config
from bridge.figures import FIGURES
from bridge.midi_file import read_midi
from bridge.ports import Audio, Conditions, MidiPart, Plan
from bridge.report import Scene, compare, with_toys

SEED = 7
TRUTH = "truth"
Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece cut in two, and its notes."""

    name: str
    prime: Audio
    truth: Audio
    sample_rate: int
    part: MidiPart


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print a table or JSON; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=6.0, help="of prime, and of result")
    parser.add_argument(
        "--without-notes", action="store_true", help="keep the notes from the model"
    )
    parser.add_argument("--model", type=Path, help="weights; the shipped ones if not given")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(given)
    pieces = [load_piece(path.parent, arguments.seconds) for path in found(arguments.folder)]
    config = private_config(model=arguments.model)
    with embedded_server(config) as address, Client(address) as client:
        fingerprint = client.models()[0].fingerprint
        shown = track(pieces, "continuing", console=Console(stderr=True), transient=True)
        rows = {piece.name: measured(client, piece, arguments.without_notes) for piece in shown}
    report = {"fingerprint": fingerprint, "pieces": rows, "means": means(rows)}
    sys.stdout.write((json.dumps(report, indent=1) if arguments.json else as_text(report)) + "\n")
    return 0


def found(folder: Path) -> list[Path]:
    """Return the mixes of a folder, in order."""
    return sorted(folder.glob("*/mix.flac"))


def load_piece(folder: Path, seconds: float) -> Piece:
    """Return a folder's piece, cut after `seconds`."""
    clip = read_audio(folder / "mix.flac", max_seconds=600)
    cut = round(seconds * clip.sample_rate)
    return Piece(
        name=folder.name,
        prime=clip.samples[:, :cut],
        truth=clip.samples[:, cut : 2 * cut],
        sample_rate=clip.sample_rate,
        part=read_midi(folder / "score.mid", clip.sample_rate),
    )


def measured(
    client: Client, piece: Piece, without_notes: bool
) -> dict[str, dict[str, float | None]]:
    """Return the figures of the result, the toys and the truth."""
    result = client.render(
        Continuation(
            prime=piece.prime,
            sample_rate=piece.sample_rate,
            num_samples=piece.truth.shape[1],
            conditions=Conditions(midi=None if without_notes else piece.part),
            plan=Plan(seed=SEED),
            draw_seed=False,
        )
    )
    scene = Scene(
        prime=piece.prime,
        sample_rate=piece.sample_rate,
        splice_sample=piece.prime.shape[1],
        bar_samples=2 * piece.sample_rate,
        notes=piece.part.notes,
    )
    return compare({**with_toys(result.audio, scene), TRUTH: piece.truth}, scene)


def means(rows: Mapping[str, Mapping[str, Figures]]) -> dict[str, dict[str, float]]:
    """Return each candidate's mean figures over the pieces."""
    candidates = next(iter(rows.values()))
    return {
        candidate: {
            figure: float(np.mean(_given(row[candidate][figure] for row in rows.values())))
            for figure in FIGURES
        }
        for candidate in candidates
    }


def _given(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def as_text(report: dict[str, object]) -> str:
    """Return the figures as a table."""
    pieces = report["pieces"]
    assert isinstance(pieces, dict)
    lines = [f"fingerprint {report['fingerprint']}", " " * 36 + "  ".join(FIGURES)]
    for name, table in [*pieces.items(), ("mean", report["means"])]:
        for candidate, figures in table.items():
            cells = (
                f"{'-' if value is None else f'{value:.2f}':>{len(figure)}}"
                for figure, value in figures.items()
            )
            lines.append(f"{name[:16]:16}  {candidate[:16]:18}" + "  ".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
