"""What a client asks for, in the words of a script, and how it goes on the wire.

Knows no connection; the client sends what is made here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bridge import messages, request_messages
from bridge.errors import InvalidRequestError
from bridge.ports import Audio, Conditions, LevelCodes, Plan, StemKind
from bridge.request import check_format
from bridge.request_messages import Verb
from protos import bridge_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """A recorded section and how it should go on, in the words of a script.

    Attributes:
        prime: The recorded section, float32 (channels, samples); for `GENERATE` without samples.
        sample_rate: 44100, 48000, 88200 or 96000 Hz.
        bars: Length of the result over the tempo; or give `num_samples`.
        num_samples: Exact length of the result; or give `bars`.
        tempo_bpm: Quarter notes a minute; needed for bars.
        meter: Numerator and denominator.
        bar_sample: A sample of the timeline on which a bar begins; None: the prime's first.
        conditions: Labels, MIDI, target and the rest; its stems and suffix stay empty.
        stems: Audio that the result must fit, in the prime's format, from the prime's start on.
        suffix: Audio that the result must lead into.
        plan: How to sample; its seed counts only when `draw_seed` is False.
        draw_seed: Let the server draw a seed and report it.
        prime_start_sample: The prime's place on the session's timeline.
        write_file: Also write a BWF into the server's spool.
        detached: Goes on when the call ends; `Client.watch` rejoins it, `Client.cancel` ends it.
        idempotency_key: The same key and request again mean the same job.
        verb: `CONTINUE`; `GENERATE` stands on nothing and begins at `prime_start_sample`;
            `RENDER_MIDI` plays `conditions.midi` in the prime's timbre, as long as the part
            lasts if no length is given.
    """

    prime: Audio
    sample_rate: int
    bars: float | None = None
    num_samples: int | None = None
    tempo_bpm: float | None = None
    meter: tuple[int, int] = (4, 4)
    bar_sample: int | None = None
    conditions: Conditions = field(default_factory=Conditions)
    stems: Mapping[StemKind, Audio] = field(default_factory=dict[StemKind, Audio])
    suffix: Audio | None = None
    plan: Plan = field(default_factory=lambda: Plan(seed=0))
    draw_seed: bool = True
    prime_start_sample: int = 0
    anchor_sample: int | None = None
    model: str = ""
    request_id: str = ""
    write_file: bool = False
    detached: bool = False
    idempotency_key: str = ""
    verb: Verb = Verb.CONTINUE

    @property
    def splice_sample(self) -> int:
        """Return the session sample at which the result begins."""
        if self.verb is Verb.RENDER_MIDI and self.conditions.midi is not None:
            return self.conditions.midi.start_sample
        return self.prime_start_sample + self.prime.shape[1]

    def __post_init__(self) -> None:
        """Refuse what cannot be put on the wire.

        Raises:
            InvalidRequestError: No length or two, bars without tempo, or audio of another format.
        """
        check_format(self.sample_rate, self.prime.shape[0])
        lengths = (self.bars is not None) + (self.num_samples is not None)
        if lengths != 1 and (lengths or self.verb is not Verb.RENDER_MIDI):
            raise InvalidRequestError(
                f"the length is bars={self.bars} and num_samples={self.num_samples}: give one"
            )
        if self.bars is not None and self.tempo_bpm is None:
            raise InvalidRequestError(f"{self.bars:g} bars need a tempo in bpm, none was given")
        if self.conditions.stems or self.conditions.suffix is not None:
            raise InvalidRequestError("stems and suffix belong beside the conditions, not inside")
        for name, audio in self._attached():
            if audio.shape[0] != self.prime.shape[0]:
                raise InvalidRequestError(
                    f"the {name} has {audio.shape[0]} channels, the prime {self.prime.shape[0]}"
                )

    def _attached(self) -> Iterator[tuple[str, Audio]]:
        yield from ((f"{kind} stem", audio) for kind, audio in self.stems.items())
        if self.suffix is not None:
            yield "suffix", self.suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsampling:
    """Codes to be made finer, or longer, in the words of a script.

    Attributes:
        levels: Codes by level, coarsest first.
        finest_level: The level to go down to.
        sample_rate: Of the result, in Hz.
        start_sample: Where the first code lies on the session's timeline.
        num_samples: Exact length of the result.
        conditions: Labels, timing and the rest.
        plan: How to sample; its seed counts only when `draw_seed` is False.
        draw_seed: Let the server draw a seed and report it.
        model: Its name; empty is the default.
        num_channels: Of the result; both alike.
    """

    levels: tuple[LevelCodes, ...]
    finest_level: int
    sample_rate: int
    start_sample: int
    num_samples: int
    conditions: Conditions
    plan: Plan
    draw_seed: bool = True
    model: str = ""
    num_channels: int = 1


def message_of_upsampling(asked: Upsampling) -> bridge_pb2.UpsampleRequest:
    """Return the message of a call.

    Raises:
        InvalidRequestError: A plan or conditions outside their limits.
    """
    seed = None if asked.draw_seed else asked.plan.seed
    return bridge_pb2.UpsampleRequest(
        format=bridge_pb2.AudioFormat(
            sample_rate=asked.sample_rate, num_channels=asked.num_channels
        ),
        model=asked.model,
        start_sample=asked.start_sample,
        levels=[
            bridge_pb2.LevelCodes(level=level.level, codes=level.codes.tolist())
            for level in asked.levels
        ],
        finest_level=asked.finest_level,
        conditions=request_messages.message_of_conditions(asked.conditions),
        target=bridge_pb2.Target(num_samples=asked.num_samples),
        plan=request_messages.message_of_plan(asked.plan, seed=seed),
    )


def header_of(continuation: Continuation) -> bridge_pb2.ContinueHeader:
    """Return the first message of a call.

    Raises:
        InvalidRequestError: A plan or conditions outside their limits.
    """
    start = continuation.prime_start_sample
    suffix = continuation.suffix
    seed = None if continuation.draw_seed else continuation.plan.seed
    return bridge_pb2.ContinueHeader(
        format=bridge_pb2.AudioFormat(
            sample_rate=continuation.sample_rate, num_channels=continuation.prime.shape[0]
        ),
        model=continuation.model,
        prime_start_sample=start,
        prime_samples=continuation.prime.shape[1],
        conditions=request_messages.message_of_conditions(continuation.conditions),
        target=_target_of(continuation),
        plan=request_messages.message_of_plan(continuation.plan, seed=seed),
        suffix_samples=0 if suffix is None else suffix.shape[1],
        anchor_sample=continuation.anchor_sample,
        detached=continuation.detached,
        idempotency_key=continuation.idempotency_key,
        request_id=continuation.request_id,
        write_file=continuation.write_file,
        stems=[
            bridge_pb2.StemClaim(
                kind=messages.number_of_kind(kind), start_sample=start, num_samples=audio.shape[1]
            )
            for kind, audio in continuation.stems.items()
        ],
    )


def audio_of(continuation: Continuation) -> Iterator[bridge_pb2.AudioBlock]:
    """Yield prime, stems and suffix as wire blocks, in the order that the header claims them."""
    start = continuation.prime_start_sample
    prime_start = continuation.splice_sample - continuation.prime.shape[1]
    yield from messages.blocks_of(continuation.prime, prime_start, bridge_pb2.ROLE_PRIME)
    for kind, audio in continuation.stems.items():
        yield from messages.blocks_of(audio, start, bridge_pb2.ROLE_STEM, kind)
    if continuation.suffix is not None:
        splice = continuation.splice_sample
        target = _target_of(continuation)
        end = splice + request_messages.num_samples_of(target, continuation.sample_rate, splice)
        yield from messages.blocks_of(continuation.suffix, end, bridge_pb2.ROLE_SUFFIX)


def _target_of(continuation: Continuation) -> bridge_pb2.Target:
    numerator, denominator = continuation.meter
    start = continuation.prime_start_sample
    bar = continuation.bar_sample
    changes = (
        []
        if continuation.tempo_bpm is None
        else [
            bridge_pb2.TempoChange(
                sample=start if bar is None else bar,
                tempo_bpm=continuation.tempo_bpm,
                meter_numerator=numerator,
                meter_denominator=denominator,
            )
        ]
    )
    return bridge_pb2.Target(
        num_samples=continuation.num_samples, bars=continuation.bars, tempo_map=changes
    )
