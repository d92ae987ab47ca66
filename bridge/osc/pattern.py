"""Address patterns of OSC 1.0, and the `//` of OSC 1.1: which addresses a pattern names.

`?` is any character, `*` any number of them, `[a-f]` and `[!a-f]` one of a set,
`{one,two}` one of some words; none of them crosses a `/`. `//` is any number of
folders. Matching takes time in proportion to pattern times address, whatever
the pattern, so that no stranger's pattern can hold the server up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from bridge.errors import InvalidRequestError

SPECIAL: Final = frozenset("?*[]{}")
MAX_PATTERN_CHARACTERS: Final = 256

_Step: TypeAlias = Callable[[str, frozenset[int]], frozenset[int]]
"""From the places reached in a text to those reached one token later."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern, read once; `None` among its parts stands for any number of folders."""

    parts: tuple[tuple[_Step, ...] | None, ...]

    def matches(self, address: str) -> bool:
        """Return whether the pattern names this address."""
        folders = address.split("/")
        places = frozenset({0})
        for part in self.parts:
            if part is None:
                places = frozenset(range(min(places, default=len(folders) + 1), len(folders) + 1))
            else:
                places = frozenset(
                    place + 1
                    for place in places
                    if place < len(folders) and _part_matches(part, folders[place])
                )
        return len(folders) in places


def is_pattern(address: str) -> bool:
    """Return whether an address is one that may name several."""
    return "//" in address or not SPECIAL.isdisjoint(address)


def parse_pattern(text: str) -> Pattern:
    """Return the pattern that a text spells.

    Raises:
        InvalidRequestError: Too long, or a bracket without its other half.
    """
    if len(text) > MAX_PATTERN_CHARACTERS:
        raise InvalidRequestError(
            f"the address pattern has {len(text)} characters, "
            f"the limit is {MAX_PATTERN_CHARACTERS} characters"
        )
    first, *rest = text.split("/")
    parts: list[tuple[_Step, ...] | None] = [tuple(_steps_of(first))]
    parts += [tuple(_steps_of(part)) if part else None for part in rest]
    return Pattern(tuple(parts))


def _part_matches(steps: Iterable[_Step], text: str) -> bool:
    places = frozenset({0})
    for step in steps:
        places = step(text, places)
    return len(text) in places


def _steps_of(part: str) -> list[_Step]:
    steps: list[_Step] = []
    at = 0
    while at < len(part):
        character = part[at]
        if character in "[{":
            inside, at = _bracketed(part, at)
            steps.append(_one_of(inside) if character == "[" else _words(inside.split(",")))
        elif character in "]}":
            raise InvalidRequestError(f"the address pattern {part[:40]!r} closes what is not open")
        else:
            steps.append({"?": _any, "*": _star}.get(character) or _words([character]))
            at += 1
    return steps


def _bracketed(part: str, at: int) -> tuple[str, int]:
    end = part.find({"[": "]", "{": "}"}[part[at]], at)
    if end < 0:
        raise InvalidRequestError(f"the address pattern {part[:40]!r} does not close {part[at]}")
    return part[at + 1 : end], end + 1


def _any(text: str, places: frozenset[int]) -> frozenset[int]:
    return frozenset(place + 1 for place in places if place < len(text))


def _star(text: str, places: frozenset[int]) -> frozenset[int]:
    return frozenset(range(min(places, default=len(text) + 1), len(text) + 1))


def _words(words: list[str]) -> _Step:
    def step(text: str, places: frozenset[int]) -> frozenset[int]:
        return frozenset(
            place + len(word) for place in places for word in words if text.startswith(word, place)
        )

    return step


def _one_of(inside: str) -> _Step:
    negated = inside.startswith("!")
    allowed = _characters(inside[1:] if negated else inside)

    def step(text: str, places: frozenset[int]) -> frozenset[int]:
        return frozenset(
            place + 1
            for place in places
            if place < len(text) and (text[place] in allowed) != negated
        )

    return step


def _characters(inside: str) -> frozenset[str]:
    found: set[str] = set()
    at = 0
    while at < len(inside):
        # A dash at the end is a dash (OSC 1.0).
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            low, high = sorted((ord(inside[at]), ord(inside[at + 2])))
            found.update(map(chr, range(low, min(high, low + 127) + 1)))
            at += 3
        else:
            found.add(inside[at])
            at += 1
    return frozenset(found)
