"""Published text: names, characters, and which lyrics a window hears."""

import json
import zlib

import numpy as np
import pytest

from model.conditioning.labels import LabelTables, Piece, label_shape, labels_of
from model.conditioning.lyrics import lyric_window
from model.conditioning.text import RULES, V2, V3, character_ids, clean_lyrics
from model.conditioning.timing import Extent
from model.errors import WindowError
from model.released import RELEASED, VQVAE
from tests.vectors import documents, files_of

LABELLERS = {
    "top_5b": ("prior_5b", 2),
    "top_5b_lyrics": ("prior_5b_lyrics", 2),
    "top_1b_lyrics": ("prior_1b_lyrics", 2),
    "up0": ("upsampler_level_0", 0),
    "up1": ("upsampler_level_1", 1),
}
"""The released model and level by the name that `labeller.json` gives it."""


@files_of("text")
def test_text_is_cleaned_and_numbered_as_published(document):
    for row in document.content:
        for version, rules in RULES.items():
            if version in row:
                assert clean_lyrics(row["text"], rules) == row[version]["clean"], row["text"]
                assert character_ids(row["text"], rules).tolist() == row[version]["ids"]


def full_text(seed, length):
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{seed}.full{length}".encode())))
    return generator.integers(1, 80, size=length)


@files_of("lyric_windows")
def test_a_window_hears_the_published_characters_in_both_precisions(document):
    for row in document.content["rows"]:
        text = full_text(document.content["seed"], row["n_full"])
        extent = Extent(
            total_samples=row["total_length"],
            offset_samples=row["offset"],
            window_samples=row["duration"],
        )
        for key, single in (("python", False), ("tensor", True)):
            expected = row[key]
            if expected == "AssertionError":
                with pytest.raises(WindowError, match=f"{row['offset']}|is odd"):
                    lyric_window(text, row["n_tokens"], extent, single=single)
                continue
            made = lyric_window(text, row["n_tokens"], extent, single=single)
            assert made.indices[0] == expected["first_index"], row
            assert made.indices[-1] == expected["last_index"], row
            if "tokens" in expected:
                assert made.ids.tolist() == expected["tokens"], row
                assert (made.indices == -1).sum() == expected["pads"], row


@files_of("artist_genre")
def test_names_find_their_published_ids(document, tables):
    for version, looked_up in document.content.items():
        table = tables[version]
        for name, number in looked_up["artist"]:
            assert table.artist(name) == number, name
        for genre, ids in looked_up["genre"]:
            assert list(table.genre_ids(genre)) == ids, genre
        config = RELEASED["prior_5b" if version == "v2" else "prior_1b_lyrics"].labels
        assert looked_up["max_artist_id"] < config.artists
        assert looked_up["max_genre_id"] < config.genres


@files_of("labeller")
def test_what_is_said_about_a_piece_becomes_the_published_row(document, tables):
    for row in document.content:
        rules = rules_of(row)
        name, level = LABELLERS[row["labeller"]]
        table, lyrics = tables[rules.version], character_ids(row["lyrics"], rules)
        assert len(lyrics) == row["n_full_tokens"]
        piece = Piece(
            artist=table.artist(row["artist"]),
            genres=table.genre_ids(row["genre"]),
            lyrics=lyrics,
            total_samples=row["total_length"],
            offset_samples=row["offset"],
        )
        shape = label_shape(RELEASED[name], rules, VQVAE.hop(level))
        labels, _ = labels_of([piece], shape, single=False)
        assert labels.rows()[0].tolist() == row["y"]


@pytest.fixture(scope="module")
def tables():
    """Return the published tables as far as look-ups and recorded labels tell their entries."""
    found = {version: ({}, {}) for version in RULES}
    for path in documents():
        content = json.loads(path.read_text("utf-8"))
        if path.stem.startswith("artist_genre"):
            for version, looked_up in content.items():
                learn(found[version], RULES[version], looked_up["artist"], looked_up["genre"])
        if path.stem.startswith("labeller"):
            for row in content:
                rules = rules_of(row)
                ids = [number for number in row["y"][4 : 4 + rules.genre_slots] if number >= 0]
                artist = [(row["artist"], row["y"][3])]
                learn(found[rules.version], rules, artist, [(row["genre"], ids)])
    return {
        version: LabelTables(rules=RULES[version], artists=artists, genres=genres)
        for version, (artists, genres) in found.items()
    }


def learn(found, rules, artists, genres):
    found[0].update({rules.name(name): number for name, number in artists if number})
    for genre, ids in genres:
        words = rules.genre_words(genre)
        found[1].update({word: row for word, row in zip(words, ids, strict=True) if row})


def rules_of(row):
    return V3 if "1b" in row["labeller"] else V2
