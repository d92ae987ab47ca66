"""Names and words of recordings as ids: tables that are given, or made from the recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model.conditioning.labels import UNKNOWN, LabelTables, Piece
from model.conditioning.text import TextRules, character_ids
from model.config import LabelConfig
from model.errors import TrainingError
from model.training.published.clips import Clip
from model.training.published.recordings import Name, Recording


def tables_of(recordings: Sequence[Recording], rules: TextRules) -> LabelTables:
    """Return tables of all names that recordings have, sorted, from id 1 on; 0 is unknown."""
    artists = {rules.name(name) for one in recordings if isinstance(name := one.artist, str)}
    words = {
        word
        for one in recordings
        for name in one.genres
        if isinstance(name, str)
        for word in rules.genre_words(name)
    }
    return LabelTables(rules=rules, artists=_numbered(artists), genres=_numbered(words))


def _numbered(names: set[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(names - {""}), 1)}


def rows_needed(recordings: Sequence[Recording], tables: LabelTables) -> tuple[int, int]:
    """Return how many artists and genres a model must tell apart, ids of recordings included."""
    artists = [one.artist for one in recordings if isinstance(one.artist, int)]
    genres = [name for one in recordings for name in one.genres if isinstance(name, int)]
    return (
        max([0, *tables.artists.values(), *artists]) + 1,
        max([0, *tables.genres.values(), *genres]) + 1,
    )


def unknown_names(recordings: Sequence[Recording], tables: LabelTables) -> tuple[str, ...]:
    """Return the names that tables do not hold; they count as unknown."""
    found: set[str] = set()
    for one in recordings:
        if isinstance(one.artist, str) and tables.artist(one.artist) == UNKNOWN:
            found.add(one.artist)
        for name in one.genres:
            if isinstance(name, str) and UNKNOWN in tables.genre_ids(name):
                found.add(name)
    return tuple(sorted(found))


def check_labels_of(
    recordings: Sequence[Recording], tables: LabelTables, config: LabelConfig
) -> None:
    """Pass if a model has a row and a slot for every label.

    Raises:
        TrainingError: Names the recording.
    """
    for one in recordings:
        artist, genres = _artist(one.artist, tables), _genres(one.genres, tables)
        for what, ids, rows in (
            ("artist", (artist,), config.artists),
            ("genre", genres, config.genres),
        ):
            wrong = [number for number in ids if number >= rows]
            if wrong:
                raise TrainingError(
                    f"{one.mix.path.name} has the {what}'s id {wrong[0]}, model.{what}s gives the "
                    f"model {rows} rows"
                )
        if len(genres) > tables.rules.genre_slots:
            raise TrainingError(
                f"{one.mix.path.name} has {len(genres)} genres (or words of their names), "
                f"{tables.rules.version} takes at most {tables.rules.genre_slots}"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelling:
    """How recordings are told to a model."""

    tables: LabelTables
    sample_rate: int

    def piece(self, clip: Clip) -> Piece:
        """Return what is said of a clip's piece; what is made begins where the clip does."""
        one = clip.recording
        return Piece(
            artist=_artist(one.artist, self.tables),
            genres=_genres(one.genres, self.tables),
            lyrics=character_ids(one.lyrics, self.tables.rules),
            total_samples=total_samples(one, self.sample_rate),
            offset_samples=round(one.offset_seconds * self.sample_rate) + clip.start_samples,
        )


def total_samples(recording: Recording, sample_rate: int) -> int:
    """Return the length of a recording's whole piece at a rate."""
    if recording.total_seconds is None:
        return recording.mix.samples(sample_rate)
    # The recording's end, rounded up, is never beyond the piece's.
    end = round(recording.offset_seconds * sample_rate) + recording.mix.samples(sample_rate)
    return max(round(recording.total_seconds * sample_rate), end)


def place_fault(recording: Recording, config: LabelConfig) -> str | None:
    """Return why timing cannot tell a recording's place; None if it can."""
    seconds = total_samples(recording, config.sample_rate) / config.sample_rate
    shortest, longest = config.seconds
    if not shortest <= seconds < longest - 1 / config.sample_rate:
        return (
            f"of a piece of {seconds:.2f} s, timing knows {shortest:g} s to below {longest:g} s "
            "(model.shortest_seconds, model.longest_seconds)"
        )
    return None


def as_names(tables: LabelTables) -> Mapping[str, Mapping[str, int]]:
    """Return tables as a model's folder holds them, by kind."""
    return {"artist": dict(tables.artists), "genre": dict(tables.genres)}


def _artist(name: Name | None, tables: LabelTables) -> int:
    if name is None:
        return UNKNOWN
    return name if isinstance(name, int) else tables.artist(name)


def _genres(names: Sequence[Name], tables: LabelTables) -> tuple[int, ...]:
    ids: list[int] = []
    for name in names:
        ids += [name] if isinstance(name, int) else tables.genre_ids(name)
    return tuple(ids) or (UNKNOWN,)
