"""From a packet to the rows that it names: all checked first, then run, now or at their time.

A packet is one unit: if a message of a bundle cannot be read, none of its
messages runs, and each is answered. What runs was checked before it waited.
Every packet is answered, but for the answers of others. Knows no socket, and
what a row does is the row's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Final

from bridge.edge import failures_told
from bridge.errors import BridgeError, InvalidRequestError, NotFoundError, NotReadyError
from bridge.osc import answers
from bridge.osc.answers import Answer
from bridge.osc.call import Call, Row, Run
from bridge.osc.clients import Peer
from bridge.osc.packet import Message, decode, encode
from bridge.osc.pattern import is_pattern, parse_pattern
from bridge.osc.schedule import LATE_SECONDS, Schedule
from bridge.osc.values import ID, read_all

MAX_MATCHES: Final = 64
"""Addresses that the patterns of one packet may name."""
MAX_PATTERNS: Final = 256
"""Patterns whose addresses are remembered."""


@dataclass(frozen=True, slots=True)
class _Bad:
    """A message that cannot run, and why."""

    message: Message
    error: BridgeError


class Dispatcher:
    """Reads packets and runs what they ask for."""

    def __init__(self, rows: Sequence[Row], run: Run, schedule: Schedule) -> None:
        """Know the table.

        Args:
            rows: Every address.
            run: Carries a call out; returns its answers or raises a `BridgeError`.
            schedule: Where calls wait for their timetag.
        """
        self._row_of = {row.address: row for row in rows}
        self._run = run
        self._schedule = schedule
        self._named = lru_cache(maxsize=MAX_PATTERNS)(self._match)

    def receive(self, packet: bytes, peer: Peer) -> None:
        """Answer a packet, whatever it is."""
        try:
            messages = decode(packet)
        except BridgeError as error:
            _say(peer, [answers.failure("", "", error)])
            return
        messages = [message for message in messages if not answers.is_answer(message.address)]
        calls, bad = self._read(messages, peer)
        if bad:
            _say(peer, [self._refusal(message, bad) for message in messages])
            return
        for due_seconds, together in groupby(calls, key=lambda call: call.due_seconds):
            self._start(list(together), due_seconds)

    def _read(self, messages: Sequence[Message], peer: Peer) -> tuple[list[Call], list[_Bad]]:
        calls: list[Call] = []
        bad: list[_Bad] = []
        for message in messages:
            try:
                found = self._calls_of(message, peer)
                _check_count(len(calls) + len(found))
                calls += found
            except BridgeError as error:
                bad.append(_Bad(message, error))
        return calls, bad

    def _calls_of(self, message: Message, peer: Peer) -> list[Call]:
        if message.due_seconds is not None:
            self._schedule.check(peer.key, message.due_seconds)
        return [
            Call(
                row=row,
                values=read_all(message.arguments, row.parameters, row.optional, row.options),
                peer=peer,
                given_id=self._id_of(message),
                due_seconds=message.due_seconds,
            )
            for row in self._rows(message.address)
        ]

    def _refusal(self, message: Message, bad: Sequence[_Bad]) -> Answer:
        errors = {id(one.message): one.error for one in bad}
        first = bad[0].message.address[:80]
        error = errors.get(id(message)) or NotReadyError(
            f"not run, since {len(bad)} messages of its bundle are refused, the first {first!r}"
        )
        return answers.failure(message.address, self._id_of(message), error)

    def _id_of(self, message: Message) -> str:
        row = self._row_of.get(message.address)
        named = row is None or ID in (*row.parameters, *row.optional)
        return str(message.arguments[0].value) if named and message.arguments else ""

    def _rows(self, address: str) -> Sequence[Row]:
        if address in self._row_of:
            return [self._row_of[address]]
        found = self._named(address) if is_pattern(address) else ()
        if not found:
            raise NotFoundError(
                f"there is no address {address[:80]!r}; docs/osc.md and OSCQuery list them all"
            )
        return found

    def _match(self, text: str) -> Sequence[Row]:
        pattern = parse_pattern(text)
        return tuple(row for name, row in self._row_of.items() if pattern.matches(name))

    def _start(self, calls: Sequence[Call], due_seconds: float | None) -> None:
        if due_seconds is None:
            self._run_all(calls)
            return
        late_seconds = self._schedule.lateness_seconds(due_seconds)
        if late_seconds < 0:
            self._schedule.add(calls[0].peer.key, due_seconds, lambda: self._run_all(calls))
            return
        if late_seconds > LATE_SECONDS:
            for call in calls:
                _say(call.peer, [answers.late(call.row.address, call.given_id, late_seconds)])
        self._run_all(calls)

    def _run_all(self, calls: Sequence[Call]) -> None:
        for call in calls:
            with failures_told(call.row.address, call.refuse):
                call.answer(self._run(call))


def _check_count(num_calls: int) -> None:
    if num_calls > MAX_MATCHES:
        raise InvalidRequestError(
            f"the packet names {num_calls} addresses, the limit is {MAX_MATCHES} addresses"
        )


def _say(peer: Peer, said: Sequence[Answer]) -> None:
    for answer in said:
        peer.send(encode(*answer))
