"""Audio, events and names on the wire to values and back.

Refuses what a message can say and a value cannot hold: unknown enum numbers,
torn audio bytes. A float32 on the wire is read as the shortest decimal that it
stands for, so that 0.9 is the same plan on every wire. Knows no socket, no
engine and no model.
"""

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message

from bridge.errors import InvalidRequestError
from bridge.model_info import ModelInfo
from bridge.ports import Audio, Quality, StemKind, TimedWord
from bridge.request import Accepted, AudioBlock, Done, Progress, Queued, RenderEvent
from protos import bridge_pb2

BYTES_PER_VALUE = 4
"""Of float32, in which audio travels."""
MAX_OUTGOING_BYTES = 256 * 1024

KINDS: tuple[tuple[bridge_pb2.StemKind, StemKind], ...] = (
    (bridge_pb2.STEM_KIND_MIX, StemKind.MIX),
    (bridge_pb2.STEM_KIND_DRUMS, StemKind.DRUMS),
    (bridge_pb2.STEM_KIND_BASS, StemKind.BASS),
    (bridge_pb2.STEM_KIND_VOCALS, StemKind.VOCALS),
    (bridge_pb2.STEM_KIND_OTHER, StemKind.OTHER),
)
QUALITIES: tuple[tuple[bridge_pb2.Quality, Quality], ...] = (
    (bridge_pb2.QUALITY_FAST, Quality.FAST),
    (bridge_pb2.QUALITY_EXACT, Quality.EXACT),
    (bridge_pb2.QUALITY_TEACHER, Quality.TEACHER),
)
_KIND_OF: dict[int, StemKind] = {int(number): kind for number, kind in KINDS}
_QUALITY_OF: dict[int, Quality] = {int(number): quality for number, quality in QUALITIES}
_NUMBER_OF_KIND = {kind: number for number, kind in KINDS}
_NUMBER_OF_QUALITY = {quality: number for number, quality in QUALITIES}


def stem_kind_of(number: int, default: StemKind | None = None) -> StemKind:
    """Return the kind that a wire number names; unspecified is the default, if there is one.

    Raises:
        InvalidRequestError: A number without a kind.
    """
    if number == bridge_pb2.STEM_KIND_UNSPECIFIED and default is not None:
        return default
    if number in _KIND_OF:
        return _KIND_OF[number]
    names = ", ".join(f"{known} ({kind})" for known, kind in KINDS)
    raise InvalidRequestError(f"the stem kind is {number}, known are {names}")


def quality_of(number: int) -> Quality:
    """Return the quality that a wire number names; unspecified is `fast`.

    Raises:
        InvalidRequestError: A number without a quality.
    """
    if number == bridge_pb2.QUALITY_UNSPECIFIED:
        return Quality.FAST
    if number in _QUALITY_OF:
        return _QUALITY_OF[number]
    names = ", ".join(f"{known} ({quality})" for known, quality in QUALITIES)
    raise InvalidRequestError(f"the quality is {number}, known are {names}")


def number_of_quality(quality: Quality) -> bridge_pb2.Quality:
    """Return the wire's number of a quality."""
    return _NUMBER_OF_QUALITY[quality]


def decimal_of(value: float) -> float:
    """Return the shortest decimal that a float32 stands for: 0.9, not 0.8999999762."""
    return float(str(np.float32(value)))


def number_of_kind(kind: StemKind) -> bridge_pb2.StemKind:
    """Return the wire's number of a stem kind."""
    return _NUMBER_OF_KIND[kind]


def samples_of(data: bytes | bytearray, num_channels: int) -> Audio:
    """Return interleaved little-endian float32 bytes as channels of samples.

    Raises:
        InvalidRequestError: The bytes are not whole samples of every channel.
    """
    unit = BYTES_PER_VALUE * num_channels
    if len(data) % unit:
        raise InvalidRequestError(
            f"an audio block holds {len(data)} bytes, "
            f"not a multiple of {unit} bytes ({num_channels} channels of float32)"
        )
    flat = np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)
    return np.ascontiguousarray(flat.reshape(-1, num_channels).T)


def bytes_of(samples: Audio) -> bytes:
    """Return channels of samples as interleaved little-endian float32 bytes."""
    return np.ascontiguousarray(samples.T, dtype="<f4").tobytes()


def blocks_of(
    samples: Audio, start_sample: int, role: bridge_pb2.Role, stem: StemKind | None = None
) -> Iterator[bridge_pb2.AudioBlock]:
    """Yield audio as wire blocks of at most `MAX_OUTGOING_BYTES`."""
    step = MAX_OUTGOING_BYTES // (BYTES_PER_VALUE * samples.shape[0])
    for first in range(0, samples.shape[1], step):
        yield bridge_pb2.AudioBlock(
            role=role,
            start_sample=start_sample + first,
            samples=bytes_of(samples[:, first : first + step]),
            stem=bridge_pb2.STEM_KIND_UNSPECIFIED if stem is None else number_of_kind(stem),
        )


def messages_of_event(event: RenderEvent) -> Iterator[bridge_pb2.RenderEvent]:
    """Yield an engine's event as wire events; a large block becomes several."""
    match event:
        case Queued():
            yield bridge_pb2.RenderEvent(queued=bridge_pb2.Queued(**asdict(event)))
        case Accepted():
            yield bridge_pb2.RenderEvent(accepted=bridge_pb2.Accepted(**asdict(event)))
        case Progress():
            yield bridge_pb2.RenderEvent(progress=bridge_pb2.Progress(**asdict(event)))
        case AudioBlock():
            for block in blocks_of(event.samples, event.start_sample, bridge_pb2.ROLE_RESULT):
                block.underrun = event.underrun
                yield bridge_pb2.RenderEvent(audio=block)
        case Done():
            yield bridge_pb2.RenderEvent(done=_message_of_done(event))


def event_of(message: bridge_pb2.RenderEvent, num_channels: int) -> RenderEvent:
    """Return a wire event as the value that the engine sent.

    Raises:
        InvalidRequestError: An event of a later protocol, or torn audio.
    """
    match message.WhichOneof("event"):
        case "queued":
            return Queued(**_values(message.queued, Queued))
        case "accepted":
            return Accepted(**_values(message.accepted, Accepted))
        case "progress":
            return Progress(**_values(message.progress, Progress))
        case "audio":
            return AudioBlock(
                start_sample=message.audio.start_sample,
                samples=samples_of(message.audio.samples, num_channels),
                underrun=message.audio.underrun,
            )
        case "done":
            return _done_of(message.done, num_channels)
        case _:
            raise InvalidRequestError("the server sent an event that this client does not know")


def message_of_model(info: ModelInfo) -> bridge_pb2.Model:
    """Return what `ListModels` tells of a model."""
    return bridge_pb2.Model(
        name=info.name,
        fingerprint=info.fingerprint,
        sample_rate=info.sample_rate,
        streams=info.streams,
        supports=sorted(info.supports),
        artists=info.artists,
        genres=info.genres,
        licence=info.licence,
        output_licence=info.output_licence,
    )


def message_of_word(word: TimedWord) -> bridge_pb2.TimedWord:
    """Return a timed word on the wire."""
    return bridge_pb2.TimedWord(**asdict(word))


def _values(message: Message, kind: type) -> dict[str, Any]:
    """Return the fields of a message that is named and typed as a dataclass is."""
    return {item.name: getattr(message, item.name) for item in fields(kind)}


def _message_of_done(event: Done) -> bridge_pb2.Done:
    return bridge_pb2.Done(
        take_id=event.take_id,
        path="" if event.path is None else str(event.path),
        sha256=event.sha256,
        num_samples=event.num_samples,
        rtf=event.rtf,
        first_audio_ms=event.first_audio_ms,
        gain_db=event.gain_db,
        licence=event.licence,
        lead_in=bytes_of(event.lead_in),
        words=[message_of_word(word) for word in event.words],
        late_blocks=event.late_blocks,
    )


def _done_of(message: bridge_pb2.Done, num_channels: int) -> Done:
    return Done(
        take_id=message.take_id,
        path=Path(message.path) if message.path else None,
        sha256=message.sha256,
        num_samples=message.num_samples,
        rtf=message.rtf,
        first_audio_ms=message.first_audio_ms,
        gain_db=message.gain_db,
        licence=message.licence,
        lead_in=samples_of(message.lead_in, num_channels),
        words=tuple(_word_of(word) for word in message.words),
        late_blocks=message.late_blocks,
    )


def _word_of(message: bridge_pb2.TimedWord) -> TimedWord:
    values = _values(message, TimedWord)
    values["character_samples"] = tuple(message.character_samples)
    return TimedWord(**values)
