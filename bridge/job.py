"""One request's way through the workers: hear, generate, decode, keep.

The model's worker opens, feeds and steps; the sound worker decodes and
assembles, so that decoding one chunk overlaps making the next. Knows no wire
and nothing of who else is served.
"""

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from bridge.ports import Audio, Conditions, Generator, Mono, S
from bridge.render import Assembly, feed_blocks, heard, model_conditions, place
from bridge.request import Accepted, AudioBlock, Done, Progress
from bridge.session import ProgressMeter, Session, SessionState
from bridge.store import TakeStore
from bridge.takes import Take, summary, take_id
from bridge.workers import Worker

log = logging.getLogger(__name__)
T = TypeVar("T")

FIDELITY_SECONDS = 3
"""How much of the prime's end is tried on the codec."""
LOW_FIDELITY = 0.5
STALLED_FACTOR = 16
"""So many times the expected steps without an end are a fault of the generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools(Generic[S]):
    """What every job works with."""

    generator: Generator[S]
    model: Worker
    sound: Worker
    store: TakeStore
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made(Generic[S]):
    """One step's outcome: the state that goes on, and one that may be decoded beside it."""

    state: S
    phase: str
    decodable: S | None


class Job(Generic[S]):
    """Renders one session's request."""

    def __init__(self, session: Session, tools: Tools[S]) -> None:
        self._session = session
        self._request = session.request
        self._tools = tools
        info = tools.generator.info
        self._info = info
        self._place = place(session.request, info)
        self._assembly = Assembly(session.request, self._place)
        self._started_s = tools.clock()
        self._first_audio_s: float | None = None
        self._meter = ProgressMeter(self._expected_steps(), tools.clock)
        self._accepted = False
        self._decodable: S | None = None
        self._more = asyncio.Event()
        self._hash = hashlib.sha256()
        self._sent_samples = 0
        self._blocks: list[Audio] = []

    async def run(self) -> None:
        """Render the request; events go to the session."""
        self._session.move(SessionState.PRIMING)
        state = await self._prime()
        self._session.move(SessionState.GENERATING)
        codes = await self._generate(state)
        self._session.move(SessionState.KEEPING)
        done = await asyncio.to_thread(self._keep, codes)
        await self._session.events.put(done)

    async def _prime(self) -> S:
        generator = self._tools.generator
        audio, conditions = await self._on_sound(self._prepare)
        anchor = self._place.anchor_sample
        state = await self._on_model(lambda: generator.open(conditions, anchor))
        accepting = asyncio.create_task(self._accept(audio))
        try:
            for block in feed_blocks(audio, self._info.feed_samples):
                state = await self._on_model(partial(generator.feed, state, block))
                await self._report(self._meter.advance("prime"))
            await accepting
        finally:
            accepting.cancel()
        self._offer(await self._on_model(state.fork))
        return state

    def _prepare(self) -> tuple[Mono, Conditions]:
        request = self._request
        start = request.prime_start_sample
        conditions = model_conditions(request.conditions, self._place, start)
        return heard(request, self._place), conditions

    async def _accept(self, audio: Mono) -> None:
        tried = audio[-FIDELITY_SECONDS * self._info.sample_rate :]
        fidelity = await self._on_sound(partial(self._tools.generator.fidelity, tried))
        accepted = Accepted(
            request_id=self._request.request_id,
            seed=self._request.plan.seed,
            anchor_sample=self._place.anchor_sample,
            splice_sample=self._place.splice_sample,
            expected_samples=self._request.num_samples,
            codec_fidelity=fidelity,
            advice=_advice(fidelity),
            model=self._info.name,
            fingerprint=self._info.fingerprint,
        )
        await self._session.events.put(accepted)
        self._accepted = True

    async def _generate(self, state: S) -> bytes:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._decode())
                stepping = group.create_task(self._step_to_the_end(state))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        await self._report(self._meter.finish("decode"))
        return stepping.result()

    async def _step_to_the_end(self, state: S) -> bytes:
        limit = STALLED_FACTOR * (self._expected_steps() + 64)
        for _ in range(limit):
            if state.decodable_sample >= self._place.end_block * self._info.block_samples:
                return await self._on_model(state.to_bytes)
            made = await self._on_model(partial(self._step, state))
            state = made.state
            if made.decodable is not None:
                self._offer(made.decodable)
            await self._report(self._meter.advance(made.phase))
        raise RuntimeError(
            f"the generator settled {state.settled_sample} model samples in {limit} steps, "
            f"{self._place.end_block * self._info.block_samples} were wanted"
        )

    def _step(self, state: S) -> _Made[S]:
        before = state.decodable_sample // self._info.block_samples
        result = self._tools.generator.step([state], self._request.plan)[0]
        after = result.state.decodable_sample // self._info.block_samples
        decodable = result.state.fork() if after > before else None
        return _Made(state=result.state, phase=result.phase, decodable=decodable)

    def _offer(self, state: S) -> None:
        self._decodable = state
        self._more.set()

    async def _decode(self) -> None:
        for block in range(self._place.first_block, self._place.end_block):
            state = await self._decodable_state(block)
            audio = await self._on_sound(partial(self._assemble, state, block))
            await self._send(audio)

    async def _decodable_state(self, block: int) -> S:
        end = (block + 1) * self._info.block_samples
        while self._decodable is None or self._decodable.decodable_sample < end:
            self._more.clear()
            await self._more.wait()
        return self._decodable

    def _assemble(self, state: S, block: int) -> Audio:
        decoded = self._tools.generator.decode(state, block)
        audio = self._assembly.push(decoded, last=block + 1 == self._place.end_block)
        self._hash.update(np.ascontiguousarray(audio.T).astype("<f4", copy=False).tobytes())
        return audio

    async def _send(self, audio: Audio) -> None:
        if audio.shape[1] == 0:
            return
        if self._first_audio_s is None:
            self._first_audio_s = self._tools.clock()
        start = self._place.splice_sample + self._sent_samples
        self._sent_samples += audio.shape[1]
        if self._request.write_file:
            self._blocks.append(audio)
        await self._session.events.put(AudioBlock(start_sample=start, samples=audio))

    def _keep(self, codes: bytes) -> Done:
        request, info = self._request, self._info
        elapsed_s = self._tools.clock() - self._started_s
        told = summary(request, self._place.anchor_sample)
        sha256 = self._hash.hexdigest()
        take = Take(
            id=take_id(told, request.plan, info.fingerprint, sha256),
            request=told,
            plan=request.plan,
            model=info.name,
            fingerprint=info.fingerprint,
            licence=info.output_licence,
            parents=(),
            sha256=sha256,
            num_samples=self._sent_samples,
            gain_db=self._assembly.gain_db,
            codes=codes,
        )
        self._tools.store.save(take)
        return self._done(take, elapsed_s)

    def _done(self, take: Take, elapsed_s: float) -> Done:
        first_audio_s = self._first_audio_s or self._started_s
        return Done(
            take_id=take.id,
            path=None,
            sha256=take.sha256,
            num_samples=take.num_samples,
            rtf=take.num_samples / self._request.sample_rate / max(elapsed_s, 1e-9),
            first_audio_ms=1000 * (first_audio_s - self._started_s),
            gain_db=take.gain_db,
            licence=take.licence,
        )

    async def _report(self, progress: Progress) -> None:
        if self._accepted:
            await self._session.events.put(progress)

    async def _on_model(self, work: Callable[[], T]) -> T:
        return await self._tools.model.run(self._session.job, work)

    async def _on_sound(self, work: Callable[[], T]) -> T:
        return await self._tools.sound.run(self._session.job, work)

    def _expected_steps(self) -> int:
        fed = self._place.fed_samples
        missing = self._place.end_block * self._info.block_samples - fed
        speed = self._tools.generator.steps_per_second(self._request.plan)
        steps = math.ceil(missing / self._info.sample_rate * speed)
        return steps + math.ceil(fed / self._info.feed_samples)


def _advice(fidelity: float) -> str:
    if fidelity >= LOW_FIDELITY:
        return ""
    return (
        f"this sound is outside what the model knows: its codec keeps {fidelity:.2f} of 1, "
        f"below {LOW_FIDELITY:g} the result may not sound like the recording"
    )
