"""The whole recipe, stage by stage: `python -m model.training --data DIR --runs DIR --out DIR`.

Every stage resumes what its folder holds and stops at its time box, so the
command can be interrupted and given again; `--scale` stretches all boxes.
"""

import argparse
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One training: a module of this package, its own arguments, its minutes at scale 1."""

    module: str
    arguments: tuple[str, ...] = ()
    minutes: int = 0


STAGES = (
    Stage(module="codec", arguments=("--level", "2"), minutes=16),
    Stage(module="codec", arguments=("--level", "1"), minutes=8),
    Stage(module="codec", arguments=("--level", "0"), minutes=8),
    Stage(module="codes"),
    Stage(module="finisher", minutes=21),
    Stage(module="listener", minutes=45),
    Stage(module="composer", minutes=40),
    Stage(module="prior", arguments=("--level", "1"), minutes=45),
    Stage(module="prior", arguments=("--level", "0"), minutes=45),
    Stage(module="prior", arguments=("--level", "2"), minutes=60),
    Stage(module="prior", arguments=("--draft", "--level", "1"), minutes=8),
    Stage(module="prior", arguments=("--draft", "--level", "0"), minutes=8),
    Stage(module="student", minutes=63),
    Stage(module="student", arguments=("--teacher",), minutes=80),
    Stage(module="finisher", arguments=("--student",), minutes=76),
    Stage(module="pack"),
)
"""A stage that comes again goes on to the minutes named: the student with the teacher's targets,
the finisher on the student's draws."""


def command_of(stage: Stage, data: Path, runs: Path, out: Path, scale: float) -> list[str]:
    """Return the command line of one stage."""
    command = [sys.executable, "-m", f"model.training.{stage.module}", "--data", str(data)]
    command += stage.arguments
    match stage.module:
        case "codec":
            command += ["--out", str(runs / f"codec{stage.arguments[-1]}")]
        case "codes":
            command += ["--codec", str(runs / "codec2")]
        case _:
            command += ["--runs", str(runs)]
    if stage.module == "pack":
        command += ["--out", str(out)]
    if stage.minutes:
        command += ["--max-minutes", str(stage.minutes * scale)]
    return command


def main() -> None:
    """Run all stages, stopping at the first that fails."""
    parser = argparse.ArgumentParser(prog="model.training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder of weights to write")
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for stage in STAGES:
        command = command_of(stage, arguments.data, arguments.runs, arguments.out, arguments.scale)
        log.info("%s", " ".join(command[1:]))
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
