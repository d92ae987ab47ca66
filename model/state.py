"""A timeline's past inside the model, as one immutable value.

Codes are pages that forks share; audio is kept only as far as encoders still
look back. Serialised without pickle.
"""

import io
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float32, Int16
from torch import Tensor

from model.errors import CheckpointError
from model.streaming import LayerState, StackState
from model.values import Known, StemAudio

Codes = Int16[np.ndarray, " frames"]
Audio = Float32[np.ndarray, " samples"]
STATE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Level:
    """One autoregressive level: codes so far, how many the stack has seen, its memory."""

    codes: Codes
    seen: int = 0
    memory: StackState = ()

    @property
    def nbytes(self) -> int:
        """Return the bytes held."""
        return self.codes.nbytes + sum(layer.nbytes for layer in self.memory)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimelineState:
    """What one timeline has heard and made.

    `codes` are the settled top-level codes; `draft` holds the chunk under way
    and `draft_shown` which of its frames are decided. `lower` is the teacher's
    cascade, empty until it is asked for.
    """

    known: Known
    anchor_sample: int
    audio: Audio
    audio_start: int = 0
    codes: Codes
    memory: StackState = ()
    remembered_chunks: int = 0
    generating: bool = False
    turn: int = 0
    draft: Codes = field(default_factory=lambda: np.zeros(0, np.int16))
    draft_shown: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    lower: tuple[Level, ...] = ()
    frame_samples: int = 128
    lookahead_frames: int = 6

    @property
    def nbytes(self) -> int:
        """Return the memory held, shared pages counted once per holder."""
        stems = sum(stem.samples.nbytes for stem in self.known.stems)
        memory = sum(layer.nbytes for layer in self.memory)
        levels = sum(level.nbytes for level in self.lower)
        return self.audio.nbytes + self.codes.nbytes + stems + memory + levels

    @property
    def heard_sample(self) -> int:
        """Return how many samples have been fed."""
        return self.audio_start + len(self.audio)

    @property
    def settled_sample(self) -> int:
        """Return the sample before which codes are final."""
        return len(self.codes) * self.frame_samples

    @property
    def decodable_sample(self) -> int:
        """Return the sample before which `decode` may be asked."""
        if self.lower:
            return len(self.lower[0].codes) * 8 - self.lookahead_frames * self.frame_samples
        return max(0, self.settled_sample - self.lookahead_frames * self.frame_samples)

    def fork(self) -> "TimelineState":
        """Return a second state with the same past; everything is shared, nothing is written."""
        return replace(self)

    def to_bytes(self) -> bytes:
        """Return the state as bytes for `restored`."""
        arrays = _known_arrays(self.known) | {
            "version": np.array(STATE_VERSION),
            "numbers": np.array(
                [
                    self.anchor_sample,
                    self.audio_start,
                    self.remembered_chunks,
                    self.generating,
                    self.turn,
                    self.frame_samples,
                    self.lookahead_frames,
                    len(self.lower),
                ],
                np.int64,
            ),
            "audio": self.audio,
            "codes": self.codes,
            "draft": self.draft,
            "draft_shown": self.draft_shown,
        }
        arrays |= _stack_arrays("memory", self.memory)
        for index, level in enumerate(self.lower):
            arrays[f"lower{index}.codes"] = level.codes
            arrays[f"lower{index}.seen"] = np.array(level.seen)
            arrays |= _stack_arrays(f"lower{index}.memory", level.memory)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()


def restored(data: bytes) -> TimelineState:
    """Return the state that `to_bytes` gave.

    Raises:
        CheckpointError: The bytes are no state, or of another version.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as table:
            arrays = dict(table.items())
        version = int(arrays["version"])
    except (ValueError, OSError, KeyError) as error:
        raise CheckpointError(f"{len(data)} bytes are no stored state: {error}") from error
    if version != STATE_VERSION:
        raise CheckpointError(f"the state has version {version}, this one reads {STATE_VERSION}")
    numbers = [int(value) for value in arrays["numbers"]]
    return TimelineState(
        known=_known_from(arrays),
        anchor_sample=numbers[0],
        audio=arrays["audio"],
        audio_start=numbers[1],
        codes=arrays["codes"],
        memory=_stack_from("memory", arrays),
        remembered_chunks=numbers[2],
        generating=bool(numbers[3]),
        turn=numbers[4],
        draft=arrays["draft"],
        draft_shown=arrays["draft_shown"],
        lower=tuple(
            Level(
                codes=arrays[f"lower{index}.codes"],
                seen=int(arrays[f"lower{index}.seen"]),
                memory=_stack_from(f"lower{index}.memory", arrays),
            )
            for index in range(numbers[7])
        ),
        frame_samples=numbers[5],
        lookahead_frames=numbers[6],
    )


def _known_arrays(known: Known) -> dict[str, np.ndarray]:
    span = known.notes_span or (0, -1)
    arrays = {
        "known": np.array(
            [
                known.artist,
                known.genre,
                known.target,
                known.total_samples,
                known.offset_samples,
                *span,
            ],
            np.int64,
        ),
        "notes": known.notes,
        "stems": np.array([[stem.kind, stem.start_sample] for stem in known.stems], np.int64),
    }
    for index, stem in enumerate(known.stems):
        arrays[f"stem{index}"] = stem.samples
    return arrays


def _known_from(arrays: dict[str, np.ndarray]) -> Known:
    artist, genre, target, total, offset, start, end = (int(v) for v in arrays["known"])
    return Known(
        artist=artist,
        genre=genre,
        target=target,
        total_samples=total,
        offset_samples=offset,
        notes=arrays["notes"],
        notes_span=(start, end) if end >= start else None,
        stems=tuple(
            StemAudio(kind=int(row[0]), start_sample=int(row[1]), samples=arrays[f"stem{index}"])
            for index, row in enumerate(arrays["stems"])
        ),
    )


def _stack_arrays(name: str, stack: StackState) -> dict[str, np.ndarray]:
    arrays = {f"{name}.layers": np.array(len(stack))}
    for index, layer in enumerate(stack):
        arrays[f"{name}.{index}.rows"] = _bits(layer.rows)
        arrays[f"{name}.{index}.current"] = _bits(layer.current)
    return arrays


def _stack_from(name: str, arrays: dict[str, np.ndarray]) -> StackState:
    return tuple(
        LayerState(
            _tensor(arrays[f"{name}.{index}.rows"]), _tensor(arrays[f"{name}.{index}.current"])
        )
        for index in range(int(arrays[f"{name}.layers"]))
    )


def _bits(tensor: Tensor) -> np.ndarray:
    # numpy has no bfloat16: its bits travel as int16.
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy()
    return tensor.numpy()


def _tensor(bits: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(bits)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.int16 else tensor
