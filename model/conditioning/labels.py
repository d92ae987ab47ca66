"""What is said about a piece, as the published models take it: ids, places and characters.

Id tables are not part of the project: they come from the user's copy of the
published code, or ids are given by number. Knows no weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from model.conditioning.lyrics import LyricWindow, lyric_window
from model.conditioning.text import RULES, Characters, TextRules
from model.conditioning.timing import Extent, Extents, stacked
from model.config import LabelConfig, PriorConfig
from model.errors import LabelError

UNKNOWN = 0
"""The id of every name that a table does not hold."""
UNUSED = -1
"""What a genre slot holds where there are fewer genres."""
PLACE_FIELDS = 4
"""Total, offset and window in samples, and the artist stand before the genres."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelTables:
    """Names to ids, of one generation of models."""

    rules: TextRules
    artists: Mapping[str, int]
    genres: Mapping[str, int]

    def artist(self, name: str) -> int:
        """Return the id of an artist's name in any spelling."""
        return self.artists.get(self.rules.name(name), UNKNOWN)

    def genre_ids(self, genre: str) -> tuple[int, ...]:
        """Return the ids of a genre's words, as many as there are."""
        return tuple(self.genres.get(word, UNKNOWN) for word in self.rules.genre_words(genre))


def read_tables(folder: Path, version: str) -> LabelTables:
    """Return the tables "v2" or "v3" of a folder: `v2_artist_ids.txt`, `v2_genre_ids.txt`.

    A line is a name, a semicolon and the id; of a name that comes twice the last id counts.

    Raises:
        LabelError: There are no such tables, or a line is none of theirs.
    """
    if version not in RULES:
        raise LabelError(f"label tables {version!r} are unknown, there are {sorted(RULES)}")
    return LabelTables(
        rules=RULES[version],
        artists=_read(folder / f"{version}_artist_ids.txt"),
        genres=_read(folder / f"{version}_genre_ids.txt"),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """All that is said about one piece."""

    artist: int = UNKNOWN
    genres: tuple[int, ...] = (UNKNOWN,)
    lyrics: Characters
    """The whole text; a model without lyrics does not look."""
    total_samples: int
    offset_samples: int = 0
    """Where what is made begins in the piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShape:
    """How many of each a model takes."""

    window_samples: int
    genre_slots: int
    lyric_slots: int


def label_shape(config: PriorConfig, rules: TextRules, hop_samples: int) -> LabelShape:
    """Return what a prior of the published kind takes, at so many samples a code."""
    stack = config.transformer
    separate = config.lyrics.transformer.frames if config.lyrics else 0
    return LabelShape(
        window_samples=(stack.frames - stack.prefix_frames) * hop_samples,
        genre_slots=rules.genre_slots,
        lyric_slots=stack.prefix_frames or separate,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """Labels of one window for each item of a batch."""

    artist: Int[Tensor, " batch"]
    genres: Int[Tensor, "batch slots"]
    extents: Extents
    characters: Int[Tensor, "batch characters"]

    def rows(self) -> Int[Tensor, "batch fields"]:
        """Return the published form: places, artist, genres, characters."""
        places = (
            self.extents.total_samples,
            self.extents.offset_samples,
            self.extents.window_samples,
            self.artist,
        )
        return torch.cat([torch.stack(places, 1), self.genres, self.characters], 1)


def labels_of_rows(rows: Int[Tensor, "batch fields"], genre_slots: int) -> Labels:
    """Return labels from their published form."""
    after = PLACE_FIELDS + genre_slots
    return Labels(
        artist=rows[:, 3],
        genres=rows[:, PLACE_FIELDS:after],
        extents=Extents(
            total_samples=rows[:, 0], offset_samples=rows[:, 1], window_samples=rows[:, 2]
        ),
        characters=rows[:, after:],
    )


def labels_of(
    pieces: Sequence[Piece],
    shape: LabelShape,
    start_samples: int = 0,
    *,
    single: bool = True,
) -> tuple[Labels, tuple[LyricWindow, ...]]:
    """Return the labels of the window that begins so far into what is made, and its lyrics.

    `single` is the sampler's way to place lyrics (`lyrics.lyric_window`).

    Raises:
        LabelError: A piece has more genres than there are slots.
        WindowError: A window begins outside of its piece, or the number of characters is odd.
    """
    extents = [
        Extent(
            total_samples=piece.total_samples,
            offset_samples=piece.offset_samples + start_samples,
            window_samples=shape.window_samples,
        )
        for piece in pieces
    ]
    windows = tuple(
        lyric_window(piece.lyrics, shape.lyric_slots, extent, single=single)
        for piece, extent in zip(pieces, extents, strict=True)
    )
    labels = Labels(
        artist=torch.tensor([piece.artist for piece in pieces]),
        genres=torch.tensor([_slots(piece.genres, shape.genre_slots) for piece in pieces]),
        extents=stacked(extents),
        characters=torch.as_tensor(np.stack([window.ids for window in windows])),
    )
    return labels, windows


def check_labels(labels: Labels, config: LabelConfig) -> None:
    """Pass if the tables have a row for every id.

    Raises:
        LabelError: An artist or a genre has none.
    """
    for name, ids, least, rows in (
        ("artist", labels.artist, 0, config.artists),
        ("genre", labels.genres, UNUSED, config.genres),
    ):
        wrong = ids[(ids < least) | (ids >= rows)]
        if len(wrong):
            raise LabelError(f"the {name}'s id is {int(wrong[0])}, this model has {rows} rows")


def _slots(genres: tuple[int, ...], slots: int) -> list[int]:
    if len(genres) > slots:
        raise LabelError(f"{len(genres)} genres are given, this model takes at most {slots}")
    return [*genres, *[UNUSED] * (slots - len(genres))]


def _read(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"no label table can be read from {path}: {error}") from error
    table: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name, separator, row = line.strip().rpartition(";")
        if not separator or not row.isdecimal():
            raise LabelError(f"line {number} of {path} is {line!r}, expected a name, ';' and an id")
        table[name.lower()] = int(row)
    return table
