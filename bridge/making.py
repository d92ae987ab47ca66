"""What the model's worker does for one job: hear the prime, generate, give the codes.

Begins where a crashed server left off, where a take is left, behind what is cached
of the prime, or anew; the bytes are the same. What is made can be decoded beside
it, block by block. Knows no sound but the prime and nothing of who else is served.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from bridge.cache import Keys, Prefilled
from bridge.errors import BridgeError
from bridge.jobs import Checkpoint
from bridge.keeping import Saver, Tools
from bridge.model_time import feed_blocks
from bridge.pace import PRIME, ProgressMeter, Steps
from bridge.ports import Conditions, Mono, S, TimedWord
from bridge.render import Placement, words_on_session
from bridge.request import Prime, Progress, StoredCodes, TakePoint
from bridge.session import Session, SessionState
from bridge.takes import Take

log = logging.getLogger(__name__)
T = TypeVar("T")

STALLED_FACTOR = 16
"""So many times the expected steps without an end are a fault of the generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a job's model shall hear first.

    Attributes:
        audio: The prime at the model's rate, from the anchor on; empty if there is none.
        conditions: On the model's timeline.
        keys: Of the prime's canonical blocks, in the cache of states.
        codes: Of the take that the same request made before; None if there is none.
        checkpoint: Where a dead server left off; None if the job begins.
    """

    audio: Mono
    conditions: Conditions
    keys: Keys = ()
    codes: bytes | None = None
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made(Generic[S]):
    """One step's outcome: the state that goes on, and one that may be decoded beside it."""

    state: S
    phase: str
    decodable: S | None
    left: int | None = None


class Making(Generic[S]):
    """The codes of one job on their way.

    Attributes:
        meter: How far it has come.
        steps: How many steps it was expected to take.
        opened: Set once the model has taken the request.
        announced: Whether the job's listeners know of it, so that progress may be told.
    """

    def __init__(
        self,
        session: Session,
        tools: Tools[S],
        placement: Placement,
        parent: Take | None,
        prefilled: Prefilled[S] | None,
    ) -> None:
        """Prepare.

        Args:
            session: Whose request it is, and who hears of it.
            tools: What every job works with.
            placement: Where the result lies.
            parent: The take that a `TakePoint` names.
            prefilled: What of the prime was heard already.
        """
        self._session = session
        self._request = session.request
        self._tools = tools
        self._placement = placement
        self._parent = parent
        self._prefilled = prefilled
        self._saver = Saver(session.job, tools)
        self._decodable: S | None = None
        self._reached: tuple[S, int] | None = None
        self._more = asyncio.Event()
        self.steps = self._expected_steps()
        self.meter = ProgressMeter(self.steps, tools.clock, tools.pace)
        self.opened = asyncio.Event()
        self.announced = False

    def begin(self) -> None:
        """Start measuring how long it takes."""
        self.meter = ProgressMeter(self.steps, self._tools.clock, self._tools.pace)

    async def codes(self, heard: Heard) -> bytes:
        """Return the codes of the whole take."""
        if heard.codes is not None and await self._answered(heard.codes):
            return heard.codes
        state, fed_blocks = await self._begun(heard)
        for block in islice(
            feed_blocks(heard.audio, self._tools.generator.info.feed_samples), fed_blocks, None
        ):
            fed_blocks += 1
            state = await self._advance(partial(self._feed, state, block), fed_blocks)
            self._tools.caches.keep(heard.keys, fed_blocks, state)
        self._session.move(SessionState.GENERATING)
        limit = STALLED_FACTOR * (self.steps.total + 64)
        for _ in range(limit):
            if state.decodable_sample >= self._placement.decoded_samples:
                return await self._on_model(state.to_bytes)
            state = await self._advance(partial(self._step, state), fed_blocks)
        raise RuntimeError(
            f"the generator settled {state.settled_sample} model samples in {limit} steps, "
            f"{self._placement.decoded_samples} were wanted"
        )

    async def decodable(self, block: int) -> S:
        """Return a state from which a block can be decoded, once there is one."""
        while (state := self.state_with(block)) is None:
            self._more.clear()
            await self._more.wait()
        return state

    def state_with(self, block: int) -> S | None:
        """Return a state from which a block can be decoded; None as long as there is none."""
        end = (block + 1) * self._placement.block_samples
        state = self._decodable
        return None if state is None or state.decodable_sample < end else state

    async def words(self, codes: bytes) -> tuple[TimedWord, ...]:
        """Return when each word of the result is sung, on the session's timeline."""
        parent, lyrics = self._parent, self._request.conditions.lyrics
        if parent is not None:
            lyrics = parent.request.conditions.get("lyrics")
        if lyrics is None:
            return ()
        generator = self._tools.generator
        sung = await self._on_model(lambda: generator.words(generator.restore(codes)))
        return words_on_session(sung, self._placement)

    async def tell(self, progress: Progress) -> None:
        """Tell the listeners where the work stands, if they know of the job."""
        if self.announced:
            await self._session.tell(progress)

    async def save(self) -> None:
        """Write down how far the job has come, so that it can be begun again from there."""
        if self._reached is not None:
            await self._saver.now(*self._reached)

    async def rest(self) -> None:
        """Return once nothing is being written down."""
        await self._saver.rest()

    async def _answered(self, codes: bytes) -> bool:
        """Return whether a take answers; it is shown to whoever decodes, else made again."""
        try:
            state = await self._on_model(partial(self._tools.generator.restore, codes))
        except BridgeError as error:
            name = self._session.job
            log.warning("%s is computed, for its take cannot be read: %s", name, error)
            return False
        self._show(state)
        self._session.move(SessionState.GENERATING)
        return True

    async def _begun(self, heard: Heard) -> tuple[S, int]:
        """Return the state to go on from, and how many blocks of the prime it has heard."""
        if heard.checkpoint is None and self._prefilled is None:
            self._prefilled = self._tools.caches.longest(heard.keys)
        before = heard.checkpoint or self._prefilled
        state = await self._on_model(partial(self._begin, heard))
        self._show(state)
        return state, 0 if before is None else before.fed_blocks

    def _begin(self, heard: Heard) -> S:
        """Return the state to go on from: where a dead server left off, a take's, or a new one."""
        generator = self._tools.generator
        if heard.checkpoint is not None:
            return generator.restore(heard.checkpoint.state)
        state = self._ground_state(heard.conditions)
        return generator.begin(state, self._request.plan, self._placement.needed_samples)

    def _ground_state(self, conditions: Conditions) -> S:
        """Return the state of what the result stands on, the prime still to be heard."""
        generator, source = self._tools.generator, self._request.source
        if self._parent is not None:
            return self._departed(generator.restore(self._parent.codes))
        if self._prefilled is not None:
            return self._prefilled.state.fork()
        anchor = self._placement.sample_map.anchor_sample
        state = generator.open(conditions, anchor, self._placement.needed_samples)
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
        sample = self._placement.sample_map.floor_model(departure)
        return self._tools.generator.rewind(state, sample)

    async def _advance(self, work: Callable[[], _Made[S]], fed_blocks: int) -> S:
        made = await self._on_model(work)
        if made.decodable is not None:
            self._decodable = made.decodable
            self._more.set()
            self._session.news.ring()
        self._reached = made.state, fed_blocks
        if self._request.keep_source:
            await self._saver.in_time(made.state, fed_blocks)
        await self.tell(self.meter.advance(made.phase, made.left))
        return made.state

    def _show(self, state: S) -> None:
        """Let others decode what there is of the state to go on from."""
        self._reached = None
        if state.decodable_sample >= self._placement.block_samples:
            self._decodable = state.fork()
            self._more.set()
        self.opened.set()

    def _feed(self, state: S, audio: Mono) -> _Made[S]:
        before = state.decodable_sample
        return self._made(before, self._tools.generator.feed(state, audio), PRIME)

    def _step(self, state: S) -> _Made[S]:
        before = state.decodable_sample
        result = self._tools.generator.step([state], self._request.plan)[0]
        return self._made(before, result.state, result.phase, result.left)

    def _made(self, before: int, state: S, phase: str, left: int | None = None) -> _Made[S]:
        """Return the outcome; forked, for the next call consumes a state that is being decoded."""
        size = self._placement.block_samples
        news = state.decodable_sample // size > before // size
        return _Made(state=state, phase=phase, decodable=state.fork() if news else None, left=left)

    async def _on_model(self, work: Callable[[], T]) -> T:
        return await self._tools.model.run(self._session.job, work)

    def _expected_steps(self) -> Steps:
        info = self._tools.generator.info
        fed = self._placement.fed_samples
        missing = self._placement.decoded_samples - fed
        speed = self._tools.generator.steps_per_second(self._request.plan)
        is_prime = isinstance(self._request.source, Prime)
        return Steps(
            prime=math.ceil(fed / info.feed_samples) if is_prime else 0,
            made=math.ceil(missing / info.sample_rate * speed),
        )
