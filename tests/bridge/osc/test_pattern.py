"""Address patterns against addresses, the specification's examples and hostile ones among them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import InvalidRequestError
from bridge.osc.pattern import MAX_PATTERN_CHARACTERS, is_pattern, parse_pattern

NAMED = {
    "/a/b": ["/a/b"],
    "/a/?": ["/a/b", "/a/c"],
    "/a/*": ["/a/b", "/a/c", "/a/bend"],
    "/*/b": ["/a/b", "/x/b"],
    "/a/b*": ["/a/b", "/a/bend"],
    "/a/*d": ["/a/bend"],
    "/a/b*n*": ["/a/bend"],
    "/a/[b-d]": ["/a/b", "/a/c"],
    "/a/[d-b]": ["/a/b", "/a/c"],
    "/a/[!b]": ["/a/c"],
    "/a/[c-]": ["/a/c"],
    "/a/{b,bend}": ["/a/b", "/a/bend"],
    "/a/{b,be}nd": ["/a/bend"],
    "/a/{,b}": ["/a/b"],
    "//b": ["/a/b", "/x/b", "/x/y/b"],
    "/x//b": ["/x/b", "/x/y/b"],
    "/x//*": ["/x/b", "/x/y/b"],
    "/*": [],
    "/a": [],
}
ADDRESSES = ["/a/b", "/a/c", "/a/bend", "/x/b", "/x/y/b"]


@pytest.mark.parametrize("pattern", NAMED)
def test_a_pattern_names_these_addresses_and_no_others(pattern):
    parsed = parse_pattern(pattern)
    assert [address for address in ADDRESSES if parsed.matches(address)] == NAMED[pattern]


@pytest.mark.parametrize("pattern", ["/a/[b", "/a/{b", "/a/b]", "/a/b}", "/[a/b]"])
def test_half_a_bracket_is_refused(pattern):
    with pytest.raises(InvalidRequestError, match="close"):
        parse_pattern(pattern)


def test_a_long_pattern_is_refused():
    with pytest.raises(InvalidRequestError, match=f"the limit is {MAX_PATTERN_CHARACTERS}"):
        parse_pattern("/" + "a" * MAX_PATTERN_CHARACTERS)


def test_what_may_name_several_is_a_pattern():
    assert not is_pattern("/jukebox/session/get/tempo_bpm")
    assert all(is_pattern(text) for text in ("/a?", "/*", "/[a]", "/{a}", "//a"))


def test_a_pattern_made_to_backtrack_still_ends():
    parsed = parse_pattern("/" + "*a" * 120 + "b")
    assert not parsed.matches("/" + "a" * 5_000)


@given(
    pattern=st.text("ab?*", min_size=1, max_size=8), address=st.text("ab", min_size=1, max_size=8)
)
@settings(max_examples=200, deadline=None)
def test_wildcards_mean_what_a_regular_expression_means(pattern, address):
    expression = pattern.replace("?", ".").replace("*", ".*")
    expected = re.fullmatch(expression, address) is not None
    assert parse_pattern(f"/{pattern}").matches(f"/{address}") is expected


@given(text=st.text("/a?*[]{},!-", max_size=20))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_pattern_or_refused(text):
    try:
        parsed = parse_pattern(text)
    except InvalidRequestError:
        return
    assert parsed.matches("/a/a") in (True, False)
