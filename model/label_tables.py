"""Names and ids of published labels, as the user's own copy of the lists has them.

The lists are text files of lines `name;id`, one for artists and one for genres
of each version: v2 for the 5B models and both upsamplers, v3 for 1b_lyrics.
None of them is part of this project. Knows files and numbers, no framework.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.errors import CheckpointError

KINDS: Final = ("artist", "genre")
VERSIONS: Final = ("v2", "v3")
SEPARATORS: Final = (";", "\t", ",")
_LARGEST_FILE: Final = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """Names to ids of one kind, and what was odd in the file."""

    names: Mapping[str, int]
    path: Path
    lines: int
    skipped: tuple[str, ...] = ()
    """Lines that hold no name and id, with their numbers."""
    repeated: int = 0
    """Names that stand there more than once; the last counts."""


def read_tables(folder: Path, versions: tuple[str, ...]) -> dict[str, dict[str, LabelTable]]:
    """Return the tables of some versions, by version and kind.

    Files may be called `v2_artist_ids.txt` or alike: version and kind in the name decide.

    Raises:
        CheckpointError: A table is missing or ambiguous, unreadable, or holds no ids.
    """
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is no folder; expected one with v2_artist_ids.txt and so on"
        )
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {
        version: {kind: _read(_find(files, folder, version, kind)) for kind in KINDS}
        for version in versions
    }


def check_ids(table: LabelTable, rows: int) -> None:
    """Pass if every id is a row of the model's table.

    Raises:
        CheckpointError: Names the first id outside.
    """
    for name, number in table.names.items():
        if number >= rows:
            raise CheckpointError(
                f"{table.path}: {name!r} has id {number}, the model's table has ids 0 to "
                f"{rows - 1}: this is the list of another version"
            )


def _find(files: list[Path], folder: Path, version: str, kind: str) -> Path:
    found = [
        path
        for path in files
        if path.suffix.lower() in (".txt", ".csv") and version in path.name and kind in path.name
    ]
    if len(found) != 1:
        what = ", ".join(path.name for path in found) or "none"
        raise CheckpointError(
            f"{folder} must hold one file for {version} {kind}s, such as {version}_{kind}_ids.txt; "
            f"found {what}"
        )
    return found[0]


def _read(path: Path) -> LabelTable:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise CheckpointError(
                f"{path} is larger than {_LARGEST_FILE} bytes: it is no list of ids"
            )
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as UTF-8 text: {error}") from error
    names: dict[str, int] = {}
    skipped: list[str] = []
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    pairs = 0
    for number, line in filled:
        pair = _pair(line)
        if pair is None:
            skipped.append(f"line {number}: {line[:60]!r}")
        else:
            pairs += 1
            names[pair[0]] = pair[1]
    if not names:
        raise CheckpointError(f"{path} holds no line of a name, a semicolon and an id")
    return LabelTable(
        names=names,
        path=path,
        lines=len(filled),
        skipped=tuple(skipped),
        repeated=pairs - len(names),
    )


def _pair(line: str) -> tuple[str, int] | None:
    """Return a name and its id; a name may itself hold the separator."""
    for separator in SEPARATORS:
        name, found, number = line.rpartition(separator)
        if found and re.fullmatch(r"\s*[0-9]{1,9}\s*", number):
            return name.strip(), int(number)
    return None
