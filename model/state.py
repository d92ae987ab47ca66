"""A timeline's past inside the model, as one immutable value.

Codes are pages that forks share; audio is kept only as far as encoders still
look back. Serialised without pickle.
"""

import io
import zipfile
from dataclasses import astuple, dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Float64, Int16, Shaped
from torch import Tensor

from model.errors import CheckpointError
from model.grains import Rows, no_rows
from model.listening import FEATURES
from model.streaming import LayerState, StackState
from model.values import Echo, Known, Pulse, StemAudio, SuffixAudio

Codes = Int16[np.ndarray, " frames"]
Audio = Float32[np.ndarray, " samples"]
Arrays = dict[str, Shaped[np.ndarray, "..."]]
Heard = Float16[np.ndarray, "steps rows states"]
Spectra = Float16[np.ndarray, "steps_recorded features"]
Weighed = Float32[np.ndarray, "groups sides bands"]
ROWS, STATES = 128, 2
SIDES, BANDS = 2, 12
NO_SPAN = (0, -1)
"""An end before its start stands for None."""
NEVER = 2**62
"""A frame that no timeline reaches."""
STATE_VERSION = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Level:
    """One autoregressive level: codes so far, how many the stack has seen, its memory."""

    hop_samples: int
    codes: Codes
    seen: int = 0
    memory: StackState = ()

    @property
    def nbytes(self) -> int:
        """Return the bytes held."""
        return self.codes.nbytes + sum(layer.nbytes for layer in self.memory)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Composed:
    """What the composer's stack remembers: steps up to `seen`, in a window begun for `start`.

    Only spares work: it is not stored, and built again as it was.
    """

    start: int
    seen: int
    memory: StackState
    guidance: float
    goal: Float32[np.ndarray, " pitches"]
    """How likely each pitch sounds as the suffix begins."""

    @property
    def nbytes(self) -> int:
        """Return the bytes held."""
        return sum(layer.nbytes for layer in self.memory)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimelineState:
    """What one timeline has heard and made.

    `codes` are the settled top-level codes. `lower` is the teacher's
    cascade, empty until it is asked for. Before `primed_sample` the finisher
    decodes, whatever makes the rest: so a block decoded while the prime still
    grows is the block decoded later. `spectra` are those of the prime, step by
    step, and `heard` the notes that the listener finds in them where none were
    given; `weighed` is the power of its bands, as finished again and as recorded;
    frames from `drawn_from` on were made by a sampler, `reprised` says what of the prime
    sounds again in them, by `beat`, the pulse that was found in it (no knots: there is none).
    """

    known: Known
    anchor_sample: int
    audio: Audio
    audio_start: int = 0
    codes: Codes
    memory: StackState = ()
    remembered_chunks: int = 0
    generating: bool = False
    by_teacher: bool = False
    drawn_from: int = NEVER
    reprised: Rows = field(default_factory=no_rows)
    beat: Float64[np.ndarray, "knots fields"] | None = None
    spectra: Spectra = field(default_factory=lambda: np.zeros((0, FEATURES), np.float16))
    heard: Heard = field(default_factory=lambda: np.zeros((0, ROWS, STATES), np.float16))
    weighed: Weighed = field(default_factory=lambda: np.zeros((0, SIDES, BANDS), np.float32))
    composed: Composed | None = None
    lower: tuple[Level, ...] = ()
    primed_sample: int = 0
    frame_samples: int
    lookahead_frames: int

    @property
    def nbytes(self) -> int:
        """Return the memory held, shared pages counted once per holder."""
        known = self.known.notes.nbytes + sum(stem.samples.nbytes for stem in self.known.stems)
        known += 0 if self.known.suffix is None else self.known.suffix.samples.nbytes
        memory = sum(layer.nbytes for layer in self.memory)
        levels = sum(level.nbytes for level in self.lower)
        heard = self.audio.nbytes + self.codes.nbytes + self.heard.nbytes + self.spectra.nbytes
        heard += self.weighed.nbytes + self.reprised.nbytes
        return heard + known + memory + levels + (self.composed.nbytes if self.composed else 0)

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
        """Return the sample before which `decode` may be asked; it never goes back."""
        # Before the first frames are made, what is composed may still change those at the splice.
        begun = self.generating and len(self.codes) > self.drawn_from
        if not begun or (self.by_teacher and not self.lower):
            return self.primed_sample
        made = self.settled_sample
        if self.lower:
            made = len(self.lower[0].codes) * self.lower[0].hop_samples
        return max(self.primed_sample, made - self.lookahead_frames * self.frame_samples)

    def fork(self) -> "TimelineState":
        """Return a second state with the same past; everything is shared, nothing is written."""
        return replace(self)

    def to_bytes(self) -> bytes:
        """Return the state as bytes for `restored`."""
        arrays: Arrays = _known_arrays(self.known) | {
            "version": np.array(STATE_VERSION),
            "numbers": np.array(
                [
                    self.anchor_sample,
                    self.audio_start,
                    self.remembered_chunks,
                    self.generating,
                    self.frame_samples,
                    self.lookahead_frames,
                    len(self.lower),
                    self.primed_sample,
                    self.by_teacher,
                    self.drawn_from,
                ],
                np.int64,
            ),
            "audio": self.audio,
            "codes": self.codes,
            "spectra": self.spectra,
            "heard": self.heard,
            "weighed": self.weighed,
            "reprised": self.reprised,
        }
        if self.beat is not None:
            arrays["beat"] = self.beat
        arrays |= _stack_arrays("memory", self.memory)
        for index, level in enumerate(self.lower):
            arrays[f"lower{index}.codes"] = level.codes
            arrays[f"lower{index}.numbers"] = np.array([level.hop_samples, level.seen], np.int64)
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
            arrays: Arrays = dict(table.items())
        version = int(arrays["version"])
        if version != STATE_VERSION:
            raise CheckpointError(f"the state has version {version}, expected {STATE_VERSION}")
        return _state_from(arrays)
    except (ValueError, OSError, KeyError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{len(data)} bytes are no stored state: {error}") from error


def _state_from(arrays: Arrays) -> TimelineState:
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
        lower=tuple(_level_from(f"lower{index}", arrays) for index in range(numbers[6])),
        primed_sample=numbers[7],
        by_teacher=bool(numbers[8]),
        drawn_from=numbers[9],
        spectra=arrays["spectra"],
        heard=arrays["heard"],
        weighed=arrays["weighed"],
        reprised=arrays["reprised"],
        beat=arrays.get("beat"),
        frame_samples=numbers[4],
        lookahead_frames=numbers[5],
    )


def _level_from(name: str, arrays: Arrays) -> Level:
    hop_samples, seen = (int(value) for value in arrays[f"{name}.numbers"])
    return Level(
        hop_samples=hop_samples,
        codes=arrays[f"{name}.codes"],
        seen=seen,
        memory=_stack_from(f"{name}.memory", arrays),
    )


def _known_arrays(known: Known) -> Arrays:
    spans = *(known.notes_span or NO_SPAN), *(known.composed_span or NO_SPAN)
    arrays: Arrays = {
        "known": np.array(
            [
                known.artist,
                known.genre,
                known.target,
                known.total_samples,
                known.offset_samples,
                *spans,
                known.curves_sample,
            ],
            np.int64,
        ),
        "notes": known.notes,
        "stems": np.array([[stem.kind, stem.start_sample] for stem in known.stems], np.int64),
    }
    for index, stem in enumerate(known.stems):
        arrays[f"stem{index}"] = stem.samples
    arrays["energy"] = np.array(known.energy, np.float64)
    arrays["density"] = np.array(known.density, np.float64)
    arrays["echoes"] = np.array([astuple(echo) for echo in known.echoes], np.float64)
    if known.pulse is not None:
        arrays["pulse"] = known.pulse.knots
    if known.suffix is not None:
        arrays["suffix"] = known.suffix.samples
        arrays["suffix_start"] = np.array(known.suffix.start_sample)
    return arrays


def _span_from(span: list[int]) -> tuple[int, int] | None:
    first, last = span
    return None if last < first else (first, last)


def _known_from(arrays: Arrays) -> Known:
    artist, genre, target, total, offset, *spans = (int(value) for value in arrays["known"])
    pulse, suffix = arrays.get("pulse"), arrays.get("suffix")
    return Known(
        artist=artist,
        genre=genre,
        target=target,
        total_samples=total,
        offset_samples=offset,
        notes=arrays["notes"],
        notes_span=_span_from(spans[:2]),
        composed_span=_span_from(spans[2:4]),
        curves_sample=spans[4],
        energy=tuple(arrays["energy"].tolist()),
        density=tuple(arrays["density"].tolist()),
        echoes=tuple(_echo_from(row) for row in arrays["echoes"].tolist()),
        pulse=None if pulse is None else Pulse(knots=pulse),
        suffix=None
        if suffix is None
        else SuffixAudio(start_sample=int(arrays["suffix_start"]), samples=suffix),
        stems=tuple(
            StemAudio(kind=int(row[0]), start_sample=int(row[1]), samples=arrays[f"stem{index}"])
            for index, row in enumerate(arrays["stems"])
        ),
    )


def _echo_from(row: list[float]) -> Echo:
    start, end, source, similarity = row
    return Echo(
        start_sample=int(start),
        end_sample=int(end),
        source_sample=int(source),
        similarity=similarity,
    )


def _stack_arrays(name: str, stack: StackState) -> Arrays:
    arrays: Arrays = {f"{name}.layers": np.array(len(stack))}
    for index, layer in enumerate(stack):
        arrays[f"{name}.{index}.rows"] = _bits(layer.rows)
        arrays[f"{name}.{index}.current"] = _bits(layer.current)
    return arrays


def _stack_from(name: str, arrays: Arrays) -> StackState:
    return tuple(
        LayerState(
            _tensor(arrays[f"{name}.{index}.rows"]), _tensor(arrays[f"{name}.{index}.current"])
        )
        for index in range(int(arrays[f"{name}.layers"]))
    )


def _bits(tensor: Float[Tensor, "*axes"]) -> Shaped[np.ndarray, "*axes"]:
    # numpy has no bfloat16: its bits travel as int16.
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy()
    return tensor.numpy()


def _tensor(bits: Shaped[np.ndarray, "*axes"]) -> Float[Tensor, "*axes"]:
    tensor = torch.as_tensor(bits)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.int16 else tensor
