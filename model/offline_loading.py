"""An imported or trained model as a generator of whole pieces: one level in memory at a time.

Knows how a folder of ours becomes sizes, weights, tables and a fingerprint.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch

from model.checkpoint import empty_module, load_published
from model.conditioning.labels import LabelTables
from model.imported import ImportedModel, Shards, load_labels
from model.offline import LoadLevel, OfflineGenerator
from model.pages import use_large_pages
from model.prior import Prior
from model.published.alignment import Head
from model.published.level import PublishedLevel
from model.published.linear import HELD_IN, Precision
from model.published.request import SystemSizes
from model.trained import (
    config_of,
    load_codec,
    open_trained,
    part_of,
    trained_sizes,
)
from model.upsampler import Upsampler

KERNELS: Final = "offline-3"
"""Changes whenever the arithmetic does: part of the fingerprint."""
HEADS: Final[dict[str, Head]] = {
    "5b_lyrics": Head(layer=68, head=2),
    "1b_lyrics": Head(layer=63, head=0),
}
"""The attention that follows the lyrics, as published, by model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedOffline:
    """A model that is ready: its codec in memory, its levels within reach."""

    generator: OfflineGenerator
    model: ImportedModel
    fingerprint: str
    tables: tuple[LabelTables | None, ...]
    """Names to ids by level, finest first; None where the user gave no lists."""

    @property
    def top_labels(self) -> LabelTables | None:
        """Return the names that the top level knows."""
        return self.tables[-1]


def load_offline(folder: Path, precision: Precision = Precision.HALF) -> LoadedOffline:
    """Return the model of a folder; every level's files are looked at, none but the codec read.

    Raises:
        CheckpointError: A part is missing, damaged or misshapen.
    """
    model = open_trained(folder)
    sizes = trained_sizes(model)
    for part in model.manifest["parts"]:
        Shards.of(model, part).shapes()
    codec = load_codec(model)
    generator = OfflineGenerator(
        sizes, codec, level_loader(model, sizes, precision), _head(model, sizes)
    )
    return LoadedOffline(
        generator=generator,
        model=model,
        fingerprint=_fingerprint(model, precision),
        tables=_tables(model, sizes),
    )


def level_loader(model: ImportedModel, sizes: SystemSizes, precision: Precision) -> LoadLevel:
    """Return what reads a level's weights and packs them."""

    def load(level: int) -> PublishedLevel:
        part = part_of(level)
        module = empty_module(config_of(model, part))
        load_published(module, Shards.of(model, part), HELD_IN[precision])
        assert isinstance(module, Prior | Upsampler)
        made = PublishedLevel(module, sizes.level(level), precision=precision, release=True)
        use_large_pages()
        return made

    return load


def _head(model: ImportedModel, sizes: SystemSizes) -> Head | None:
    """Return the published attention to lyrics, where the top prior is built like the published."""
    head = HEADS.get(model.name)
    top = sizes.priors[sizes.top].transformer
    if head is None or head.layer >= top.depth or head.head >= top.heads:
        return None
    hears = top.layer_kinds()[head.layer] in ("encoder", "prefix", "dense")
    return head if hears else None


def _tables(model: ImportedModel, sizes: SystemSizes) -> tuple[LabelTables | None, ...]:
    labels = load_labels(model)
    made: list[LabelTables | None] = []
    for rules in sizes.rules:
        kinds: Mapping[str, Mapping[str, int]] | None = labels.get(rules.version)
        made.append(
            None
            if kinds is None
            else LabelTables(rules=rules, artists=kinds["artist"], genres=kinds["genre"])
        )
    return tuple(made)


def _fingerprint(model: ImportedModel, precision: Precision) -> str:
    """Return the hash within which the same request gives the same bytes."""
    parts = {part: model.part(part)["files"] for part in model.manifest["parts"]}
    facts = {
        "name": model.name,
        "files": {name: file["sha256"] for files in parts.values() for name, file in files.items()},
        "sizes": [repr(config_of(model, part)) for part in sorted(parts)],
        "precision": str(precision),
        "kernels": KERNELS,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "numba": version("numba"),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
