"""Form as people write it: sections by bars, a value a bar."""

import pytest

from bridge.errors import InvalidRequestError
from bridge.form import curve_of, sections_of
from bridge.ports import Section
from bridge.transport import Meter, steady

WALTZ = steady(48_000, 90, Meter(numerator=3), origin_sample=-7)
BAR = 96_000


def test_sections_follow_each_other_bar_by_bar():
    assert sections_of("A:4, B:1.5,A:4@0.25", WALTZ, -7) == (
        Section(name="A", start_sample=-7, end_sample=4 * BAR - 7),
        Section(name="B", start_sample=4 * BAR - 7, end_sample=11 * BAR // 2 - 7),
        Section(
            name="A",
            start_sample=11 * BAR // 2 - 7,
            end_sample=19 * BAR // 2 - 7,
            similarity=0.25,
        ),
    )
    assert sections_of("", WALTZ, 0) == ()


def test_sections_of_many_bars_keep_to_the_bar_lines():
    odd = steady(44_100, "97.3", Meter(numerator=7, denominator=8))
    sections = sections_of(",".join(["A:1"] * 50), odd, 0)
    lines = odd.bar_lines(0, sections[-1].end_sample)
    assert tuple(section.start_sample for section in sections) == lines


@pytest.mark.parametrize("text", ["A", "A:", ":4", "A:4@", "A:x", "A:0", "A:4,", "A:4@x", "A:-1"])
def test_what_is_no_section_is_refused(text):
    with pytest.raises(InvalidRequestError):
        sections_of(text, WALTZ, 0)


def test_a_curve_is_a_number_a_bar():
    assert curve_of("0, .5,1") == (0.0, 0.5, 1.0)
    assert curve_of("") == ()
    for wrong in ("a", "1,,2", "1;2"):
        with pytest.raises(InvalidRequestError, match="is not a finite number"):
            curve_of(wrong)
