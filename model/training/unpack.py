"""Lays out shipped weights as the start of further training.

`python -m model.training.unpack --weights model/weights --runs runs` writes, for
every part, what its training begins with where it has no checkpoint of its
own. Optimisers start afresh. Parts are tied to the codes that they were trained
on: a level of the codec that learns on asks for new upsamplers, and level 2
for a new student and composer too, unless its codes are kept
(`model.training.codec --keep-codes`). A prior that learns on asks for a new draft.
"""

import argparse
import logging
from pathlib import Path

import torch
from torch import nn

from model.bundle import TOP, Bundle
from model.store import SHIPPED, load_bundle
from model.training.loop import START

log = logging.getLogger(__name__)


def trainable_parts(bundle: Bundle) -> dict[str, nn.Module]:
    """Return the parts that can learn on, by their training's folder."""
    drafts = {f"draft{i}": prior.draft for i, prior in enumerate(bundle.priors) if prior.draft}
    return {
        **drafts,
        **{f"codec{index}": bundle.codec.level(index) for index in range(TOP + 1)},
        "prior0": bundle.upsamplers[0],
        "prior1": bundle.upsamplers[1],
        f"prior{TOP}": bundle.top,
        "student": bundle.student,
        "finisher": bundle.finisher,
        "composer": bundle.composer,
        "listener": bundle.listener,
    }


def unpack(weights: Path, runs: Path) -> None:
    """Write the parts of a folder of weights below `runs`.

    Raises:
        CheckpointError: The weights are missing or damaged.
    """
    bundle = load_bundle(weights)
    for name, part in trainable_parts(bundle).items():
        folder = runs / name
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(part.state_dict(), folder / START)
        log.info("%s", folder / START)


def main() -> None:
    """Unpack the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=SHIPPED)
    parser.add_argument("--runs", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    unpack(arguments.weights, arguments.runs)


if __name__ == "__main__":
    main()
