"""Training batches of codes with their conditions, dropped at random.

What a request may lack, a batch must lack sometimes: notes, stems, labels,
timing. Notes belong to the target: of the mix all, of a part its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor

from model.conditioning.embeddings import FrameInputs
from model.conditioning.roll import HIT_FAST, ROLL_FRAME_SAMPLES, played_of, roll_of
from model.data.dataset import COMPOSERS, GENRES, STEM_KINDS
from model.training.codes import CodedExample

FRAME_SAMPLES = 128
GROUP = ROLL_FRAME_SAMPLES // FRAME_SAMPLES
TARGETS = ("mix", *STEM_KINDS)
"""Order of the target and stem tables; index 0 is the mix."""
UNNAMED_SHARE = 0.3
"""So often notes come without drums and without their instruments, as composed ones do."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """The whole excerpt, mix or stem, that a stretch was taken from, and the stretch's start."""

    audio: Int16[np.ndarray, " samples"]
    start_sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Codes of a stretch and all that may be known of it."""

    codes: Int[Tensor, "batch frames"]
    inputs: FrameInputs
    played: Float[Tensor, "batch frames played"]
    """What the finisher reads of the notes, whether they are told or not."""
    audio: Float[Tensor, "batch samples"]
    sources: tuple[Source, ...]
    """Where each row comes from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Item:
    codes: np.ndarray
    audio: np.ndarray
    played: np.ndarray
    roll: np.ndarray
    known: np.ndarray
    stems: np.ndarray
    target: int
    artist: int
    genre: int
    total: float
    start: int
    source: Source


def random_batch(
    examples: Sequence[CodedExample],
    size: int,
    frames: int,
    codebook: Float[Tensor, "codebook latents"],
    random: np.random.Generator,
) -> Batch:
    """Return `size` random stretches of `frames` top-level frames; the codebook is normalised."""
    items = [
        _item(examples[int(random.integers(len(examples)))], frames, random) for _ in range(size)
    ]
    groups = np.arange(frames // GROUP) * ROLL_FRAME_SAMPLES
    stems = _stack([item.stems[:, ::GROUP] for item in items]).long()
    inputs = FrameInputs(
        artist=torch.tensor([item.artist for item in items]),
        genre=torch.tensor([[item.genre] for item in items]),
        target=torch.tensor([item.target for item in items]),
        total=torch.tensor([[item.total] * len(groups) for item in items]),
        position=_stack([(groups + item.start).astype(np.float32) for item in items]),
        roll=_stack([item.roll for item in items]),
        roll_known=_stack([item.known for item in items]),
        stems=codebook[stems.clamp(min=0)],
        stems_given=stems >= 0,
    )
    return Batch(
        codes=_stack([item.codes for item in items]).long(),
        inputs=inputs,
        played=_stack([item.played for item in items]),
        audio=_stack([item.audio for item in items]) / 32768,
        sources=tuple(item.source for item in items),
    )


def _item(coded: CodedExample, frames: int, random: np.random.Generator) -> _Item:
    example = coded.example
    limit = (len(coded.mix) - frames) // GROUP
    first = int(random.integers(limit + 1)) * GROUP
    start = first * FRAME_SAMPLES
    span = slice(first, first + frames)
    present = [index for index in range(len(STEM_KINDS)) if coded.stems[index, 0] >= 0]
    target, given = roles_of(present, random)
    codes = coded.mix[span] if target == 0 else coded.stems[target - 1, span]
    stems = np.full((len(TARGETS), frames), -1, np.int64)
    for kind in given:
        stems[kind + 1] = coded.stems[kind, span]
    notes = example.notes
    if target:
        notes = notes[notes[:, 5] == target - 1]
    known = np.arange(frames // GROUP) >= known_from(frames // GROUP, random)
    roll = roll_of(notes, start, frames // GROUP)
    played = np.repeat(played_of(roll), GROUP, axis=0)
    if random.random() < UNNAMED_SHARE:
        roll[:, HIT_FAST.start :] = 0
    audio = example.mix() if target == 0 else example.stem(STEM_KINDS[target - 1])
    assert audio is not None
    labelled = random.random() < 0.7 and bool(example.labels.composer)
    return _Item(
        codes=codes,
        audio=audio[start : start + frames * FRAME_SAMPLES].astype(np.float32),
        played=played,
        roll=roll,
        known=known,
        stems=stems,
        target=target,
        artist=COMPOSERS.index(example.labels.composer) + 1 if labelled else 0,
        genre=GENRES.index(example.labels.genre) + 1 if labelled else 0,
        total=float(example.num_samples) if random.random() < 0.3 else 0.0,
        start=start,
        source=Source(audio=audio, start_sample=start),
    )


def roles_of(present: Sequence[int], random: np.random.Generator) -> tuple[int, list[int]]:
    """Return what a stretch is of (0 the mix, else a stem's number + 1), and the stems it is told.

    Of fewer than two stems there is nothing to go by.
    """
    if len(present) < 2 or random.random() < 0.72:
        return 0, []
    chosen = present[int(random.integers(len(present)))]
    others = [kind for kind in present if kind != chosen]
    given = [kind for kind in others if random.random() < 0.7] if random.random() < 0.6 else []
    return chosen + 1, given


def known_from(groups: int, random: np.random.Generator) -> int:
    """Return the roll frame from which on notes are told: often all, sometimes none."""
    draw = random.random()
    if draw < 0.55:
        return 0
    return int(random.integers(groups)) if draw < 0.85 else groups


def _stack(rows: Sequence[np.ndarray]) -> Tensor:
    return torch.as_tensor(np.stack(rows))
