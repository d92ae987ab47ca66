"""A model that lives elsewhere, several times over: sessions stay with the replica that holds them.

A session's state is a name here and a value there. What made the state is
remembered here, from the last time that it was asked for as bytes on; when a
replica is lost its sessions go on with another one, where the same calls make
the same state again. Knows neither processes nor clusters, only replicas that
answer calls and may be lost.
"""

import itertools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Protocol

from bridge.app.resident import Answer, Call, Lane
from bridge.errors import BridgeError, NotReadyError
from bridge.model_info import KeptAnswers, ModelInfo
from bridge.ports import Conditions, LevelCodes, Mono, Plan, StepResult, TimedWord

log = logging.getLogger(__name__)

TRIES: Final = 3
"""A call that so many replicas were lost at is given up; so is a replica that does not start."""


class Replica(Protocol):
    """One place where the model lives."""

    def call(self, lane: Lane, call: Call) -> Answer:
        """Return the answer.

        Raises:
            ConnectionError: Nobody answers any more.
            Exception: What the call itself raised.
        """
        ...

    def renewed(self) -> "Replica":
        """Return one that answers, without states, in the place of this one.

        Raises:
            Exception: It cannot be started.
        """
        ...

    def close(self) -> None:
        """End it."""
        ...


class _Spot:
    """A replica until it is lost: who is there, and what it may forget."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.lines: weakref.WeakSet[_Line] = weakref.WeakSet()
        self.dropped: deque[int] = deque()

    def call(self, lane: Lane, call: Call) -> Answer:
        """Return the replica's answer; what may be forgotten goes along."""
        dropped: list[int] = []
        while self.dropped:
            dropped.append(self.dropped.popleft())
        return self.replica.call(lane, replace(call, dropped=tuple(dropped)))


class _Line:
    """The states that came of one another: they stay together."""

    def __init__(self) -> None:
        self.spot: _Spot | None = None
        self.lock = threading.Lock()


class _Past:
    """How a state came to be, and where it is.

    Attributes:
        origin: The call that made it, and the state that the call was about: both in one, for
            they change together when the state is kept as bytes.
        at: Where it is, and its name there.
        used: Whether somebody still holds the state.
    """

    __slots__ = ("at", "line", "origin", "used")

    def __init__(self, line: _Line, origin: "tuple[Call, _Past | None]") -> None:
        self.line = line
        self.origin = origin
        self.at: tuple[_Spot, int] | None = None
        self.used = True

    def name_at(self, spot: _Spot) -> int:
        """Return its name in a replica, 0 if it is not there."""
        at = self.at
        return at[1] if at is not None and at[0] is spot else 0

    def leave(self) -> None:
        """Let the replica forget the state."""
        self.used = False
        at, self.at = self.at, None
        if at is not None:
            at[0].dropped.append(at[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class RemoteState:
    """A session's past, in a replica."""

    generator: "ReplicatedGenerator" = field(repr=False)
    past: _Past = field(repr=False)
    settled_sample: int
    decodable_sample: int
    nbytes: int

    def fork(self) -> "RemoteState":
        """Return itself: no call of ours changes a state."""
        return self

    def to_bytes(self) -> bytes:
        """Return the state as bytes; if its replica is lost it comes back from these."""
        data: bytes = self.generator.ask(Lane.MODEL, "to_bytes", self)
        # The calls before are of no use any more.
        self.past.origin = (Call(method="restore", arguments=(data,)), None)
        return data


class ReplicatedGenerator:
    """The port to several replicas of one model, safe for as many threads."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        """Take hold of replicas that answer.

        Raises:
            NotReadyError: They do not hold the same model.
        """
        self._spots = [_Spot(replica) for replica in replicas]
        self._starting = 0
        self._names = itertools.count(1)
        self._changed = threading.Condition()
        self._speeds: dict[Plan, float] = {}
        self._closed = False
        ask = Call(method="info")
        infos = [spot.call(Lane.QUESTIONS, ask).value for spot in self._spots]
        self._info: ModelInfo = infos[0]
        if len({info.fingerprint for info in infos}) > 1:
            names = ", ".join(f"{info.name} ({info.fingerprint})" for info in infos)
            raise NotReadyError(f"the replicas hold different models: {names}")

    @property
    def info(self) -> ModelInfo:
        """Return what a caller may know of the model."""
        return self._info

    def open(
        self, conditions: Conditions, anchor_sample: int, end_sample: int | None
    ) -> RemoteState:
        """Return a new timeline, where the fewest are."""
        return self._make("open", None, conditions, anchor_sample, end_sample)[0]

    def begin(self, state: RemoteState, plan: Plan, end_sample: int) -> RemoteState:
        """Return the state that is ready to be stepped to an end."""
        return self._make("begin", state, plan, end_sample)[0]

    def feed(self, state: RemoteState, audio: Mono) -> RemoteState:
        """Return the state after hearing more."""
        return self._make("feed", state, audio)[0]

    def steer(self, state: RemoteState, conditions: Conditions) -> RemoteState:
        """Return the state that goes on under other conditions."""
        return self._make("steer", state, conditions)[0]

    def step(self, states: Sequence[RemoteState], plan: Plan) -> list[StepResult[RemoteState]]:
        """Return the states one step further."""
        made = [self._make("step", state, plan) for state in states]
        return [replace(value, state=state) for state, value in made]

    def steps_per_second(self, plan: Plan) -> float:
        """Return how many steps one second of audio takes, asked once for all seeds."""
        key = replace(plan, seed=0, variation=0)
        if key not in self._speeds:
            self._speeds[key] = self.ask(Lane.QUESTIONS, "steps_per_second", None, key)
        return self._speeds[key]

    def decode(self, state: RemoteState, block: int) -> Mono:
        """Return one block of model samples."""
        return self.ask(Lane.SOUND, "decode", state, block)

    def fidelity(self, audio: Mono) -> float:
        """Return how well the codec reproduces this audio."""
        return self.ask(Lane.SOUND, "fidelity", None, audio)

    def kept_answers(self) -> dict[str, KeptAnswers]:
        """Return what all replicas keep together, by kind."""
        found: dict[str, KeptAnswers] = {}
        for spot in list(self._spots):
            # One that was just lost keeps nothing any more.
            with suppress(ConnectionError):
                kept = spot.call(Lane.QUESTIONS, Call(method="kept_answers")).value
                found |= {kind: _added(found.get(kind), own) for kind, own in kept.items()}
        return found

    def restore(self, data: bytes) -> RemoteState:
        """Return the state that `to_bytes` gave."""
        return self._make("restore", None, data)[0]

    def rewind(self, state: RemoteState, sample: int) -> RemoteState:
        """Return the state as it was when its codes ended before a sample."""
        return self._make("rewind", state, sample)[0]

    def adopt(
        self, state: RemoteState, codes: Sequence[LevelCodes], finest_level: int
    ) -> RemoteState:
        """Return the opened state with codes that were made elsewhere."""
        return self._make("adopt", state, tuple(codes), finest_level)[0]

    def codes(self, state: RemoteState) -> tuple[LevelCodes, ...]:
        """Return the codes that are final."""
        return self.ask(Lane.SOUND, "codes", state)

    def words(self, state: RemoteState) -> tuple[TimedWord, ...]:
        """Return when each word is sung."""
        return self.ask(Lane.SOUND, "words", state)

    def warm_up(self) -> None:
        """Run every path of every replica once."""
        for spot in list(self._spots):
            spot.call(Lane.MODEL, Call(method="warm_up"))

    def close(self) -> None:
        """End the replicas."""
        with self._changed:
            self._closed = True
            spots, self._spots = self._spots, []
            self._changed.notify_all()
        for spot in spots:
            spot.replica.close()

    def ask(
        self,
        lane: Lane,
        method: str,
        state: RemoteState | None,
        *arguments: Any,  # noqa: ANN401 - the port's
    ) -> Any:  # noqa: ANN401 - by method
        """Return a value that a call gives."""
        past = None if state is None else state.past
        line = _Line() if past is None else past.line
        return self._tried(lane, line, past, Call(method=method, arguments=arguments))[0].value

    def _make(
        self,
        method: str,
        state: RemoteState | None,
        *arguments: Any,  # noqa: ANN401 - the port's
    ) -> tuple[RemoteState, Any]:
        """Return the state that a call makes, and what else it tells."""
        before = None if state is None else state.past
        line = _Line() if before is None else before.line
        call = Call(method=method, arguments=arguments, makes=next(self._names))
        answer, spot = self._tried(Lane.MODEL, line, before, call)
        past = _Past(line, (call, before))
        past.at = (spot, call.makes)
        made = RemoteState(
            generator=self,
            past=past,
            settled_sample=answer.settled_sample,
            decodable_sample=answer.decodable_sample,
            nbytes=answer.nbytes,
        )
        weakref.finalize(made, past.leave).atexit = False
        return made, answer.value

    def _tried(
        self, lane: Lane, line: _Line, past: _Past | None, call: Call
    ) -> tuple[Answer, _Spot]:
        """Return a call's answer and where it was given, elsewhere if a replica is lost at it."""
        for _ in range(TRIES):
            spot = self._spot_of(line)
            try:
                if past is not None:
                    call = replace(call, state=self._brought(past, spot))
                return spot.call(lane, call), spot
            except ConnectionError as error:
                self._lose(spot, error)
        raise BridgeError(f"{TRIES} replicas of the model were lost at one call, {call.method}")

    def _brought(self, past: _Past, spot: _Spot) -> int:
        """Return a state's name in a replica, made again there by the calls that made it."""
        with past.line.lock:
            missing: list[_Past] = []
            step: _Past | None = past
            while step is not None and not step.name_at(spot):
                missing.append(step)
                step = step.origin[1]
            for made in reversed(missing):
                call, before = made.origin
                name = next(self._names)
                state = 0 if before is None else before.name_at(spot)
                spot.call(Lane.MODEL, replace(call, state=state, makes=name))
                made.at = (spot, name)
                if before is not None and not before.used:
                    before.leave()
            return past.name_at(spot)

    def _spot_of(self, line: _Line) -> _Spot:
        """Return where a line is; a new one, and one whose replica was lost, is given a place.

        Raises:
            NotReadyError: No replica can be started any more.
        """
        with self._changed:
            while line.spot is None or line.spot not in self._spots:
                if self._spots:
                    line.spot = min(self._spots, key=lambda spot: len(spot.lines))
                    line.spot.lines.add(line)
                elif self._closed or not self._starting:
                    raise NotReadyError("no replica of the model can be started")
                else:
                    self._changed.wait()
            return line.spot

    def _lose(self, spot: _Spot, error: ConnectionError) -> None:
        """Note that a replica is gone, and begin to start another in its place."""
        with self._changed:
            if spot not in self._spots:
                return
            self._spots.remove(spot)
            self._starting += 1
        # Its text alone: a record that is kept would keep the frames, and they states.
        log.warning("a replica of the model was lost and is started again: %s", str(error))
        threading.Thread(target=self._renew, args=(spot,), name="renew", daemon=True).start()

    def _renew(self, lost: _Spot) -> None:
        found: _Spot | None = None
        for _ in range(TRIES):
            try:
                found = _Spot(lost.replica.renewed())
                found.call(Lane.MODEL, Call(method="warm_up"))
                break
            except Exception:  # whatever a start may raise: those who wait must learn of it
                log.exception("a replica of the model could not be started again")
                found = None
        with self._changed:
            self._starting -= 1
            if found is not None and not self._closed:
                self._spots.append(found)
            self._changed.notify_all()
        if found is not None and self._closed:
            found.replica.close()


def _added(first: KeptAnswers | None, second: KeptAnswers) -> KeptAnswers:
    names = [one.name for one in fields(KeptAnswers)]
    before = first or KeptAnswers()
    return KeptAnswers(**{name: getattr(before, name) + getattr(second, name) for name in names})
