"""The flags of the settings, and the configuration that a command runs with."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from bridge.config import ServerConfig, default_config_file, settings
from bridge.config_file import read_config
from bridge.settings import ListOf, Setting

_PREFIX = "setting_"


def add_setting_flags(parser: argparse.ArgumentParser, names: Iterable[str] | None = None) -> None:
    """Declare `--config`, and the flags of the settings named, or of all that have one."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration file ({default_config_file()}, if it is there)",
    )
    table = settings()
    for name in table if names is None else names:
        if table[name].flag:
            _add_flag(parser, name, table[name])


def config_of(arguments: argparse.Namespace) -> ServerConfig:
    """Return the defaults, changed by the file, changed by the flags.

    Raises:
        NotFoundError: The file named does not exist.
        InvalidRequestError: A key that is not known, or a value that is refused.
        UnsupportedError: A host that other machines can reach.
    """
    flags = {
        key.removeprefix(_PREFIX): value
        for key, value in vars(arguments).items()
        if key.startswith(_PREFIX) and value is not None
    }
    return read_config(config_file_of(arguments), flags, Path())


def config_file_of(arguments: argparse.Namespace) -> Path | None:
    """Return the file that counts: the one named, or the user's if there is one."""
    if arguments.config is not None:
        return arguments.config
    usual = default_config_file()
    return usual if usual.exists() else None


def _add_flag(parser: argparse.ArgumentParser, name: str, setting: Setting) -> None:
    repeats = isinstance(setting.kind, ListOf)
    kind = setting.kind.kind if isinstance(setting.kind, ListOf) else setting.kind
    parser.add_argument(
        setting.flag,
        dest=_PREFIX + name,
        type=kind.raw_of,
        action="append" if repeats else "store",
        metavar=setting.key.upper(),
        help=_help(setting, repeats=repeats),
    )


def _help(setting: Setting, *, repeats: bool) -> str:
    text = f"{setting.does} ({setting.kind.allowed()})" + ("; repeatable" if repeats else "")
    return text.replace("%", "%%")
