"""Form and curves in words, as people write them on a command line or in a message.

`A:4,B:4,A:4@0.8` are sections by bars, `0.2,0.5,1` is a value a bar. Knows the
tempo map; neither wires nor models.
"""

from fractions import Fraction

from bridge.errors import InvalidRequestError
from bridge.limits import MAX_BARS_OF_CURVES, MAX_SECTIONS, check_count
from bridge.ports import Section
from bridge.transport import TempoMap, exact


def curve_of(text: str) -> tuple[float, ...]:
    """Return a value a bar, written with commas; their range is checked with the request.

    Raises:
        InvalidRequestError: A part that is no number, or too many.
    """
    if not text:
        return ()
    parts = text.split(",")
    check_count("bars of a curve", len(parts), MAX_BARS_OF_CURVES)
    return tuple(float(exact(part.strip())) for part in parts)


def sections_of(text: str, tempo_map: TempoMap, start_sample: int) -> tuple[Section, ...]:
    """Return sections one after the other, the first at a bar line; `@` gives the similarity.

    Args:
        text: `NAME:BARS[@SIMILARITY]`, with commas between.
        tempo_map: Turns bars into samples.
        start_sample: Where the first section begins.

    Raises:
        InvalidRequestError: Another form, too many, or no bars.
    """
    if not text:
        return ()
    parts = text.split(",")
    check_count("sections", len(parts), MAX_SECTIONS)
    sections: list[Section] = []
    bars, end = Fraction(0), start_sample
    for part in parts:
        name, colon, rest = part.strip().partition(":")
        length, at, similarity = rest.partition("@")
        if not (name and colon and length) or (at and not similarity):
            raise InvalidRequestError(
                f"the section {part.strip()[:80]!r} is not written NAME:BARS[@SIMILARITY]"
            )
        bars += exact(length)
        begin, end = end, start_sample + tempo_map.num_samples_of_bars(bars, start_sample)
        sections.append(
            Section(
                name=name,
                start_sample=begin,
                end_sample=end,
                similarity=float(exact(similarity)) if at else 1.0,
            )
        )
    return tuple(sections)
