"""What was recorded, and the states of the model that has heard it, for as long as they matter.

A window begins at an anchor, where its code grid starts, and is bounded: before it
is full the next one begins to hear beside it, and takes over once it has heard as
much as can matter to the model. So nothing is ever heard again at once. Their grids
are one, so a model that keeps what it made of a sound makes it once for both. Knows
neither answers nor wires.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from math import ceil
from typing import Final, Generic

import numpy as np

from bridge.cache import Prefilled
from bridge.engine import Engine
from bridge.errors import InvalidRequestError, OutOfRangeError
from bridge.live_level import Loudness, Stage
from bridge.live_setup import LiveSetup
from bridge.live_steering import BESIDE_SECONDS, STEM_REACH_SECONDS, Steering
from bridge.live_tape import Tape
from bridge.ports import Audio, Conditions, Generator, Mono, Quality, S
from bridge.request import Prime
from bridge.resample import REACH_SAMPLES, ToModel, to_model
from bridge.stereo import mid_of
from bridge.transport import SampleMap
from bridge.trial import TRIED_SECONDS, says_something

WINDOW_SECONDS: Final = 30
"""About so much of the recording is kept, and as much again as the model's context takes. A window
begins where its grid meets that of the one before: at 48 and 96 kHz that is each 27 s."""
REACH_SECONDS: Final = 4
"""How far behind the newest sample a splice still finds the model prefilled."""
PATIENT_SECONDS: Final = 1.0
"""How long the next window's hearing of a block may wait for what is more urgent."""
HURRY_SECONDS: Final = 2
"""So long before it takes over it hears as soon as the one that it follows."""
MAX_AHEAD_SECONDS: Final = 60
"""How far ahead of the recording a splice may be announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone(Generic[S]):
    """A state, and how much of the recording had come when it was made."""

    state: S
    fed_samples: int
    end_sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Generic[S]):
    """What an answer starts from."""

    prime: Prime
    conditions: Conditions
    prefilled: Prefilled[S] | None
    """None where the splice lies too far back: then the prime is heard again."""
    level_db: float
    """The gain that meets the recording's level, as far as it was measured."""


class Recording(Generic[S]):
    """A recording without end, of which what matters is kept.

    Attributes:
        patience_s: How long hearing a block may wait for what is more urgent.
    """

    def __init__(self, engine: Engine[S], setup: LiveSetup, steering: Steering) -> None:
        """Begin; `open` comes first.

        Args:
            engine: Whose model hears.
            setup: What holds for the whole session.
            steering: The conditions, as they arrive.
        """
        self._engine = engine
        self._setup = setup
        self._steering = steering
        self._loudness = Loudness()
        self._stage = Stage(setup.sample_rate)
        self._tape = Tape(setup.num_channels, setup.start_sample)
        self._stream = ToModel(setup.sample_rate, engine.info.sample_rate)
        self._num_windows = 0
        self._window = self._new_window(setup.start_sample)
        self._next: _Window[S] | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._fidelity: float | None = None
        self.patience_s = 0.0

    @property
    def anchor_sample(self) -> int:
        """Return where the code grid starts now."""
        return self._window.anchor_sample

    @property
    def end_sample(self) -> int:
        """Return the sample at which the next block is due."""
        return self._tape.end_sample

    @property
    def prefilled_sample(self) -> int:
        """Return the sample up to which the model has heard."""
        return self._window.prefilled_sample

    async def open(self) -> None:
        """Return once the model has taken the conditions.

        Raises:
            UnsupportedError: A condition that the model cannot use.
            NotFoundError: A label outside its vocabulary.
        """
        await self._window.open()

    async def hear(self, audio: Audio) -> None:
        """Add a block, and let the model hear what fills its canonical blocks."""
        made = self._stream.push(mid_of(audio)[None])[0]
        self._tape.add(audio)
        self._window.take(made)
        await self._window.feed(self.patience_s)
        self._look()
        if self._fidelity is None:
            # Once, so that no answer waits for it.
            self._fidelity = await self._window.tried()
        await self._renew(made)

    def check(self, splice_sample: int) -> None:
        """Refuse a splice that lies before what is kept, or too far ahead.

        Raises:
            OutOfRangeError: Before what is kept of the recording.
            InvalidRequestError: More than a minute ahead of it.
        """
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

    async def ready(self, splice_sample: int) -> Ready[S]:
        """Return what an answer at a sample that was recorded starts from."""
        ready = await self._window.ready(splice_sample, self._fidelity)
        if ready.prefilled is None:
            return ready
        image = await self._stage.image(splice_sample)
        return replace(ready, prefilled=replace(ready.prefilled, image=image))

    async def close(self) -> None:
        """Forget all and leave the model."""
        self._stage.close()
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.wait([self._catching_up])
        for window in (self._window, self._next):
            if window is not None:
                window.close()

    def _look(self) -> None:
        tape, stage = self._tape, self._stage
        num_samples = tape.end_sample - self._setup.start_sample
        if stage.is_due(num_samples):
            kept = tape.end_sample - self._window.anchor_sample
            stage.look(num_samples, tape.end_sample, tape.newest(min(stage.reach_samples, kept)))

    async def _renew(self, made: Mono) -> None:
        """Let the next window hear, begin, or take over, when it is time."""
        window, coming = self._window, self._next
        if coming is not None:
            coming.take(made)
            await self._catch_up(coming, window.context_samples - coming.num_samples)
        elif window.num_beyond > 0:
            self._next = self._new_window(window.next_anchor_sample)
            await self._next.open()
            self._next.take(made[-window.num_beyond :])

    async def _catch_up(self, coming: "_Window[S]", missing_samples: int) -> None:
        """Let the next window's model hear beside what goes on, until it takes over.

        Nothing waits for it before; in the end it hurries, so that nothing need wait then.
        """
        task = self._catching_up
        if missing_samples <= 0:
            if task is not None:
                await task
            await coming.feed(self.patience_s)
            self._window.close()
            self._window, self._next, self._catching_up = coming, None, None
            self._steering.forget_before(coming.anchor_sample)
            self._tape.forget_before(coming.anchor_sample)
        elif task is None or task.done():
            if task is not None:
                task.result()
            hurries = missing_samples < HURRY_SECONDS * self._setup.sample_rate
            patience_s = self.patience_s if hurries else PATIENT_SECONDS
            self._catching_up = asyncio.create_task(coming.feed(patience_s))

    def _new_window(self, anchor_sample: int) -> "_Window[S]":
        self._num_windows += 1
        name = f"live-{self._setup.session_id}-{self._num_windows}"
        heard = (self._tape, self._steering, self._loudness)
        return _Window(self._engine, self._setup, heard, anchor_sample, name)


class _Window(Generic[S]):
    """The recording since an anchor, and the states of the model that has heard it."""

    def __init__(
        self,
        engine: Engine[S],
        setup: LiveSetup,
        shared: "tuple[Tape, Steering, Loudness]",
        anchor_sample: int,
        name: str,
    ) -> None:
        info = engine.info
        self._engine = engine
        self._setup = setup
        self._tape, self._steering, self._loudness = shared
        self._name = name
        self._feed_samples = info.feed_samples
        self._map = SampleMap(
            anchor_sample=anchor_sample,
            session_rate=setup.sample_rate,
            model_rate=info.sample_rate,
        )
        self.context_samples = ceil(info.context_samples / self._map.ratio)
        lone_samples = WINDOW_SECONDS * setup.sample_rate - self.context_samples
        shared_samples = (info.feed_samples / self._map.ratio).numerator
        self.next_anchor_sample = anchor_sample + shared_samples * max(
            1, round(lone_samples / shared_samples)
        )
        """Where the next window shall begin: on this one's grid, and on a model sample."""
        self._num_made = 0
        self._unfed: Mono = np.zeros(0, np.float32)
        self._due: deque[tuple[Mono, int]] = deque()
        self._milestones: deque[Milestone[S]] = deque()
        self._fed: Mono = np.zeros(0, np.float32)
        self._kept_samples = 4 * max(info.feed_samples, info.block_samples)
        fast = setup.plan.quality is Quality.FAST
        self._keeps_level = info.keeps_level and fast
        self._next_weighed = 0
        self._told = 0
        self.anchor_sample = anchor_sample

    @property
    def num_samples(self) -> int:
        return self._tape.end_sample - self.anchor_sample

    @property
    def num_beyond(self) -> int:
        """Return how many model samples of the next window have come; below 0 some are missing."""
        return self._num_made - self._map.floor_model(self.next_anchor_sample)

    @property
    def prefilled_sample(self) -> int:
        if not self._milestones:
            return self.anchor_sample
        return self._map.floor_session(self._milestones[-1].fed_samples)

    async def open(self) -> None:
        conditions = self._steering.of_window(self._map, self.anchor_sample)
        self._told = self._steering.num_news

        def opened(model: Generator[S]) -> S:
            return model.open(conditions, self.anchor_sample, None)

        state = await self._engine.on_model(self._name, opened)
        self._milestones.append(
            Milestone(state=state, fed_samples=0, end_sample=self.anchor_sample)
        )

    def take(self, made: Mono) -> None:
        """Add model samples of what the tape holds."""
        self._num_made += made.shape[0]
        self._unfed = np.concatenate([self._unfed, made])
        size = self._feed_samples
        while self._unfed.shape[0] >= size:
            self._due.append((self._unfed[:size].copy(), self._tape.end_sample))
            self._unfed = self._unfed[size:]

    async def feed(self, patience_s: float) -> None:
        """Let the model hear the canonical blocks that have come."""
        while self._due:
            await self._feed(*self._due.popleft(), patience_s)

    async def ready(self, splice_sample: int, fidelity: float | None) -> Ready[S]:
        samples = self._tape.stretch(self.anchor_sample, splice_sample)
        heard = [one for one in self._milestones if one.end_sample <= splice_sample]
        prefilled = None
        if heard:
            prefilled = Prefilled(
                state=await self._steered(heard[-1].state.fork(), splice_sample, BESIDE_SECONDS),
                fed_blocks=heard[-1].fed_samples // self._feed_samples,
                fidelity=fidelity,
                rest=self._rest(samples, heard[-1].fed_samples),
            )
        return Ready(
            prime=Prime(samples=samples, start_sample=self.anchor_sample),
            conditions=self._steering.of_request(self.anchor_sample),
            prefilled=prefilled,
            level_db=self._loudness.gain_db,
        )

    def _rest(self, samples: Audio, fed_samples: int) -> Mono:
        """Return what follows the model samples that were fed; the filter begins ahead of them."""
        ratio = self._map.ratio
        # Where a session and a model sample coincide.
        periods = max(0, fed_samples - REACH_SAMPLES) // ratio.numerator
        late = mid_of(samples[:, periods * ratio.denominator :])
        made = to_model(late[None], self._setup.sample_rate, self._engine.info.sample_rate)[0]
        return made[fed_samples - periods * ratio.numerator :]

    def close(self) -> None:
        self._milestones.clear()
        self._engine.leave(self._name)

    async def _feed(self, block: Mono, end_sample: int, patience_s: float) -> None:
        last = self._milestones[-1]
        fork = last.state.fork()
        if self._told != self._steering.num_news:
            self._told = self._steering.num_news
            fork = await self._steered(fork, self._map.floor_session(last.fed_samples))

        def fed_state(model: Generator[S]) -> S:
            return model.feed(fork, block)

        state = await self._engine.on_model(self._name, fed_state, patience_s)
        fed = last.fed_samples + block.shape[0]
        self._milestones.append(Milestone(state=state, fed_samples=fed, end_sample=end_sample))
        self._fed = np.concatenate([self._fed, block])[-self._kept_samples :]
        if not self._keeps_level:
            await self._weigh(state, fed)
        reach = REACH_SECONDS * self._setup.sample_rate
        while self._milestones[0].end_sample < self._tape.end_sample - reach:
            self._milestones.popleft()

    async def _weigh(self, state: S, fed_samples: int) -> None:
        """Compare the newest block that can be decoded with the recording, about once a second."""
        size = self._engine.info.block_samples
        block = state.decodable_sample // size - 1
        first = block * size - (fed_samples - self._fed.shape[0])
        if block < self._next_weighed or first < 0:
            return
        self._next_weighed = block + ceil(self._engine.info.sample_rate / size)
        fork = state.fork()

        def decoded(model: Generator[S]) -> Mono:
            return model.decode(fork, block)

        made = await self._engine.on_model(self._name, decoded)
        self._loudness.add(self._fed[first : first + size], made)

    async def _steered(
        self, state: S, from_sample: int, reach_seconds: int = STEM_REACH_SECONDS
    ) -> S:
        """Return a state that goes on under the conditions as they are now."""
        if not self._steering.num_news:
            return state
        conditions = await asyncio.to_thread(
            self._steering.of_window, self._map, from_sample, reach_seconds
        )

        def steered_state(model: Generator[S]) -> S:
            return model.steer(state, conditions)

        return await self._engine.on_model(self._name, steered_state)

    async def tried(self) -> float | None:
        """Return how well the codec knows the sound; None as long as there is none."""
        size = ceil(TRIED_SECONDS * self._setup.sample_rate)
        if self.num_samples < size:
            return None
        stretch = mid_of(self._tape.newest(size))
        if not says_something(stretch):
            return None
        made = ToModel(self._setup.sample_rate, self._engine.info.sample_rate).push(stretch[None])

        def fidelity(model: Generator[S]) -> float:
            return model.fidelity(made[0])

        return await self._engine.on_model(self._name, fidelity)
