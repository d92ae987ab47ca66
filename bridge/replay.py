"""Audio told again: a job's from any sample on while it runs, a take's once it is done.

All is decoded from codes, from where the result's filters begin, so the bytes
are those of the first time; nothing is kept in memory for those who may come.
Knows no wire and computes nothing new.
"""

from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Final, Generic

from bridge.job import Job
from bridge.keeping import Tools
from bridge.ports import Audio, S
from bridge.render import Assembly, place_at
from bridge.request import AudioBlock, Done, RenderEvent
from bridge.session import Session
from bridge.takes import Take, likeness_of_take

_NUMBERS: Final = count(1)


class Listener(Generic[S]):
    """Someone who came later, with turns of its own at the workers."""

    def __init__(self, tools: Tools[S], from_sample: int | None) -> None:
        """Begin to listen.

        Args:
            tools: Of the engine.
            from_sample: Session sample of the first audio wanted; None is the splice. At the
                end or after it nothing is decoded.
        """
        self._tools = tools
        self._from_sample = from_sample
        self._name = f"listener-{next(_NUMBERS)}"

    def leave(self) -> None:
        """Listen no more."""
        for worker in (self._tools.model, self._tools.sound):
            worker.leave(self._name)

    async def follow(self, job: Job[S]) -> AsyncGenerator[RenderEvent, None]:
        """Yield a job's events as a reader from the start would see them, up to Done.

        Raises:
            BaseException: What the job failed with.
        """
        session, told = job.session, None
        while session.accepted is None or job.likeness is None:
            if session.queued is not told and session.queued is not None:
                told = session.queued
                yield told
            await _news(session)
        yield session.accepted
        assembly = Assembly(job.likeness, job.placement)
        for block in self._blocks(job):
            while (state := job.state_with(block)) is None:
                if session.progress is not told and session.progress is not None:
                    told = session.progress
                    yield told
                await _news(session)
            _check(session)
            made = await self._assembled(assembly, state, block)
            if made is not None:
                yield made
        while session.done is None:
            if session.progress is not told and session.progress is not None:
                told = session.progress
                yield told
            await _news(session)
        yield session.done

    def _blocks(self, job: Job[S]) -> range:
        """Return the blocks to decode: all up to the end, or none where no audio is wanted."""
        end_sample = job.session.info.splice_sample + job.session.info.num_samples
        if self._from_sample is not None and self._from_sample >= end_sample:
            return range(0)
        return range(job.placement.first_block, job.placement.end_block)

    async def play(self, take: Take, done: Done) -> AsyncGenerator[AudioBlock | Done, None]:
        """Yield a take's audio, then Done with its lead-in."""
        stretch = take.start_sample, take.end_sample
        asked, info = take.request, self._tools.generator.info
        known = asked.level_is_known
        place = place_at(
            asked.anchor_sample, stretch, asked.sample_rate, info, level_is_known=known
        )
        restore = partial(self._tools.generator.restore, take.codes)
        state = await self._tools.model.run(self._name, restore)
        assembly = Assembly(likeness_of_take(take), place)
        for block in range(place.first_block, place.end_block):
            made = await self._assembled(assembly, state, block)
            if made is not None:
                yield made
        yield replace(done, lead_in=assembly.lead_in)

    async def _assembled(self, assembly: Assembly, state: S, block: int) -> AudioBlock | None:
        start = assembly.next_sample

        def work() -> Audio:
            return assembly.push(block, self._tools.generator.decode(state, block))

        audio = await self._tools.sound.run(self._name, work)
        skipped = 0 if self._from_sample is None else max(0, self._from_sample - start)
        if skipped >= audio.shape[1]:
            return None
        return AudioBlock(start_sample=start + skipped, samples=audio[:, skipped:])


async def _news(session: Session) -> None:
    """Return when something has changed, or raise what the job ended with."""
    _check(session)
    await session.news.heard()


def _check(session: Session) -> None:
    """Raise what a job ended with: nothing more is decoded of it."""
    if session.over.is_set() and session.error is not None:
        raise session.error
