"""What the model's worker does for one job: hear the prime, generate, give the codes.

Begins where a crashed server left off, where a take is left, behind what is cached
of the prime, or anew; the bytes are the same. What is made can be decoded beside
it, block by block. Knows no sound but the prime and nothing of who else is served.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from bridge.cache import Keys, Prefilled
from bridge.errors import BridgeError
from bridge.jobs import Checkpoint
from bridge.keeping import Reached, Saver, Tools
from bridge.model_time import feed_blocks
from bridge.pace import PRIME, ProgressMeter, Steps
from bridge.ports import Conditions, Mono, Plan, Quality, S, StepResult, TimedWord
from bridge.render import Placement, words_on_session
from bridge.request import Prime, Progress, StoredCodes, TakePoint
from bridge.session import Session, SessionState
from bridge.takes import Take
from bridge.thrift import Thrift
from bridge.timetable import Punctuality, Timetable

log = logging.getLogger(__name__)
T = TypeVar("T")

STALLED_FACTOR = 16
"""So many times the expected steps without an end are a fault of the generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a job's model shall hear first.

    Attributes:
        audio: The prime at the model's rate, from a canonical block on; empty if there is none.
        conditions: On the model's timeline.
        first_block: Which one, counted from the anchor.
        keys: Of the prime's canonical blocks, in the cache of states.
        codes: Of the take that the same request made before; None if there is none.
        checkpoint: Where a dead server left off; None if the job begins.
    """

    audio: Mono
    conditions: Conditions
    first_block: int = 0
    keys: Keys = ()
    codes: bytes | None = None
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made(Generic[S]):
    """What one call made: the state that goes on, and one that may be decoded beside it."""

    step: StepResult[S]
    decodable: S | None
    closed: bool
    """Whether a chunk was settled, and none is under way."""


class Making(Generic[S]):
    """The codes of one job on their way.

    Attributes:
        plan: What was asked, with the changes that were made to be there in time.
        timetable: When the result sounds; asked of live jobs alone.
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
        self._recognised = False
        self._saver = Saver(session.job, tools)
        self._decodable: S | None = None
        self._reached: Reached[S] | None = None
        self._more = asyncio.Event()
        self.plan = session.request.plan
        self.timetable = Timetable(session.request, placement.splice_sample, tools.clock)
        self._thrift: Thrift | None = None
        self._between_chunks = True
        self.steps = self._expected_steps()
        self.meter = ProgressMeter(self.steps, tools.clock, tools.pace)
        self.opened = asyncio.Event()
        self.announced = False

    def begin(self) -> None:
        """Start measuring how long it takes."""
        self.timetable.begin()
        # Nobody hears a job in time that a crash has cut off; a plan with changes is made again.
        if self._request.keep_up and self._session.kept is not None and not self.plan.changes:
            self._thrift = self._thrift_for(self._tools.generator.info.passes)
        self._order(self._placement.fed_samples)
        self.meter = ProgressMeter(self.steps, self._tools.clock, self._tools.pace)

    async def codes(self, heard: Heard) -> bytes:
        """Return the codes of the whole take."""
        if heard.codes is not None and await self._answered(heard.codes):
            return heard.codes
        state, fed_blocks = await self._begun(heard)
        blocks = feed_blocks(heard.audio, self._tools.generator.info.feed_samples)
        for block in islice(blocks, fed_blocks - heard.first_block, None):
            fed_blocks += 1
            state = await self._advance(partial(self._feed, state, block), fed_blocks)
            self._tools.caches.keep(heard.keys, fed_blocks, state)
        self._session.move(SessionState.GENERATING)
        limit = STALLED_FACTOR * (self.steps.total + 64)
        for _ in range(limit):
            if state.decodable_sample >= self._placement.decoded_samples:
                return await self._on_model(state.to_bytes)
            plan = self._plan_for(state)
            state = await self._advance(partial(self._step, state, plan), fed_blocks)
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

    def sounded(self, seconds: float) -> None:
        """Take note of how long a block took to become audio."""
        if self._thrift is not None:
            self._thrift.sounded(seconds)

    def punctuality(self) -> Punctuality:
        """Return how well the result has kept its time so far."""
        return Punctuality(
            live_blocks=self.timetable.sent_blocks,
            late_blocks=self.timetable.late_blocks,
            thinned_chunks=0 if self._thrift is None else self._thrift.thinned_chunks,
        )

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
            await self._saver.now(self._reached)

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
        if heard.checkpoint is not None:
            self.plan = replace(self.plan, changes=heard.checkpoint.changes)
        elif self._prefilled is None:
            self._prefilled = self._tools.caches.longest(heard.keys)
            self._recognised = self._prefilled is not None
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
            state = self._prefilled.state.fork()
            # Another request heard it, whose conditions may be others from here on.
            return generator.steer(state, conditions) if self._recognised else state
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
        begun_s = self._tools.clock() if self._thrift else 0.0
        made = await self._on_model(work)
        step, changes = made.step, self.plan.changes
        if made.decodable is not None:
            self._decodable = made.decodable
            self._more.set()
            self._session.news.ring()
        if self._thrift is not None and step.phase != PRIME:
            self._thrift.stepped(self._tools.clock() - begun_s, closed=made.closed)
        self._between_chunks = step.between_chunks
        self._order(step.state.decodable_sample)
        self._reached = Reached(state=step.state, fed_blocks=fed_blocks, changes=changes)
        if self._request.keep_source:
            await self._saver.in_time(self._reached)
        await self.tell(self.meter.advance(step.phase, step.left))
        return step.state

    def _thrift_for(self, default: int) -> Thrift | None:
        """Return what chooses passes; None where there are none to choose."""
        if not default or self.plan.quality is not Quality.FAST:
            return None
        one_step = Steps(prime=0, made=1)
        return Thrift(self.plan.passes or default, self._tools.pace.seconds(one_step))

    def _plan_for(self, state: S) -> Plan:
        """Return the plan of the next step; where a chunk begins, one that will be there in time.

        Which it was stands in `plan`: replayed from there the same chunks come out.
        """
        at = state.settled_sample
        if self._thrift is not None and self._between_chunks:
            left_s = self.timetable.left_s(self._next_sample(state.decodable_sample))
            passes = self._thrift.passes(left_s)
            if passes != (self.plan.at(at).passes or self._thrift.asked):
                self.plan = self.plan.changed(at, passes)
        return self.plan.at(at)

    def _order(self, decodable_sample: int) -> None:
        """Let the model's worker know when what this job makes next will sound."""
        if self._request.live:
            due_s = self.timetable.order_s(self._next_sample(decodable_sample))
            self._tools.model.set_deadline(self._session.job, due_s)

    def _next_sample(self, decodable_sample: int) -> int:
        """Return where the first block begins that cannot be decoded yet, in session samples."""
        size = self._placement.block_samples
        return self._placement.sample_map.floor_session(decodable_sample // size * size)

    def _show(self, state: S) -> None:
        """Let others decode what there is of the state to go on from."""
        self._reached = None
        if state.decodable_sample >= self._placement.block_samples:
            self._decodable = state.fork()
            self._more.set()
        self.opened.set()

    def _feed(self, state: S, audio: Mono) -> _Made[S]:
        before = state.decodable_sample, state.settled_sample
        fed = self._tools.generator.feed(state, audio)
        return self._made(before, StepResult(state=fed, phase=PRIME, between_chunks=True))

    def _step(self, state: S, plan: Plan) -> _Made[S]:
        before = state.decodable_sample, state.settled_sample
        return self._made(before, self._tools.generator.step([state], plan)[0])

    def _made(self, before: tuple[int, int], step: StepResult[S]) -> _Made[S]:
        """Return the outcome; forked, for the next call consumes a state that is being decoded."""
        (decodable, settled), state = before, step.state
        size = self._placement.block_samples
        news = state.decodable_sample // size > decodable // size
        return _Made(
            step=step,
            decodable=state.fork() if news else None,
            closed=step.between_chunks and state.settled_sample > settled,
        )

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
