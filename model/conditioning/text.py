"""Lyrics and names as the published models read them.

Two vocabularies exist: v2 (5B, 5B lyrics and every upsampler) and v3 (the 1B
top). A lyric character is an id from 1 on, 0 is padding. Knows no artists.
"""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from unidecode import unidecode

Characters = Int64[np.ndarray, " characters"]

PADDING = 0
_BEFORE_PLUS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:;!?-"
_AFTER_PLUS = "'\"()[] \t\n"
_NO_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """How one generation of models reads text."""

    version: str
    characters: str
    """Lyric characters in the order of their ids, from 1 on."""
    genre_slots: int
    """Genre words that a label holds at most."""
    plain_names: bool
    """Names become lower-case words of a-z and 0-9 and genres are split into words (v2); else they
    are lower-cased and looked up whole (v3)."""

    def vocabulary(self) -> int:
        """Return how many ids there are, padding included."""
        return len(self.characters) + 1

    def name(self, text: str) -> str:
        """Return a name as the tables spell it.

        Letters with accents are no a-z: they are left out, as in the published tables.
        """
        lower = text.lower()
        return _NO_NAME.sub("_", lower).strip("_") if self.plain_names else lower

    def genre_words(self, text: str) -> tuple[str, ...]:
        """Return what is looked up for a genre."""
        name = self.name(text)
        return tuple(name.split("_")) if self.plain_names else (name,)


V2 = TextRules(
    version="v2",
    characters=f"{_BEFORE_PLUS}+{_AFTER_PLUS}",
    genre_slots=5,
    plain_names=True,
)
V3 = TextRules(
    version="v3",
    characters=_BEFORE_PLUS + _AFTER_PLUS,
    genre_slots=1,
    plain_names=False,
)
RULES = {rules.version: rules for rules in (V2, V3)}


def clean_lyrics(text: str, rules: TextRules) -> str:
    """Return what of a text the model can read, in ASCII; a backslash is a new line."""
    ascii_text = unidecode(text).replace("\\", "\n")
    return "".join(character for character in ascii_text if character in rules.characters)


def character_ids(text: str, rules: TextRules) -> Characters:
    """Return the ids of the characters that the model can read."""
    ids = {character: number for number, character in enumerate(rules.characters, 1)}
    return np.array([ids[character] for character in clean_lyrics(text, rules)], np.int64)
