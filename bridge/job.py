"""One request's way through the workers: hear, generate, decode, keep.

The model's worker opens, feeds and steps; the sound worker decodes and
assembles, so that decoding one chunk overlaps making the next. Knows no wire
and nothing of who else is served.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from bridge.audio_file import AudioClip, Provenance, write_audio
from bridge.model_time import feed_blocks, heard, model_conditions
from bridge.ports import Audio, Conditions, Generator, Mono, S
from bridge.render import Assembly, ground_of, place
from bridge.request import Accepted, AudioBlock, Done, Prime, Progress
from bridge.session import ProgressMeter, Session, SessionState
from bridge.store import TakeStore
from bridge.takes import Take, summary, take_id
from bridge.workers import Worker

log = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")

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
        self._ground = ground_of(session.request)
        self._place = place(session.request, self._ground, info)
        self._started_s = tools.clock()
        self._first_audio_s: float | None = None
        self._meter = ProgressMeter(self._expected_steps(), tools.clock)
        self._accepted = False
        self._decodable: S | None = None
        self._opened, self._more = asyncio.Event(), asyncio.Event()
        self._kept: list[Audio] = []

    async def run(self) -> None:
        """Render the request; events go to the session."""
        self._session.move(SessionState.PRIMING)
        audio, conditions = await self._on_sound(self._prepare)
        codes, assembly = await _together(self._make(audio, conditions), self._sound(audio))
        await self._report(self._meter.finish("decode"))
        self._session.move(SessionState.KEEPING)
        elapsed_s = self._tools.clock() - self._started_s
        take, path = await asyncio.to_thread(self._keep, assembly, codes)
        done = self._done(take, path, elapsed_s)
        await self._session.events.put(replace(done, lead_in=assembly.lead_in))

    def _prepare(self) -> tuple[Mono, Conditions]:
        request, sample_map = self._request, self._place.sample_map
        start = self._ground.first_sample
        conditions = model_conditions(request.conditions, sample_map, start)
        if isinstance(request.source, Prime):
            return heard(request.source, sample_map), conditions
        return np.zeros(0, np.float32), conditions

    async def _make(self, audio: Mono, conditions: Conditions) -> bytes:
        """Return the codes of the whole take: what the model's worker does."""
        anchor = self._place.sample_map.anchor_sample
        opening = partial(
            self._tools.generator.open, conditions, anchor, self._place.decoded_samples
        )
        state = await self._on_model(opening)
        self._opened.set()
        for block in feed_blocks(audio, self._info.feed_samples):
            state = await self._advance(partial(self._feed, state, block))
        self._session.move(SessionState.GENERATING)
        for _ in range(self._step_limit()):
            if state.decodable_sample >= self._place.decoded_samples:
                return await self._on_model(state.to_bytes)
            state = await self._advance(partial(self._step, state))
        raise RuntimeError(
            f"the generator settled {state.settled_sample} model samples in "
            f"{self._step_limit()} steps, {self._place.decoded_samples} were wanted"
        )

    async def _advance(self, work: Callable[[], _Made[S]]) -> S:
        made = await self._on_model(work)
        if made.decodable is not None:
            self._decodable = made.decodable
            self._more.set()
        await self._report(self._meter.advance(made.phase))
        return made.state

    def _feed(self, state: S, audio: Mono) -> _Made[S]:
        before = state.decodable_sample
        return self._made(before, self._tools.generator.feed(state, audio), "prime")

    def _step(self, state: S) -> _Made[S]:
        before = state.decodable_sample
        result = self._tools.generator.step([state], self._request.plan)[0]
        return self._made(before, result.state, result.phase)

    def _made(self, before: int, state: S, phase: str) -> _Made[S]:
        """Return the outcome; forked, for the next call consumes a state that is being decoded."""
        size = self._info.block_samples
        news = state.decodable_sample // size > before // size
        return _Made(state=state, phase=phase, decodable=state.fork() if news else None)

    async def _sound(self, audio: Mono) -> Assembly:
        """Tell how well the prime is known, then send the result: what the sound worker does."""
        await self._opened.wait()
        tried = audio[-FIDELITY_SECONDS * self._info.sample_rate :]
        fidelity = await self._on_sound(partial(self._tools.generator.fidelity, tried))
        await self._session.events.put(self._accept(fidelity))
        self._accepted = True
        # Not before: the model need not wait until the prime is measured.
        assembly = await self._on_sound(lambda: Assembly(self._ground, self._place))
        for block in range(self._place.first_block, self._place.end_block):
            state = await self._decodable_state(block)
            start = assembly.next_sample
            result = await self._on_sound(partial(self._assemble, assembly, state, block))
            if result.shape[1]:
                await self._send(start, result)
        return assembly

    def _accept(self, fidelity: float) -> Accepted:
        return Accepted(
            request_id=self._request.request_id,
            seed=self._request.plan.seed,
            anchor_sample=self._place.sample_map.anchor_sample,
            splice_sample=self._place.splice_sample,
            expected_samples=self._request.num_samples,
            codec_fidelity=fidelity,
            advice=_advice(fidelity),
            model=self._info.name,
            fingerprint=self._info.fingerprint,
            job_id=self._session.job,
        )

    async def _decodable_state(self, block: int) -> S:
        end = (block + 1) * self._info.block_samples
        while self._decodable is None or self._decodable.decodable_sample < end:
            self._more.clear()
            await self._more.wait()
        return self._decodable

    def _assemble(self, assembly: Assembly, state: S, block: int) -> Audio:
        return assembly.push(block, self._tools.generator.decode(state, block))

    async def _send(self, start_sample: int, audio: Audio) -> None:
        if self._first_audio_s is None:
            self._first_audio_s = self._tools.clock()
        if self._request.write_file:
            self._kept.append(audio)
        await self._session.events.put(AudioBlock(start_sample=start_sample, samples=audio))

    def _keep(self, assembly: Assembly, codes: bytes) -> tuple[Take, Path | None]:
        take = self._take(assembly, codes)
        self._tools.store.save(take)
        return take, self._write(take) if self._request.write_file else None

    def _take(self, assembly: Assembly, codes: bytes) -> Take:
        info, plan = self._info, self._request.plan
        told = summary(self._request, self._ground, self._place)
        return Take(
            id=take_id(told, plan, info.fingerprint, assembly.sha256),
            request=told,
            plan=plan,
            model=info.name,
            fingerprint=info.fingerprint,
            licence=info.output_licence,
            parent=None,
            sha256=assembly.sha256,
            num_samples=assembly.next_sample - self._place.splice_sample,
            gain_db=assembly.gain_db,
            level_db=assembly.level_db,
            image=self._ground.image,
            codes=codes,
        )

    def _write(self, take: Take) -> Path:
        provenance = Provenance(
            model=take.model,
            fingerprint=take.fingerprint,
            seed=take.seed,
            request_id=self._request.request_id,
            licence=take.licence,
            take_id=take.id,
        )
        samples = np.concatenate(self._kept, axis=1)
        clip = AudioClip(samples=samples, sample_rate=self._request.sample_rate)
        path = self._tools.store.audio_path(take.id)
        return write_audio(path, clip, self._place.splice_sample, provenance)

    def _done(self, take: Take, path: Path | None, elapsed_s: float) -> Done:
        first_audio_s = self._first_audio_s or self._started_s
        return Done(
            take_id=take.id,
            path=path,
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

    def _step_limit(self) -> int:
        return STALLED_FACTOR * (self._expected_steps() + 64)

    def _expected_steps(self) -> int:
        fed = self._place.fed_samples
        missing = self._place.decoded_samples - fed
        speed = self._tools.generator.steps_per_second(self._request.plan)
        steps = math.ceil(missing / self._info.sample_rate * speed)
        return steps + math.ceil(fed / self._info.feed_samples)


async def _together(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Return both results; a failure of one ends the other and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = group.create_task(first), group.create_task(second)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return tasks[0].result(), tasks[1].result()


def _advice(fidelity: float) -> str:
    if fidelity >= LOW_FIDELITY:
        return ""
    return (
        f"this sound is outside what the model knows: its codec keeps {fidelity:.2f} of 1, "
        f"below {LOW_FIDELITY:g} the result may not sound like the recording"
    )
