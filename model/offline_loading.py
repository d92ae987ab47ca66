"""An imported model as a generator of whole pieces: one level in memory at a time.

Knows how a folder of ours becomes sizes, weights, tables and a fingerprint.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch

from model.codec import Codec
from model.conditioning.labels import LabelTables
from model.conditioning.text import RULES
from model.config import CodecConfig, PriorConfig
from model.errors import CheckpointError
from model.imported import KIND, MANIFEST, ImportedModel, Shards, load_labels, load_part, open_model
from model.offline import LoadLevel, OfflineGenerator
from model.prior import Prior
from model.published.alignment import Head
from model.published.level import PublishedLevel
from model.published.linear import Precision
from model.published.request import SystemSizes
from model.released import FILES, LABEL_VERSIONS, MODELS, RELEASED, UPSAMPLER_LABELS
from model.upsampler import Upsampler

KERNELS: Final = "offline-1"
"""Changes whenever the arithmetic does: part of the fingerprint."""
CODEC_PART: Final = "vqvae"
HEADS: Final[dict[str, Head]] = {
    "5b_lyrics": Head(layer=68, head=2),
    "1b_lyrics": Head(layer=63, head=0),
}
"""The attention that follows the lyrics, as published, by model."""
_MAPS: Final = {
    Precision.FLOAT32: torch.float32,
    Precision.HALF: torch.float16,
    Precision.BFLOAT16: torch.bfloat16,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedOffline:
    """An imported model that is ready: its codec in memory, its levels within reach."""

    generator: OfflineGenerator
    model: ImportedModel
    fingerprint: str
    tables: tuple[LabelTables | None, ...]
    """Names to ids by level, finest first; None where the user gave no lists."""

    @property
    def top_labels(self) -> LabelTables | None:
        """Return the names that the top level knows."""
        return self.tables[-1]


def is_imported(folder: Path) -> bool:
    """Return whether a folder says that it holds an imported model."""
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and cast(dict[str, Any], manifest).get("kind") == KIND


def load_offline(folder: Path, precision: Precision = Precision.HALF) -> LoadedOffline:
    """Return the model of a folder; every level's files are looked at, none but the codec read.

    Raises:
        CheckpointError: A part is missing, damaged or misshapen.
    """
    model = open_model(folder)
    sizes = system_sizes(model)
    for part in FILES:
        Shards.of(model, part).shapes()
    codec = load_part(model, CODEC_PART)
    assert isinstance(codec, Codec)
    generator = OfflineGenerator(
        sizes, codec, level_loader(model, sizes, precision), HEADS.get(model.name)
    )
    return LoadedOffline(
        generator=generator,
        model=model,
        fingerprint=_fingerprint(model, precision),
        tables=_tables(model),
    )


def system_sizes(model: ImportedModel) -> SystemSizes:
    """Return the sizes of an imported model.

    Raises:
        CheckpointError: Its parts are not those of a system.
    """
    names = MODELS[model.name]
    codec, *priors = (RELEASED[names[part]] for part in FILES)
    if not isinstance(codec, CodecConfig) or not all(
        isinstance(one, PriorConfig) for one in priors
    ):
        raise CheckpointError(f"{model.folder} does not hold a codec and its priors")
    return SystemSizes(
        codec=codec,
        priors=tuple(one for one in priors if isinstance(one, PriorConfig)),
        rules=tuple(RULES[version] for version in _versions(model)),
    )


def level_loader(model: ImportedModel, sizes: SystemSizes, precision: Precision) -> LoadLevel:
    """Return what reads a level's weights and packs them."""

    def load(level: int) -> PublishedLevel:
        module = load_part(model, f"level_{level}", _MAPS[precision])
        assert isinstance(module, Prior | Upsampler)
        return PublishedLevel(module, sizes.level(level), precision=precision, release=True)

    return load


def _versions(model: ImportedModel) -> tuple[str, ...]:
    upsamplers = len(FILES) - 2
    return (*(UPSAMPLER_LABELS,) * upsamplers, LABEL_VERSIONS[model.name])


def _tables(model: ImportedModel) -> tuple[LabelTables | None, ...]:
    labels = load_labels(model)
    made: list[LabelTables | None] = []
    for version in _versions(model):
        kinds: Mapping[str, Mapping[str, int]] | None = labels.get(version)
        made.append(
            None
            if kinds is None
            else LabelTables(rules=RULES[version], artists=kinds["artist"], genres=kinds["genre"])
        )
    return tuple(made)


def _fingerprint(model: ImportedModel, precision: Precision) -> str:
    """Return the hash within which the same request gives the same bytes."""
    parts = {part: model.part(part)["files"] for part in FILES}
    facts = {
        "name": model.name,
        "files": {name: file["sha256"] for files in parts.values() for name, file in files.items()},
        "sizes": [repr(RELEASED[model.part(part)["of"]]) for part in FILES],
        "precision": str(precision),
        "kernels": KERNELS,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
