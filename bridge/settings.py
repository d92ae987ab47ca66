"""What a setting may be: how a value of a file or of a flag is read, checked and written.

A kind reads what TOML gives, refuses with the value, the limit and the unit, and
says in words what is allowed. Knows no setting by name and no file.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Protocol,
    TypeAlias,
    cast,
    get_origin,
    get_type_hints,
)

from bridge.errors import InvalidRequestError

OFF: Final = "off"
_SHOWN_CHARACTERS: Final = 80

Raw: TypeAlias = object
"""A value as TOML gives it."""


class Kind(Protocol):
    """One kind of value."""

    def read(self, raw: Raw, name: str, folder: Path) -> Any:  # noqa: ANN401 - by kind
        """Return the value; a relative path counts from the folder.

        Raises:
            InvalidRequestError: Another kind of value, or outside the limits.
        """
        ...

    def raw_of(self, text: str) -> Raw:
        """Return what a flag's word means, as TOML would have given it.

        Raises:
            ValueError: It means nothing of this kind.
        """
        ...

    def check(self, value: Any, name: str) -> None:  # noqa: ANN401 - by kind
        """Refuse a value outside the limits.

        Raises:
            InvalidRequestError: It is outside.
        """
        ...

    def allowed(self) -> str:
        """Return in words what is allowed, with the unit."""
        ...

    def written(self, value: Any) -> str:  # noqa: ANN401 - by kind
        """Return the value as TOML."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting's place in the file, its flag, and what it is for.

    Attributes:
        name: Section and key, `server.port`, as messages and documents say it.
        kind: What it may be.
        does: What it is for.
        flag: Of the command line; none if empty.
    """

    name: str
    kind: Kind
    does: str
    flag: str = ""

    @property
    def section(self) -> str:
        """Return the table of the file that it stands in."""
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        """Return its key there."""
        return self.name.partition(".")[2]


def settings_of(kind: type) -> Mapping[str, Setting]:
    """Return the settings that the fields of a dataclass are annotated with, by field."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: hint.__metadata__[0]
        for name, hint in hints.items()
        if get_origin(hint) is Annotated and isinstance(hint.__metadata__[0], Setting)
    }


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within limits."""

    least: int
    greatest: int
    unit: str = ""

    def read(self, raw: Raw, name: str, folder: Path) -> int:
        """Return the number."""
        del folder
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise _wrong_kind(name, raw, "a whole number")
        self.check(raw, name)
        return raw

    def raw_of(self, text: str) -> Raw:
        """Return the number that a word means."""
        return int(text)

    def check(self, value: Any, name: str) -> None:  # noqa: ANN401 - by kind
        """Refuse a number outside the limits."""
        if not self.least <= value <= self.greatest:
            raise InvalidRequestError(f"{name} is {value}, allowed are {self.allowed()}")

    def allowed(self) -> str:
        """Return the limits and the unit."""
        return f"{self.least} to {self.greatest} {self.unit}".rstrip()

    def written(self, value: Any) -> str:  # noqa: ANN401 - by kind
        """Return the number as TOML."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Real:
    """A finite number within limits."""

    least: float
    greatest: float
    unit: str = ""

    def read(self, raw: Raw, name: str, folder: Path) -> float:
        """Return the number; a whole one will do."""
        del folder
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise _wrong_kind(name, raw, "a number")
        self.check(raw, name)
        return float(raw)

    def raw_of(self, text: str) -> Raw:
        """Return the number that a word means."""
        return float(text)

    def check(self, value: Any, name: str) -> None:  # noqa: ANN401 - by kind
        """Refuse a number outside the limits, and what is no number."""
        if not (math.isfinite(value) and self.least <= value <= self.greatest):
            raise InvalidRequestError(f"{name} is {value:g}, allowed are {self.allowed()}")

    def allowed(self) -> str:
        """Return the limits and the unit."""
        return f"{self.least:g} to {self.greatest:g} {self.unit}".rstrip()

    def written(self, value: Any) -> str:  # noqa: ANN401 - by kind
        """Return the number as TOML."""
        return repr(float(value))


@dataclass(frozen=True, slots=True)
class Switch:
    """True or false."""

    def read(self, raw: Raw, name: str, folder: Path) -> bool:
        """Return whether it is on."""
        del folder
        if not isinstance(raw, bool):
            raise _wrong_kind(name, raw, self.allowed())
        return raw

    def raw_of(self, text: str) -> Raw:
        """Return what the word says."""
        words = {"true": True, "false": False}
        if text not in words:
            raise ValueError(text)
        return words[text]

    def check(self, value: Any, name: str) -> None:  # noqa: ANN401 - by kind
        """Refuse what is neither."""
        self.read(value, name, Path())

    def allowed(self) -> str:
        """Return both words."""
        return "true or false"

    def written(self, value: Any) -> str:  # noqa: ANN401 - by kind
        """Return the word of TOML."""
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is not empty, or one of a few words."""

    words: tuple[str, ...] = ()
    means: str = "text"

    def read(self, raw: Raw, name: str, folder: Path) -> str:
        """Return the text."""
        del folder
        if not isinstance(raw, str):
            raise _wrong_kind(name, raw, "text")
        self.check(raw, name)
        return raw

    def raw_of(self, text: str) -> Raw:
        """Return the word itself."""
        return text

    def check(self, value: Any, name: str) -> None:  # noqa: ANN401 - by kind
        """Refuse nothing at all, and a word that is not known."""
        if (value not in self.words) if self.words else not value:
            raise InvalidRequestError(f"{name} is {value[:80]!r}, allowed: {self.allowed()}")

    def allowed(self) -> str:
        """Return the words."""
        return ", ".join(self.words) or self.means

    def written(self, value: Any) -> str:  # noqa: ANN401 - by kind
        """Return the text as TOML."""
        return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class PathTo:
    """A path; `~` is the user's home."""

    what: str

    def read(self, raw: Raw, name: str, folder: Path) -> Path:
        """Return the path, counted from the folder if it is relative."""
        if not isinstance(raw, str) or not raw or "\0" in raw:
            raise _wrong_kind(name, raw, f"the path of a {self.what}")
        try:
            return folder / Path(raw).expanduser()
        except RuntimeError as error:
            raise InvalidRequestError(f"{name} is {raw[:80]!r}: {error}") from error

    def raw_of(self, text: str) -> Raw:
        """Return the word itself."""
        return text

    def check(self, value: Any, name: str) -> None:  # noqa: ANN401 - by kind
        """Refuse what is no path; whether it exists is seen at the start."""
        if not isinstance(value, Path):
            raise _wrong_kind(name, value, f"the path of a {self.what}")

    def allowed(self) -> str:
        """Return what the path leads to."""
        return f"path of a {self.what}"

    def written(self, value: Any) -> str:  # noqa: ANN401 - by kind
        """Return the path as TOML."""
        return json.dumps(str(value), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class ListOf:
    """Any number of values of one kind, up to a limit."""

    kind: Kind
    greatest: int

    def read(self, raw: Raw, name: str, folder: Path) -> tuple[Any, ...]:
        """Return the values."""
        if not isinstance(raw, list):
            raise _wrong_kind(name, raw, "a list")
        items = cast(list[object], raw)
        self.check(items, name, read=False)
        return tuple(
            self.kind.read(item, f"{name}[{place}]", folder) for place, item in enumerate(items)
        )

    def raw_of(self, text: str) -> Raw:
        """Return a list of one; a flag that is repeated makes it longer."""
        return [self.kind.raw_of(text)]

    def check(self, value: Any, name: str, *, read: bool = True) -> None:  # noqa: ANN401
        """Refuse too many values, or one that is refused itself."""
        if len(value) > self.greatest:
            raise InvalidRequestError(
                f"{name} has {len(value)} entries, the limit is {self.greatest} entries"
            )
        for place, item in enumerate(value if read else ()):
            self.kind.check(item, f"{name}[{place}]")

    def allowed(self) -> str:
        """Return how many of what."""
        return f"list of up to {self.greatest}, each: {self.kind.allowed()}"

    def written(self, value: Any) -> str:  # noqa: ANN401 - by kind
        """Return the list as TOML."""
        return f"[{', '.join(self.kind.written(item) for item in value)}]"


@dataclass(frozen=True, slots=True)
class OrOff:
    """A value, or nothing at all, which is written `off`."""

    kind: Kind

    def read(self, raw: Raw, name: str, folder: Path) -> Any:  # noqa: ANN401 - by kind
        """Return the value; None is off."""
        return None if raw == OFF else self.kind.read(raw, name, folder)

    def raw_of(self, text: str) -> Raw:
        """Return what the word means."""
        return OFF if text == OFF else self.kind.raw_of(text)

    def check(self, value: Any, name: str) -> None:  # noqa: ANN401 - by kind
        """Refuse what the kind refuses; off is always allowed."""
        if value is not None:
            self.kind.check(value, name)

    def allowed(self) -> str:
        """Return what the kind allows, or off."""
        return f'{self.kind.allowed()}, or "{OFF}"'

    def written(self, value: Any) -> str:  # noqa: ANN401 - by kind
        """Return the value as TOML."""
        return json.dumps(OFF) if value is None else self.kind.written(value)


def _wrong_kind(name: str, raw: Raw, wanted: str) -> InvalidRequestError:
    return InvalidRequestError(f"{name} is {str(raw)[:_SHOWN_CHARACTERS]!r}, it must be {wanted}")
