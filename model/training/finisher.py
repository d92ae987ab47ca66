"""Learns the finisher: top-level codes and notes to audio, judged by spectra alone.

Phases are free, so no waveform term. First on true codes, half of them
disturbed; then (`--student`) two times in three on what the student draws in their
place, so that it learns what to trust. What it recalls is an earlier stretch
of the same excerpt, up to 8 s that ended up to 8 s ago; sometimes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from model.codec import Level
from model.conditioning.roll import PITCHES, ROLL_FRAME_SAMPLES, played_of, roll_of
from model.finisher import Finisher, Material, played_by_ear
from model.listening import BEFORE_SAMPLES, STEP_SAMPLES, step_spectra
from model.shipped import SMALL
from model.student import Student
from model.training.codes import TOP, CodedExample, open_coded_training
from model.training.examples import Batch, Source, random_batch
from model.training.loop import Figures, load_averaged, train
from model.training.losses import band_energy_error, level_error, spectral_terms
from model.training.precision import autocast
from model.training.stage import loop_of, stage_arguments, stage_parser, trained_level

CROP_FRAMES = 192
LEAD_FRAMES = 48
TAIL_FRAMES = 8
FRAME_SAMPLES = 128
GROUP = ROLL_FRAME_SAMPLES // FRAME_SAMPLES
RESOLUTIONS = ((2048, 512, 2048), (1024, 256, 1024), (512, 128, 512), (256, 64, 256))
BAND_WEIGHT = 0.5
LEVEL_WEIGHT = 1.0
EAR_SHARE = 0.3
MEMORY_STEPS = 172
"""What the finisher recalls at most, 8 s."""
MEMORY_AGE_SAMPLES = 8 * 44_100
LEAST_STEPS = 4
FORGOTTEN_SHARE = 0.1
DRAWN_FRAMES = 1024
CROPS_EACH = 6
DRAW_TEMPERATURES = (0.5, 1.0)
DISTURBED_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """Codes, notes and audio of short stretches."""

    codes: Int[Tensor, "batch frames"]
    played: Float[Tensor, "batch frames played"]
    audio: Float[Tensor, "batch samples"]
    memory: Float[Tensor, "batch steps features"]
    remembered: Bool[Tensor, "batch steps"]


def random_crops(examples: Sequence[CodedExample], size: int, random: np.random.Generator) -> Crops:
    """Return crops of mixes, and of single stems one time in three."""
    codes: list[np.ndarray] = []
    played: list[np.ndarray] = []
    audio: list[np.ndarray] = []
    sources: list[Source] = []
    for _ in range(size):
        coded = examples[int(random.integers(len(examples)))]
        groups = (len(coded.mix) - CROP_FRAMES) // GROUP
        first = int(random.integers(groups)) * GROUP
        span = slice(first, first + CROP_FRAMES)
        row, samples, notes = _source(coded, random)
        start = first * FRAME_SAMPLES
        codes.append(row[span].astype(np.int64))
        roll = roll_of(notes, start, CROP_FRAMES // GROUP)
        played.append(np.repeat(played_of(roll), GROUP, axis=0))
        audio.append(samples[start : start + CROP_FRAMES * FRAME_SAMPLES].astype(np.float32))
        sources.append(Source(audio=samples, start_sample=start))
    memory, remembered = memories(sources, random)
    return Crops(
        codes=torch.as_tensor(np.stack(codes)),
        played=torch.as_tensor(np.stack(played)),
        audio=torch.as_tensor(np.stack(audio)) / 32768,
        memory=memory,
        remembered=remembered,
    )


def memories(
    sources: Sequence[Source], random: np.random.Generator
) -> tuple[Float[Tensor, "batch steps features"], Bool[Tensor, "batch steps"]]:
    """Return spectra of what was heard before each source's start, and which steps are given."""
    audio = np.zeros((len(sources), BEFORE_SAMPLES + MEMORY_STEPS * STEP_SAMPLES), np.float32)
    given = torch.zeros(len(sources), MEMORY_STEPS, dtype=torch.bool)
    for row, source in enumerate(sources):
        end = source.start_sample - int(random.integers(MEMORY_AGE_SAMPLES))
        steps = min(int(random.integers(MEMORY_STEPS // 4, MEMORY_STEPS + 1)), end // STEP_SAMPLES)
        if steps < LEAST_STEPS or random.random() < FORGOTTEN_SHARE:
            continue
        heard = source.audio[max(0, end - steps * STEP_SAMPLES - BEFORE_SAMPLES) : end]
        audio[row, -len(heard) :] = heard
        given[row, -steps:] = True
    return step_spectra(torch.as_tensor(audio) / 32768), given


def _source(
    coded: CodedExample, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    example = coded.example
    kinds = example.stem_kinds()
    if random.random() < 1 / 3:
        kind = kinds[int(random.integers(len(kinds)))]
        stem = example.stem(kind)
        if stem is not None:
            index = ("drums", "bass", "vocals", "other").index(kind)
            return coded.stems[index], stem, example.notes[example.notes[:, 5] == index]
    return coded.mix, example.mix(), example.notes


def disturbed(codes: Int[Tensor, "batch frames"], random: torch.Generator) -> Tensor:
    """Return codes of which some are taken from elsewhere in the stretch, nearby or far."""
    batch, frames = codes.shape
    share = torch.rand(batch, 1, generator=random) * 0.6
    moved = torch.rand(batch, frames, generator=random) < share
    reach = torch.where(torch.rand(batch, 1, generator=random) < 0.7, 6, 60)
    offset = (torch.randn(batch, frames, generator=random) * reach).long()
    index = (torch.arange(frames) + offset).clamp(0, frames - 1)
    return torch.where(moved, codes.gather(1, index), codes)


def drawn_crops(
    student: Student, examples: Sequence[CodedExample], size: int, random: np.random.Generator
) -> Crops:
    """Return crops whose codes the student drew, chunk by chunk, after true chunks."""
    batch = random_batch(examples, size // CROPS_EACH, DRAWN_FRAMES, student.codebook, random)
    codes = draw(student, batch, random)
    rows = np.repeat(np.arange(len(codes)), CROPS_EACH)
    starts = random.integers(DRAWN_FRAMES - CROP_FRAMES, size=len(rows))
    places = [(int(row), int(start)) for row, start in zip(rows, starts, strict=True)]
    memory, remembered = memories(
        [_moved(batch.sources[row], start) for row, start in places], random
    )
    return Crops(
        codes=torch.stack([codes[row, at : at + CROP_FRAMES] for row, at in places]),
        played=torch.stack([batch.played[row, at : at + CROP_FRAMES] for row, at in places]),
        audio=torch.stack(
            [
                batch.audio[row, at * FRAME_SAMPLES : (at + CROP_FRAMES) * FRAME_SAMPLES]
                for row, at in places
            ]
        ),
        memory=memory,
        remembered=remembered,
    )


def _moved(source: Source, frames: int) -> Source:
    return replace(source, start_sample=source.start_sample + frames * FRAME_SAMPLES)


@torch.no_grad()
def draw(student: Student, batch: Batch, random: np.random.Generator) -> Tensor:
    """Return codes drawn in the default passes for all chunks at once, each after the true past."""
    config = student.config
    generator = torch.Generator().manual_seed(int(random.integers(2**62)))
    place = torch.arange(batch.codes.shape[1]) % config.group_frames
    temperature = random.uniform(*DRAW_TEMPERATURES)
    codes, shown = batch.codes.clone(), torch.zeros_like(batch.codes, dtype=torch.bool)
    with autocast():
        conditions = student.conditions(batch.inputs)
        clean = student.embed(batch.codes, torch.ones_like(shown), conditions)
    for turn in range(config.passes):
        now = torch.isin(place, torch.tensor(config.decided(turn, config.passes)))
        with autocast():
            masked = student.embed(codes, shown, conditions)
            logits = student.logits(student.transformer.against(clean, masked))[:, now]
        chances = (logits.float() / temperature).softmax(-1).flatten(0, 1)
        drawn = torch.multinomial(chances, 1, generator=generator)
        codes[:, now] = drawn.view(len(codes), -1)
        shown[:, now] = True
    return codes


def step_of(
    finisher: Finisher,
    level: Level,
    student: Student | None,
    examples: Sequence[CodedExample],
    batch: int,
) -> Callable[[int, torch.Generator, float], tuple[Tensor, Figures]]:
    """Return the finisher's step."""

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        del spent
        numbers = np.random.default_rng((random.initial_seed(), number))
        drawn = student is not None and number % 3 > 0
        if student is not None and drawn:
            crops = drawn_crops(student, examples, batch, numbers)
        else:
            crops = random_crops(examples, batch, numbers)
        with autocast():
            heard = finisher.hear(crops.codes)
        truth = (crops.played[..., :PITCHES] > 0.1).float()
        hearing = F.binary_cross_entropy_with_logits(heard.float(), truth)
        by_ear = torch.rand(batch, 1, 1, generator=random) < EAR_SHARE
        played = torch.where(by_ear, played_by_ear(heard.detach().float()), crops.played)
        marked = torch.full(crops.codes.shape, drawn)
        trusted = by_ear[..., 0] | ~marked
        codes = crops.codes
        if not drawn and torch.rand((), generator=random) < DISTURBED_SHARE:
            codes = disturbed(codes, random)
        first = int(torch.randint(100_000, (), generator=random))
        with autocast():
            with torch.no_grad():
                decoded = level.decode(codes)
            material = Material(
                codes=codes,
                played=played,
                drawn=marked,
                decoded=decoded.float(),
                trusted=trusted,
                memory=crops.memory,
                remembered=crops.remembered,
            )
            made = finisher(material, first)
        inner = slice(LEAD_FRAMES * FRAME_SAMPLES, -TAIL_FRAMES * FRAME_SAMPLES)
        made = made[:, inner]
        terms = spectral_terms(made, crops.audio[:, inner], RESOLUTIONS)
        bands = band_energy_error(made, crops.audio[:, inner])
        level_off = level_error(made, crops.audio[:, inner])
        loss = terms.convergence + terms.log_magnitude + 20 * hearing
        loss = loss + BAND_WEIGHT * bands + LEVEL_WEIGHT * level_off
        hit = ((heard > 0) & (truth > 0)).sum() * 2
        f1 = hit / ((heard > 0).sum() + truth.sum()).clamp(min=1)
        return loss, {
            "convergence": float(terms.convergence.detach()),
            "log": float(terms.log_magnitude.detach()),
            "bands": float(bands.detach()),
            "level": float(level_off.detach()),
            "ear_f1": float(f1),
            "drawn_log": float(terms.log_magnitude.detach()) * (1.5 if drawn else 0),
        }

    return step


def main() -> None:
    """Train the finisher."""
    parser = stage_parser(__doc__, max_minutes=30, batch=12, learning_rate=1.5e-3)
    parser.add_argument("--student", action="store_true", help="train on its draws as well")
    arguments = stage_arguments(parser)
    assert SMALL.finisher is not None
    finisher = Finisher(SMALL.finisher)
    level = trained_level(arguments.runs, TOP)
    finisher.set_codebook(level.quantizer.codebook)
    student = None
    if arguments.student:
        assert SMALL.student is not None
        student = Student(SMALL.student)
        load_averaged(student, arguments.runs / "student")
    train(
        finisher,
        step_of(finisher, level, student, open_coded_training(arguments.data), arguments.batch),
        loop_of(arguments, arguments.runs / "finisher"),
    )


if __name__ == "__main__":
    main()
