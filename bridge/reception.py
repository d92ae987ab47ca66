"""Requests taken in: refused, found again by their key, or made a job that is on disk.

Whoever asks hears of a job only after it is written down, so that no crash loses
what was accepted. Knows neither how jobs run nor who listens.
"""

import asyncio
import logging
from typing import Generic

from bridge.admission import (
    EngineLimits,
    check_file,
    check_parent,
    check_request,
    levelled,
    new_info,
)
from bridge.cache import Prefilled
from bridge.endings import ended
from bridge.errors import BridgeError, ConflictError, NotReadyError, UnsupportedError
from bridge.job import Job
from bridge.jobs import JobInfo
from bridge.keeping import Tools
from bridge.lineup import Lineup
from bridge.ports import S
from bridge.request import RenderRequest, TakePoint
from bridge.roster import Roster
from bridge.session import Session
from bridge.takes import Take, request_digest

log = logging.getLogger(__name__)


class Reception(Generic[S]):
    """Where requests become jobs of one engine."""

    def __init__(self, lineup: Lineup[S], roster: Roster[S], limits: EngineLimits) -> None:
        self._lineup = lineup
        self._store = lineup.named("").store
        self._roster = roster
        self._limits = limits
        self._keys = asyncio.Lock()

    async def admit(
        self, request: RenderRequest, *, reads: bool, prefilled: Prefilled[S] | None = None
    ) -> tuple[Job[S] | None, JobInfo]:
        """Return the new job of a request, or None and what its key named before.

        Args:
            request: What is asked.
            reads: Whether whoever asks reads the job's events.
            prefilled: What of the prime was heard already.

        Raises:
            BridgeError: The request is refused, as `Engine.render` says.
        """
        digest = ""
        if request.keep_source:
            digest = await asyncio.to_thread(request_digest, request)
        if not request.idempotency_key:
            job = self._begin(request, await self._parent(request), prefilled, digest, reads=reads)
            return job, job.session.info
        async with self._keys:
            known = await self._known(request.idempotency_key, digest)
            if known is not None:
                return None, known
            job = self._begin(request, await self._parent(request), prefilled, digest, reads=reads)
            # The key is taken when the row is there.
            if job.session.kept is not None:
                await asyncio.wait([job.session.kept])
            return job, job.session.info

    async def take_up(self, info: JobInfo) -> bool:
        """Return whether a job of a dead server goes on here; if not, it is written down why."""
        jobs, tools = self._store.jobs, self._lineup.by_fingerprint(info.fingerprint)
        loaded = tools.generator.info
        try:
            if info.fingerprint != loaded.fingerprint:
                raise NotReadyError(
                    f"the job was begun with the model {info.model} ({info.fingerprint}), loaded "
                    f"is {loaded.name} ({loaded.fingerprint}): its bytes would be others"
                )
            request = await asyncio.to_thread(jobs.request, info.id)
            parent = await self._parent(request)
            if parent is not None:
                check_parent(request, parent, loaded)
        except BridgeError as error:
            log.warning("%s cannot go on: %s", info.id, error)
            await asyncio.to_thread(jobs.end, ended(info, error, cancelled=False))
            return False
        digest = await asyncio.to_thread(request_digest, request)
        session = Session(info, request, self._limits.max_events, digest)
        session.events.leave()
        self._roster.enter(Job(session, tools, parent))
        return True

    async def _known(self, key: str, digest: str) -> JobInfo | None:
        found = await asyncio.to_thread(self._store.jobs.by_key, key)
        if found is None:
            return None
        info, asked = found
        if digest != asked:
            raise ConflictError(
                f"the idempotency key {key[:80]!r} named another request, the job {info.id}; "
                "a new request needs a new key",
                field="idempotency_key",
            )
        return info

    async def _parent(self, request: RenderRequest) -> Take | None:
        if not isinstance(request.source, TakePoint):
            return None
        return await asyncio.to_thread(self._store.load, request.source.take_id)

    def _tools_for(self, request: RenderRequest, parent: Take | None) -> Tools[S]:
        """Return the tools of the model named; of a take's maker, or the first, where none is."""
        if parent is not None and not request.model:
            return self._lineup.maker_of(parent)
        return self._lineup.named(request.model)

    def _begin(
        self,
        request: RenderRequest,
        parent: Take | None,
        prefilled: Prefilled[S] | None,
        digest: str,
        *,
        reads: bool,
    ) -> Job[S]:
        """Return a job that runs or waits, and is being written down."""
        tools = self._tools_for(request, parent)
        model = tools.generator.info
        check_request(request, model)
        request = levelled(request, model)
        if parent is not None:
            check_parent(request, parent, model)
        if prefilled is not None and tools is not self._lineup.named(""):
            raise UnsupportedError(
                f"the model {model.name} is served beside another one: it does not play live",
                field="model",
            )
        info = new_info(request, parent, model, self._store.jobs.now())
        check_file(request, info.splice_sample)
        self._roster.check_room(request)
        session = Session(info, request, self._limits.max_events, digest)
        job = Job(session, tools, parent, prefilled)
        if reads:
            session.listeners = 1
        else:
            session.events.leave()
        session.kept = asyncio.create_task(asyncio.to_thread(self._keep, session))
        self._roster.enter(job)
        return job

    def _keep(self, session: Session) -> None:
        self._store.check_room()
        self._store.jobs.add(session.info, session.request, session.digest)
