"""A model of published kind that a user trained: a folder as an imported one, with its own sizes.

The manifest holds each part's configuration, where an imported model's names a
released one. A folder may hold some parts alone; training adds to it, codec
first. Knows nothing of how weights were learnt.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from model.checkpoint import (
    MAP,
    Published,
    empty_module,
    load_published,
    published_state,
    published_ties,
)
from model.codec import Codec
from model.conditioning.text import RULES
from model.config import (
    BlockConfig,
    CodecConfig,
    LabelConfig,
    LyricConfig,
    PlayedConfig,
    PriorConfig,
    TransformerConfig,
)
from model.errors import CheckpointError, ConfigError
from model.folders import (
    MANIFEST,
    place_folder,
    read_table,
    sha256_of,
    write_shards,
    write_table,
)
from model.imported import (
    KIND,
    LABELS,
    ImportedModel,
    Shards,
    open_model,
)
from model.published.request import SystemSizes
from model.released import LABEL_VERSIONS, RELEASED, UPSAMPLER_LABELS

TRAINED: Final = "trained"
FORMAT: Final = 1
CODEC: Final = "vqvae"
OWN_LICENCE: Final = "the user's own"
Config = CodecConfig | PriorConfig
Tables = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Names to ids, by version and kind."""


def is_offline(folder: Path) -> bool:
    """Return whether a folder says that it holds an imported model, or one a user trained."""
    try:
        return read_table(folder).get("kind") in (KIND, TRAINED)
    except CheckpointError:
        return False


def part_of(level: int) -> str:
    """Return the name of a level's prior or upsampler among the parts."""
    return f"level_{level}"


def open_trained(folder: Path) -> ImportedModel:
    """Return a trained or imported model; its manifest is read, its weights are not.

    Raises:
        CheckpointError: There is none, or the manifest is damaged or of another format.
    """
    path, table = folder / MANIFEST, read_table(folder)
    if table.get("kind") == KIND:
        return open_model(folder)
    if table.get("kind") != TRAINED or table.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no manifest of a trained model, format {FORMAT}")
    if CODEC not in table.get("parts", ()):
        raise CheckpointError(f"{path} names no codec: every model has one")
    return ImportedModel(folder=folder, manifest=table)


def config_of(model: ImportedModel, part: str) -> Config:
    """Return the sizes of a part.

    Raises:
        CheckpointError: The model has no such part, or its sizes make none.
    """
    parts = model.manifest["parts"]
    if part not in parts:
        raise CheckpointError(f"{model.folder} has no {part}, it has {', '.join(sorted(parts))}")
    row = parts[part]
    if "config" not in row:
        return RELEASED[row["of"]]
    try:
        return _config(row["config"])
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"the sizes of {part} in {model.folder} are damaged: {error}") from (
            error
        )


def codec_config(model: ImportedModel) -> CodecConfig:
    """Return the sizes of a model's codec.

    Raises:
        CheckpointError: The manifest says otherwise.
    """
    config = config_of(model, CODEC)
    if not isinstance(config, CodecConfig):
        raise CheckpointError(f"{CODEC} in {model.folder} is no codec")
    return config


def text_of(model: ImportedModel, part: str) -> str:
    """Return which rules a prior reads names and lyrics by: "v2" or "v3"."""
    row = model.part(part)
    if "config" in row:
        return row["text"]
    top = row["of"] not in ("upsampler_level_0", "upsampler_level_1")
    return LABEL_VERSIONS[model.name] if top else UPSAMPLER_LABELS


def load_trained(model: ImportedModel, part: str) -> Published:
    """Return one part of a trained or imported model, filled tensor by tensor.

    Raises:
        CheckpointError: A file of it is missing, damaged or misshapen.
    """
    module = empty_module(config_of(model, part))
    load_published(module, Shards.of(model, part))
    return module


def load_codec(model: ImportedModel) -> Codec:
    """Return a model's codec.

    Raises:
        CheckpointError: See `load_trained`.
    """
    codec_config(model)
    codec = load_trained(model, CODEC)
    assert isinstance(codec, Codec)
    return codec


def trained_sizes(model: ImportedModel) -> SystemSizes:
    """Return the sizes of a whole system, which sampling needs.

    Raises:
        CheckpointError: A level is not trained yet.
    """
    codec = codec_config(model)
    parts = [part_of(level) for level in range(len(codec.levels))]
    priors = [config_of(model, part) for part in parts]
    assert all(isinstance(prior, PriorConfig) for prior in priors)
    return SystemSizes(
        codec=codec,
        priors=tuple(cast("list[PriorConfig]", priors)),
        rules=tuple(RULES[text_of(model, part)] for part in parts),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewPart:
    """One part to be written."""

    name: str
    module: Published
    text: str
    """Rules of names and lyrics; empty for a codec."""
    step: int


def write_trained(
    place: Path,
    part: NewPart,
    *,
    base: ImportedModel | None = None,
    tables: Tables | None = None,
    shard_bytes: int,
) -> ImportedModel:
    """Write a folder with a part, and all other parts of a base; it takes its place when whole.

    Raises:
        CheckpointError: A file of the base is missing.
    """
    fresh = place.with_name(f".{place.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    parts = {} if base is None else _adopted(base, fresh, part.name)
    manifest = {
        "kind": TRAINED,
        "format": FORMAT,
        "name": place.parent.name if place.name == "model" else place.name,
        "licence": OWN_LICENCE if base is None else base.manifest["licence"],
        "output_licence": OWN_LICENCE if base is None else base.manifest["output_licence"],
        "parts": parts | {part.name: _written(fresh, part, shard_bytes)},
        "labels": _labels(fresh, tables),
    }
    write_table(fresh, manifest)
    place_folder(fresh, place)
    return open_trained(place)


def _adopted(base: ImportedModel, folder: Path, without: str) -> dict[str, Any]:
    """Return the rows of a base's other parts, whose files become this folder's too."""
    rows: dict[str, Any] = {}
    for name in base.manifest["parts"]:
        if name == without:
            continue
        config_of(base, name)
        row = dict(base.part(name))
        for file in row["files"]:
            _link(base.folder / file, folder / file)
        if "config" not in row and name != CODEC:
            row["text"] = text_of(base, name)
        rows[name] = row | {"config": asdict(config_of(base, name))}
    return rows


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError as error:
        raise CheckpointError(f"{source} is missing") from error
    except OSError:
        shutil.copyfile(source, target)


def _written(folder: Path, part: NewPart, shard_bytes: int) -> dict[str, Any]:
    ties = published_ties(part.module)
    state = published_state(part.module)
    own = ((key, tensor) for key, tensor in state.items() if key not in ties)
    row: dict[str, Any] = {
        "config": asdict(part.module.config),
        "files": write_shards(folder, f"{part.name}-step{part.step}", own, shard_bytes),
        "ties": ties,
        "numbers": sum(value.numel() for value in part.module.parameters()),
        "map_numbers": sum(
            value.numel() for key, value in part.module.named_parameters() if key.endswith(MAP)
        ),
        "step": part.step,
    }
    return row | ({"text": part.text} if part.text else {})


def _labels(folder: Path, tables: Tables | None) -> dict[str, Any] | None:
    if not tables:
        return None
    path = folder / LABELS
    path.write_text(json.dumps(tables, indent=0, sort_keys=True), encoding="utf-8")
    read: dict[str, Any] = {
        version: {
            kind: {"file": "the recordings", "names": len(names), "repeated": 0, "skipped": []}
            for kind, names in kinds.items()
        }
        for version, kinds in tables.items()
    }
    digest = sha256_of(path)
    return {"sha256": digest, "bytes": path.stat().st_size, "read": read}


def _config(row: Mapping[str, Any]) -> Config:
    made: dict[str, Any] = dict(row)
    if "levels" in row:
        made["levels"] = tuple(
            tuple(BlockConfig(**block) for block in level) for level in row["levels"]
        )
        return CodecConfig(**made)
    labels: dict[str, Any] | None = row["labels"]
    upper: dict[str, Any] | None = row["upper"]
    made["transformer"] = _stack(row["transformer"])
    made["lyrics"] = _reader(row["lyrics"])
    made["upper"] = None if upper is None else BlockConfig(**upper)
    played: dict[str, Any] | None = row.get("played")
    made["played"] = None if played is None else PlayedConfig(**played)
    if labels is not None:
        own: dict[str, Any] = {**labels, "seconds": tuple(labels["seconds"])}
        made["labels"] = LabelConfig(**own)
    return PriorConfig(**made)


def _reader(row: dict[str, Any] | None) -> LyricConfig | None:
    if row is None:
        return None
    return LyricConfig(vocabulary=row["vocabulary"], transformer=_stack(row["transformer"]))


def _stack(row: Mapping[str, Any]) -> TransformerConfig:
    made: dict[str, Any] = {**row, "pattern": tuple(row["pattern"])}
    return TransformerConfig(**made)
