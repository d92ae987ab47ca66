"""Text as published models read it: ASCII, known characters alone, ids from 1."""

import pytest

from model.conditioning.text import RULES, V2, V3, character_ids, clean_lyrics


def test_the_vocabularies_have_80_and_79_entries_and_no_character_twice():
    assert [rules.vocabulary() for rules in (V2, V3)] == [80, 79]
    for rules in RULES.values():
        assert len(set(rules.characters)) == len(rules.characters)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Naïve café, “so”!", 'Naive cafe, "so"!'),
        ("a\\b\r\nc", "a\nb\nc"),
        ("50% <b>_x_</b> {y}", "50 bxb y"),
        ("", ""),
    ],
)
def test_what_a_model_cannot_read_is_left_out(text, clean):
    assert clean_lyrics(text, V2) == clean


def test_v3_alone_has_no_plus_and_what_follows_it_moves_down():
    assert character_ids("a+'", V2).tolist() == [27, 70, 71]
    assert character_ids("a+'", V3).tolist() == [27, 70]
    assert character_ids("", V3).shape == (0,)
