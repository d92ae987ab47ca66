"""A live session as messages: a recording comes in, its continuations go out under credits.

What every wire of live sessions shares. Translates and decides nothing. Knows
no socket, no token and no call.
"""

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from bridge.errors import BridgeError, InvalidRequestError, NotReadyError, blaming
from bridge.live import LiveSession
from bridge.live_loop import Failed, LiveLoop, LoopEvent, LoopPlan, Told, Turn
from bridge.live_messages import SEED_BITS, checked_credit, failure, heard, recorded
from bridge.live_setup import Answer, LiveSetup, Margins
from bridge.messages import messages_of_event, stem_kind_of
from bridge.ports import Plan
from bridge.request import AudioBlock, Done, RenderEvent
from bridge.request_messages import midi_of, num_samples_of, plan_of, tempo_map_of
from bridge.transport import exact
from bridge.upload import check_id
from protos import bridge_pb2

MAX_WAITING_EVENTS: Final = 64
LEAD_SECONDS: Final = 1.0
"""How far ahead of the music blocks go out when the server sets the pace."""
TELL_EVERY_S: Final = 0.05
"""How far the recording has come is told at most so often: a block of 1024 samples is shorter."""
SLEEP: Final = asyncio.sleep
CLOCK: Final = time.monotonic


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
        self._credit = checked_credit(header.credit_samples)
        self._more_credit = asyncio.Event()
        self._answering: asyncio.Task[None] | None = None
        self._asked: Answer | LiveLoop | None = None
        self._name = ""
        self._is_told = False
        self._sent_sample = 0
        self._num_answers = 0
        self._telling: asyncio.Task[None] | None = None
        self._told_s = -TELL_EVERY_S

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
            tasks = [
                task for task in (listening, self._answering, self._telling) if task is not None
            ]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _listen(self, incoming: AsyncIterator[bridge_pb2.LiveRequest]) -> None:
        async for message in incoming:
            await self._take(message)
        self._session.finish()
        waited = [task for task in (self._answering, self._telling) if task is not None]
        if waited:
            await asyncio.wait(waited)

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
                await self._hear(message.audio)
            case "notes":
                with blaming("notes"):
                    self._session.hear_notes(midi_of(message.notes))
            case "credit":
                self._credit += checked_credit(message.credit.num_samples)
                self._more_credit.set()
            case "continuation" | "loop" | "tempo" | "stop":
                await self._try_to(message)
            case _:
                raise InvalidRequestError(
                    "after the header only audio, notes, continuation, loop, tempo, credit "
                    "and stop may come"
                )

    async def _try_to(self, message: bridge_pb2.LiveRequest) -> None:
        """Do what the player asks for; what cannot be done is told, and the session goes on."""
        name = message.continuation.request_id or message.loop.request_id or self._name
        try:
            match message.WhichOneof("part"):
                case "continuation":
                    await self._check_free()
                    self._begin(message.continuation)
                case "loop":
                    await self._check_free()
                    self._begin_loop(message.loop)
                case "tempo":
                    self._follow(message.tempo)
                case _:
                    await self._stop(at_bar=message.stop.at_bar)
        except BridgeError as error:
            await self._tell(bridge_pb2.LiveEvent(failed=failure(name, error)))

    async def _hear(self, block: bridge_pb2.AudioBlock) -> None:
        if block.role == bridge_pb2.ROLE_STEM:
            with blaming("audio"):
                samples = recorded(block, 1)[0]
                self._session.hear_stem(stem_kind_of(block.stem), block.start_sample, samples)
            return
        with blaming("audio"):
            audio = recorded(block, self._setup.num_channels)
        await self._session.hear(block.start_sample, audio)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_heard())

    async def _tell_heard(self) -> None:
        """Tell how far the recording has come; who sends small blocks hears of several at once."""
        last: bridge_pb2.LiveEvent | None = None
        while heard(self._session) != last:
            await asyncio.sleep(self._told_s + TELL_EVERY_S - CLOCK())
            self._told_s, last = CLOCK(), heard(self._session)
            await self._tell(last)

    def _begin(self, message: bridge_pb2.LiveContinuation) -> None:
        with blaming("continuation"):
            asked = self._answer_of(message)
            changes = message.target.tempo_map
            if changes:
                self._session.follow(tempo_map_of(changes, self._setup.sample_rate))
        self._num_answers += 1
        self._sent_sample = asked.splice_sample
        self._start(asked, asked.request_id, self._answer(asked))

    def _begin_loop(self, message: bridge_pb2.LiveLoop) -> None:
        with blaming("loop"):
            asked = self._loop_of(message)
            loop = LiveLoop(self._session, asked)
        self._start(loop, asked.request_id, self._answer_on(loop, asked.request_id))

    def _start(self, asked: Answer | LiveLoop, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._asked, self._name, self._is_told = asked, name, False
        self._answering = asyncio.create_task(work, name=name)
        self._answering.add_done_callback(self._end)

    async def _check_free(self) -> None:
        if self._answering is not None and self._is_told:
            # Its end is known to the player already: what is left of it is to clear away.
            await asyncio.wait([self._answering])
        if self._answering is not None and not self._answering.done():
            raise NotReadyError("an answer is under way: stop it, or wait for its end")

    def _follow(self, message: bridge_pb2.LiveTempo) -> None:
        if not isinstance(self._asked, LiveLoop):
            raise NotReadyError("no loop is under way that could follow a tempo")
        self._asked.follow(tempo_map_of(message.tempo_map, self._setup.sample_rate))

    def _answer_of(self, message: bridge_pb2.LiveContinuation) -> Answer:
        check_id("request_id", message.request_id)
        with blaming("target"):
            num_samples = num_samples_of(
                message.target, self._setup.sample_rate, message.splice_sample
            )
        return Answer(
            request_id=message.request_id or uuid.uuid4().hex,
            splice_sample=message.splice_sample,
            num_samples=num_samples,
            plan=self._plan_of(message),
            margins=Margins(lead=message.lead_samples, fade=message.fade_samples),
            write_file=message.write_file,
            keep_up=message.keep_up or self._paced,
        )

    def _loop_of(self, message: bridge_pb2.LiveLoop) -> LoopPlan:
        check_id("request_id", message.request_id)
        with blaming("tempo_map"):
            tempo_map = tempo_map_of(message.tempo_map, self._setup.sample_rate)
        return LoopPlan(
            request_id=message.request_id or uuid.uuid4().hex,
            tempo_map=tempo_map,
            first_sample=message.first_sample,
            bars=exact(message.bars),
            listen_bars=exact(message.listen_bars),
            margins=Margins(
                lead=message.lead_samples,
                fade=message.fade_samples,
                reserve=message.reserve_samples,
            ),
            plan=self._plan_of(message),
            keep_up=message.keep_up or self._paced,
        )

    def _plan_of(self, message: bridge_pb2.LiveContinuation | bridge_pb2.LiveLoop) -> Plan:
        """Return the plan that a message brings, or the next variation of the header's."""
        if message.HasField("plan"):
            with blaming("plan"):
                return plan_of(message.plan, secrets.randbits(SEED_BITS))
        own = self._setup.plan
        return replace(own, variation=own.variation + self._num_answers)

    async def _answer(self, asked: Answer) -> None:
        try:
            async with aclosing(self._session.answer(asked)) as events:
                await self._send_all(asked, events)
        except BridgeError as error:
            await self._tell(bridge_pb2.LiveEvent(failed=failure(asked.request_id, error)))

    async def _send_all(self, asked: Answer, events: AsyncGenerator[RenderEvent]) -> None:
        begun_s: float | None = None
        async for event in events:
            if isinstance(event, AudioBlock):
                begun_s = CLOCK() if begun_s is None else begun_s
                due_s = begun_s - LEAD_SECONDS - asked.splice_sample / self._setup.sample_rate
                await self._send_block(event, asked.request_id, due_s)
            else:
                self._is_told = isinstance(event, Done)
                await self._send(event, asked.request_id)

    async def _answer_on(self, loop: LiveLoop, name: str) -> None:
        async with aclosing(loop.events()) as events:
            async for event in events:
                await self._send_turn(event)
        self._num_answers += loop.num_turns
        stopped = bridge_pb2.LiveStopped(request_id=name, end_sample=loop.end_sample)
        self._is_told = True
        await self._tell(bridge_pb2.LiveEvent(stopped=stopped))

    async def _send_turn(self, event: LoopEvent) -> None:
        match event:
            case Turn():
                turn = bridge_pb2.LiveTurn(
                    request_id=event.request_id,
                    start_sample=event.start_sample,
                    end_sample=event.end_sample,
                    fade_samples=event.fade_samples,
                )
                await self._tell(bridge_pb2.LiveEvent(turn=turn))
            case Failed():
                failed = failure(event.request_id, event.error)
                await self._tell(bridge_pb2.LiveEvent(failed=failed))
            case Told(event=AudioBlock() as block):
                await self._send_block(block, event.request_id, None)
            case Told():
                await self._send(event.event, event.request_id)

    async def _send_block(self, block: AudioBlock, name: str, due_s: float | None) -> None:
        """Send as much of a block as credit allows, at the music's speed if that is wanted.

        A loop's answers need no pace: the recording keeps it.
        """
        start, samples = block.start_sample, block.samples
        while samples.shape[1]:
            while self._credit == 0:
                self._more_credit.clear()
                await self._more_credit.wait()
            if self._paced and due_s is not None:
                await SLEEP(max(0.0, due_s + start / self._setup.sample_rate - CLOCK()))
            now = min(self._credit, samples.shape[1])
            self._credit -= now
            await self._send(replace(block, start_sample=start, samples=samples[:, :now]), name)
            start, samples = start + now, samples[:, now:]
            self._sent_sample = start

    async def _send(self, event: RenderEvent, name: str) -> None:
        for message in messages_of_event(event):
            await self._tell(bridge_pb2.LiveEvent(render=message, request_id=name))

    async def _stop(self, *, at_bar: bool) -> None:
        task, asked = self._answering, self._asked
        if task is None or asked is None or task.done():
            return
        if at_bar:
            if not isinstance(asked, LiveLoop):
                text = "an answer ends by itself: only a loop can be stopped at a bar"
                raise InvalidRequestError(text, field="stop.at_bar")
            asked.stop_at_bar()
            return
        task.cancel()
        await asyncio.wait([task])
        stopped = bridge_pb2.LiveStopped(request_id=self._name, end_sample=self._sent_sample)
        await self._tell(bridge_pb2.LiveEvent(stopped=stopped))
