"""A recording that is heard while it is made, and continued at any sample of it.

What arrives is fed to the model in canonical blocks, so that at the splice only
the last one is missing. An answer is an ordinary job that starts from the state
so far: the same bytes as if the whole prime had come at once. Knows no wire.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from math import ceil
from typing import Final, Generic

import numpy as np

from bridge.cache import Prefilled
from bridge.engine import Engine
from bridge.errors import (
    InvalidRequestError,
    NotReadyError,
    OutOfRangeError,
    UnsupportedError,
)
from bridge.limits import check_position
from bridge.model_time import mid_of, model_conditions
from bridge.ports import Audio, Conditions, Generator, ModelInfo, Mono, Plan, S
from bridge.request import AudioBlock, Prime, RenderEvent, RenderRequest, check_format
from bridge.resample import ToModel
from bridge.transport import SampleMap

WINDOW_SECONDS: Final = 60
"""How much of the recording is kept; an older one is left, and the grid anchored anew."""
REACH_SECONDS: Final = 4
"""How far behind the newest sample a splice still finds the model prefilled."""
MAX_AHEAD_SECONDS: Final = 60
"""How far ahead of the recording a splice may be announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSetup:
    """What holds for a whole session.

    Raises:
        InvalidRequestError: A rate, a channel count or a place outside its limits.
    """

    session_id: str
    sample_rate: int
    num_channels: int
    start_sample: int
    conditions: Conditions
    plan: Plan
    model: str = ""
    client_id: str = ""

    def __post_init__(self) -> None:
        """Refuse what no session could be."""
        check_format(self.sample_rate, self.num_channels)
        check_position("recording", self.start_sample)

    @property
    def window_bytes(self) -> int:
        """Return the most memory that the recording takes."""
        return 2 * WINDOW_SECONDS * self.sample_rate * self.num_channels * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A continuation that is asked for: from where, how long, and how."""

    request_id: str
    splice_sample: int
    num_samples: int
    plan: Plan
    write_file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone(Generic[S]):
    """A state, and how much of the recording had come when it was made."""

    state: S
    fed_samples: int
    end_sample: int


class LiveSession(Generic[S]):
    """One recording and its answers."""

    def __init__(self, engine: Engine[S], setup: LiveSetup) -> None:
        """Begin; `open` comes first.

        Args:
            engine: What renders.
            setup: What holds for the whole session.

        Raises:
            UnsupportedError: The model does not stream.
        """
        if not engine.info.streams:
            raise UnsupportedError(
                f"the model {engine.info.name} hears what comes after a sample before it makes "
                "that sample: it cannot play live"
            )
        self._engine = engine
        self._setup = setup
        self._window = _Window(engine, setup, setup.start_sample)
        self._answer: list[Audio] = []
        self._answer_end = setup.start_sample
        self._ended = False
        self._answering = False
        self._splice: int | None = None
        self._news = asyncio.Event()

    @property
    def info(self) -> ModelInfo:
        """Return what a caller may know of the model."""
        return self._engine.info

    @property
    def anchor_sample(self) -> int:
        """Return where the code grid starts now."""
        return self._window.anchor_sample

    @property
    def received_sample(self) -> int:
        """Return the sample at which the next block is due."""
        return self._window.end_sample

    @property
    def prefilled_sample(self) -> int:
        """Return the sample up to which the model has heard the recording."""
        return self._window.prefilled_sample

    async def open(self) -> None:
        """Return once the model has taken the conditions.

        Raises:
            UnsupportedError: A condition that the model cannot use.
            NotFoundError: A label outside its vocabulary.
        """
        await self._window.open()

    async def hear(self, start_sample: int, audio: Audio) -> None:
        """Take a block of the recording; returns when the next one may come.

        After an answer the recording may go on anywhere inside it: what lies
        between is taken from the answer.

        Raises:
            InvalidRequestError: The block is not the next one, or of another format.
        """
        if audio.shape[0] != self._setup.num_channels:
            raise InvalidRequestError(
                f"the block has {audio.shape[0]} channels, the session {self._setup.num_channels}"
            )
        if self.received_sample < start_sample <= self._answer_end and not self._answering:
            first = self._answer_end - sum(part.shape[1] for part in self._answer)
            answer = np.concatenate(self._answer, axis=1)
            await self._take(answer[:, self.received_sample - first : start_sample - first])
        if start_sample != self.received_sample:
            raise InvalidRequestError(
                f"a block of the recording starts at sample {start_sample}, "
                f"the next one is due at sample {self.received_sample}",
                field="audio.start_sample",
            )
        await self._take(audio)

    async def answer(self, asked: Answer) -> AsyncGenerator[RenderEvent, None]:
        """Yield the events of a continuation; waits until the recording has reached the splice.

        Raises:
            NotReadyError: Another answer is under way.
            OutOfRangeError: The splice lies before what is kept of the recording.
        """
        if self._answering:
            raise NotReadyError("an answer is under way: stop it, or wait for its end")
        self._answering = True
        try:
            self._window.check(asked.splice_sample)
            self._splice = asked.splice_sample
            while self.received_sample < asked.splice_sample:
                if self._ended:
                    raise InvalidRequestError(
                        f"the recording ended at sample {self.received_sample}, "
                        f"before the splice at sample {asked.splice_sample}",
                        field="continuation.splice_sample",
                    )
                self._news.clear()
                await self._news.wait()
            self._answer, self._answer_end = [], asked.splice_sample
            request, prefilled = self._request(asked)
            async with aclosing(self._engine.render(request, prefilled)) as events:
                async for event in events:
                    if isinstance(event, AudioBlock):
                        self._answer.append(event.samples)
                        self._answer_end += event.samples.shape[1]
                    yield event
        finally:
            self._answering, self._splice = False, None

    def finish(self) -> None:
        """State that the recording is over: an answer that waits for more of it fails."""
        self._ended = True
        self._news.set()

    async def close(self) -> None:
        """Forget the recording and leave the model."""
        await self._window.close()

    async def _take(self, audio: Audio) -> None:
        if self._window.is_full and not self._answering:
            old, start = self._window, self._window.tail_sample
            self._window = _Window(self._engine, self._setup, start)
            await old.close()
            await self._window.open()
            await self._window.hear(old.since(start))
        # Cut at the splice, so that the last state before it heard nothing after it.
        cut = 0 if self._splice is None else max(0, self._splice - self.received_sample)
        for part in (audio[:, :cut], audio[:, cut:]):
            if part.shape[1]:
                await self._window.hear(part)
                self._news.set()

    def _request(self, asked: Answer) -> tuple[RenderRequest, Prefilled[S] | None]:
        window, setup = self._window, self._setup
        milestone = window.milestone(asked.splice_sample)
        request = RenderRequest(
            request_id=asked.request_id,
            sample_rate=setup.sample_rate,
            source=Prime(
                samples=window.until(asked.splice_sample), start_sample=window.anchor_sample
            ),
            num_samples=asked.num_samples,
            plan=asked.plan,
            conditions=window.conditions,
            anchor_sample=window.anchor_sample,
            model=setup.model,
            client_id=setup.client_id,
            live=True,
            write_file=asked.write_file,
        )
        if milestone is None:
            return request, None
        fed_blocks = milestone.fed_samples // self._engine.info.feed_samples
        return request, Prefilled(state=milestone.state.fork(), fed_blocks=fed_blocks)


class _Window(Generic[S]):
    """The recording since the anchor, and the states of the model that has heard it."""

    def __init__(self, engine: Engine[S], setup: LiveSetup, anchor_sample: int) -> None:
        info = engine.info
        self._engine = engine
        self._setup = setup
        self._name = f"live-{setup.session_id}"
        self._feed_samples = info.feed_samples
        self._map = SampleMap(
            anchor_sample=anchor_sample,
            session_rate=setup.sample_rate,
            model_rate=info.sample_rate,
        )
        self._context_samples = ceil(info.context_samples / self._map.ratio)
        self._stream = ToModel(setup.sample_rate, info.sample_rate)
        self._blocks: list[Audio] = []
        self._unfed: Mono = np.zeros(0, np.float32)
        self._milestones: deque[Milestone[S]] = deque()
        self.anchor_sample = anchor_sample
        self.end_sample = anchor_sample

    @property
    def conditions(self) -> Conditions:
        """Return the conditions, with the song's time counted to this window's anchor."""
        conditions, timing = self._setup.conditions, self._setup.conditions.timing
        if timing is None:
            return conditions
        offset = timing.offset_samples + self.anchor_sample - self._setup.start_sample
        return replace(conditions, timing=replace(timing, offset_samples=offset))

    @property
    def is_full(self) -> bool:
        """Return whether the recording is as long as may be kept."""
        seconds = (self.end_sample - self.anchor_sample) / self._setup.sample_rate
        return seconds >= WINDOW_SECONDS

    @property
    def tail_sample(self) -> int:
        """Return where a new window would begin, so that it holds all that can matter."""
        return max(self.anchor_sample, self.end_sample - self._context_samples)

    @property
    def prefilled_sample(self) -> int:
        """Return the session sample up to which the model has heard the recording."""
        if not self._milestones:
            return self.anchor_sample
        return self._map.floor_session(self._milestones[-1].fed_samples)

    async def open(self) -> None:
        conditions = model_conditions(self.conditions, self._map, self.anchor_sample)

        def opened(model: Generator[S]) -> S:
            return model.open(conditions, self.anchor_sample, None)

        state = await self._engine.on_model(self._name, opened)
        self._milestones.append(
            Milestone(state=state, fed_samples=0, end_sample=self.anchor_sample)
        )

    async def hear(self, audio: Audio) -> None:
        """Add a block, and let the model hear what fills its canonical blocks."""
        self._blocks.append(audio)
        self.end_sample += audio.shape[1]
        made = self._stream.push(mid_of(audio)[None])[0]
        self._unfed = np.concatenate([self._unfed, made])
        size = self._feed_samples
        while self._unfed.shape[0] >= size:
            block, self._unfed = self._unfed[:size].copy(), self._unfed[size:]
            await self._feed(block)

    def check(self, splice_sample: int) -> None:
        if not self.anchor_sample < splice_sample:
            raise OutOfRangeError(
                f"the splice is at sample {splice_sample}, "
                f"the recording is kept from sample {self.anchor_sample} on",
                field="continuation.splice_sample",
            )
        latest = self.end_sample + MAX_AHEAD_SECONDS * self._setup.sample_rate
        if splice_sample > latest:
            raise InvalidRequestError(
                f"the splice is at sample {splice_sample}, the latest now is sample {latest} "
                f"({MAX_AHEAD_SECONDS} s after what was recorded)",
                field="continuation.splice_sample",
            )

    def milestone(self, splice_sample: int) -> Milestone[S] | None:
        """Return the last state that heard nothing after the splice, if it is still there."""
        heard = [one for one in self._milestones if one.end_sample <= splice_sample]
        return heard[-1] if heard else None

    def until(self, splice_sample: int) -> Audio:
        """Return the recording from the anchor to the splice."""
        return self._joined()[:, : splice_sample - self.anchor_sample]

    def since(self, sample: int) -> Audio:
        """Return the recording from a sample on."""
        return self._joined()[:, sample - self.anchor_sample :]

    async def close(self) -> None:
        self._milestones.clear()
        self._engine.leave(self._name)

    async def _feed(self, block: Mono) -> None:
        last = self._milestones[-1]

        def fed_state(model: Generator[S]) -> S:
            return model.feed(last.state.fork(), block)

        state = await self._engine.on_model(self._name, fed_state)
        fed = last.fed_samples + block.shape[0]
        self._milestones.append(Milestone(state=state, fed_samples=fed, end_sample=self.end_sample))
        reach = REACH_SECONDS * self._setup.sample_rate
        while self._milestones[0].end_sample < self.end_sample - reach:
            self._milestones.popleft()

    def _joined(self) -> Audio:
        nothing = np.zeros((self._setup.num_channels, 0), np.float32)
        self._blocks = [np.concatenate([nothing, *self._blocks], axis=1)]
        return self._blocks[0]
