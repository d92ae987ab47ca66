"""Learns one level of the codec: plain autoencoder first, quantised after.

Starting unquantised spares the codebook the chaos of the first steps; one that goes on
from a codebook is quantised from the first step on. `--keep-codes` trains the decoder
alone, so that what was learnt on a level's codes stays true. Knows the data only through
`model.data.dataset`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from model.codec import Level
from model.data.dataset import Example, open_split, training_splits
from model.quantizer import Quantizer, restore_codebook, start_codebook, update_codebook
from model.shipped import SMALL_CODEC
from model.training.loop import Figures, train
from model.training.losses import relative_error, snr_db, spectral_terms
from model.training.precision import autocast
from model.training.stage import loop_of, stage_arguments, stage_parser

COMMITMENT = 0.1
WAVE_WEIGHTS = (1.0, 1.0, 0.15)
"""By level: coarse codes should carry spectrum, not phase, which no prior could predict."""
UNQUANTISED_SHARE = 0.12
RESTART_SHARE = 0.05
"""A row restarts when it is chosen less often than this, relative to an even use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """What a step learns from, and whether the codes may change."""

    batch: int
    samples: int
    keep_codes: bool = False


def random_clips(
    examples: Sequence[Example], batch: int, samples: int, random: torch.Generator
) -> Tensor:
    """Return float clips of mixes and, one time in four, of single stems; loudness varied."""
    clips = np.empty((batch, samples), np.float32)
    for row in range(batch):
        audio = _source(examples, random)
        start = _below(len(audio) - samples, random)
        clips[row] = audio[start : start + samples].astype(np.float32) / 32768
    gains = 10 ** (torch.empty(batch, 1).uniform_(-8, 4, generator=random) / 20)
    return (torch.as_tensor(clips) * gains).clamp(-1, 1)


def _source(examples: Sequence[Example], random: torch.Generator) -> np.ndarray:
    example = examples[_below(len(examples), random)]
    kinds = example.stem_kinds()
    if _below(4, random) == 0 and kinds:
        kind = kinds[_below(len(kinds), random)]
        stem = example.stem(kind)
        if stem is not None:
            return stem
    return example.mix()


def _below(limit: int, random: torch.Generator) -> int:
    return int(torch.randint(max(limit, 1), (1,), generator=random))


def step_of(
    level: Level, index: int, examples: Sequence[Example], clips: Clips
) -> Callable[[int, torch.Generator, float], tuple[Tensor, Figures]]:
    """Return the step function that `loop.train` calls."""
    started = False
    weight = WAVE_WEIGHTS[index]

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        nonlocal started
        started = started or _goes_on(level.quantizer, clips.batch * clips.samples / level.hop)
        audio = random_clips(examples, clips.batch, clips.samples, random)
        with autocast(), torch.set_grad_enabled(not clips.keep_codes):
            latents = level.latents(audio)
        latents = latents.float()
        commitment, restarted = latents.new_zeros(()), 0
        quantised = latents
        if clips.keep_codes:
            quantised = level.quantizer.decode(level.quantizer.encode(latents))
        elif started or spent >= UNQUANTISED_SHARE:
            if not started:
                start_codebook(level.quantizer, latents, random)
            started = True
            quantised, commitment, codes = level.quantizer.straight_through(latents)
            usual = codes.numel() / level.quantizer.codebook.shape[0]
            restarted = update_codebook(
                level.quantizer, latents, codes, random, threshold=min(1.0, RESTART_SHARE * usual)
            )
        with autocast():
            made = level.render(quantised)
        made = made.float()
        terms = spectral_terms(made, audio)
        wave = relative_error(made, audio)
        loss = (
            weight * wave + terms.convergence + 0.5 * terms.log_magnitude + COMMITMENT * commitment
        )
        return loss, {
            "wave": float(wave.detach()),
            "convergence": float(terms.convergence.detach()),
            "log": float(terms.log_magnitude.detach()),
            "commitment": float(commitment.detach()),
            "restarted": restarted,
            "snr_db": snr_db(made.detach(), audio),
        }

    return step


def _goes_on(quantizer: Quantizer, latents: float) -> bool:
    """Return whether there is a codebook to go on from; one without running means gets them."""
    if not bool(quantizer.codebook.any()):
        return False
    if not bool(quantizer.counts.any()):
        restore_codebook(quantizer, latents / len(quantizer.codebook))
    return True


def main() -> None:
    """Train the level named on the command line."""
    parser = stage_parser(__doc__, max_minutes=20, batch=8, learning_rate=6e-4, writes="--out")
    parser.add_argument("--level", type=int, required=True)
    parser.add_argument("--samples", type=int, default=16_384)
    parser.add_argument("--keep-codes", action="store_true", help="train the decoder alone")
    arguments = stage_arguments(parser)
    level = Level(SMALL_CODEC, arguments.level)
    splits = training_splits(arguments.data)
    examples = [one for split in splits for one in open_split(arguments.data, split)]
    clips = Clips(batch=arguments.batch, samples=arguments.samples, keep_codes=arguments.keep_codes)
    train(
        level,
        step_of(level, arguments.level, examples, clips),
        replace(loop_of(arguments, arguments.out), average=0.995, weight_decay=0.0),
    )


if __name__ == "__main__":
    main()
