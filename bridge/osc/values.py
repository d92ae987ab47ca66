"""What an argument is, as data: its type, its unit, its range; and how one is read by that.

The same values check a message, write the documentation and describe the
namespace to OSCQuery. Knows no address and no engine.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bridge.errors import InvalidRequestError
from bridge.limits import MAX_ID_CHARACTERS, MAX_POSITION_SAMPLES, PLAN_RANGES
from bridge.osc.packet import Argument, flag_of, number_of, text_of, whole_of
from bridge.ports import Quality, StemKind
from bridge.transport import MAX_BARS, MAX_BPM, MIN_BPM, parse_meter

MAX_PATH_CHARACTERS: Final = 4_096
MIN_BARS: Final = 0.001


class Kind(StrEnum):
    """What a value is; the type tags that may carry it are the reader's business."""

    TEXT = "text"
    WORD = "word"
    WHOLE = "whole"
    LARGE = "large"
    """A whole number that 64 bits with a sign may not hold: text in answers."""
    REAL = "real"
    EXACT = "exact"
    """A fraction, read without rounding: tempo and bars decide single samples."""
    FLAG = "flag"
    METER = "meter"


TAG_OF: Final = {
    Kind.TEXT: "s",
    Kind.WORD: "s",
    Kind.WHOLE: "h",
    Kind.LARGE: "s",
    Kind.REAL: "d",
    Kind.EXACT: "d",
    Kind.FLAG: "T",
    Kind.METER: "s",
}
"""The type tag that a kind has in answers and in OSCQuery's TYPE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument.

    Attributes:
        name: Its name; a key, where it may come as key and value.
        kind: What it is.
        does: What it is for.
        unit: Of the number; empty if it has none.
        least: The least number, or the least count of characters.
        greatest: The greatest number, or the greatest count of characters.
        words: The values of a word.
        clears: Whether an empty text stands for no value.
    """

    name: str
    kind: Kind
    does: str
    unit: str = ""
    least: float | None = None
    greatest: float | None = None
    words: tuple[str, ...] = ()
    clears: bool = False

    @property
    def tag(self) -> str:
        """Return the type tag in answers."""
        return TAG_OF[self.kind]


def read(parameter: Parameter, argument: Argument) -> Any:  # noqa: ANN401 - what its kind says
    """Return an argument's value.

    Raises:
        InvalidRequestError: Another type, or a value outside the range.
    """
    if parameter.clears and argument.value == "":
        return None
    value = _READERS[parameter.kind](argument, parameter.name)
    if parameter.words and value not in parameter.words:
        raise InvalidRequestError(
            f"{parameter.name} is {str(value)[:40]!r}, known are {', '.join(parameter.words)}",
            field=parameter.name,
        )
    _check_range(parameter, value)
    return value


def write(parameter: Parameter, value: Any) -> Argument:  # noqa: ANN401 - what its kind says
    """Return a value as an argument of an answer."""
    match parameter.kind:
        case Kind.FLAG:
            return Argument("T" if value else "F", bool(value))
        case Kind.WHOLE:
            return Argument("h", int(value))
        case Kind.REAL | Kind.EXACT:
            return Argument("d", float(value))
        case _:
            return Argument("s", "" if value is None else str(value))


def read_all(
    arguments: Sequence[Argument],
    parameters: Sequence[Parameter],
    optional: Sequence[Parameter] = (),
    options: Sequence[Parameter] = (),
) -> dict[str, Any]:
    """Return the values by name: parameters in order, then optional ones, then key-value pairs.

    The first key ends the optional ones, so that they need not all be there.

    Raises:
        InvalidRequestError: Too few or too many, a key twice or unknown, or a value refused.
    """
    if len(arguments) < len(parameters):
        form = " ".join(parameter.name for parameter in parameters)
        raise InvalidRequestError(
            f"{len(arguments)} arguments came, {len(parameters)} are needed: {form}"
        )
    keys = {option.name: option for option in options}
    placed = list(zip(parameters, arguments, strict=False))
    rest = arguments[len(placed) :]
    for parameter in optional:
        if not rest or rest[0].value in keys:
            break
        placed.append((parameter, rest[0]))
        rest = rest[1:]
    if rest and not options:
        names = " ".join(parameter.name for parameter in (*parameters, *optional))
        raise InvalidRequestError(
            f"{len(arguments)} arguments came, the limit is {len(placed)}: {names}"
        )
    values = {parameter.name: read(parameter, argument) for parameter, argument in placed}
    return _with_pairs(values, rest, keys)


def _with_pairs(
    values: dict[str, Any], arguments: Sequence[Argument], options: Mapping[str, Parameter]
) -> dict[str, Any]:
    if len(arguments) % 2:
        raise InvalidRequestError(
            f"{len(arguments)} arguments follow the fixed ones, keys and values come in pairs"
        )
    for key, argument in zip(arguments[::2], arguments[1::2], strict=True):
        name = text_of(key, "a key")
        if name not in options:
            raise InvalidRequestError(
                f"the key {name[:40]!r} is unknown, known: {', '.join(options)}"
            )
        if name in values:
            raise InvalidRequestError(f"the key {name} came twice, once is allowed", field=name)
        values[name] = read(options[name], argument)
    return values


def _check_range(parameter: Parameter, value: Any) -> None:  # noqa: ANN401 - what its kind says
    if parameter.least is None or parameter.greatest is None:
        return
    if parameter.kind is Kind.TEXT:
        number, what, unit = len(value), f"{parameter.name} has", "characters"
    else:
        number, what, unit = value, f"{parameter.name} is", parameter.unit
    if not parameter.least <= number <= parameter.greatest:
        raise InvalidRequestError(
            f"{what} {_spelt(number)}, allowed are {_spelt(parameter.least)} to "
            f"{_spelt(parameter.greatest)} {unit}".rstrip(),
            field=parameter.name,
        )


def _spelt(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{float(number):g}"


def _real_of(argument: Argument, name: str) -> float:
    number = float(number_of(argument, name))
    assert math.isfinite(number), "number_of refuses what is not finite"
    return number


def _meter_of(argument: Argument, name: str) -> str:
    meter = text_of(argument, name)
    parse_meter(meter)
    return meter


_READERS: Final = {
    Kind.TEXT: text_of,
    Kind.WORD: text_of,
    Kind.WHOLE: whole_of,
    Kind.LARGE: whole_of,
    Kind.REAL: _real_of,
    Kind.EXACT: number_of,
    Kind.FLAG: flag_of,
    Kind.METER: _meter_of,
}


def text(name: str, does: str, longest: int = MAX_PATH_CHARACTERS) -> Parameter:
    """Return a text, which may be empty."""
    return Parameter(name=name, kind=Kind.TEXT, does=does, least=0, greatest=longest)


def name_of(name: str, does: str) -> Parameter:
    """Return a name of something: a text that is not empty."""
    return Parameter(name=name, kind=Kind.TEXT, does=does, least=1, greatest=MAX_ID_CHARACTERS)


def word(name: str, does: str, words: Sequence[str]) -> Parameter:
    """Return one of some words."""
    return Parameter(name=name, kind=Kind.WORD, does=does, words=tuple(map(str, words)))


def position(name: str, does: str) -> Parameter:
    """Return a place on the session's timeline."""
    limit = MAX_POSITION_SAMPLES
    return Parameter(
        name=name, kind=Kind.WHOLE, does=does, unit="samples", least=-limit, greatest=limit
    )


def flag(name: str, does: str) -> Parameter:
    """Return a yes or no."""
    return Parameter(name=name, kind=Kind.FLAG, does=does)


def number(name: str, kind: Kind, does: str, least: float, greatest: float) -> Parameter:
    """Return a number without a unit, within its range."""
    return Parameter(name=name, kind=kind, does=does, least=least, greatest=greatest)


def _plan(name: str, kind: Kind, does: str) -> Parameter:
    ranges = {named: (least, greatest) for named, least, greatest in PLAN_RANGES}
    return number(name, kind, does, *ranges[name])


ID: Final = name_of("id", "the caller's name for the request")
TEMPO: Final = Parameter(
    name="tempo_bpm",
    kind=Kind.EXACT,
    does="quarter notes a minute",
    unit="bpm",
    least=MIN_BPM,
    greatest=MAX_BPM,
)
METER: Final = Parameter(name="meter", kind=Kind.METER, does="time signature, such as 4/4")
BARS: Final = Parameter(
    name="bars",
    kind=Kind.EXACT,
    does="length of the result",
    unit="bars",
    least=MIN_BARS,
    greatest=MAX_BARS,
)
SEED: Final = _plan("seed", Kind.LARGE, "fixes every draw; drawn if absent")
VARIATION: Final = _plan("variation", Kind.WHOLE, "another take of the same seed")
QUALITY: Final = word("quality", "the sampler", tuple(Quality))
TARGET: Final = word(
    "target", "the part wanted; beside stems the prime is this part alone", tuple(StemKind)
)
MODEL: Final = text("model", "a name of /jukebox/models; empty is the default", MAX_ID_CHARACTERS)
ARTIST: Final = text("artist", "a label of the model; empty leaves it the choice", 256)
GENRE: Final = text("genre", "a label of the model; empty leaves it the choice", 256)
TEMPERATURE: Final = _plan("temperature", Kind.REAL, "of the draws; 1 is the model's own")
TOP_P: Final = _plan("top_p", Kind.REAL, "probability kept; 1 is off")
TOP_K: Final = _plan("top_k", Kind.WHOLE, "codes kept; 0 is off")
GUIDANCE: Final = _plan("guidance", Kind.REAL, "weight of the conditions; 1 is off")
PASSES: Final = _plan("passes", Kind.WHOLE, "refinement passes; 0 is the model's default")
REPRISE: Final = flag("reprise", "whether what was heard may sound again where no notes are told")
PLAN: Final = (SEED, QUALITY, VARIATION, TEMPERATURE, TOP_P, TOP_K, GUIDANCE, PASSES, REPRISE)
