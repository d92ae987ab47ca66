"""What the stages of the recipe share on their command lines."""

import argparse
import logging
from pathlib import Path

import torch

from model.codec import Level
from model.shipped import SMALL_CODEC
from model.training.loop import LoopConfig, load_averaged

RUNS = "--runs"
"""The flag of the folder that holds a folder for each stage."""


def stage_parser(
    does: str | None,
    *,
    max_minutes: float,
    batch: int,
    learning_rate: float,
    writes: str = RUNS,
) -> argparse.ArgumentParser:
    """Return the flags of a stage; `writes` names the folder that it writes into."""
    parser = argparse.ArgumentParser(description=does)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(writes, type=Path, required=True)
    parser.add_argument("--max-minutes", type=float, default=max_minutes)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--seed", type=int, default=1)
    return parser


def stage_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return what the command line says, ready to train: progress shown, one thread, the seed."""
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.default_generator.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    return arguments


def loop_of(arguments: argparse.Namespace, out: Path) -> LoopConfig:
    """Return how a stage is trained, into which folder."""
    return LoopConfig(
        out=out,
        max_minutes=arguments.max_minutes,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )


def trained_level(runs: Path, index: int) -> Level:
    """Return a level of the codec as its stage left it."""
    level = Level(SMALL_CODEC, index)
    load_averaged(level, runs / f"codec{index}")
    return level
