"""`jukebox-bridge evaluate`: measure a model on a folder of music that it has never heard."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from bridge.app import Load, embedded_server, shipped_model
from bridge.client import Client
from bridge.commands.console import note, say
from bridge.config import private_config
from bridge.errors import InvalidRequestError
from bridge.evaluation import codebooks, report
from bridge.evaluation.making import Maker
from bridge.evaluation.pieces import found_pieces
from bridge.evaluation.run import RESULT_SECONDS, Evaluation, EvaluationConfig
from bridge.evaluation.transcriber import Transcriber


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `evaluate` takes."""
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="pieces, or recordings, to measure")
    add("--out", type=Path, required=True, metavar="DIR", help="for results; what is there is kept")
    add("--model", type=Path, metavar="DIR", help="weights; the shipped ones if not given")
    add("--against", type=Path, metavar="DIR", help="other weights to compare with")
    add("--seconds", type=float, nargs="+", default=list(RESULT_SECONDS), help="%(default)s")
    add("--max-clips", type=int, default=200, help="%(default)s")
    add("--clips", type=int, metavar="N", help="of each work at most")
    add(
        "--codebook-minutes",
        type=float,
        default=codebooks.LEAST_MINUTES,
        help="of music to count codes in, where no candidates are named (%(default)g)",
    )
    add("--codec-clips", type=int, default=40, help="for the codec's figures (%(default)s)")
    add("--part-clips", type=int, default=40, help="for a bass to stems (%(default)s)")
    add("--seed-clips", type=int, default=20, help="drawn with three seeds (%(default)s)")
    add("--teacher-clips", type=int, default=0, help="made by the teacher too (%(default)s)")
    add("--only", nargs="+", default=[], metavar="NAME", help="candidates, such as fast_notes")
    add("--minutes", type=float, help="begin no new clip after so long")
    add("--pictures", type=int, default=0, metavar="N", help="draw the N worst clips")
    add("--json", action="store_true", help="print the tables as JSON")


def run(
    arguments: argparse.Namespace,
    load: Load | None = None,
    transcriber: Transcriber | None = None,
) -> int:
    """Measure, print the tables; return 0.

    Raises:
        BridgeError: The folders, the weights, or a package that is not installed.
    """
    out: Path = arguments.out
    config, ear = _config_of(arguments), transcriber or Transcriber()
    found_pieces(config.data)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, config.data)
    folders: list[Path | None] = [arguments.model]
    if arguments.against is not None:
        folders.append(arguments.against)
    fingerprints = [_measured(config, folder, load, ear) for folder in folders]
    tables = report.tables_of(out, fingerprints)
    report.write_tables(out, tables)
    if arguments.pictures:
        report.write_pictures(out, fingerprints[0], arguments.pictures)
    say(json.dumps(tables, indent=1) if arguments.json else report.as_text(tables))
    return 0


def _config_of(arguments: argparse.Namespace) -> EvaluationConfig:
    seconds: Sequence[float] = arguments.seconds
    return EvaluationConfig(
        data=arguments.data,
        out=arguments.out,
        seconds=tuple(seconds),
        max_clips=arguments.max_clips,
        work_clips=arguments.clips,
        codebook_minutes=arguments.codebook_minutes,
        codec_clips=arguments.codec_clips,
        part_clips=arguments.part_clips,
        seed_clips=arguments.seed_clips,
        teacher_clips=arguments.teacher_clips,
        only=tuple(arguments.only),
        minutes=arguments.minutes,
    )


def _claim(out: Path, data: Path) -> None:
    """Write down which set a folder of results is of; refuse another one."""
    name, path = str(data.resolve()), out / "data.txt"
    if path.is_file() and path.read_text(encoding="utf-8") != name:
        raise InvalidRequestError(
            f"--out is {out}, which holds results of {path.read_text(encoding='utf-8')}, "
            f"not of {name}: give another folder"
        )
    path.write_text(name, encoding="utf-8")


def _measured(
    config: EvaluationConfig, folder: Path | None, load: Load | None, ear: Transcriber
) -> str:
    """Measure one folder of weights; return its fingerprint."""
    server = private_config(config.out / "spool", folder)
    chosen = load or shipped_model(folder)
    with embedded_server(server, chosen) as address, Client(address) as client:
        maker = Maker(client, folder, config.out)
        Evaluation(config, maker, note, ear).run()
        return maker.fingerprint
