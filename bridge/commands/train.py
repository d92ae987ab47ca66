"""`jukebox-bridge train`: models on the user's recordings, new ones and adapted ones."""

import argparse
import math
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType

from bridge.app.training import DEVICES, TRAINED_KINDS, TrainingOrder, train
from bridge.commands import tune
from bridge.commands.console import note, say
from bridge.errors import InvalidRequestError

DOES = {
    "codec": "learn codes of the recordings: the first part of a model",
    "prior": "learn which codes follow which, at the top level",
    "upsampler": "learn a level's codes from those above",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `train` takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="WHAT")
    for kind in TRAINED_KINDS:
        one = actions.add_parser(kind, help=DOES[kind], description=DOES[kind].capitalize() + ".")
        add = one.add_argument
        add("--config", type=Path, required=True, metavar="FILE.toml", help="see docs/training.md")
        add("--data", type=Path, required=True, metavar="DIR", help="recordings")
        add("--out", type=Path, required=True, metavar="DIR", help="what is there is gone on with")
        add("--max-minutes", type=float, metavar="N", help="training time, all sittings together")
        add("--from", type=Path, dest="begin_with", metavar="MODEL", help="begin with its weights")
        add("--device", choices=DEVICES, default="cpu", help="(%(default)s)")
        add("--threads", type=int, default=0, metavar="N", help="0: as PyTorch chooses")
    tune.add_arguments(actions.add_parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, and say where the result is; return 0.

    Raises:
        BridgeError: What cannot be trained, refused before the first step.
    """
    with _signals() as stopped:
        if arguments.action in tune.DOES:
            return tune.run(arguments, stopped.is_set)
        made = train(_order_of(arguments), note, stopped.is_set)
    for name, step in made.parts.items():
        say(f"{name}: {'as it was imported' if step is None else f'{step} steps'}")
    say(str(made.folder))
    return 0


def _order_of(arguments: argparse.Namespace) -> TrainingOrder:
    minutes: float | None = arguments.max_minutes
    if minutes is not None and not minutes > 0:
        raise InvalidRequestError(f"--max-minutes is {minutes:g}, it must be above 0 minutes")
    if arguments.threads < 0:
        raise InvalidRequestError(f"--threads is {arguments.threads}, the least is 0")
    return TrainingOrder(
        kind=arguments.action,
        config=arguments.config,
        data=arguments.data,
        out=arguments.out,
        max_minutes=math.inf if minutes is None else minutes,
        begin_with=arguments.begin_with,
        device=arguments.device,
        threads=arguments.threads,
    )


@contextmanager
def _signals() -> Generator[Event]:
    """Yield what the first Ctrl-C or SIGTERM sets; a second one ends at once."""
    stopped = Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        note("stopping after this step; once more to leave without saving")

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, stop) for kind in kinds}
    try:
        yield stopped
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
