"""Command line of the data pipeline.

python -m model.data --out DIR --minutes M --seed S --workers N
python -m model.data show DIR --png FILE
python -m model.data demo DIR
python -m model.data measuring --out DIR --set reserved --scores DIR
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from model.data.build import BuildConfig, build
from model.data.demo import make_demo
from model.data.errors import DataError
from model.data.measuring import SETS, MeasuringConfig, make_pieces
from model.data.render import DEFAULT_SOUNDFONT


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    commands = {"show": _show, "demo": _demo, "measuring": _measuring}
    try:
        if arguments and arguments[0] in commands:
            commands[arguments[0]](arguments[1:])
        else:
            _build(arguments)
    except DataError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - the message says it all
        return 1
    return 0


def _build(arguments: Sequence[str]) -> None:
    parser = _parser("")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--minutes", type=float, default=60.0, help="training audio, minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scores", type=Path, default=None, help="parsed scores, OUT/scores")
    parser.add_argument("--soundfont", type=Path, default=DEFAULT_SOUNDFONT)
    args = parser.parse_args(arguments)
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


def _show(arguments: Sequence[str]) -> None:
    parser = _parser(" show")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--png", type=Path, required=True)
    args = parser.parse_args(arguments)
    from model.data.show import show  # matplotlib is needed for pictures alone

    show(args.folder, args.png)


def _demo(arguments: Sequence[str]) -> None:
    parser = _parser(" demo")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--soundfont", type=Path, default=DEFAULT_SOUNDFONT)
    args = parser.parse_args(arguments)
    make_demo(args.folder, args.soundfont)


def _measuring(arguments: Sequence[str]) -> None:
    parser = _parser(" measuring")
    parser.add_argument("--out", type=Path, required=True, help="folder to add pieces to")
    parser.add_argument("--set", choices=SETS, required=True, help="which works")
    parser.add_argument("--scores", type=Path, required=True, help="parsed scores of a build")
    parser.add_argument("--excerpts", type=int, default=1, help="of each work")
    parser.add_argument("--limit", type=int, default=1000, help="works at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--soundfont", type=Path, default=DEFAULT_SOUNDFONT)
    args = parser.parse_args(arguments)
    make_pieces(
        MeasuringConfig(
            out=args.out,
            scores=args.scores,
            soundfont=args.soundfont,
            which=args.set,
            excerpts=args.excerpts,
            limit=args.limit,
            seed=args.seed,
        )
    )


def _parser(command: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"model.data{command}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
