"""Command line: `python -m model.data --out DIR --minutes M --seed S --workers N`."""

import argparse
import logging
from pathlib import Path

from model.data.build import BuildConfig, build
from model.data.render import DEFAULT_SOUNDFONT


def main() -> None:
    """Build a data folder as the arguments say."""
    parser = argparse.ArgumentParser(prog="model.data", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0, help="training audio, minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--soundfont", type=Path, default=DEFAULT_SOUNDFONT)
    parser.add_argument("--scores", type=Path, default=None, help="parsed scores, OUT/scores")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    build(
        BuildConfig(
            out=args.out,
            scores=args.scores or args.out / "scores",
            soundfont=args.soundfont,
            minutes=args.minutes,
            seed=args.seed,
            workers=args.workers,
        )
    )


if __name__ == "__main__":
    main()
