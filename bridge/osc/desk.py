"""What each address does: properties, jobs, takes and the small questions.

A method a verb; the table names them. A verb answers at once, or later from a
task of its own where it must wait. Knows the engine and no socket.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeAlias

from bridge.edge import failures_told
from bridge.engine import Engine
from bridge.entries import TakeQuery, Verdict
from bridge.errors import (
    BridgeError,
    BusyError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
)
from bridge.osc import answers
from bridge.osc.answers import Answer
from bridge.osc.call import Call
from bridge.osc.clients import Clients, Node, Peer
from bridge.osc.files import confined, copy_whole
from bridge.osc.job_book import JobBook, OscJob, found_job, new_job
from bridge.osc.packet import Argument, encode
from bridge.osc.render import (
    Order,
    Verb,
    check_order,
    names_of,
    requests_of,
    seed_of,
)
from bridge.osc.values import write
from bridge.request import RenderRequest

PROTOCOL: Final = "jukebox.bridge.v1"
MARKS: Final = ("keep", "reject", "none")
MAX_PAGE: Final = 32
"""Takes and jobs in one list, so that no answer grows without end."""
MAX_ERRANDS: Final = 64
"""Verbs that wait for the disk or the engine at once."""
MAX_LISTED: Final = 1_000

EngineSource: TypeAlias = Callable[[], Engine[Any]]


class Desk:
    """Carries calls out."""

    def __init__(
        self,
        engine: EngineSource,
        folders: Sequence[Path],
        *,
        clock: Callable[[], float],
        waiting: Callable[[], int],
    ) -> None:
        """Take hold of what verbs need.

        Args:
            engine: Returns the engine, or raises `NotReadyError`.
            folders: Where files may be named; relative paths count from the first.
            clock: Seconds, monotone.
            waiting: Returns how many bundles wait for their time.
        """
        self._engine = engine
        self._folders = folders
        self._waiting = waiting
        self.jobs = JobBook(engine, clock)
        self.clients = Clients(clock, self._told)
        self._errands: set[asyncio.Task[None]] = set()

    async def stop(self, drain_seconds: float) -> None:
        """Start nothing more and end what waits."""
        await self.jobs.stop(drain_seconds)
        for errand in list(self._errands):
            errand.cancel()
        if self._errands:
            await asyncio.wait(list(self._errands))

    def ping(self, call: Call) -> Sequence[Answer]:
        """Tell that the server is there."""
        return [("/jukebox/pong", (_id(call), answers.text(PROTOCOL)))]

    def status(self, call: Call) -> Sequence[Answer]:
        """Tell how the server stands."""
        told = self._told()
        running = Argument("i", self.jobs.num_running)
        state, model = answers.text(told["state"]), answers.text(told["loaded_model"])
        return [("/jukebox/status", (_id(call), state, running, model))]

    def stats(self, call: Call) -> Sequence[Answer]:
        """Tell the counts since the start."""
        counts = [
            ("/jukebox/stat", (_id(call), answers.text(name), Argument("d", float(value))))
            for name, value in self._counts().items()
        ]
        return [*counts, self._done(call)]

    def models(self, call: Call) -> Sequence[Answer]:
        """List the models."""
        asked, infos = call.values.get("id", ""), self._engine().infos
        return [*(answers.model(asked, info) for info in infos), self._done(call)]

    def styles(self, call: Call) -> Sequence[Answer]:
        """List the labels of the model."""
        info = self._engine().info
        labels = [("artist", name) for name in info.artists]
        labels += [("genre", name) for name in info.genres]
        found = [
            ("/jukebox/style", (_id(call), answers.text(kind), answers.text(name)))
            for kind, name in _page(call, labels)
        ]
        return [*found, self._done(call, Argument("h", len(labels)))]

    def make(self, call: Call) -> Sequence[Answer]:
        """Start a verb that makes music, or repeat what was said of it last."""
        verb = call.row.verb
        assert verb is not None, "the table gives each of them its verb"
        check_order(verb, call.values)
        names = names_of(call.values)
        known = self._known(verb, names, call)
        if known:
            return [job.last for job in known]
        self._engine()
        self.jobs.check_room(len(names))
        session = self.clients.session(call.peer)
        seed, drawn = seed_of(call.values, session)
        self.clients.note_seed(call.peer, seed)
        order = _order(verb, call, session, self._folders)
        said: list[Answer] = []
        for index, name in enumerate(names):
            job = new_job(name, call)
            said.append(job.last)
            self.jobs.start(job, self._reader(order, seed, drawn, index))
        return said

    def jobs_list(self, call: Call) -> Sequence[Answer]:
        """List the jobs of this wire."""
        jobs = self.jobs.all()
        found = [
            (
                "/jukebox/job",
                (
                    _id(call),
                    answers.text(job.id),
                    answers.text(job.state),
                    answers.text(job.place.phase),
                    Argument("i", job.place.step),
                    Argument("i", job.place.total_steps),
                ),
            )
            for job in _page(call, jobs)
        ]
        return [*found, self._done(call, Argument("h", len(jobs)))]

    def query(self, call: Call) -> Sequence[Answer]:
        """Repeat the last answer to a job; one of an earlier server is looked up and followed."""
        job = self.jobs.get(call.values["id"])
        if job is not None:
            return [job.last]
        return self._later(call, self._rejoin(call))

    def cancel(self, call: Call) -> Sequence[Answer]:
        """Stop a job, or all variations of one."""
        name = call.values["id"]
        job = self.jobs.get(name)
        parts = [part for part in self.jobs.all() if part.id.startswith(f"{name}.")]
        found = [job] if job is not None else parts
        running = [part for part in found if part.running]
        if not running:
            state = "runs no more" if found else f"is not known; {len(self.jobs)} are remembered"
            raise NotFoundError(f"the request {name!r} {state}")
        return self._later(call, self._cancel(call, running))

    def takes_list(self, call: Call) -> Sequence[Answer]:
        """List takes, newest first."""
        return self._later(call, self._list(call))

    def takes_get(self, call: Call) -> Sequence[Answer]:
        """Tell one take."""
        store = self._engine().store
        return self._later(call, self._entry(call, lambda: store.entry(call.values["take"])))

    def takes_tag(self, call: Call) -> Sequence[Answer]:
        """Keep, reject or name a take."""
        store, values = self._engine().store, call.values
        verdict = Verdict("" if values["mark"] == "none" else values["mark"])

        def tag() -> Any:  # noqa: ANN401 - an entry
            return store.tag(values["take"], verdict=verdict, name=values.get("name"))

        return self._later(call, self._entry(call, tag))

    def takes_export(self, call: Call) -> Sequence[Answer]:
        """Write a take as a file."""
        target = confined(call.values["path"], self._folders)
        if target.exists():
            raise ConflictError(f"the file {target} exists already and stays as it is")
        return self._later(call, self._export(call, target))

    def value(self, call: Call) -> Sequence[Answer]:
        """Tell a property, or set it and say nothing, as OSCQuery's clients expect."""
        node = _node(call)
        if node.name not in call.values:
            return [self.value_of(node, call.peer)]
        self.clients.set(node, call.values[node.name], call.peer)
        return []

    def get(self, call: Call) -> Sequence[Answer]:
        """Tell a property."""
        return [self.value_of(_node(call), call.peer)]

    def set(self, call: Call) -> Sequence[Answer]:
        """Set a property and tell its value."""
        node = _node(call)
        self.clients.set(node, call.values[node.name], call.peer)
        return [self.value_of(node, call.peer)]

    def start_listen(self, call: Call) -> Sequence[Answer]:
        """Tell a property now and after each change."""
        self.clients.listen(_node(call), call.peer)
        return [self.value_of(_node(call), call.peer)]

    def stop_listen(self, call: Call) -> Sequence[Answer]:
        """Tell a property no more."""
        self.clients.ignore(_node(call), call.peer)
        return [self._done(call)]

    def value_of(self, node: Node, peer: Peer) -> Answer:
        """Return the message that tells a property."""
        return node.path, (write(node.known.parameter, self.clients.get(node, peer)),)

    def tell_changes(self) -> None:
        """Tell every listener what has changed since it was told last."""
        for peer, node, value in self.clients.notices():
            peer.send(encode(node.path, [write(node.known.parameter, value)]))

    def _known(self, verb: Verb, names: Sequence[str], call: Call) -> list[OscJob]:
        known = [job for name in names if (job := self.jobs.get(name)) is not None]
        alive = [job for job in known if job.state not in ("failed", "cancelled")]
        for job in alive:
            if job.given is not None and (job.address, job.given) != (verb.address, call.values):
                raise InvalidRequestError(f"the id {job.id!r} names another request already")
        if len(alive) < len(names):
            return []
        for job in alive:
            job.peer, job.port = call.peer, call.reply_port
        return alive

    def _reader(
        self, order: Order, seed: int, drawn: bool, index: int
    ) -> Callable[[], Awaitable[RenderRequest]]:
        async def read() -> RenderRequest:
            return (await asyncio.to_thread(self._requests, order, seed, drawn))[index]

        return read

    def _requests(self, order: Order, seed: int, drawn: bool) -> list[RenderRequest]:
        engine = self._engine()
        info = engine.info
        take = engine.store.load(order.given["take"]) if "take" in order.given else None
        placed = order.standing_on(take, info.frame_samples, info.sample_rate)
        return requests_of(placed, seed, seed_drawn=drawn)

    async def _rejoin(self, call: Call) -> Sequence[Answer]:
        name = call.values["id"]
        client_id = _client_id(call.peer)
        known = await self._engine().jobs(limit=MAX_LISTED)
        for info in known:
            if info.request_id == name and info.client_id == client_id:
                self.jobs.rejoin(found_job(info, call), info)
                return []
        raise NotFoundError(f"no request is named {name!r}; {len(known)} are remembered")

    async def _cancel(self, call: Call, running: Sequence[OscJob]) -> Sequence[Answer]:
        for job in running:
            await self.jobs.cancel(job)
        return [self._done(call)]

    async def _list(self, call: Call) -> Sequence[Answer]:
        first, count = call.values.get("first", 0), call.values.get("count", MAX_PAGE)
        if first + count > MAX_LISTED:
            raise InvalidRequestError(
                f"takes up to number {first + count} were asked for, the limit is {MAX_LISTED}"
            )
        store = self._engine().store
        query = TakeQuery(limit=first + count)
        entries = (await asyncio.to_thread(store.entries, query))[first:]
        total = Argument("h", (await asyncio.to_thread(store.stats)).num_takes)
        request_id = call.values.get("id", "")
        return [*(answers.take(request_id, entry) for entry in entries), self._done(call, total)]

    async def _entry(self, call: Call, look: Callable[[], Any]) -> Sequence[Answer]:
        entry = await asyncio.to_thread(look)
        return [answers.take(call.values["id"], entry), self._done(call)]

    async def _export(self, call: Call, target: Path) -> Sequence[Answer]:
        source = await self._engine().export(call.values["take"])
        await asyncio.to_thread(copy_whole, source, target)
        return [self._done(call, answers.text(str(target)))]

    def _later(self, call: Call, work: "Coroutine[Any, Any, Sequence[Answer]]") -> Sequence[Answer]:
        if len(self._errands) >= MAX_ERRANDS:
            work.close()
            raise BusyError(
                f"{len(self._errands)} verbs wait for the disk or the engine, "
                f"the limit is {MAX_ERRANDS}"
            )
        errand = asyncio.ensure_future(self._errand(call, work))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)
        return []

    async def _errand(self, call: Call, work: "Coroutine[Any, Any, Sequence[Answer]]") -> None:
        with failures_told(call.row.address, call.refuse):
            call.answer(await work)

    def _done(self, call: Call, *results: Argument) -> Answer:
        return answers.done(call.row.address, call.values.get("id", ""), *results)

    def _counts(self) -> dict[str, float]:
        counts = {"osc_clients": len(self.clients), "osc_waiting_bundles": self._waiting()}
        facts = asdict(self._engine().stats())
        answers_kept = facts.pop("kept_answers")
        kept = {
            f"answer_{kind}_{name}": value
            for kind, about in answers_kept.items()
            for name, value in about.items()
        }
        return {**facts, **kept, **counts}

    def _told(self) -> Mapping[str, Any]:
        told = {"state": "NOT_SERVING", "loaded_model": "", "waiting_bundles": self._waiting()}
        counts = dict.fromkeys(JOB_COUNTS, 0)
        try:
            engine = self._engine()
        except BridgeError:
            return {**told, **counts, "clients": len(self.clients)}
        stats = asdict(engine.stats())
        counts = {name: stats[name] for name in JOB_COUNTS}
        served = {"state": "SERVING", "loaded_model": engine.info.name}
        return {**told, **counts, **served, "clients": len(self.clients)}


JOB_COUNTS: Final = ("running_jobs", "queued_jobs", "done_jobs", "failed_jobs", "cancelled_jobs")


def _id(call: Call) -> Argument:
    return answers.text(call.values.get("id", ""))


def _node(call: Call) -> Node:
    assert call.row.node is not None, "the table gives each property's row its node"
    return call.row.node


def _page(call: Call, found: Sequence[Any]) -> Sequence[Any]:
    first = call.values.get("first", 0)
    return found[first : first + call.values.get("count", MAX_PAGE)]


def _client_id(peer: Peer) -> str:
    return f"osc:{peer.host}"


def _order(verb: Verb, call: Call, session: Mapping[str, Any], folders: Sequence[Path]) -> Order:
    client_id = _client_id(call.peer)
    return Order(
        verb=verb, given=call.values, session=session, folders=folders, client_id=client_id
    )
