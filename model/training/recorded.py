"""A user's recordings as training examples: codes by the frozen codec, notes given or heard.

A MIDI file counts where the folder's manifest names it, or where it lies beside its recording
under the same name; time 0 is the first sample. Where there is none, notes are what the
listener hears, as they will be when the model is played. Knows no training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16, Int64
from torch.nn import functional as F

from model.bundle import TOP, Bundle
from model.composer import Notes, Voice, notes_of, score_heard
from model.data.dataset import SAMPLE_RATE, STEM_KINDS, Example, Labels
from model.errors import TrainingError
from model.listener import Listener
from model.listening import BEFORE_SAMPLES, STEP_SAMPLES, step_spectra
from model.training.codes import CodedExample
from model.training.downmix import downmix
from model.training.evaluate import codes_of
from model.training.midi import read_notes
from model.training.published.clips import read_stretch
from model.training.published.recordings import Recording, Source, open_recordings

SHORTEST_SECONDS: Final = 2
MOST_HOURS: Final = 4
"""All recordings together, since they are held in memory."""
HELD_SHARE: Final = 0.15
"""Of a recording that is long enough, its end is not learnt from but measured on."""
HELD_SECONDS: Final = (10, 60)
LONG_SECONDS: Final = 30
EVERY: Final = 5
"""Of recordings that are too short for that, so many-th is measured on as a whole."""
SURE: Final = 0.5
KIND: Final = STEM_KINDS.index("other")
MIDI_ENDINGS: Final = (".mid", ".midi")
_PIECE_SECONDS: Final = 60
_GROUP_STEPS: Final = 512

Pcm = Int16[np.ndarray, " samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What is learnt from, and what is measured on; the latter may be nothing."""

    train: tuple[CodedExample, ...]
    held_out: tuple[CodedExample, ...]
    minutes: float
    held_out_minutes: float
    with_midi: int
    """How many recordings had a MIDI file."""
    notes: tuple[str, ...]
    """What the user should know."""


def usable_recordings(folder: Path) -> tuple[tuple[Recording, ...], tuple[str, ...]]:
    """Return the recordings that can be learnt from, and why others cannot.

    Raises:
        TrainingError: There are none, or more than fit.
    """
    found = open_recordings(folder)
    usable = tuple(one for one in found if _seconds(one.mix) >= SHORTEST_SECONDS)
    left_out = tuple(
        f"left out: {one.mix.path.name} is {_seconds(one.mix):.2f} s long, "
        f"the least is {SHORTEST_SECONDS} s"
        for one in found
        if one not in usable
    )
    hours = sum(_seconds(one.mix) for one in usable) / 3600
    if not usable:
        raise TrainingError(f"none of {len(found)} recordings can be used; {left_out[0]}")
    if hours > MOST_HOURS:
        raise TrainingError(f"{folder} holds {hours:.1f} h of recordings, the limit {MOST_HOURS} h")
    return usable, left_out


def as_examples(
    bundle: Bundle, recordings: Sequence[Recording], least_samples: int, say: Callable[[str], None]
) -> Recorded:
    """Return the recordings coded and with notes; what is shorter than needed is repeated.

    Raises:
        TrainingError: A file that cannot be read.
    """
    train: list[CodedExample] = []
    held: list[CodedExample] = []
    total = aside = short = 0
    for number, recording in enumerate(recordings, 1):
        audio, notes = mono_of(recording.mix), _given(recording)
        say(f"hearing {number}/{len(recordings)}: {recording.mix.path.name}")
        kept = held_samples(len(audio))
        if not kept:
            short += 1
            kept = 0 if short % EVERY else len(audio)
        total, aside = total + len(audio), aside + kept
        split = len(audio) - kept
        if split:
            train.append(_coded(bundle, audio[:split], notes, least_samples))
        if kept:
            held.append(_coded(bundle, audio[split:], _later(notes, -split), least_samples))
    with_midi = sum(_midi_of(one) is not None for one in recordings)
    return Recorded(
        train=tuple(train),
        held_out=tuple(held),
        minutes=(total - aside) / SAMPLE_RATE / 60,
        held_out_minutes=aside / SAMPLE_RATE / 60,
        with_midi=with_midi,
        notes=() if held else ("too little music to keep some aside: nothing can be measured",),
    )


def held_samples(num_samples: int) -> int:
    """Return how much of a recording's end is measured on, 0 if it is too short for that."""
    if num_samples < LONG_SECONDS * SAMPLE_RATE:
        return 0
    least, most = (seconds * SAMPLE_RATE for seconds in HELD_SECONDS)
    return min(most, max(least, round(HELD_SHARE * num_samples)))


@torch.no_grad()
def heard_notes(listener: Listener, audio: Float32[np.ndarray, " samples"]) -> Notes:
    """Return the notes that a listener hears, each as loud as composed ones are."""
    spectra = _spectra(audio)
    likely: list[torch.Tensor] = []
    for first in range(0, spectra.shape[1], _GROUP_STEPS):
        lead = min(listener.before_steps, first)
        logits = listener(spectra[:, first - lead : first + _GROUP_STEPS])
        likely.append(logits[0, lead:].sigmoid())
    score = score_heard(torch.cat(likely).numpy(), SURE)
    return notes_of(score, 0, Voice(step_samples=STEP_SAMPLES))


def _spectra(audio: Float32[np.ndarray, " samples"]) -> Float[torch.Tensor, "1 steps features"]:
    """Return a row for each whole step, group by group: transforms of an hour take gigabytes."""
    padded = F.pad(torch.as_tensor(audio)[None], (BEFORE_SAMPLES, 0))
    group = _GROUP_STEPS * STEP_SAMPLES
    starts = range(0, max(1, len(audio) - STEP_SAMPLES + 1), group)
    rows = [step_spectra(padded[:, at : at + group + BEFORE_SAMPLES]) for at in starts]
    return torch.cat(rows, dim=1)


def midi_notes(path: Path) -> Notes:
    """Return the notes of a standard MIDI file at the model's rate; time 0 is sample 0.

    Raises:
        TrainingError: It cannot be read, or holds no notes.
    """
    notes = read_notes(path, SAMPLE_RATE)
    notes[:, 5] = KIND  # which part of a recording plays them is not known
    return notes


def _midi_of(recording: Recording) -> Path | None:
    if recording.midi is not None:
        return recording.midi
    beside = (recording.mix.path.with_suffix(ending) for ending in MIDI_ENDINGS)
    return next((path for path in beside if path.is_file()), None)


def _given(recording: Recording) -> Notes | None:
    path = _midi_of(recording)
    return None if path is None else midi_notes(path)


def _later(notes: Notes | None, samples: int) -> Int64[np.ndarray, "later fields"] | None:
    if notes is None:
        return None
    moved = notes.copy()
    moved[:, :2] += samples
    return moved[moved[:, 1] > 0]


def mono_of(source: Source) -> Pcm:
    """Return the middle of a recording at the model's rate, read piece by piece."""
    length, piece = source.samples(SAMPLE_RATE), _PIECE_SECONDS * SAMPLE_RATE
    made = np.zeros(length, np.int16)
    for start in range(0, length, piece):
        stretch = read_stretch(source, start, min(piece, length - start), SAMPLE_RATE)
        mono = torch.as_tensor(stretch)
        mono = mono[0] if len(mono) == 1 else downmix(mono[None])[0]
        made[start : start + piece] = np.round(np.clip(mono.numpy(), -1, 1) * 32767)
    return made


def _coded(bundle: Bundle, audio: Pcm, notes: Notes | None, least_samples: int) -> CodedExample:
    times = max(1, -(-least_samples // len(audio)))
    whole = np.tile(audio, times)
    heard = whole.astype(np.float32) / 32768
    rows = heard_notes(bundle.listener, heard) if notes is None else _repeated(notes, audio, times)
    rows[:, 5] = KIND
    mix = codes_of(bundle.codec.level(TOP), heard)
    stems = np.full((len(STEM_KINDS), len(mix)), -1, np.int16)
    stems[KIND] = mix  # the mix counts as one stem of a kind that is not known
    return CodedExample(example=_example(whole, rows), mix=mix, stems=stems)


def _repeated(notes: Notes, audio: Pcm, times: int) -> Int64[np.ndarray, "repeated fields"]:
    moves = np.repeat(np.arange(times) * len(audio), len(notes))
    rows = np.tile(notes, (times, 1))
    rows[:, :2] += moves[:, None]
    return rows


def _example(audio: Pcm, notes: Notes) -> Example:
    nothing = Labels(
        work="",
        composer="",
        genre="",
        tempo_bpm=0.0,
        meter="",
        source_licence="",
        programs=(),
        augmentation={},
    )
    return Example(
        name="",
        split="",
        labels=nothing,
        num_samples=len(audio),
        notes=notes,
        shard=audio,
        mix_offset=0,
        stem_offsets={STEM_KINDS[KIND]: 0},
    )


def _seconds(source: Source) -> float:
    return source.frames / source.sample_rate
