"""Puts the trained parts together into the folder of weights that ships.

Beside weights and manifest it writes `sources.json`: every score and recording
that was used, with what allows it.

`python -m model.training.pack --data DIR --runs DIR --out model/weights`
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from model.bundle import TOP, Bundle, Card, empty_bundle, share_codebook
from model.data.dataset import COMPOSERS, GENRES, RECORDED
from model.shipped import SMALL
from model.store import Provenance, save_bundle
from model.training.codes import open_coded_training
from model.training.figures import held_out_figures
from model.training.loop import load_averaged
from model.training.loudness import measure_loudness
from model.training.record import SOURCES

log = logging.getLogger(__name__)
LICENCE = "GPL-3.0-or-later"
OUTPUT_LICENCE = "no claim: what you make with this model is yours"
DEVICE = "two x86-64 cores with AVX-512, no GPU; one thread a training"


def trained_bundle(runs: Path) -> Bundle:
    """Return the averaged weights of all trainings below a folder."""
    card = Card(
        name=SMALL.name,
        fingerprint="",
        artists=COMPOSERS,
        genres=GENRES,
        licence=LICENCE,
        output_licence=OUTPUT_LICENCE,
    )
    bundle = empty_bundle(SMALL, card)
    for index in range(TOP + 1):
        load_averaged(bundle.codec.level(index), runs / f"codec{index}")
    for index, upsampler in enumerate(bundle.upsamplers):
        load_averaged(upsampler, runs / f"prior{index}")
    load_averaged(bundle.top, runs / f"prior{TOP}")
    for index, prior in enumerate(bundle.priors):
        if prior.draft is not None:
            load_averaged(prior.draft, runs / f"draft{index}")
    load_averaged(bundle.student, runs / "student")
    load_averaged(bundle.finisher, runs / "finisher")
    load_averaged(bundle.listener, runs / "listener")
    load_averaged(bundle.composer, runs / "composer")
    share_codebook(bundle)
    return bundle


def recipe_of(runs: Path, data: Path, note: str) -> dict[str, Any]:
    """Return what was trained for how long, on what, by which commands."""
    stages: dict[str, Any] = {}
    for history in sorted(runs.glob("*/history.jsonl")):
        last = json.loads(history.read_text().splitlines()[-1])
        stages[history.parent.name] = {"steps": last["step"], "minutes": last["minutes"]}
    manifest = json.loads((data / "manifest.json").read_text())
    kept = ("seed", "hours", "examples", "soundfont", "generated_pieces")
    return {
        "commands": "python -m model.data --out DATA; python -m model.training --data DATA",
        "device": DEVICE,
        "stages": stages,
        "hours_of_training": round(sum(s["minutes"] for s in stages.values()) / 60, 2),
        "data": {name: manifest[name] for name in kept if name in manifest},
        "seed": 1,
        "note": note,
    }


def sources_of(data: Path) -> list[dict[str, str]]:
    """Return every score and recording that was used, with what allows it."""
    works: list[dict[str, str]] = json.loads((data / "manifest.json").read_text())["works_used"]
    table = data / RECORDED / SOURCES
    if table.is_file():
        recordings: dict[str, dict[str, str]] = json.loads(table.read_text("utf-8"))
        works += [{"work": name, "split": RECORDED, **row} for name, row in recordings.items()]
    return works


def main() -> None:
    """Pack the folders named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--note", default="", help="what the stages do not tell")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bundle = trained_bundle(arguments.runs)
    measure_loudness(bundle.loudness, open_coded_training(arguments.data))
    figures = held_out_figures(bundle, arguments.data)
    log.info("%s", json.dumps(figures, indent=2))
    provenance = Provenance(
        artists=COMPOSERS,
        genres=GENRES,
        licence=LICENCE,
        output_licence=OUTPUT_LICENCE,
        recipe=recipe_of(arguments.runs, arguments.data, arguments.note),
        figures=figures,
    )
    save_bundle(bundle, arguments.out, provenance)
    sources = json.dumps(sources_of(arguments.data), indent=1, sort_keys=True) + "\n"
    (arguments.out / "sources.json").write_text(sources, encoding="utf-8")


if __name__ == "__main__":
    main()
