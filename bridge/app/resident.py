"""The far side of a replica: a generator, the states of its sessions, and calls about them.

A call is a value, and so is its answer: they travel between processes and
machines. Knows neither how, nor who asks.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from bridge.ports import Generator

MAKING: Final = frozenset({"open", "begin", "feed", "step", "restore", "rewind", "adopt"})
TELLING: Final = frozenset(
    {
        *("decode", "fidelity", "steps_per_second", "codes", "words", "warm_up"),
        "kept_answers",
    }
)


class Lane(StrEnum):
    """Calls of one lane come one after the other; lanes do not wait for each other."""

    MODEL = "model"
    SOUND = "sound"
    QUESTIONS = "questions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the generator's port, with states by name.

    Attributes:
        method: Of the port; or `info`, or `to_bytes` of a state.
        state: The state that it is about; 0 is none.
        arguments: The others.
        makes: The name of the state that comes of it; 0 is none.
        dropped: Names that nobody will use again.
    """

    method: str
    state: int = 0
    arguments: tuple[Any, ...] = ()
    makes: int = 0
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call returned; of a state only what a caller may read of it."""

    value: Any = None
    settled_sample: int = 0
    decodable_sample: int = 0
    nbytes: int = 0


class Resident:
    """The far side: a generator and the states of its sessions."""

    def __init__(self, generator: Generator[Any]) -> None:
        self._generator = generator
        self._states: dict[int, Any] = {}

    def answer(self, call: Call) -> Answer:
        """Return what a call gives; the state it is about stays as it is."""
        for name in call.dropped:
            self._states.pop(name, None)
        if call.method == "info":
            return Answer(value=self._generator.info)
        # Each call consumes what it is given; a fork, so that the call can be made again.
        given = [self._given(call)] if call.state else []
        if call.method == "to_bytes":
            return Answer(value=given[0].to_bytes())
        if call.method not in MAKING | TELLING:
            raise ValueError(f"{call.method!r} is no call of the port")
        method = getattr(self._generator, call.method)
        if call.method == "step":
            (made,) = method(given, *call.arguments)
            return self._kept(call.makes, made.state, replace(made, state=None))
        made = method(*given, *call.arguments)
        return self._kept(call.makes, made) if call.makes else Answer(value=made)

    def _given(self, call: Call) -> Any:  # noqa: ANN401 - opaque
        """Return the state that a call is about, or a fork of it.

        A fork of a piece that is made as a whole begins its window anew, so steps take the state
        itself; whoever stepped it does not come back to it.
        """
        state = self._states[call.state]
        is_whole = call.method == "step" and not self._generator.info.streams
        return state if is_whole else state.fork()

    def _kept(self, name: int, state: Any, value: Any = None) -> Answer:  # noqa: ANN401 - opaque
        self._states[name] = state
        return Answer(
            value=value,
            settled_sample=state.settled_sample,
            decodable_sample=state.decodable_sample,
            nbytes=state.nbytes,
        )
