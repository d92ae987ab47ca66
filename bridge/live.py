"""A recording that is heard while it is made, and continued at any sample of it.

What arrives is fed to the model in canonical blocks, so that at the splice only
the last one is missing. An answer is an ordinary job that starts from the state
so far: the same bytes as if the whole prime had come at once. With a lead it starts
from the state before the splice, so that it is there when the splice is. Knows no wire.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Generic
from uuid import uuid4

import numpy as np

from bridge.cache import Prefilled
from bridge.engine import Engine
from bridge.errors import InvalidRequestError, UnsupportedError
from bridge.live_setup import Answer, LiveSetup
from bridge.live_steering import Steering
from bridge.live_window import MAX_AHEAD_SECONDS, Recording
from bridge.model_info import ModelInfo
from bridge.ports import Audio, MidiPart, Mono, Plan, Quality, S, StemKind
from bridge.request import AudioBlock, RenderEvent, RenderRequest
from bridge.session import Bell
from bridge.transport import TempoMap


class LiveSession(Generic[S]):
    """One recording and its answers.

    Attributes:
        news: Rung whenever the recording has grown or ended.
    """

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
        self._name = f"live-{uuid4().hex}"
        self._loop_name = f"{self._name}/loop"
        self._steering = Steering(setup)
        self._recording = Recording(engine, setup, self._steering)
        self._answer: list[Audio] = []
        self._answer_end = setup.start_sample
        self._ended = False
        self._cuts: list[int] = []
        self.news = Bell()

    @property
    def info(self) -> ModelInfo:
        """Return what a caller may know of the model."""
        return self._engine.info

    @property
    def setup(self) -> LiveSetup:
        """Return what holds for the whole session."""
        return self._setup

    @property
    def anchor_sample(self) -> int:
        """Return where the code grid starts now."""
        return self._recording.anchor_sample

    @property
    def received_sample(self) -> int:
        """Return the sample at which the next block is due."""
        return self._recording.end_sample

    @property
    def prefilled_sample(self) -> int:
        """Return the sample up to which the model has heard the recording."""
        return self._recording.prefilled_sample

    @property
    def ended(self) -> bool:
        """Return whether the recording is over."""
        return self._ended

    async def open(self) -> None:
        """Return once the model has taken the conditions.

        Raises:
            UnsupportedError: A condition that the model cannot use.
            NotFoundError: A label outside its vocabulary.
            BusyError: The machine could not carry it beside the sessions that run.
        """
        await self._engine.carrying.session(self._name)
        await self._recording.open()

    def follow(self, tempo_map: TempoMap) -> None:
        """Let what is composed keep to these beats and bars from now on."""
        self._steering.follow(tempo_map)

    async def hear(self, start_sample: int, audio: Audio) -> None:
        """Take a block of the recording; returns when the next one may come.

        The recording may go on anywhere inside an answer: what lies between is
        taken from the answer.

        Raises:
            InvalidRequestError: The block is not the next one, or of another format.
        """
        if audio.shape[0] != self._setup.num_channels:
            raise InvalidRequestError(
                f"the block has {audio.shape[0]} channels, the session {self._setup.num_channels}"
            )
        first = self._answer_end - sum(part.shape[1] for part in self._answer)
        if first <= self.received_sample < start_sample <= self._answer_end:
            answer = np.concatenate(self._answer, axis=1)
            await self._take(answer[:, self.received_sample - first : start_sample - first])
        if start_sample != self.received_sample:
            raise InvalidRequestError(
                f"a block of the recording starts at sample {start_sample}, "
                f"the next one is due at sample {self.received_sample}",
                field="audio.start_sample",
            )
        await self._take(audio)

    def hear_notes(self, part: MidiPart) -> None:
        """Take the notes of one more stretch, which steer what is heard and made from there on.

        Raises:
            InvalidRequestError: It does not follow the stretch before, or a note is none.
            UnsupportedError: The model reads no notes.
        """
        self._require("midi", "notes")
        self._steering.add_notes(part)
        self._engine.carrying.is_told(self._loop_name)

    def hear_stem(self, kind: StemKind, start_sample: int, samples: Mono) -> None:
        """Take a block of a stem, which steers what is heard and made from there on.

        Raises:
            InvalidRequestError: It does not follow the block before, or runs over a minute ahead.
            UnsupportedError: The model hears no stems.
        """
        self._require("stems", "stems")
        end = start_sample + samples.shape[0]
        latest = self.received_sample + MAX_AHEAD_SECONDS * self._setup.sample_rate
        if end > latest:
            raise InvalidRequestError(
                f"the {kind} stem comes to sample {end}, the latest now is sample {latest} "
                f"({MAX_AHEAD_SECONDS} s after what was recorded)",
                field="audio.start_sample",
            )
        self._steering.add_stem(kind, start_sample, samples)

    async def answer(self, asked: Answer) -> AsyncGenerator[RenderEvent, None]:
        """Yield the events of a continuation, its audio from the fade before the splice on.

        Waits until the recording has come to the lead before the splice.

        Raises:
            InvalidRequestError: The recording ended before, or a margin is too long.
            OutOfRangeError: The splice lies before what is kept of the recording.
        """
        asked.margins.check(self._setup.sample_rate)
        self._recording.check(asked.cut_sample)
        # What is heard while an answer is made serves the next one: its first block goes before.
        self._recording.patience_s = asked.margins.lead / self._setup.sample_rate
        await self._reached(asked)
        request, prefilled = await self._request(asked)
        self._answer, self._answer_end = [], asked.splice_sample
        async with aclosing(self._engine.render(request, prefilled)) as events:
            async for event in events:
                if isinstance(event, AudioBlock):
                    self._remember(_since(event, asked.splice_sample))
                yield event

    def begin_loop(self, plan: Plan) -> None:
        """State that answer after answer will be asked for with a plan, until `end_loop`.

        Raises:
            BusyError: The machine could not make them beside what runs live.
        """
        told = self._steering.is_told or not plan.reprise or plan.quality is not Quality.FAST
        self._engine.carrying.loop(self._loop_name, told=told)

    def end_loop(self) -> None:
        """State that no more are asked for."""
        self._engine.carrying.leave(self._loop_name)

    def finish(self) -> None:
        """State that the recording is over: an answer that waits for more of it fails."""
        self._ended = True
        self.news.ring()

    async def close(self) -> None:
        """Forget the recording and leave the model."""
        self.end_loop()
        self._engine.carrying.leave(self._name)
        await self._recording.close()

    async def _take(self, audio: Audio) -> None:
        # Cut where an answer begins, so that the last state before it heard nothing after it.
        start, end = self.received_sample, self.received_sample + audio.shape[1]
        inside = sorted(cut - start for cut in set(self._cuts) if start < cut < end)
        for first, last in zip([0, *inside], [*inside, audio.shape[1]], strict=True):
            if last > first:
                await self._recording.hear(audio[:, first:last])
                self.news.ring()

    async def _reached(self, asked: Answer) -> None:
        self._cuts.append(asked.cut_sample)
        try:
            while self.received_sample < asked.cut_sample:
                if self._ended:
                    raise InvalidRequestError(
                        f"the recording ended at sample {self.received_sample}, "
                        f"before the splice at sample {asked.cut_sample}",
                        field="continuation.splice_sample",
                    )
                await self.news.heard()
        finally:
            self._cuts.remove(asked.cut_sample)

    async def _request(self, asked: Answer) -> tuple[RenderRequest, Prefilled[S] | None]:
        ready, setup = await self._recording.ready(asked.cut_sample), self._setup
        margins, prefilled = asked.margins, ready.prefilled
        if prefilled is not None and asked.keep_source:
            # What is begun again after a crash has nothing but its request.
            prefilled = replace(prefilled, image=None, rest=None)
        request = RenderRequest(
            request_id=asked.request_id,
            sample_rate=setup.sample_rate,
            source=ready.prime,
            num_samples=margins.fade + asked.num_samples + margins.reserve,
            plan=asked.plan,
            conditions=ready.conditions,
            anchor_sample=ready.prime.start_sample,
            model=setup.model,
            client_id=setup.client_id,
            live=True,
            write_file=asked.write_file,
            keep_source=asked.keep_source,
            keep_up=asked.keep_up,
            lead_samples=margins.lead - margins.fade,
            level_db=ready.level_db if margins.lead else None,
            due_in_s=asked.sounds_in_s(self.received_sample, setup.sample_rate),
        )
        return request, prefilled

    def _remember(self, block: AudioBlock) -> None:
        """Keep what an answer gave, in case it is to be taken as the recording."""
        if block.start_sample == self._answer_end:
            self._answer.append(block.samples)
            self._answer_end += block.samples.shape[1]

    def _require(self, condition: str, what: str) -> None:
        if condition not in self.info.supports:
            raise UnsupportedError(f"the model {self.info.name} cannot use: {what}")


def _since(block: AudioBlock, sample: int) -> AudioBlock:
    """Return what of a block lies from a sample on."""
    skipped = min(max(0, sample - block.start_sample), block.samples.shape[1])
    start = block.start_sample + skipped
    return replace(block, start_sample=start, samples=block.samples[:, skipped:])
