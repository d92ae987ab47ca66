"""OSC packets to messages and back, and arguments to values.

Strict where a slip would lose something (torn padding, bytes left over, tags
that no address takes), tolerant where clients differ: a number may come as any
numeric type or as text, a message may lack its type tags, and an address may
begin with `#` (Ardour answers at `#reply`). Hosts and control surfaces each send
but a few of the types (Pd and TouchOSC floats only). Impulse and nil carry no
value and are no argument. Knows no address and no engine.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from pythonosc.osc_message_builder import OscMessageBuilder

from bridge.errors import InvalidRequestError
from bridge.messages import decimal_of
from bridge.transport import exact

MAX_BUNDLE_DEPTH = 4
MAX_BUNDLE_MESSAGES = 64
FLOAT_LIMIT = 2**24
"""Whole numbers below it are exact in a float32."""
DOUBLE_LIMIT = 2**53
IMMEDIATELY = 1
"""The timetag that means now (OSC 1.0)."""
NTP_OF_UNIX = 2_208_988_800
"""Seconds from 1900, where timetags start, to 1970."""

_BUNDLE = b"#bundle\0"
_FIXED = {"i": ">i", "h": ">q", "f": ">f", "d": ">d"}
_FLAGS = {"T": True, "F": False}
_EMPTY = ("I", "N")
_YES_OR_NO = {"1": True, "0": False, "true": True, "false": False, "on": True, "off": False}
_WHOLE = re.compile(r"[+-]?\d{1,20}")

Value: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its type tag and its value."""

    tag: str
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; `due_seconds` is the Unix time it is meant for, None is now."""

    address: str
    arguments: tuple[Argument, ...] = ()
    due_seconds: float | None = None


def decode(datagram: bytes) -> tuple[Message, ...]:
    """Return the messages of a datagram, those of bundles in order.

    Raises:
        InvalidRequestError: Not OSC, torn, too deep or too many.
    """
    messages = _elements(datagram, None, 0)
    if len(messages) > MAX_BUNDLE_MESSAGES:
        raise InvalidRequestError(
            f"the bundle holds {len(messages)} messages, the limit is {MAX_BUNDLE_MESSAGES}"
        )
    return tuple(messages)


def encode(address: str, arguments: Sequence[Argument]) -> bytes:
    """Return a message as a datagram."""
    builder = OscMessageBuilder(address=address)
    for argument in arguments:
        builder.add_arg(argument.value, argument.tag)
    return builder.build().dgram


def text_of(argument: Argument, name: str) -> str:
    """Return text; a whole number stands for its digits.

    Raises:
        InvalidRequestError: A flag, or a number with a fraction.
    """
    if isinstance(argument.value, str):
        return argument.value
    return str(whole_of(argument, name))


def number_of(argument: Argument, name: str) -> Fraction:
    """Return a number exactly; a float32 means the shortest decimal that it stands for.

    Raises:
        InvalidRequestError: A flag, text that is no number, infinity or NaN.
    """
    value = argument.value
    if isinstance(value, bool):
        raise InvalidRequestError(f"{name} is {value}, a number is needed")
    try:
        if isinstance(value, float) and argument.tag == "f":
            value = decimal_of(value)
        return exact(value)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{name}: {error}") from error


def whole_of(argument: Argument, name: str) -> int:
    """Return a whole number; a float must be small enough to be exact.

    Raises:
        InvalidRequestError: A flag, a fraction, a float too large to be exact, or other text.
    """
    value = argument.value
    if isinstance(value, bool):
        raise InvalidRequestError(f"{name} is {value}, a whole number is needed")
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value):
            raise InvalidRequestError(f"{name} is {value[:40]!r}, a whole number is needed")
        return int(value)
    limit = FLOAT_LIMIT if argument.tag == "f" else DOUBLE_LIMIT
    if not (abs(value) < limit and value.is_integer()):
        raise InvalidRequestError(
            f"{name} is {value:g} in a float of type {argument.tag}, which is exact for whole "
            f"numbers below {limit}; send it as int64 or as text"
        )
    return int(value)


def flag_of(argument: Argument, name: str) -> bool:
    """Return a yes or no; 1 and 0 of any type stand for them, and on, off, true and false.

    Raises:
        InvalidRequestError: Anything else.
    """
    value = argument.value
    if isinstance(value, str) and value.lower() in _YES_OR_NO:
        return _YES_OR_NO[value.lower()]
    if value not in (0, 1):
        raise InvalidRequestError(f"{name} is {str(value)[:40]!r}, allowed are 0 and 1, T and F")
    return bool(value)


def _elements(data: bytes, due_seconds: float | None, depth: int) -> list[Message]:
    if not data.startswith(_BUNDLE):
        return [_message(data, due_seconds)]
    if depth >= MAX_BUNDLE_DEPTH:
        raise InvalidRequestError(
            f"bundles lie more than {MAX_BUNDLE_DEPTH} deep, the limit is {MAX_BUNDLE_DEPTH}"
        )
    timetag: int = _unpack(">Q", data, len(_BUNDLE))
    due_seconds = None if timetag == IMMEDIATELY else timetag / 2**32 - NTP_OF_UNIX
    messages: list[Message] = []
    at = len(_BUNDLE) + 8
    while at < len(data):
        size: int = _unpack(">i", data, at)
        at += 4
        if not 0 < size <= len(data) - at:
            raise InvalidRequestError(
                f"a bundle element claims {size} bytes, {len(data) - at} bytes are left"
            )
        messages += _elements(data[at : at + size], due_seconds, depth + 1)
        at += size
    return messages


def _message(data: bytes, due_seconds: float | None) -> Message:
    address, at = _text(data, 0)
    if not address.startswith(("/", "#")):
        raise InvalidRequestError(f"the address is {address[:40]!r}, it must begin with /")
    if at == len(data):
        return Message(address=address, due_seconds=due_seconds)
    tags, at = _text(data, at)
    if not tags.startswith(","):
        raise InvalidRequestError(f"the type tags are {tags[:40]!r}, they must begin with a comma")
    arguments: list[Argument] = []
    for tag in tags[1:]:
        if tag not in _EMPTY:
            value, at = _value(tag, data, at)
            arguments.append(Argument(tag, value))
    if at != len(data):
        raise InvalidRequestError(f"{len(data) - at} bytes follow the last argument, 0 are allowed")
    return Message(address=address, arguments=tuple(arguments), due_seconds=due_seconds)


def _value(tag: str, data: bytes, at: int) -> tuple[Value, int]:
    if tag in ("s", "S"):
        return _text(data, at)
    if tag in _FLAGS:
        return _FLAGS[tag], at
    if tag in _FIXED:
        return _unpack(_FIXED[tag], data, at), at + struct.calcsize(_FIXED[tag])
    raise InvalidRequestError(f"an argument has type tag {tag!r}, allowed are i h f d s S T F I N")


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    padded = end + 4 - (end - at) % 4
    if end < 0 or padded > len(data):
        raise InvalidRequestError(
            f"the text at byte {at} does not end within the {len(data)} bytes of its message"
        )
    try:
        return data[at:end].decode("utf-8"), padded
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the text at byte {at} is not UTF-8") from error


def _unpack(form: str, data: bytes, at: int) -> Any:  # noqa: ANN401 - what the form says
    try:
        return struct.unpack_from(form, data, at)[0]
    except struct.error as error:
        raise InvalidRequestError(
            f"{struct.calcsize(form)} bytes are due at byte {at}, the message has {len(data)} bytes"
        ) from error
