"""A live session as messages: a recording comes in, its continuations go out under credits.

What every wire of live sessions shares. Translates and decides nothing. Knows
no socket, no token and no call.
"""

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

import numpy as np

from bridge.errors import BridgeError, InvalidRequestError, NotReadyError, blaming
from bridge.live import Answer, LiveSession, LiveSetup
from bridge.messages import messages_of_event, samples_of
from bridge.ports import Audio, Plan
from bridge.request import AudioBlock, RenderEvent
from bridge.request_messages import conditions_of, num_samples_of, plan_of
from bridge.upload import MAX_BLOCK_BYTES, check_id
from protos import bridge_pb2

SEED_BITS: Final = 63
MAX_WAITING_EVENTS: Final = 64
LEAD_SECONDS: Final = 1.0
"""How far ahead of the music blocks go out when the server sets the pace."""
SLEEP: Final = asyncio.sleep
CLOCK: Final = time.monotonic
PACINGS: Final = (
    bridge_pb2.PACING_UNSPECIFIED,
    bridge_pb2.PACING_FAST,
    bridge_pb2.PACING_SERVER,
)


class LiveTalk:
    """What goes to and fro in one session; `setup_of` and `opened` come before it."""

    def __init__(
        self, session: LiveSession[Any], setup: LiveSetup, header: bridge_pb2.LiveHeader
    ) -> None:
        self._session = session
        self._setup = setup
        self._paced = header.pacing == bridge_pb2.PACING_SERVER
        self._events: asyncio.Queue[bridge_pb2.LiveEvent | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(MAX_WAITING_EVENTS)
        self._credit = _checked_credit(header.credit_samples)
        self._more_credit = asyncio.Event()
        self._answering: asyncio.Task[None] | None = None
        self._asked: Answer | None = None
        self._sent_sample = 0
        self._num_answers = 0

    async def events(
        self, incoming: AsyncIterator[bridge_pb2.LiveRequest]
    ) -> AsyncGenerator[bridge_pb2.LiveEvent]:
        """Yield what is to be told, until the recording and its last answer have ended."""
        listening = asyncio.create_task(self._listen(incoming), name=self._setup.session_id)
        listening.add_done_callback(self._end)
        try:
            while (event := await self._events.get()) is not None:
                self._room.release()
                yield event
            for task in (self._answering, listening):
                if task is not None and task.done() and not task.cancelled():
                    task.result()
        finally:
            tasks = [task for task in (listening, self._answering) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _listen(self, incoming: AsyncIterator[bridge_pb2.LiveRequest]) -> None:
        async for message in incoming:
            await self._take(message)
        self._session.finish()
        if self._answering is not None:
            await asyncio.wait([self._answering])

    async def _tell(self, event: bridge_pb2.LiveEvent) -> None:
        """Hand an event over; wait while too many wait for their reader."""
        await self._room.acquire()
        self._events.put_nowait(event)

    def _end(self, task: asyncio.Task[None]) -> None:
        """Let the reader know: the recording has ended, or something failed."""
        if task is not self._answering or not (task.cancelled() or task.exception() is None):
            self._events.put_nowait(None)

    async def _take(self, message: bridge_pb2.LiveRequest) -> None:
        match message.WhichOneof("part"):
            case "audio":
                with blaming("audio"):
                    audio = _recorded(message.audio, self._setup.num_channels)
                await self._session.hear(message.audio.start_sample, audio)
                await self._tell(_heard(self._session))
            case "continuation":
                try:
                    self._begin(message.continuation)
                except BridgeError as error:
                    await self._tell(
                        bridge_pb2.LiveEvent(failed=failure(message.continuation.request_id, error))
                    )
            case "credit":
                self._credit += _checked_credit(message.credit.num_samples)
                self._more_credit.set()
            case "stop":
                await self._stop()
            case _:
                raise InvalidRequestError(
                    "after the header only audio, continuation, credit and stop may come"
                )

    def _begin(self, message: bridge_pb2.LiveContinuation) -> None:
        if self._answering is not None and not self._answering.done():
            raise NotReadyError("an answer is under way: stop it, or wait for its end")
        with blaming("continuation"):
            asked = self._answer_of(message)
        self._num_answers += 1
        self._asked = asked
        self._sent_sample = asked.splice_sample
        self._answering = asyncio.create_task(self._answer(asked), name=asked.request_id)
        self._answering.add_done_callback(self._end)

    def _answer_of(self, message: bridge_pb2.LiveContinuation) -> Answer:
        check_id("request_id", message.request_id)
        plan: Plan = replace(
            self._setup.plan, variation=self._setup.plan.variation + self._num_answers
        )
        if message.HasField("plan"):
            with blaming("plan"):
                plan = plan_of(message.plan, secrets.randbits(SEED_BITS))
        with blaming("target"):
            num_samples = num_samples_of(
                message.target, self._setup.sample_rate, message.splice_sample
            )
        return Answer(
            request_id=message.request_id or uuid.uuid4().hex,
            splice_sample=message.splice_sample,
            num_samples=num_samples,
            plan=plan,
            write_file=message.write_file,
        )

    async def _answer(self, asked: Answer) -> None:
        try:
            async with aclosing(self._session.answer(asked)) as events:
                await self._send_all(events)
        except BridgeError as error:
            await self._tell(bridge_pb2.LiveEvent(failed=failure(asked.request_id, error)))

    async def _send_all(self, events: AsyncGenerator[RenderEvent]) -> None:
        begun_s: float | None = None
        async for event in events:
            if isinstance(event, AudioBlock):
                begun_s = CLOCK() if begun_s is None else begun_s
                await self._send_block(event, begun_s)
            else:
                await self._send(event)

    async def _send_block(self, block: AudioBlock, begun_s: float) -> None:
        """Send as much of a block as credit allows, at the music's speed if that is wanted."""
        start, samples = block.start_sample, block.samples
        while samples.shape[1]:
            while self._credit == 0:
                self._more_credit.clear()
                await self._more_credit.wait()
            if self._paced and self._asked is not None:
                played_s = (start - self._asked.splice_sample) / self._setup.sample_rate
                await SLEEP(max(0.0, begun_s + played_s - LEAD_SECONDS - CLOCK()))
            now = min(self._credit, samples.shape[1])
            self._credit -= now
            await self._send(replace(block, start_sample=start, samples=samples[:, :now]))
            start, samples = start + now, samples[:, now:]
            self._sent_sample = start

    async def _send(self, event: RenderEvent) -> None:
        for message in messages_of_event(event):
            await self._tell(bridge_pb2.LiveEvent(render=message))

    async def _stop(self) -> None:
        task, asked = self._answering, self._asked
        if task is None or asked is None or task.done():
            return
        task.cancel()
        await asyncio.wait([task])
        stopped = bridge_pb2.LiveStopped(request_id=asked.request_id, end_sample=self._sent_sample)
        await self._tell(bridge_pb2.LiveEvent(stopped=stopped))


def setup_of(client_id: str, header: bridge_pb2.LiveHeader) -> LiveSetup:
    """Return what holds for the session that a header opens.

    Raises:
        InvalidRequestError: A value outside its limits.
    """
    with blaming("header"):
        for name in ("request_id", "model"):
            check_id(name, getattr(header, name))
        if header.pacing not in PACINGS:
            raise InvalidRequestError(
                f"the pacing is {header.pacing}, known are {sorted(PACINGS)}", field="pacing"
            )
        with blaming("plan"):
            plan = plan_of(header.plan, secrets.randbits(SEED_BITS))
        with blaming("conditions"):
            conditions = conditions_of(header.conditions)
        return LiveSetup(
            session_id=header.request_id or uuid.uuid4().hex,
            sample_rate=header.format.sample_rate,
            num_channels=header.format.num_channels,
            start_sample=header.start_sample,
            conditions=conditions,
            plan=plan,
            model=header.model,
            client_id=client_id,
        )


def _checked_credit(num_samples: int) -> int:
    if num_samples < 0:
        raise InvalidRequestError(
            f"the credit is {num_samples} samples, at least 0 are needed", field="credit"
        )
    return num_samples


def _recorded(block: bridge_pb2.AudioBlock, num_channels: int) -> Audio:
    if len(block.samples) > MAX_BLOCK_BYTES:
        raise InvalidRequestError(
            f"an audio block holds {len(block.samples)} bytes, the limit is {MAX_BLOCK_BYTES} bytes"
        )
    if block.role != bridge_pb2.ROLE_PRIME:
        raise InvalidRequestError(
            f"an audio block has role {block.role}, here {bridge_pb2.ROLE_PRIME} is needed"
        )
    samples = samples_of(block.samples, num_channels)
    bad = int(np.count_nonzero(~np.isfinite(samples)))
    if bad:
        raise InvalidRequestError(
            f"the block at sample {block.start_sample} holds {bad} samples that are NaN or "
            "infinite, 0 are allowed"
        )
    return samples


def opened(session: LiveSession[Any], setup: LiveSetup) -> bridge_pb2.LiveEvent:
    """Return what is told first."""
    info = session.info
    told = bridge_pb2.LiveOpened(
        session_id=setup.session_id,
        model=info.name,
        fingerprint=info.fingerprint,
        anchor_sample=session.anchor_sample,
    )
    return bridge_pb2.LiveEvent(opened=told)


def _heard(session: LiveSession[Any]) -> bridge_pb2.LiveEvent:
    heard = bridge_pb2.LiveHeard(
        received_sample=session.received_sample, prefilled_sample=session.prefilled_sample
    )
    return bridge_pb2.LiveEvent(heard=heard)


def failure(request_id: str, error: BridgeError) -> bridge_pb2.LiveFailed:
    """Return an error as the wire spells it."""
    return bridge_pb2.LiveFailed(
        request_id=request_id,
        code=error.code.name,
        reason=error.reason(),
        message=str(error),
        field=error.field,
    )
