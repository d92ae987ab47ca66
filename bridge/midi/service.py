"""Pads and keys on one side, the engine on the other; results land in the spool.

Every message passes three listeners on the event loop: the clock, the notes
that are played, and the desk of pads and knobs. What a pad starts runs beside
the rest, as any request does. Knows no other wire and not how music is made.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeAlias

from bridge import logs
from bridge.edge import failures_told
from bridge.engine import Engine
from bridge.entries import Verdict
from bridge.errors import BridgeError, BusyError, NotFoundError, NotReadyError, StoppingError
from bridge.midi import requests
from bridge.midi.clock import QUIRKS, Clock, hear
from bridge.midi.desk import Action, Desk, let_go, react
from bridge.midi.map_file import read_map
from bridge.midi.message import Heard, Kind, MidiMessage, parse
from bridge.midi.notes import LiveNotes
from bridge.midi.ports import InPort, OpenPort, open_input
from bridge.midi.requests import Moment
from bridge.midi.rows import KNOBS, Command, MidiMap, Preset
from bridge.request import Done, RenderRequest

log = logging.getLogger(__name__)

MAX_RUNNING: Final = 8
"""Requests over MIDI at once: a pad that is hammered must not fill the queue."""
STARTING: Final = frozenset({Command.CONTINUE, Command.GO_ON, Command.RETRY, Command.VARIATION})

EngineSource: TypeAlias = Callable[[], Engine[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MidiSettings:
    """What is listened to, and what pads do."""

    inputs: tuple[str, ...]
    map_file: Path
    quirk: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class MidiStatus:
    """Where MIDI stands, for people."""

    ports: tuple[str, ...] = ()
    tempo_bpm: float | None = None
    beat: float | None = None
    rolling: bool = False
    preset: str = ""
    running: int = 0
    num_notes: int = 0
    last_take: str = ""
    last_path: Path | None = None
    last_error: str = ""


@dataclass(slots=True)
class _Last:
    """What came before: the request to repeat, the take to judge, what went wrong."""

    request: RenderRequest | None = None
    take: str = ""
    path: Path | None = None
    error: str = ""


class MidiServer:
    """The ports, and what they started."""

    def __init__(
        self,
        engine: EngineSource,
        *,
        open_port: OpenPort = open_input,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to listen.

        Args:
            engine: Returns the engine, or raises `NotReadyError`.
            open_port: Opens a port by name.
            clock: Seconds, monotone, of the ports' messages.
        """
        self._engine = engine
        self._open_port = open_port
        self._seconds = clock
        self._map = MidiMap()
        self._clock = Clock()
        self._notes = LiveNotes()
        self._counts_clock = False
        self._desk = Desk()
        self._preset = ""
        self._ports: list[InPort] = []
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tagging: set[asyncio.Task[None]] = set()
        self._numbers = count(1)
        self._last = _Last()
        self._stopping = False

    async def start(self, settings: MidiSettings) -> None:
        """Read the map and open the ports.

        Raises:
            BridgeError: The map, or a port that cannot be opened.
        """
        self._map = await asyncio.to_thread(read_map, settings.map_file)
        self._clock = Clock(quirk=QUIRKS[settings.quirk])
        if self._map.presets:
            self._select(self._map.presets[0].name)
        loop = asyncio.get_running_loop()
        for spec in settings.inputs:
            self._ports.append(await asyncio.to_thread(self._open, spec, loop))

    async def stop(self, drain_seconds: float) -> None:
        """Hear nothing more, let running requests end for so long, cut the rest."""
        self._stopping = True
        for port in self._ports:
            await asyncio.to_thread(port.close)
        tasks = [*self._running.values(), *self._tagging]
        if tasks:
            await asyncio.wait(tasks, timeout=drain_seconds)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def status(self) -> MidiStatus:
        """Return where MIDI stands."""
        now = self._seconds()
        tempo, beat = self._clock.tempo_bpm, self._clock.beat_at(now)
        return MidiStatus(
            ports=tuple(port.name for port in self._ports),
            tempo_bpm=None if tempo is None else float(tempo),
            beat=None if beat is None else float(beat),
            rolling=self._clock.rolling,
            preset=self._preset,
            running=len(self._running),
            num_notes=len(self._notes),
            last_take=self._last.take,
            last_path=self._last.path,
            last_error=self._last.error,
        )

    def take(self, heard: Heard) -> None:
        """Take one message, on the event loop."""
        message, at = heard.message, heard.at_seconds
        self._clock = hear(self._clock, message, at)
        if self._clock.line is not None and not self._counts_clock:
            # Notes that were counted in seconds lie nowhere on the clock.
            self._notes.clear()
            self._counts_clock = True
        if not self._is_pad(message):
            self._notes.hear(message, self._running_beat(at), heard.port)
        self._desk, actions = react(self._desk, self._map, message)
        for action in actions:
            self._act(action, at)

    def _open(self, spec: str, loop: asyncio.AbstractEventLoop) -> InPort:
        def take(data: bytes, at_seconds: float) -> None:
            message = parse(data)
            if message is not None:
                heard = Heard(message=message, at_seconds=at_seconds, port=spec)
                loop.call_soon_threadsafe(self.take, heard)

        return self._open_port(spec, take)

    def _running_beat(self, at_seconds: float) -> Fraction:
        """Return where notes are counted: beats of the clock, or seconds without one."""
        beat = self._clock.running_beat_at(at_seconds) if self._counts_clock else None
        return Fraction(at_seconds) if beat is None else beat

    def _is_pad(self, message: MidiMessage) -> bool:
        if message.kind not in (Kind.NOTE_ON, Kind.NOTE_OFF):
            return False
        pressed = replace(message, kind=Kind.NOTE_ON)
        return any(row.waits_for(pressed) for row in self._map.rows)

    def _act(self, action: Action, at_seconds: float) -> None:
        try:
            if action.command is None:
                self._select(action.preset)
            elif action.command in STARTING:
                self._begin(action, self._moment(at_seconds))
            elif action.command not in KNOBS:
                self._command(action.command, at_seconds)
        except BridgeError as error:
            self._tell(str(action.command or action.preset), error)

    def _command(self, command: Command, at_seconds: float) -> None:
        match command:
            case Command.CANCEL:
                self._cancel_all()
            case Command.PANIC:
                self._cancel_all()
                self._notes.release(self._running_beat(at_seconds))
            case Command.NEXT_PRESET:
                self._step_preset(1)
            case Command.PREVIOUS_PRESET:
                self._step_preset(-1)
            case _:
                self._judge(Verdict.KEEP if command is Command.ACCEPT else Verdict.REJECT)

    def _moment(self, at_seconds: float) -> Moment:
        return Moment(
            tempo_bpm=self._clock.tempo_bpm,
            running_beat=self._running_beat(at_seconds),
            bar_beat=self._clock.beat_at(at_seconds),
            notes=self._notes.played(),
            knobs=dict(self._desk.knobs),
        )

    def _begin(self, action: Action, moment: Moment) -> None:
        if self._stopping:
            raise StoppingError("the server is stopping and takes no more requests")
        if len(self._running) >= MAX_RUNNING:
            raise BusyError(
                f"{len(self._running)} requests over MIDI are running, "
                f"the limit is {MAX_RUNNING} requests"
            )
        engine = self._engine()
        request_id = f"midi-{next(self._numbers)}"
        make = self._maker(action, moment, request_id)
        with logs.working_for(request_id):
            task = asyncio.create_task(self._render(engine, make), name=request_id)
        self._running[request_id] = task
        task.add_done_callback(lambda _: self._running.pop(request_id))

    def _maker(
        self, action: Action, moment: Moment, request_id: str
    ) -> Callable[[], RenderRequest]:
        """Return what makes the request; it reads files, so it runs on a thread."""
        if action.command is Command.CONTINUE:
            preset = self._preset_named(action.preset or self._preset)
            return partial(requests.continuation, preset, moment, request_id)
        last = self._last.request
        if last is None:
            raise NotReadyError(f"there is no request yet for {action.command} to go by")
        if action.command is Command.GO_ON:
            return partial(requests.going_on, last, self._last_take(), request_id)
        again = (
            requests.another_seed if action.command is Command.RETRY else requests.next_variation
        )
        return partial(again, last, request_id)

    async def _render(self, engine: Engine[Any], make: Callable[[], RenderRequest]) -> None:
        with failures_told("a pad", partial(self._tell, "the request")):
            request = await asyncio.to_thread(make)
            self._last.request = request
            async with aclosing(engine.render(request)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        self._finish(event)

    def _finish(self, done: Done) -> None:
        self._last.take, self._last.path, self._last.error = done.take_id, done.path, ""
        log.info("the take %s lies at %s", done.take_id, done.path)

    def _judge(self, verdict: Verdict) -> None:
        store, take = self._engine().store, self._last_take()

        async def tag() -> None:
            try:
                await asyncio.to_thread(store.tag, take, verdict)
                log.info("the take %s: %s", take, verdict)
            except BridgeError as error:
                self._tell(verdict, error)

        task = asyncio.create_task(tag(), name=f"midi {verdict}")
        self._tagging.add(task)
        task.add_done_callback(self._tagging.discard)

    def _last_take(self) -> str:
        if not self._last.take:
            raise NotReadyError("no take was finished over MIDI yet")
        return self._last.take

    def _cancel_all(self) -> None:
        for task in self._running.values():
            task.cancel()

    def _step_preset(self, step: int) -> None:
        names = [preset.name for preset in self._map.presets]
        if not names:
            raise NotFoundError("the map of pads holds no preset")
        self._select(names[(names.index(self._preset) + step) % len(names)])

    def _select(self, name: str) -> None:
        preset = self._preset_named(name)
        self._preset = preset.name
        given = {
            command: float(preset.options[command.value])
            for command in KNOBS
            if command.value in preset.options
        }
        self._desk = let_go(self._desk, given)
        log.info("the preset %s is selected", preset.name)

    def _preset_named(self, name: str) -> Preset:
        for preset in self._map.presets:
            if preset.name == name:
                return preset
        raise NotFoundError("the map of pads holds no preset to continue")

    def _tell(self, what: str, error: BridgeError) -> None:
        self._last.error = str(error)
        log.warning("%s over MIDI: %s", what, error)
