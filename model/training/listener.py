"""Learns the listener: spectra of rendered mixes in, their notes as the truth.

A stretch is heard louder or softer, brighter or darker, detuned by up to half
a semitone and in noise, since recordings are. All of that is done on the
spectra, which are computed once.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int8, Shaped
from torch import Tensor
from torch.nn import functional as F

from model.composer import OFF, STRUCK, score_of
from model.data.dataset import Example, open_split
from model.listener import Listener
from model.listening import (
    BEFORE_SAMPLES,
    CENTRE,
    FINE_BINS,
    QUIET,
    SPREAD,
    STEP_SAMPLES,
    step_spectra,
)
from model.shipped import SMALL
from model.training.loop import Figures, train
from model.training.precision import autocast
from model.training.stage import loop_of, stage_arguments, stage_parser

log = logging.getLogger(__name__)
STEPS = 128
STRUCK_WEIGHT = 1.0
CACHE = "spectra.npy"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """An excerpt's spectra and the true state of each row at each step."""

    spectra: Shaped[np.ndarray, "steps features"]
    score: Int8[np.ndarray, "steps rows"]


def spectra_of(folder: Path, split: str, examples: Sequence[Example]) -> list[Heard]:
    """Return the examples' spectra, from `spectra.npy` beside the shards or written there."""
    path = folder / split / CACHE
    if not path.exists():
        rows = [_spectra(example) for example in examples]
        np.save(path, np.stack(rows))
        log.info("%s: %d excerpts", path, len(rows))
    table = np.load(path, mmap_mode="r")
    return [
        Heard(spectra=rows, score=score_of(example.notes, 0, len(rows), STEP_SAMPLES))
        for rows, example in zip(table, examples, strict=True)
    ]


def _spectra(example: Example) -> Shaped[np.ndarray, "steps features"]:
    audio = torch.as_tensor(example.mix().astype(np.float32) / 32768)[None]
    return step_spectra(F.pad(audio, (BEFORE_SAMPLES, 0)))[0].numpy().astype(np.float16)


def coloured(
    spectra: Float[Tensor, "batch steps features"], random: torch.Generator
) -> Float[Tensor, "batch steps features"]:
    """Return the spectra of the same music played elsewhere: level, tone, tuning, noise."""
    batch, _, features = spectra.shape
    magnitude = (spectra * SPREAD + CENTRE).exp() - QUIET
    shift = torch.empty(batch).uniform_(-1.4, 1.4, generator=random)
    shift = shift * (torch.rand(batch, generator=random) < 0.4)
    fine = _detuned(magnitude[..., :FINE_BINS], shift)
    magnitude = torch.cat([fine, magnitude[..., FINE_BINS:]], dim=-1)
    gain = torch.empty(batch, 1).uniform_(-18, 8, generator=random)
    tilt = torch.empty(batch, 1).uniform_(-9, 9, generator=random)
    place = torch.cat(
        [torch.linspace(-1, 0.4, FINE_BINS), torch.linspace(0.2, 1, features - FINE_BINS)]
    )
    level = 10 ** ((gain + tilt * place) / 20)
    noise = 10 ** (torch.empty(batch, 1, 1).uniform_(-6, -3.2, generator=random))
    hiss = noise * torch.rand(spectra.shape, generator=random)
    return ((magnitude.clamp(min=0) * level.unsqueeze(1) + hiss + QUIET).log() - CENTRE) / SPREAD


def _detuned(
    fine: Float[Tensor, "batch steps fine"], shift: Float[Tensor, " batch"]
) -> Float[Tensor, "batch steps fine"]:
    at = (torch.arange(fine.shape[-1]) - shift.unsqueeze(1)).clamp(0, fine.shape[-1] - 1)
    low = at.floor().long().clamp(max=fine.shape[-1] - 2)
    part = (at - low).unsqueeze(1)
    index = low.unsqueeze(1).expand_as(fine)
    return fine.gather(-1, index) * (1 - part) + fine.gather(-1, index + 1) * part


def step_of(
    listener: Listener, examples: Sequence[Heard], batch: int
) -> Callable[[int, torch.Generator, float], tuple[Tensor, Figures]]:
    """Return the listener's step; the loss is in nats a step, all rows together."""
    numbers = np.random.default_rng(15)

    def step(number: int, random: torch.Generator, spent: float) -> tuple[Tensor, Figures]:
        del number, spent
        spectra: list[np.ndarray] = []
        scores: list[np.ndarray] = []
        for _ in range(batch):
            example = examples[int(numbers.integers(len(examples)))]
            first = int(numbers.integers(len(example.spectra) - STEPS + 1))
            spectra.append(example.spectra[first : first + STEPS].astype(np.float32))
            scores.append(example.score[first : first + STEPS])
        heard = coloured(torch.as_tensor(np.stack(spectra)), random)
        with autocast():
            logits = listener(heard)
        score = torch.as_tensor(np.stack(scores))
        truth = torch.stack([score > OFF, score == STRUCK], dim=-1).float()
        loss = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="sum")
        hit = logits > 0
        return loss / (batch * STEPS), {
            "sounding_f1": _f1(hit[..., 0], truth[..., 0]),
            "struck_f1": _f1(hit[..., 1], truth[..., 1]),
            "drums_f1": _f1(hit[:, :, :4, 1], truth[:, :, :4, 1]),
        }

    return step


def _f1(guess: Tensor, truth: Tensor) -> float:
    both = 2 * (guess & (truth > 0)).sum()
    return float(both / (guess.sum() + truth.sum()).clamp(min=1))


def main() -> None:
    """Train the listener."""
    parser = stage_parser(__doc__, max_minutes=30, batch=8, learning_rate=2e-3)
    arguments = stage_arguments(parser)
    assert SMALL.listener is not None
    examples = spectra_of(arguments.data, "train", open_split(arguments.data, "train"))
    listener = Listener(SMALL.listener)
    train(
        listener,
        step_of(listener, examples, arguments.batch),
        loop_of(arguments, arguments.runs / "listener"),
    )


if __name__ == "__main__":
    main()
