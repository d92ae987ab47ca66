"""OSC over UDP on one side, the engine's values on the other; one table of addresses.

Every datagram is answered, to the address and port that it came from: by the
answer of its address, then `/jukebox/done s:address s:id ...`, or by
`/jukebox/fail s:address s:id s:code s:message`. Audio goes by file path, never
in datagrams. Knows neither gRPC nor how music is made.

An address that starts work (`/jukebox/continue`) may be sent again with the same
id and arguments, as UDP may lose either way: while it runs, or once it is done,
its last answer is repeated and nothing is computed twice.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from bridge import osc_answers as answers
from bridge.engine import Engine
from bridge.errors import (
    BridgeError,
    BusyError,
    InvalidRequestError,
    NotFoundError,
    NotReadyError,
    StoppingError,
    UnsupportedError,
)
from bridge.osc_answers import Answer
from bridge.osc_packet import Argument, Message, decode, encode
from bridge.osc_request import CONTINUE, ID, OPTIONS, Parameter, read_arguments, request_of
from bridge.request import Accepted, Done, Progress, RenderEvent
from bridge.sockets import check_port_free

log = logging.getLogger(__name__)

PROGRESS_SECONDS: Final = 0.1
"""At most ten progress messages a second and job; control surfaces choke on more."""
MAX_JOBS: Final = 16
MAX_REMEMBERED: Final = 64
MAX_LATE_SECONDS: Final = 0.25
"""A timetag this little ahead counts as now."""

QUEUED: Final = Progress(phase="queued", step=0, total_steps=0, eta_seconds=0.0)
PROTOCOL: Final = "jukebox.bridge.v1"
CONTINUATION: Final = "/jukebox/continue"

EngineSource: TypeAlias = Callable[[], Engine[Any]]
Sender: TypeAlias = tuple[Any, ...]
"""A socket address; 2 numbers in IPv4, 4 in IPv6."""
Handler: TypeAlias = Callable[["Call"], Sequence[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One address: what it does, what it takes, and what key-value pairs may follow."""

    address: str
    does: str
    parameters: tuple[Parameter, ...] = ()
    optional: tuple[Parameter, ...] = ()
    options: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A message whose arguments were read."""

    row: Row
    values: Mapping[str, Any]
    sender: Sender


ROWS: Final = (
    Row(address="/jukebox/ping", does="answers /jukebox/pong s:protocol"),
    Row(
        address="/jukebox/models",
        does="answers /jukebox/model s:name s:fingerprint i:sample_rate s:licence for each, done",
    ),
    Row(
        address="/jukebox/status",
        does="answers /jukebox/status s:state i:running s:model; with an id the last answer to it",
        optional=(ID,),
    ),
    Row(
        address="/jukebox/cancel", does="stops a request; it fails with CANCELLED", parameters=(ID,)
    ),
    Row(
        address=CONTINUATION,
        does="continues a recorded section; answers accepted, progress, then done or fail",
        parameters=CONTINUE,
        options=OPTIONS,
    ),
)
_ROW_OF: Final = {row.address: row for row in ROWS}


@dataclass(slots=True)
class _Job:
    """A continuation on its way, or ended."""

    sender: Sender
    values: Mapping[str, Any]
    last: Answer
    task: "asyncio.Task[None] | None" = None
    failed: bool = False
    splice_sample: int = 0
    told_at: float = float("-inf")

    @property
    def id(self) -> str:
        return self.values["id"]

    @property
    def running(self) -> bool:
        return self.task is not None and not self.task.done()


class OscServer(asyncio.DatagramProtocol):
    """The listening socket, the addresses behind it and the work that they started."""

    def __init__(
        self,
        engine: EngineSource,
        folders: Sequence[Path],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare to listen.

        Args:
            engine: Returns the engine, or raises `NotReadyError`.
            folders: Where files may be named; relative paths count from the first.
            clock: Seconds, monotone, for the pace of progress.
            wall_clock: Unix seconds, for timetags.
        """
        self._engine = engine
        self._folders = folders
        self._clock = clock
        self._wall_clock = wall_clock
        self._jobs: dict[str, _Job] = {}
        self._stopping = False
        self._transport: asyncio.DatagramTransport | None = None
        self._handlers: dict[str, Handler] = {
            "/jukebox/ping": self._ping,
            "/jukebox/models": self._models,
            "/jukebox/status": self._status,
            "/jukebox/cancel": self._cancel,
            CONTINUATION: self._continue,
        }

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is another one if 0 was given.

        Raises:
            BusyError: Another process holds the port.
            NotReadyError: The machine refuses the address or the port.
        """
        check_port_free(socket.SOCK_DGRAM, host, port)
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: self, local_addr=(host, port)
            )
        except OSError as error:
            raise NotReadyError(f"UDP port {port} on {host} cannot be used: {error}") from error
        self._transport = transport
        return int(transport.get_extra_info("sockname")[1])

    async def stop(self, drain_seconds: float) -> None:
        """Start nothing more, let running requests end for so long, cut the rest."""
        self._stopping = True
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=drain_seconds)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Sender) -> None:
        """Answer a datagram, whatever it is."""
        try:
            messages = decode(data)
        except BridgeError as error:
            self._send(answers.failure("", "", error), addr)
            return
        for message in messages:
            for answer in self._answers_to(message, addr):
                self._send(answer, addr)

    def error_received(self, exc: Exception) -> None:
        """Note that a client has gone; UDP knows no more."""
        log.debug("a client could not be reached: %s", exc)

    def _answers_to(self, message: Message, sender: Sender) -> Sequence[Answer]:
        if message.address in answers.ANSWERS:
            return ()
        given_id = str(message.arguments[0].value) if message.arguments else ""
        try:
            row = _row_of(message.address)
            self._check_due(message)
            values = read_arguments(message.arguments, row.parameters, row.optional, row.options)
            return self._handlers[row.address](Call(row=row, values=values, sender=sender))
        except BridgeError as error:
            return [answers.failure(message.address, given_id, error)]
        except Exception:
            log.exception("unexpected failure at %s", message.address)
            return [answers.failure(message.address, given_id, BridgeError("internal error"))]

    def _check_due(self, message: Message) -> None:
        if message.due_seconds is None:
            return
        ahead = message.due_seconds - self._wall_clock()
        if ahead > MAX_LATE_SECONDS:
            raise UnsupportedError(
                f"the bundle is due in {ahead:.3f} s; this version runs bundles at once, "
                f"the limit is {MAX_LATE_SECONDS} s ahead"
            )

    def _ping(self, call: Call) -> Sequence[Answer]:
        del call
        return [("/jukebox/pong", (answers.text(PROTOCOL),))]

    def _models(self, call: Call) -> Sequence[Answer]:
        return [answers.model(self._engine().info), answers.done(call.row.address, "")]

    def _status(self, call: Call) -> Sequence[Answer]:
        if "id" in call.values:
            return [self._job(call.values["id"]).last]
        running = Argument("i", sum(job.running for job in self._jobs.values()))
        try:
            state, model = "SERVING", self._engine().info.name
        except NotReadyError:
            state, model = "NOT_SERVING", ""
        return [("/jukebox/status", (answers.text(state), running, answers.text(model)))]

    def _cancel(self, call: Call) -> Sequence[Answer]:
        job = self._job(call.values["id"])
        if job.task is None or job.task.done():
            raise NotFoundError(f"the request {job.id!r} runs no more")
        job.task.cancel()
        return [answers.done(call.row.address, job.id)]

    def _job(self, job_id: str) -> _Job:
        if job_id not in self._jobs:
            raise NotFoundError(f"no request is named {job_id!r}; {len(self._jobs)} are remembered")
        return self._jobs[job_id]

    def _continue(self, call: Call) -> Sequence[Answer]:
        known = self._jobs.get(call.values["id"])
        if known is not None and not known.failed:
            if known.values != call.values:
                raise InvalidRequestError(f"the id {known.id!r} names another request already")
            known.sender = call.sender
            return [known.last]
        self._check_room()
        engine = self._engine()
        queued = answers.progress(call.values["id"], QUEUED)
        job = _Job(sender=call.sender, values=call.values, last=queued)
        job.task = asyncio.create_task(self._render(engine, job), name=f"osc {job.id}")
        self._jobs[job.id] = job
        self._forget_old()
        return [queued]

    def _check_room(self) -> None:
        if self._stopping:
            raise StoppingError("the server is stopping and takes no more requests")
        running = sum(job.running for job in self._jobs.values())
        if running >= MAX_JOBS:
            raise BusyError(f"{running} requests are running, the limit is {MAX_JOBS} requests")

    def _forget_old(self) -> None:
        ended = [job.id for job in self._jobs.values() if not job.running]
        for job_id in ended[: max(0, len(ended) - MAX_REMEMBERED)]:
            del self._jobs[job_id]

    async def _render(self, engine: Engine[Any], job: _Job) -> None:
        try:
            request = await asyncio.to_thread(request_of, job.values, self._folders)
            async with aclosing(engine.render(request)) as events:
                async for event in events:
                    self._tell_event(job, event)
        except asyncio.CancelledError:
            self._tell_failure(job, self._cancellation(job))
            raise
        except BridgeError as error:
            self._tell_failure(job, answers.failure(CONTINUATION, job.id, error))
        except Exception:
            log.exception("unexpected failure of the request %s", job.id)
            error = BridgeError("internal error")
            self._tell_failure(job, answers.failure(CONTINUATION, job.id, error))

    def _cancellation(self, job: _Job) -> Answer:
        if self._stopping:
            return answers.failure(CONTINUATION, job.id, StoppingError("the server stops"))
        return answers.cancelled(CONTINUATION, job.id)

    def _tell_event(self, job: _Job, event: RenderEvent) -> None:
        match event:
            case Accepted():
                job.splice_sample = event.splice_sample
                self._tell(job, answers.accepted(event))
            case Progress() if self._clock() - job.told_at >= PROGRESS_SECONDS:
                job.told_at = self._clock()
                self._tell(job, answers.progress(job.id, event))
            case Done():
                self._tell(job, answers.finished(CONTINUATION, job.id, event, job.splice_sample))
            case _:
                pass

    def _tell_failure(self, job: _Job, answer: Answer) -> None:
        job.failed = True
        self._tell(job, answer)

    def _tell(self, job: _Job, answer: Answer) -> None:
        job.last = answer
        self._send(answer, job.sender)

    def _send(self, answer: Answer, sender: Sender) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(encode(*answer), sender)


def _row_of(address: str) -> Row:
    if address not in _ROW_OF:
        raise NotFoundError(f"there is no address {address[:80]!r}; known: {', '.join(_ROW_OF)}")
    return _ROW_OF[address]
