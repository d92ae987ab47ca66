"""The command line: finds the command, runs it, turns errors into lines and exit codes."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridge import logs
from bridge.errors import BridgeError, ErrorCode

PROGRAM = "jukebox-bridge"
EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130
REFUSALS = frozenset(
    {
        ErrorCode.INVALID_ARGUMENT,
        ErrorCode.NOT_FOUND,
        ErrorCode.OUT_OF_RANGE,
        ErrorCode.UNIMPLEMENTED,
    }
)
"""What the caller can mend; the rest has failed."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command's module, imported when it is called, and its help."""

    module: str
    does: str


COMMANDS = {
    "demo": Command("bridge.commands.demo", "continue the packaged example and show the result"),
    "continue": Command("bridge.commands.continue_", "continue a recorded section"),
    "generate": Command("bridge.commands.generate", "make a piece with an imported model"),
    "upsample": Command("bridge.commands.upsample", "make saved codes finer, or longer"),
    "serve": Command("bridge.commands.serve", "serve every wire until it is stopped"),
    "takes": Command("bridge.commands.takes", "list, judge, export and make takes again"),
    "midi": Command("bridge.commands.midi", "list MIDI inputs, show what comes in, learn pads"),
    "hosts": Command("bridge.commands.hosts", "work with Ardour, REAPER, Live or a folder"),
    "models": Command("bridge.commands.models", "import, list and verify the released models"),
    "train": Command("bridge.commands.train", "train a model on a folder of your recordings"),
    "evaluate": Command("bridge.commands.evaluate", "measure a model on music it never heard"),
    "doctor": Command("bridge.commands.doctor", "check this machine and say what to do"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 refused."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser, modules = _parser(given)
    parsed = parser.parse_args(given)
    logs.set_up(sys.stderr, "info" if parsed.verbose else "warning")
    try:
        return int(modules[parsed.command].run(parsed))
    except BridgeError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return EXIT_REFUSED if error.code in REFUSALS else EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write(f"{PROGRAM}: interrupted\n")
        return EXIT_INTERRUPTED


def _parser(given: Sequence[str]) -> tuple[argparse.ArgumentParser, dict[str, Any]]:
    """Return the parser, and the modules of the commands that the arguments may mean."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Continues recorded music in time, in key and in its own sound."
    )
    parser.add_argument("--verbose", action="store_true", help="log what happens to stderr")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules: dict[str, Any] = {}
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.does, description=command.does)
        if name in given:
            modules[name] = importlib.import_module(command.module)
            modules[name].add_arguments(own)
    return parser, modules


if __name__ == "__main__":
    sys.exit(main())
