"""Codes as files: safetensors of one tensor a level, and what they are in the metadata.

So that what was made can be continued or upsampled later, here or elsewhere.
Knows no model and no take.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bridge.errors import InvalidRequestError, NotFoundError
from bridge.ports import LevelCodes
from bridge.request import SAMPLE_RATES

SUFFIX: Final = ".safetensors"
FORMAT: Final = 1
MAX_FILE_BYTES: Final = 2**28
_FACTS: Final = "jukebox-bridge"
_TENSOR: Final = "level_{}"
_MAX_HEADER_BYTES: Final = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class CodesFile:
    """Codes of one piece.

    Attributes:
        levels: Codes by level, coarsest first, from the anchor on.
        model: Its name.
        fingerprint: Of the model.
        model_rate: In Hz; a code of a level stands for `hops[level]` samples at this rate.
        hops: By level, finest first.
        sample_rate: Of the session, in Hz.
        anchor_sample: Session sample of the first code.
        splice_sample: Session sample at which the result begins; before it lies the prime.
        num_samples: Of the result, at the session's rate.
        licence: Of the result.
        facts: Conditions, plan, take and the rest, as JSON can hold it.
    """

    levels: tuple[LevelCodes, ...]
    model: str
    fingerprint: str
    model_rate: int
    hops: tuple[int, ...]
    sample_rate: int
    anchor_sample: int
    splice_sample: int
    num_samples: int
    licence: str
    facts: Mapping[str, Any]

    def seconds(self) -> float:
        """Return how much music the coarsest level holds."""
        level = self.levels[0]
        return level.codes.size * self.hops[level.level] / self.model_rate

    def cut(self, first_second: float, end_second: float | None) -> tuple[LevelCodes, ...]:
        """Return the codes of a stretch, on the grid of the coarsest level.

        Raises:
            InvalidRequestError: The stretch holds no code, or leaves the file.
        """
        unit = self.hops[self.levels[0].level]
        last = self.seconds()
        end = last if end_second is None else end_second
        if not 0 <= first_second < end <= last + unit / self.model_rate:
            raise InvalidRequestError(
                f"seconds {first_second:g} to {end:g} are asked for, the codes last {last:.3f} s"
            )
        first = int(first_second * self.model_rate) // unit
        frames = -(-int(end * self.model_rate) // unit)
        cut: list[LevelCodes] = []
        for level in self.levels:
            ratio = unit // self.hops[level.level]
            codes = level.codes[first * ratio : frames * ratio]
            if codes.size:
                cut.append(LevelCodes(level=level.level, codes=codes))
        return tuple(cut)


def to_bytes(file: CodesFile) -> bytes:
    """Return the file's bytes: the same for the same codes."""
    facts = {
        name: getattr(file, name)
        for name in CodesFile.__dataclass_fields__
        if name not in ("levels", "facts")
    }
    text = json.dumps({"format": FORMAT, **facts, "facts": dict(file.facts)}, sort_keys=True)
    arrays = {_TENSOR.format(level.level): level.codes for level in file.levels}
    return save(arrays, metadata={_FACTS: text})


def read_codes(path: Path) -> CodesFile:
    """Return the codes of a file.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: It is none of ours, too large, damaged, or of another format.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InvalidRequestError(f"{path} has {size} bytes, the limit is {MAX_FILE_BYTES} bytes")
    try:
        return from_bytes(path.read_bytes())
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{path}: {error}") from error


def from_bytes(data: bytes) -> CodesFile:
    """Return the codes that `to_bytes` wrote.

    Raises:
        InvalidRequestError: The bytes hold no codes of ours.
    """
    try:
        facts = _facts_of(data)
        if facts.pop("format") != FORMAT:
            raise InvalidRequestError(f"the codes are of another format, this one reads {FORMAT}")
        arrays: dict[str, Any] = load(data)
        levels = tuple(
            LevelCodes(level=level, codes=_codes_of(arrays[_TENSOR.format(level)]))
            for level in reversed(range(len(facts["hops"])))
            if _TENSOR.format(level) in arrays
        )
        facts["hops"] = tuple(int(hop) for hop in facts["hops"])
        made = CodesFile(levels=levels, **facts)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InvalidRequestError(f"{len(data)} bytes are no codes of ours: {error}") from error
    _check(made)
    return made


def _facts_of(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if not 0 < size <= min(_MAX_HEADER_BYTES, len(data)):
        raise ValueError(f"the header would have {size} bytes")
    return json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_FACTS])


def _codes_of(array: Any) -> Any:  # noqa: ANN401 - whatever a file holds
    if array.dtype != np.int16 or array.ndim != 1:
        raise ValueError(f"a level holds {array.dtype} of {array.ndim} axes, expected int16 of 1")
    return array


def _check(file: CodesFile) -> None:
    if not file.levels or not all(level.codes.size for level in file.levels):
        raise InvalidRequestError("the codes hold an empty level or none")
    if file.sample_rate not in SAMPLE_RATES or file.model_rate < 1 or min(file.hops) < 1:
        raise InvalidRequestError(
            f"the codes say {file.sample_rate} Hz, the model {file.model_rate} Hz and hops of "
            f"{file.hops} samples, which no model has"
        )
