"""Codes of a whole data folder, made once so that priors need not encode again.

`python -m model.training.codes --data DIR --codec RUN` writes, beside every
shard, `shard-0000.codes.npz` with the top-level codes of mixes and stems.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int16

from model.codec import Level
from model.data.dataset import STEM_KINDS, Example, open_split, training_splits
from model.shipped import SMALL_CODEC
from model.training.loop import load_averaged
from model.training.precision import autocast

log = logging.getLogger(__name__)
TOP = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodedExample:
    """An example with its top-level codes; `stems` has a row a kind, -1 where there is none."""

    example: Example
    mix: Int16[np.ndarray, " frames"]
    stems: Int16[np.ndarray, "kinds frames"]


def open_coded(folder: Path, split: str) -> list[CodedExample]:
    """Return the examples of a split whose codes have been written."""
    examples = {example.name: example for example in open_split(folder, split)}
    coded: list[CodedExample] = []
    for path in sorted((folder / split).glob("shard-*.codes.npz")):
        with np.load(path) as table:
            names, mixes, stems = table["names"], table["mix"], table["stems"]
        coded += [
            CodedExample(example=examples[str(name)], mix=mix, stems=rows)
            for name, mix, rows in zip(names, mixes, stems, strict=True)
        ]
    return coded


def open_coded_training(folder: Path) -> list[CodedExample]:
    """Return all that there is to learn from: rendered excerpts, and recorded ones if any."""
    return [one for split in training_splits(folder) for one in open_coded(folder, split)]


def write_codes(level: Level, folder: Path, split: str, part: int, parts: int) -> None:
    """Encode every `parts`-th shard of a split from `part` on; finished shards are skipped."""
    tables = sorted((folder / split).glob("shard-[0-9]*.json"))
    by_shard: dict[str, list[Example]] = {}
    for example in open_split(folder, split):
        by_shard.setdefault(Path(str(example.shard.filename)).stem, []).append(example)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    for table in tables[part::parts]:
        path = table.with_suffix(".codes.npz")
        if not path.exists():
            examples = by_shard[table.stem]
            temporary = path.with_suffix(".tmp.npz")
            np.savez(
                temporary,
                names=np.array([example.name for example in examples]),
                mix=np.stack(mixes := [_encode(level, [one.mix()])[0] for one in examples]),
                stems=np.stack(
                    [
                        _stem_codes(level, example, mix)
                        for example, mix in zip(examples, mixes, strict=True)
                    ]
                ),
            )
            temporary.rename(path)
            log.info("%s", path.name)


def _stem_codes(
    level: Level, example: Example, mix: Int16[np.ndarray, " frames"]
) -> Int16[np.ndarray, "kinds frames"]:
    rows = np.full((len(STEM_KINDS), len(mix)), -1, np.int16)
    kinds = [kind for kind in STEM_KINDS if kind in example.stem_kinds()]
    stems = [stem for kind in kinds if (stem := example.stem(kind)) is not None]
    if len(kinds) == 1:  # the mix is this stem, but for noise
        rows[STEM_KINDS.index(kinds[0])] = mix
        return rows
    for kind, codes in zip(kinds, _encode(level, stems), strict=True):
        rows[STEM_KINDS.index(kind)] = codes
    return rows


@torch.no_grad()
def _encode(level: Level, audio: Sequence[np.ndarray]) -> Int16[np.ndarray, "batch frames"]:
    batch = torch.as_tensor(np.stack([clip.astype(np.float32) / 32768 for clip in audio]))
    with autocast():
        latents = level.latents(batch)
    return level.quantizer.encode(latents).numpy().astype(np.int16)


def main() -> None:
    """Encode the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True, help="the top level's training folder")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    level = Level(SMALL_CODEC, TOP)
    load_averaged(level, arguments.codec)
    for split in ("held_out", *training_splits(arguments.data)):
        write_codes(level, arguments.data, split, arguments.part, arguments.parts)


if __name__ == "__main__":
    main()
