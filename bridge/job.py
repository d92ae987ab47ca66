"""One request's way through the workers: hear, generate, decode, keep.

The model's worker opens, feeds and steps; the sound worker decodes and
assembles, so that decoding one chunk overlaps making the next. The state is
written down at intervals: begun again from there, the job gives the same bytes.
Knows no wire and nothing of who else is served.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from bridge.cache import Keys, Prefilled, prime_keys
from bridge.errors import BridgeError
from bridge.jobs import Checkpoint, JobState
from bridge.keeping import Saver, Tools, advice_on, told, whole, write_take
from bridge.model_time import feed_blocks, heard, model_conditions
from bridge.pace import PRIME, ProgressMeter, Steps
from bridge.ports import Audio, Conditions, Mono, S, TimedWord
from bridge.render import Assembly, Likeness, likeness_of, place, words_on_session
from bridge.request import Accepted, AudioBlock, Done, Prime, Progress, StoredCodes, TakePoint
from bridge.session import Session, SessionState
from bridge.takes import Take, ground_for, likeness_of_take, summary, take_id

log = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")

FIDELITY_SECONDS = 3
"""How much of the prime's end is tried on the codec."""
STALLED_FACTOR = 16
"""So many times the expected steps without an end are a fault of the generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made(Generic[S]):
    """One step's outcome: the state that goes on, and one that may be decoded beside it."""

    state: S
    phase: str
    decodable: S | None
    left: int | None = None


class Job(Generic[S]):
    """Renders one session's request.

    Attributes:
        placement: Where the result lies.
        likeness: The sound that the result must meet, once it is measured.
        made_samples: How much of the result is there.
    """

    def __init__(
        self,
        session: Session,
        tools: Tools[S],
        parent: Take | None = None,
        prefilled: Prefilled[S] | None = None,
    ) -> None:
        """Place the result.

        Args:
            session: Whose request it is, and who hears of it.
            tools: What every job works with.
            parent: The take that a `TakePoint` names.
            prefilled: What of the prime was heard already.

        Raises:
            InvalidRequestError: The anchor is not inside the prime.
        """
        self.session = session
        self._request = session.request
        self._tools = tools
        self._parent = parent
        self._prefilled = prefilled
        self._keys: Keys = ()
        info = tools.generator.info
        self._info = info
        self._ground = ground_for(session.request.source, parent)
        self.placement = place(session.request, self._ground, info)
        self._steps = self._expected_steps()
        self.meter = ProgressMeter(self._steps, tools.clock, tools.pace)
        self._started_s = tools.clock()
        self._first_audio_s: float | None = None
        self._saver = Saver(session.job, tools)
        self._accepted = False
        self.likeness: Likeness | None = None
        self._decodable: S | None = None
        self.made_samples = 0
        self._reached: tuple[S, int] | None = None
        self._opened, self._more = asyncio.Event(), asyncio.Event()
        self._kept: list[Audio] = []
        self._words: tuple[TimedWord, ...] = ()

    async def run(self) -> None:
        """Render the request; events go to the session."""
        self._started_s = self._tools.clock()
        if self._request.live:
            self._set_deadlines(self._started_s)
        self.meter = ProgressMeter(self._steps, self._tools.clock, self._tools.pace)
        self.session.move(SessionState.PRIMING)
        checkpoint = None
        if self.session.kept is None:
            load = self._tools.store.jobs.checkpoint
            checkpoint = await asyncio.to_thread(load, self.session.job)
        audio, conditions = await self._on_sound(self._prepare)
        try:
            codes, assembly = await _together(
                self._make(audio, conditions, checkpoint), self._sound(audio)
            )
        finally:
            await self._saver.rest()
        await self._report(self.meter.finish("decode"))
        self._words = await self._on_model(partial(self._sung, codes))
        self.session.move(SessionState.KEEPING)
        elapsed_s = self._tools.clock() - self._started_s
        done = await whole(partial(self._keep, assembly, codes, elapsed_s))
        self.session.conclude(replace(done, lead_in=assembly.lead_in))

    async def save(self) -> None:
        """Write down how far the job has come, so that it can be begun again from there."""
        if self._reached is not None:
            await self._saver.now(*self._reached)

    def eta_seconds(self) -> float:
        """Return how long the rest of the job will take once it runs, by measured speed."""
        if self.session.state is SessionState.QUEUED:
            return self._tools.pace.seconds(self._steps)
        return self.meter.progress("").eta_seconds

    def _prepare(self) -> tuple[Mono, Conditions]:
        request, sample_map = self._request, self.placement.sample_map
        start = self._ground.first_sample
        conditions = model_conditions(request.conditions, sample_map, start)
        if isinstance(request.source, Prime):
            audio = heard(request.source, sample_map)
            self._keys = prime_keys(self._info, conditions, sample_map.anchor_sample, audio)
            return audio, conditions
        return np.zeros(0, np.float32), conditions

    async def _make(
        self, audio: Mono, conditions: Conditions, checkpoint: Checkpoint | None
    ) -> bytes:
        """Return the codes of the whole take: what the model's worker does."""
        caches = self._tools.caches
        if (codes := await self._answered()) is not None:
            return codes
        if checkpoint is None and self._prefilled is None:
            self._prefilled = caches.longest(self._keys)
        heard_before = checkpoint or self._prefilled
        fed_blocks = 0 if heard_before is None else heard_before.fed_blocks
        state = await self._on_model(partial(self._begin, conditions, checkpoint))
        self._show(state)
        self._opened.set()
        for block in islice(feed_blocks(audio, self._info.feed_samples), fed_blocks, None):
            fed_blocks += 1
            state = await self._advance(partial(self._feed, state, block), fed_blocks)
            caches.keep(self._keys, fed_blocks, state)
        self.session.move(SessionState.GENERATING)
        for _ in range(self._step_limit()):
            if state.decodable_sample >= self.placement.decoded_samples:
                return await self._on_model(state.to_bytes)
            state = await self._advance(partial(self._step, state), fed_blocks)
        raise RuntimeError(
            f"the generator settled {state.settled_sample} model samples in "
            f"{self._step_limit()} steps, {self.placement.decoded_samples} were wanted"
        )

    async def _answered(self) -> bytes | None:
        """Return the codes of a take that the same request made, shown to whoever decodes.

        None if there is none, or it cannot be read any more: then it is made again.
        """
        find = self._tools.caches.answer
        codes = await asyncio.to_thread(find, self._request, self._info.fingerprint)
        if codes is None:
            return None
        try:
            state = await self._on_model(partial(self._tools.generator.restore, codes))
        except BridgeError as error:
            log.warning("%s is computed, for its take cannot be read: %s", self.session.job, error)
            return None
        self._show(state)
        self._opened.set()
        self.session.move(SessionState.GENERATING)
        return codes

    def _begin(self, conditions: Conditions, checkpoint: Checkpoint | None) -> S:
        """Return the state to go on from: where a dead server left off, a take's, or a new one."""
        generator = self._tools.generator
        if checkpoint is not None:
            return generator.restore(checkpoint.state)
        state = self._ground_state(conditions)
        return generator.begin(state, self._request.plan, self.placement.needed_samples)

    def _ground_state(self, conditions: Conditions) -> S:
        """Return the state of what the result stands on, the prime still to be heard."""
        generator, source = self._tools.generator, self._request.source
        if self._parent is not None:
            return self._departed(generator.restore(self._parent.codes))
        if self._prefilled is not None:
            return self._prefilled.state.fork()
        anchor = self.placement.sample_map.anchor_sample
        state = generator.open(conditions, anchor, self.placement.needed_samples)
        if isinstance(source, StoredCodes):
            return generator.adopt(state, source.levels, source.finest_level)
        return state

    def _departed(self, state: S) -> S:
        """Return the parent's state at the departure.

        Where none is named the take goes on as if it had never ended: what its
        last chunk holds beyond the end is used.
        """
        source = self._request.source
        assert isinstance(source, TakePoint)
        departure = source.departure_sample
        if departure is None:
            return state
        sample = self.placement.sample_map.floor_model(departure)
        return self._tools.generator.rewind(state, sample)

    async def _advance(self, work: Callable[[], _Made[S]], fed_blocks: int) -> S:
        made = await self._on_model(work)
        if made.decodable is not None:
            self._decodable = made.decodable
            self._more.set()
            self.session.news.ring()
        self._reached = made.state, fed_blocks
        await self._saver.in_time(made.state, fed_blocks)
        await self._report(self.meter.advance(made.phase, made.left))
        return made.state

    def _show(self, state: S) -> None:
        self._reached = None
        if state.decodable_sample >= self._info.block_samples:
            self._decodable = state.fork()
            self._more.set()

    def _feed(self, state: S, audio: Mono) -> _Made[S]:
        before = state.decodable_sample
        return self._made(before, self._tools.generator.feed(state, audio), PRIME)

    def _step(self, state: S) -> _Made[S]:
        before = state.decodable_sample
        result = self._tools.generator.step([state], self._request.plan)[0]
        return self._made(before, result.state, result.phase, result.left)

    def _made(self, before: int, state: S, phase: str, left: int | None = None) -> _Made[S]:
        """Return the outcome; forked, for the next call consumes a state that is being decoded."""
        size = self._info.block_samples
        news = state.decodable_sample // size > before // size
        return _Made(state=state, phase=phase, decodable=state.fork() if news else None, left=left)

    def _sung(self, codes: bytes) -> tuple[TimedWord, ...]:
        """Return when each word of the result is sung, on the session's timeline."""
        generator, parent = self._tools.generator, self._parent
        lyrics = self._request.conditions.lyrics
        if parent is not None:
            lyrics = parent.request.conditions.get("lyrics")
        if lyrics is None:
            return ()
        return words_on_session(generator.words(generator.restore(codes)), self.placement)

    async def _sound(self, audio: Mono) -> Assembly:
        """Tell how well the prime is known, then send the result: what the sound worker does."""
        await self._opened.wait()
        fidelity = 1.0
        if audio.size:
            tried = audio[-FIDELITY_SECONDS * self._info.sample_rate :]
            fidelity = await self._on_sound(partial(self._tools.generator.fidelity, tried))
        # Nobody hears of a job that a crash would lose.
        if self.session.kept is not None:
            await asyncio.shield(self.session.kept)
        accepted = self._accept(fidelity)
        await self.session.tell(accepted)
        self._accepted = True
        # Not before: the model need not wait until the prime is measured.
        self.likeness = await self._on_sound(self._measure)
        self.session.news.ring()
        assembly = Assembly(self.likeness, self.placement)
        for block in range(self.placement.first_block, self.placement.end_block):
            state = await self._decodable_state(block)
            start = assembly.next_sample
            result = await self._on_sound(partial(self._assemble, assembly, state, block))
            if result.shape[1]:
                await self._send(start, result)
        return assembly

    def _measure(self) -> Likeness:
        source = self._request.source
        if isinstance(source, TakePoint):
            assert self._parent is not None
            return likeness_of_take(self._parent)
        return likeness_of(source, self._request.sample_rate)

    def _accept(self, fidelity: float) -> Accepted:
        return Accepted(
            request_id=self._request.request_id,
            seed=self._request.plan.seed,
            anchor_sample=self.placement.sample_map.anchor_sample,
            splice_sample=self.placement.splice_sample,
            expected_samples=self._request.num_samples,
            codec_fidelity=fidelity,
            advice=advice_on(fidelity),
            model=self._info.name,
            fingerprint=self._info.fingerprint,
            job_id=self.session.job,
        )

    def state_with(self, block: int) -> S | None:
        """Return a state from which a block can be decoded; None as long as there is none."""
        end = (block + 1) * self._info.block_samples
        state = self._decodable
        return None if state is None or state.decodable_sample < end else state

    async def _decodable_state(self, block: int) -> S:
        while (state := self.state_with(block)) is None:
            self._more.clear()
            await self._more.wait()
        return state

    def _assemble(self, assembly: Assembly, state: S, block: int) -> Audio:
        return assembly.push(block, self._tools.generator.decode(state, block))

    async def _send(self, start_sample: int, audio: Audio) -> None:
        if self._first_audio_s is None:
            self._first_audio_s = self._tools.clock()
        if self._request.write_file:
            self._kept.append(audio)
        self.made_samples += audio.shape[1]
        if self._request.live:
            self._set_deadlines(self._first_audio_s + self.made_samples / self._request.sample_rate)
        await self.session.tell(AudioBlock(start_sample=start_sample, samples=audio))

    def _set_deadlines(self, due_s: float) -> None:
        for worker in (self._tools.model, self._tools.sound):
            worker.set_deadline(self.session.job, due_s)

    def _keep(self, assembly: Assembly, codes: bytes, elapsed_s: float) -> Done:
        take = self._take(assembly, codes)
        # The file first: once the take is there nothing is missing.
        path = self._write(take) if self._request.write_file else None
        done = self._done(take, path, elapsed_s)
        info = replace(
            self.session.info,
            state=JobState.DONE,
            take_id=take.id,
            made_samples=take.num_samples,
            step=self._steps.total,
            total_steps=self._steps.total,
        )
        assert self.session.accepted is not None
        self._tools.store.finish(info, take, told(self.session.accepted, done))
        return done

    def _take(self, assembly: Assembly, codes: bytes) -> Take:
        info, plan = self._info, self._request.plan
        assert self.likeness is not None
        image = self.likeness.image
        asked = summary(self._request, self.placement, image.num_channels)
        return Take(
            id=take_id(asked, plan, info.fingerprint, assembly.sha256),
            request=asked,
            plan=plan,
            model=info.name,
            fingerprint=info.fingerprint,
            licence=info.output_licence,
            parent=None if self._parent is None else self._parent.id,
            sha256=assembly.sha256,
            num_samples=assembly.next_sample - self.placement.splice_sample,
            gain_db=assembly.gain_db,
            level_db=assembly.level_db,
            image=image,
            codes=codes,
            words=self._words,
        )

    def _write(self, take: Take) -> Path:
        return write_take(self._tools.store.audio_path(take.id), take, self._kept)

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
            words=take.words,
        )

    async def _report(self, progress: Progress) -> None:
        if self._accepted:
            await self.session.tell(progress)

    async def _on_model(self, work: Callable[[], T]) -> T:
        return await self._tools.model.run(self.session.job, work)

    async def _on_sound(self, work: Callable[[], T]) -> T:
        return await self._tools.sound.run(self.session.job, work)

    def _step_limit(self) -> int:
        return STALLED_FACTOR * (self._steps.total + 64)

    def _expected_steps(self) -> Steps:
        fed = self.placement.fed_samples
        missing = self.placement.decoded_samples - fed
        speed = self._tools.generator.steps_per_second(self._request.plan)
        is_prime = isinstance(self._request.source, Prime)
        return Steps(
            prime=math.ceil(fed / self._info.feed_samples) if is_prime else 0,
            made=math.ceil(missing / self._info.sample_rate * speed),
        )


async def _together(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Return both results; a failure of one ends the other and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = group.create_task(first), group.create_task(second)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return tasks[0].result(), tasks[1].result()
