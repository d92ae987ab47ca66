"""A host that plays endless sessions, paced in real time or on a virtual clock, and what it saw."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import numpy as np

from bridge import messages
from bridge.client import Client
from bridge.engine import Engine
from bridge.errors import BridgeError, BusyError
from bridge.live import LiveSession
from bridge.live_client import LiveClient
from bridge.live_loop import Failed, LiveLoop, LoopPlan, Told, Turn
from bridge.live_player import LivePlayer
from bridge.live_setup import LiveSetup, Margins
from bridge.ports import Audio, Conditions, Mono, Plan, StemKind
from bridge.request import AudioBlock, Done
from bridge.transport import steady
from protos import bridge_pb2

RATE: Final = 48_000
PERIOD: Final = 1024
BPM: Final = 120
BAR_SAMPLES: Final = 96_000
FIRST_BAR: Final = 4
START_SECONDS: Final = 0.2
SILENT_DB: Final = -60.0
COPY: Final = 0.95
LOOP: Final = "bar"
"""Its answers are named after it and a slash; what is told under it is of the loop itself."""
SHIFT_SAMPLES: Final = 480
STEM_AHEAD_SAMPLES: Final = BAR_SAMPLES
"""So far ahead of the recording a stem runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How one session is played.

    Attributes:
        hand_overs: How many bars are answered.
        margins: Of every answer.
        keep_up: Whether passes may be left out rather than be late.
        through: Gain of the musician who plays along.
        seed: Of the session.
        stem: Whether drums run ahead of the recording.
    """

    hand_overs: int
    margins: Margins
    keep_up: bool
    through: float
    seed: int
    stem: bool

    @property
    def num_blocks(self) -> int:
        """Return how many periods are played: to the end of the last answer's bar."""
        return (FIRST_BAR + self.hand_overs) * BAR_SAMPLES // PERIOD + 1


@dataclass(slots=True, kw_only=True)
class Seen:
    """What one session saw.

    Attributes:
        slack_s: Of each hand-over: how long before it was due enough of it was there.
        errors: Of each hand-over: by how many samples it missed its bar line.
        gap_samples: Missing when they were due.
        missed: Answers that never sounded.
        late_blocks: Blocks of answers that came after they were due.
        blocks: All of them.
        silent: Hand-overs after which the bar was silent.
        copies: Hand-overs after which the bar was a copy of the one before.
        failed: What the server could not do.
        refused: Why the session or its loop was not taken, if it was not.
    """

    slack_s: list[float] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    gap_samples: int = 0
    missed: int = 0
    late_blocks: int = 0
    blocks: int = 0
    silent: int = 0
    copies: int = 0
    checked: int = 0
    failed: list[str] = field(default_factory=list)
    refused: str = ""


class Musician:
    """One session's sound: what goes in, what comes out, and what is seen of it."""

    def __init__(self, prime: Audio, setting: Setting, clock: Callable[[], float]) -> None:
        """Prepare; `origin_s` is when sample 0 sounds, to be set at the start."""
        self._prime = prime
        self._setting = setting
        self._clock = clock
        self.origin_s = 0.0
        self.player = LivePlayer(prime.shape[0], through=setting.through, clock=clock)
        self.seen = Seen()
        self._out: list[Audio] = []

    def play(self) -> Audio:
        """Return what sounds in the next period."""
        at = np.arange(self.player.next_sample, self.player.next_sample + PERIOD)
        out = self.player.play(np.ascontiguousarray(self._prime[:, at % self._prime.shape[1]]))
        self._out.append(out)
        return out

    def add(self, request_id: str, block: AudioBlock) -> None:
        """Take a block of an answer; see whether it is late."""
        due_s = self.origin_s + block.start_sample / RATE
        self.seen.blocks += 1
        self.seen.late_blocks += self._clock() > due_s
        self.player.add(request_id, block.start_sample, block.samples)

    def result(self, *, has_sound: bool) -> Seen:
        """Return what was seen; listens to every bar if the model made sound."""
        seen, player, margins = self.seen, self.player, self._setting.margins
        for taken in player.hand_overs:
            due_s = self.origin_s + (taken.start_sample - margins.fade) / RATE
            seen.slack_s.append(due_s - taken.ready_s)
            seen.errors.append(taken.late_samples)
        seen.gap_samples, seen.missed = player.gap_samples, len(player.missed)
        if has_sound:
            self._listen()
        return seen

    def _listen(self) -> None:
        out = np.concatenate(self._out, axis=1).mean(0)
        at = np.arange(out.shape[0])
        dry = self._prime.mean(0)[at % self._prime.shape[1]]
        for taken in self.player.hand_overs:
            start = taken.start_sample
            bar = out[start : start + BAR_SAMPLES]
            if len(bar) < BAR_SAMPLES - self._setting.margins.fade:
                continue
            answer = bar - self._setting.through * dry[start : start + len(bar)]
            before = out[start - BAR_SAMPLES : start][: len(bar)]
            self.seen.checked += 1
            self.seen.silent += _level_db(answer) < SILENT_DB
            self.seen.copies += _likeness(answer, before) > COPY


def strokes(first: int, num_samples: int) -> Mono:
    """Return a stretch of drums: noise on every half beat, the second of two softer."""
    half = BAR_SAMPLES // 8
    at = np.arange(first, first + num_samples)
    loud = np.where(at // half % 2, 0.05, 0.2) * np.exp(-(at % half) / 2000)
    noise = np.random.default_rng(first).standard_normal(num_samples)
    return (loud * noise).astype(np.float32)


def _level_db(audio: Mono) -> float:
    return 20 * float(np.log10(max(1e-9, float(np.sqrt(np.mean(np.square(audio)))))))


def _likeness(first: Mono, second: Mono) -> float:
    """Return the largest correlation of two bars, shifted by up to 10 ms."""
    size = 2 * len(first)
    spectrum = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    products = np.fft.irfft(spectrum, size)
    near = np.concatenate([products[: SHIFT_SAMPLES + 1], products[-SHIFT_SAMPLES:]])
    power = float(np.sqrt(np.sum(first**2) * np.sum(second**2)))
    return float(np.max(np.abs(near))) / power if power else 0.0


def play_paced(address: str, prime: Audio, settings: list[Setting]) -> list[Seen]:
    """Return what sessions beside each other saw, each paced by the wall clock."""
    seen: list[Seen | None] = [None] * len(settings)

    def one(number: int) -> None:
        with Client(address) as client:
            # Bar lines of sessions that are not one band's do not fall together.
            time.sleep(number * 2.0 / len(settings))
            try:
                seen[number] = _play_one(client, prime, settings[number])
            except BusyError as error:
                seen[number] = Seen(refused=str(error))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(settings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for one in seen if one is not None]


def _play_one(client: Client, prime: Audio, setting: Setting) -> Seen:
    musician = Musician(prime, setting, time.monotonic)
    header = bridge_pb2.LiveHeader(
        format=bridge_pb2.AudioFormat(sample_rate=RATE, num_channels=prime.shape[0]),
        plan=bridge_pb2.Plan(seed=setting.seed),
        credit_samples=10**12,
    )
    with client.live(header) as live:
        reading = threading.Thread(target=_read, args=(live, musician, prime.shape[0]))
        live.loop(_loop_message(setting))
        musician.origin_s = time.monotonic() + START_SECONDS
        reading.start()
        sounded: Audio | None = None
        for block in range(setting.num_blocks):
            time.sleep(max(0.0, musician.origin_s + block * PERIOD / RATE - time.monotonic()))
            # A period can be sent once it has sounded: when the next one begins.
            if musician.seen.refused:
                break
            if sounded is not None:
                live.play(sounded)
            if setting.stem:
                live.play_stem(StemKind.DRUMS, *_stem_block(block))
            sounded = musician.play()
        live.close()
        reading.join()
    if musician.seen.refused:
        return Seen(refused=musician.seen.refused)
    return musician.result(has_sound=True)


def _stem_block(block: int) -> tuple[int, Mono]:
    """Return what of a stem comes with a period: with the first one all that lies ahead."""
    if block == 0:
        return 0, strokes(0, STEM_AHEAD_SAMPLES)
    first = STEM_AHEAD_SAMPLES + (block - 1) * PERIOD
    return first, strokes(first, PERIOD)


def _loop_message(setting: Setting) -> bridge_pb2.LiveLoop:
    margins = setting.margins
    tempo = bridge_pb2.TempoChange(tempo_bpm=BPM, meter_numerator=4, meter_denominator=4)
    return bridge_pb2.LiveLoop(
        tempo_map=[tempo],
        first_sample=FIRST_BAR * BAR_SAMPLES,
        bars=1.0,
        lead_samples=margins.lead,
        fade_samples=margins.fade,
        reserve_samples=margins.reserve,
        request_id=LOOP,
        keep_up=setting.keep_up,
    )


def _read(live: LiveClient, musician: Musician, num_channels: int) -> None:
    try:
        while True:
            event = live.next_event()
            match event.WhichOneof("event"):
                case "turn":
                    turn = event.turn
                    musician.player.plan(
                        turn.request_id, turn.start_sample, turn.end_sample, turn.fade_samples
                    )
                case "render" if event.render.WhichOneof("event") == "audio":
                    block = messages.event_of(event.render, num_channels)
                    assert isinstance(block, AudioBlock)
                    musician.add(event.request_id, block)
                case "failed" if event.failed.request_id == LOOP:
                    musician.seen.refused = event.failed.message
                case "failed":
                    musician.seen.failed.append(event.failed.message)
                case _:
                    pass
    except BridgeError:
        # The end of the call, which the host itself has cut.
        return


async def play_virtual(
    engine: Engine[Any], prime: Audio, setting: Setting, *, has_sound: bool
) -> Seen:
    """Return what a session saw on the loop's own clock."""
    clock = asyncio.get_running_loop().time
    musician = Musician(prime, setting, clock)
    setup = LiveSetup(
        session_id=f"session-{setting.seed}",
        sample_rate=RATE,
        num_channels=prime.shape[0],
        start_sample=0,
        conditions=Conditions(),
        plan=Plan(seed=setting.seed),
    )
    session: LiveSession[Any] = LiveSession(engine, setup)
    await session.open()
    asked = LoopPlan(
        request_id=LOOP,
        tempo_map=steady(RATE, BPM),
        first_sample=FIRST_BAR * BAR_SAMPLES,
        bars=Fraction(1),
        listen_bars=Fraction(0),
        margins=setting.margins,
        plan=setup.plan,
        keep_up=setting.keep_up,
    )
    reading = asyncio.create_task(_follow(LiveLoop(session, asked), musician))
    blocks: asyncio.Queue[Audio | None] = asyncio.Queue()
    hearing = asyncio.create_task(_hear(session, blocks))
    musician.origin_s = clock() + START_SECONDS
    for block in range(setting.num_blocks):
        await asyncio.sleep(max(0.0, musician.origin_s + block * PERIOD / RATE - clock()))
        if setting.stem:
            session.hear_stem(StemKind.DRUMS, *_stem_block(block))
        sounded = musician.play()
        asyncio.get_running_loop().call_later(PERIOD / RATE, blocks.put_nowait, sounded)
    for task in (reading, hearing):
        task.cancel()
    await asyncio.wait([reading, hearing])
    await session.close()
    return musician.result(has_sound=has_sound)


async def _hear(session: LiveSession[Any], blocks: "asyncio.Queue[Audio | None]") -> None:
    while (block := await blocks.get()) is not None:
        await session.hear(session.received_sample, block)


async def _follow(loop: LiveLoop, musician: Musician) -> None:
    async for event in loop.events():
        match event:
            case Turn():
                musician.player.plan(
                    event.request_id, event.start_sample, event.end_sample, event.fade_samples
                )
            case Told(event=AudioBlock() as block):
                musician.add(event.request_id, block)
            case Told(event=Done()):
                pass
            case Failed():
                musician.seen.failed.append(str(event.error))
            case _:
                pass
