"""The files that messages name: inside the folders allowed alone, and checked before they are read.

Knows no message and no engine.
"""

import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np

from bridge.errors import ConflictError, InvalidRequestError, NotFoundError, NotReadyError
from bridge.ports import LevelCodes

MAX_CODES_BYTES: Final = 64 * 1024 * 1024
LEVEL_NAMES: Final = ("level2", "level1", "level0")
"""Arrays of a file of codes, coarsest first."""


def read_codes(path: Path) -> tuple[LevelCodes, ...]:
    """Return the codes of a NumPy .npz file, coarsest level first.

    Raises:
        InvalidRequestError: Not such a file, too large, or arrays that are no codes.
    """
    try:
        with zipfile.ZipFile(path) as members:
            num_bytes = sum(member.file_size for member in members.infolist())
        if num_bytes > MAX_CODES_BYTES:
            raise InvalidRequestError(
                f"{path.name} holds {num_bytes} bytes, the limit is {MAX_CODES_BYTES} bytes"
            )
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidRequestError(f"{path.name} is no NumPy .npz file: {error}") from error
    unknown = sorted(set(found) - set(LEVEL_NAMES))
    if unknown or not found:
        raise InvalidRequestError(
            f"{path.name} holds the arrays {', '.join(unknown)[:80] or 'none'}, "
            f"known are {', '.join(LEVEL_NAMES)}"
        )
    return tuple(_level(name, found[name]) for name in LEVEL_NAMES if name in found)


def inside(text: str, folders: Sequence[Path]) -> Path:
    """Return a file's path, links resolved; a relative one counts from the first folder.

    Raises:
        InvalidRequestError: Outside of all folders, so that a wire reads nothing else.
        NotFoundError: There is no such file.
    """
    path = confined(text, folders)
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    return path


def confined(text: str, folders: Sequence[Path]) -> Path:
    """Return a path inside the folders, links resolved, whether it exists or not.

    Raises:
        InvalidRequestError: Outside of all folders, or no path at all.
    """
    try:
        path = (folders[0] / text).resolve()
        path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidRequestError(f"{text[:200]!r} is not a path: {error}") from error
    if not any(path.is_relative_to(folder) for folder in folders):
        names = ", ".join(map(str, folders))
        raise InvalidRequestError(
            f"the file {text} lies outside the folders allowed ({names}); "
            "the server's --allow-path adds one"
        )
    return path


def _level(name: str, codes: np.ndarray[Any, np.dtype[Any]]) -> LevelCodes:
    limit = np.iinfo(np.int16).max
    whole = codes.dtype.kind in "iu" and codes.ndim == 1 and codes.size > 0
    if not (whole and int(codes.min()) >= 0 and int(codes.max()) <= limit):
        raise InvalidRequestError(
            f"{name} is an array {codes.dtype} of shape {codes.shape}, codes are "
            f"whole numbers from 0 to {limit} in one row"
        )
    return LevelCodes(level=int(name.removeprefix("level")), codes=codes.astype(np.int16))


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that the target is whole or absent.

    Raises:
        ConflictError: The target exists, and stays.
        NotReadyError: It cannot be written.
    """
    unfinished = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        shutil.copyfile(source, unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        os.link(unfinished, target)
    except FileExistsError as error:
        raise ConflictError(f"the file {target} exists already and stays as it is") from error
    except OSError as error:
        raise NotReadyError(f"the file {target} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
