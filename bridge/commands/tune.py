"""`jukebox-bridge train adapt` and `train distill`: a model made of another one, on recordings."""

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bridge.app.models import SHIPPED_NAME, models_folder
from bridge.app.tuning import TuningFacts, TuningOrder, adapt, distil
from bridge.commands.console import note, say
from bridge.errors import InvalidRequestError, NotFoundError

MINUTES: Final = 30.0
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
ADAPT, DISTILL = "adapt", "distill"
DOES: Final[Mapping[str, str]] = {
    ADAPT: "fine-tune the model in the box, or another that streams, on your recordings",
    DISTILL: "teach a student that needs few passes, from a model's top prior, on recordings",
}
_MAKES: Final[
    Mapping[str, Callable[[TuningOrder, Callable[[str], None], Callable[[], bool]], TuningFacts]]
] = {ADAPT: adapt, DISTILL: distil}


def add_arguments(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare what both commands take; they are added to `train`'s."""
    for kind, does in DOES.items():
        one = add_parser(kind, help=does, description=does.capitalize() + ".")
        add = one.add_argument
        add("--data", type=Path, required=True, metavar="DIR", help="recordings, MIDI beside them")
        add("--out", type=Path, metavar="DIR", help="for the result; what is there is gone on with")
        add("--name", help="what a server calls the result; the data folder's if not given")
        add("--model", metavar="MODEL", help="its folder or name; the one in the box if not given")
        add("--minutes", type=float, default=MINUTES, help="of training, in all (%(default)g)")
        add("--steps", type=int, metavar="N", help="of each part at most")
        add("--seed", type=int, default=1, help="with the steps it decides the weights")


def run(arguments: argparse.Namespace, stop: Callable[[], bool]) -> int:
    """Train, and say what came of it; return 0.

    Raises:
        BridgeError: What cannot be trained.
    """
    order = order_of(arguments)
    made = _MAKES[arguments.action](order, note, stop)
    for name, after in made.after.items():
        say(f"{name}: {made.before[name]:.3f} before, {after:.3f} after")
    for part, steps in made.steps.items():
        say(f"{part}: {steps} steps")
    say(str(made.folder))
    return 0


def order_of(arguments: argparse.Namespace) -> TuningOrder:
    """Return what the arguments ask for.

    Raises:
        InvalidRequestError: A value outside its limits.
        NotFoundError: No model of that name.
    """
    if not arguments.minutes > 0:
        raise InvalidRequestError(f"--minutes is {arguments.minutes:g}, it must be above 0 minutes")
    if arguments.steps is not None and arguments.steps < 1:
        raise InvalidRequestError(f"--steps is {arguments.steps}, the least is 1")
    if arguments.seed < 0:
        raise InvalidRequestError(f"--seed is {arguments.seed}, the least is 0")
    name: str = arguments.name or _plain(arguments.data)
    if not NAME.fullmatch(name):
        raise InvalidRequestError(
            f"--name is {name[:80]!r}: small letters, digits, '.', '_' and '-', 64 at most"
        )
    return TuningOrder(
        data=arguments.data,
        out=arguments.out or models_folder() / name,
        name=name,
        model=_folder_of(arguments.model),
        minutes=arguments.minutes,
        steps=arguments.steps,
        seed=arguments.seed,
    )


def _folder_of(model: str | None) -> Path | None:
    if model in (None, SHIPPED_NAME):
        return None
    places = Path(model), models_folder() / model
    for place in places:
        if (place / "manifest.json").is_file():
            return place
    raise NotFoundError(f"no model is in {places[0]}, nor in {places[1]}")


def _plain(data: Path) -> str:
    """Return a folder's name as a model may be called."""
    return re.sub(r"[^a-z0-9_.-]+", "-", data.resolve().name.lower()).strip("-._") or "mine"
