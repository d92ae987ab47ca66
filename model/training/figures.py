"""Held-out figures of each part, for the manifest: what the losses say on works never heard."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.bundle import TOP, Bundle
from model.codec import Level
from model.data.dataset import Example, open_split
from model.finisher import Material
from model.prior import Prior
from model.similarity import mel_similarity
from model.student import Student
from model.training.codec import random_clips
from model.training.codes import CodedExample, open_coded
from model.training.examples import random_batch
from model.training.finisher import (
    FRAME_SAMPLES,
    LEAD_FRAMES,
    TAIL_FRAMES,
    drawn_crops,
    random_crops,
)
from model.training.losses import snr_db, spectral_terms
from model.training.prior import (
    BITS,
    Lesson,
    Lessons,
    draft_scores,
    top_lessons,
    upsampler_lessons,
)
from model.training.student import shown_frames

CLIP_SAMPLES = 32_768
CLIPS = 48
BATCHES = 12
BATCH_CLIPS = 4
ROWS = 16


@torch.no_grad()
def held_out_figures(bundle: Bundle, data: Path) -> dict[str, float]:
    """Return figures by name over the held-out split; names end in their unit."""
    examples, coded = open_split(data, "held_out"), open_coded(data, "held_out")
    figures: dict[str, float] = {}
    for index in range(TOP + 1):
        figures |= _codec_figures(bundle.codec.level(index), index, examples)
    figures |= teacher_figures(bundle, examples, coded)
    figures |= student_figures(bundle.student, coded)
    figures |= finisher_figures(bundle, coded)
    return {name: round(value, 3) for name, value in figures.items()}


def _codec_figures(level: Level, index: int, examples: Sequence[Example]) -> dict[str, float]:
    random = torch.Generator().manual_seed(5)
    audio = random_clips(examples, CLIPS, CLIP_SAMPLES, random)
    codes = level.encode(audio)
    made = level.decode(codes)
    terms = spectral_terms(made, audio)
    use = torch.bincount(codes.flatten(), minlength=level.quantizer.codebook.shape[0]).double()
    share = use / use.sum()
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    return {
        f"codec{index}_snr_db": snr_db(made, audio),
        f"codec{index}_spectral_convergence_db": 20 * float(terms.convergence.log10()),
        f"codec{index}_log_magnitude_nepers": float(terms.log_magnitude),
        f"codec{index}_perplexity_codes": float(entropy.exp()),
    }


@torch.no_grad()
def teacher_figures(
    bundle: Bundle, examples: Sequence[Example], coded: Sequence[CodedExample]
) -> dict[str, float]:
    """Return how well the teacher foretells codes of random stretches, and its drafts the teacher.

    The latter is how often a draft's code would be kept: what the distributions share.
    """
    lower = (bundle.codec.level(0), bundle.codec.level(1))
    taught = {
        "upsampler0": (bundle.priors[0], _lower_lessons(bundle, 0, lower, examples)),
        "upsampler1": (
            bundle.priors[1],
            _lower_lessons(bundle, 1, (lower[1], bundle.codec.level(TOP)), examples),
        ),
        "top": (bundle.top, top_lessons(bundle.top, coded, bundle.codebook, BATCH_CLIPS, ROWS)),
    }
    figures: dict[str, float] = {}
    for name, (prior, lessons) in taught.items():
        random = torch.Generator().manual_seed(5)
        heard = [lessons(random) for _ in range(BATCHES)]
        bits = [_bits(_logits(prior, one).flatten(0, 1), one.codes.flatten()) for one in heard]
        figures[f"{name}_bits_per_code"] = float(np.mean(bits))
        if prior.draft is not None:
            kept = [float(draft_scores(prior, one).kept) for one in heard]
            figures[f"{name}_draft_kept"] = float(np.mean(kept))
    return figures


def _logits(prior: Prior, lesson: Lesson) -> Tensor:
    return prior(lesson.codes, lesson.start, lesson.conditions)


def _lower_lessons(
    bundle: Bundle, index: int, levels: tuple[Level, Level], examples: Sequence[Example]
) -> Lessons:
    return upsampler_lessons(bundle.upsamplers[index], levels, examples, BATCH_CLIPS)


@torch.no_grad()
def student_figures(student: Student, coded: Sequence[CodedExample]) -> dict[str, float]:
    """Return how well the student guesses what is hidden in random stretches, and all at once."""
    numbers = np.random.default_rng(6)
    config = student.config
    frames = ROWS * config.chunk_frames()
    some: list[float] = []
    first: list[float] = []
    for _ in range(BATCHES):
        batch = random_batch(coded, BATCH_CLIPS, frames, student.codebook, numbers)
        shown, _ = shown_frames(config, BATCH_CLIPS, ROWS, numbers)
        conditions = student.conditions(batch.inputs)
        guessed = student(batch.codes, shown, conditions)
        some.append(_bits(guessed[~shown], batch.codes[~shown]))
        place = torch.arange(frames) % config.group_frames == config.order[0]
        guessed = student(batch.codes, torch.zeros_like(shown), conditions)
        first.append(_bits(guessed[:, place].flatten(0, 1), batch.codes[:, place].flatten()))
    return {
        "student_bits_per_code": float(np.mean(some)),
        "student_first_pass_bits_per_code": float(np.mean(first)),
    }


def _bits(logits: Tensor, codes: Tensor) -> float:
    return float(F.cross_entropy(logits.float(), codes)) * BITS


def finisher_figures(
    bundle: Bundle, coded: Sequence[CodedExample], *, drawn: bool = False
) -> dict[str, float]:
    """Return how the finisher plays random stretches, from true codes or from the student's."""
    numbers = np.random.default_rng(5)
    crops = (
        drawn_crops(bundle.student, coded, CLIPS, numbers)
        if drawn
        else random_crops(coded, CLIPS, numbers)
    )
    inner = slice(LEAD_FRAMES * FRAME_SAMPLES, -TAIL_FRAMES * FRAME_SAMPLES)
    by_sampler = torch.full(crops.codes.shape, drawn)
    material = Material(
        codes=crops.codes,
        played=crops.played,
        drawn=by_sampler,
        decoded=bundle.codec.level(TOP).decode(crops.codes).float(),
        trusted=~by_sampler,
        memory=crops.memory,
        remembered=crops.remembered,
    )
    made = bundle.finisher(material, 0)[:, inner]
    true = crops.audio[:, inner]
    terms = spectral_terms(made, true)
    pairs = zip(made, true, strict=True)
    name = "finisher_drawn" if drawn else "finisher"
    return {
        f"{name}_log_magnitude_nepers": float(terms.log_magnitude),
        f"{name}_mel_similarity": float(np.mean([mel_similarity(a, b) for a, b in pairs])),
    }
