"""A row of the table of addresses, and a message that was read by it.

Knows neither what rows there are nor who carries a call out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

from bridge.errors import BridgeError
from bridge.osc import answers
from bridge.osc.answers import Answer
from bridge.osc.clients import Node, Peer
from bridge.osc.packet import encode
from bridge.osc.render import Verb
from bridge.osc.values import Parameter


class Access(IntEnum):
    """What may be done with an address, as OSCQuery numbers it."""

    READ = 1
    WRITE = 2
    BOTH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One address.

    Attributes:
        address: Where messages go to.
        does: What it does, in words.
        handler: What carries it out; takes the desk and the call.
        access: Whether it holds a value, takes one, or both.
        parameters: Arguments that must be there, in order.
        optional: Arguments that may follow.
        options: Keys that may follow those, each with its value.
        answers: What comes back before done, in words.
        node: The property that it is about, if any.
        verb: The way to make music that it is, if any.
    """

    address: str
    does: str
    handler: "Callable[[Any, Call], Sequence[Answer]]"
    access: Access = Access.WRITE
    parameters: tuple[Parameter, ...] = ()
    optional: tuple[Parameter, ...] = ()
    options: tuple[Parameter, ...] = ()
    answers: str = ""
    node: Node | None = None
    verb: Verb | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A message whose arguments were read."""

    row: Row
    values: Mapping[str, Any]
    peer: Peer
    given_id: str = ""
    due_seconds: float | None = None

    @property
    def reply_port(self) -> int:
        """Return the port that answers go to; 0 is the one that asked."""
        return self.values.get("reply_port", 0)

    def answer(self, said: Sequence[Answer]) -> None:
        """Send answers to whoever asked, one packet each."""
        for one in said:
            self.peer.send(encode(*one), self.reply_port)

    def refuse(self, error: BridgeError) -> None:
        """Tell whoever asked why it was not done."""
        self.answer([answers.failure(self.row.address, self.given_id, error)])


Run: TypeAlias = Callable[[Call], Sequence[Answer]]
