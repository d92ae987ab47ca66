"""One request's way through the workers: hear, generate, decode, keep.

The model's worker makes codes (`bridge.making`); the sound worker decodes and
assembles, so that decoding one chunk overlaps making the next. Knows no wire and
nothing of who else is served.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from bridge.cache import Prefilled, prime_keys
from bridge.jobs import Checkpoint, JobState
from bridge.keeping import Tools, advice_on, told, whole, write_take
from bridge.making import Heard, Making
from bridge.model_time import heard, model_conditions
from bridge.ports import Audio, Mono, S, TimedWord
from bridge.render import Assembly, Likeness, likeness_of, place
from bridge.request import Accepted, AudioBlock, Done, Prime, Progress, TakePoint
from bridge.session import Session, SessionState
from bridge.takes import Take, ground_for, likeness_of_take, summary, take_id
from bridge.timetable import Punctuality
from bridge.trial import tried_stretch

T = TypeVar("T")
U = TypeVar("U")


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
        self._info = tools.generator.info
        self._ground = ground_for(session.request.source, parent)
        self.placement = place(session.request, self._ground, self._info)
        self._making = Making(session, tools, self.placement, parent, prefilled)
        self._started_s = tools.clock()
        self._first_audio_s: float | None = None
        self.likeness: Likeness | None = None
        self.made_samples = 0
        self._kept: list[Audio] = []

    async def run(self) -> None:
        """Render the request; events go to the session."""
        self._started_s = self._tools.clock()
        self._making.begin()
        self._order()
        self.session.move(SessionState.PRIMING)
        # Neither needs the other, and the disk may be slow.
        found, prepared = await _together(self._found(), self._on_sound(self._prepare))
        codes, checkpoint = found
        first = replace(prepared, codes=codes, checkpoint=checkpoint)
        try:
            made, assembly = await _together(self._making.codes(first), self._sound(first.audio))
        finally:
            await self._making.rest()
        await self._making.tell(self._making.meter.finish("decode"))
        words = await self._making.words(made)
        self.session.move(SessionState.KEEPING)
        elapsed_s = self._tools.clock() - self._started_s
        done = await whole(partial(self._keep, assembly, made, words, elapsed_s))
        self.session.conclude(replace(done, lead_in=assembly.lead_in))

    async def save(self) -> None:
        """Write down how far the job has come, so that it can be begun again from there."""
        await self._making.save()

    def state_with(self, block: int) -> S | None:
        """Return a state from which a block can be decoded; None as long as there is none."""
        return self._making.state_with(block)

    def progress(self) -> Progress:
        """Return where the work stands, told or not."""
        return self.session.progress or self._making.meter.progress("")

    def eta_seconds(self) -> float:
        """Return how long the rest of the job will take once it runs, by measured speed."""
        if self.session.state is SessionState.QUEUED:
            return self._tools.pace.seconds(self._making.steps)
        return self._making.meter.progress("").eta_seconds

    def punctuality(self) -> Punctuality:
        """Return how well the result has kept its time so far."""
        return self._making.punctuality()

    async def _found(self) -> tuple[bytes | None, Checkpoint | None]:
        """Return what is on disk already: the codes of an equal take, how far a dead server came.

        A new job has no checkpoint, one that was taken up again has no equal take.
        """
        if self.session.kept is None:
            load = self._tools.store.jobs.checkpoint
            checkpoint = await asyncio.to_thread(load, self.session.job)
            if checkpoint is not None:
                return None, checkpoint
        find = self._tools.caches.answer
        session = self.session
        digest, fingerprint = session.digest, self._info.fingerprint
        return await asyncio.to_thread(find, session.request, digest, fingerprint), None

    def _prepare(self) -> Heard:
        request, sample_map = self._request, self.placement.sample_map
        conditions = model_conditions(request.conditions, sample_map, self._ground.first_sample)
        if not isinstance(request.source, Prime):
            return Heard(audio=np.zeros(0, np.float32), conditions=conditions)
        before = self._prefilled
        if before is not None and before.rest is not None:
            return Heard(audio=before.rest, conditions=conditions, first_block=before.fed_blocks)
        audio = heard(request.source, sample_map)
        keys = prime_keys(self._info, conditions, sample_map.anchor_sample, audio)
        return Heard(audio=audio, conditions=conditions, keys=keys)

    async def _sound(self, audio: Mono) -> Assembly:
        """Tell how well the prime is known, then send the result: what the sound worker does."""
        await self._making.opened.wait()
        fidelity = 1.0
        if self._prefilled is not None and self._prefilled.fidelity is not None:
            fidelity = self._prefilled.fidelity
        elif audio.size:
            tried = tried_stretch(audio, self._info.sample_rate)
            fidelity = await self._on_sound(partial(self._tools.generator.fidelity, tried))
        # Neither needs the other, and the disk may be slow.
        _, self.likeness = await _together(self._on_disk(), self._on_sound(self._measure))
        await self.session.tell(self._accept(fidelity))
        self._making.announced = True
        self.session.news.ring()
        assembly = Assembly(self.likeness, self.placement)
        for block in range(self.placement.first_block, self.placement.end_block):
            start = assembly.next_sample
            result = await self._next(assembly, block)
            if result.shape[1]:
                await self._send(start, result)
        return assembly

    async def _on_disk(self) -> None:
        """Return once the job is written down: nobody hears of one that a crash would lose."""
        if self.session.kept is not None:
            await asyncio.shield(self.session.kept)

    async def _next(self, assembly: Assembly, block: int) -> Audio:
        """Return what one more block completes of the result."""
        state = await self._making.decodable(block)
        work = partial(self._assemble, assembly, state, block)
        if not self._request.keep_up:
            return await self._on_sound(work)
        begun_s = self._tools.clock()
        result = await self._on_sound(work)
        self._making.sounded(self._tools.clock() - begun_s)
        return result

    def _measure(self) -> Likeness:
        source = self._request.source
        if isinstance(source, TakePoint):
            assert self._parent is not None
            return likeness_of_take(self._parent)
        image = None if self._prefilled is None else self._prefilled.image
        return likeness_of(source, self._request.sample_rate, self._request.level_db, image)

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

    def _assemble(self, assembly: Assembly, state: S, block: int) -> Audio:
        return assembly.push(block, self._tools.generator.decode(state, block))

    async def _send(self, start_sample: int, audio: Audio) -> None:
        if self._first_audio_s is None:
            self._first_audio_s = self._tools.clock()
        if self._request.write_file:
            self._kept.append(audio)
        self.made_samples += audio.shape[1]
        live, table = self._request.live, self._making.timetable
        late = live and table.send(start_sample, audio.shape[1])
        self._order()
        await self.session.tell(AudioBlock(start_sample=start_sample, samples=audio, underrun=late))

    def _order(self) -> None:
        """Let the sound worker know when the next block will sound."""
        if self._request.live:
            sample = self.placement.splice_sample + self.made_samples
            due_s = self._making.timetable.order_s(sample)
            self._tools.sound.set_deadline(self.session.job, due_s)

    def _keep(
        self, assembly: Assembly, codes: bytes, words: tuple[TimedWord, ...], elapsed_s: float
    ) -> Done:
        take = self._take(assembly, codes, words)
        # The file first: once the take is there nothing is missing.
        path = self._write(take) if self._request.write_file else None
        done = self._done(take, path, elapsed_s)
        total = self._making.steps.total
        info = replace(
            self.session.info,
            state=JobState.DONE,
            take_id=take.id,
            made_samples=take.num_samples,
            step=total,
            total_steps=total,
        )
        assert self.session.accepted is not None
        self._tools.store.finish(info, take, told(self.session.accepted, done))
        return done

    def _take(self, assembly: Assembly, codes: bytes, words: tuple[TimedWord, ...]) -> Take:
        info, plan = self._info, self._making.plan
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
            words=words,
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
            late_blocks=self.punctuality().late_blocks,
        )

    async def _on_sound(self, work: Callable[[], T]) -> T:
        return await self._tools.sound.run(self.session.job, work)


async def _together(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Return both results; a failure of one ends the other and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = group.create_task(first), group.create_task(second)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return tasks[0].result(), tasks[1].result()
