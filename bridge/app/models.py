"""The released models in the user's data folder: imported, described, verified."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from bridge.app.model_files import verify_model
from bridge.app.rows import translated_errors
from bridge.config import APPLICATION
from bridge.errors import NotFoundError
from bridge.request import Progress

if TYPE_CHECKING:
    from model.imported import ImportedModel, Step

MEBIBYTE = 2**20
SHIPPED_NAME = "small"
MODEL_NAMES = ("5b", "5b_lyrics", "1b_lyrics")
MAP_TYPES = ("stored", "float16", "bfloat16", "float32")
"""In which type an import keeps the transformers' maps; everything else is float32."""

Show = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """One part of a model, and what loading it takes.

    Attributes:
        part: `vqvae`, `level_0`, `level_1` or `level_2`; for the model in the box its file.
        disk_bytes: The size of its files.
        context_seconds: How much music its context spans; None where there is no context.
        parameters: How many numbers it holds; None if the manifest does not say.
        memory_bytes: What its weights take when loaded, by the type of its maps.
        cache_bytes: What attention remembers of one sample, in single precision.
    """

    part: str
    disk_bytes: int
    context_seconds: float | None
    parameters: int | None = None
    memory_bytes: Mapping[str, int] = field(default_factory=dict[str, int])
    cache_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a user may want to know of a model.

    Attributes:
        name: Its name.
        folder: Where it is.
        licence: The weights' licence.
        output_licence: What it says of the results.
        artists: Size of the artist vocabulary.
        genres: Size of the genre vocabulary.
        labels: Which label tables names are looked up in; empty if ids go by number.
        parts: Its parts.
    """

    name: str
    folder: Path
    licence: str
    output_licence: str
    artists: int
    genres: int
    labels: dict[str, str]
    parts: tuple[PartFacts, ...]

    @property
    def disk_bytes(self) -> int:
        """Return the size of all files."""
        return sum(part.disk_bytes for part in self.parts)


def models_folder() -> Path:
    """Return where imported models live: a folder of the user's data."""
    return platformdirs.user_data_path(APPLICATION) / "models"


def import_released(
    source: Path, name: str, *, models: Path, ids: Path | None, maps: str, show: Show
) -> ModelFacts:
    """Convert a folder of published files, showing progress; return what came of it.

    Raises:
        NotReadyError: A file is missing, damaged or another; nothing is left behind then.
    """
    from model.importing import import_model

    with translated_errors():
        made = import_model(source, models, name, ids=ids, maps=maps, report=_reporter(show))
    return _facts(made)


def installed_models(models: Path) -> list[ModelFacts]:
    """Return the model in the box, those adapted from it, and all that were imported."""
    from model.imported import imported_models

    with translated_errors():
        own = [_streaming_facts(folder) for folder in sorted(models.glob("*")) if _streams(folder)]
        return [_shipped_facts(), *own, *(_facts(model) for model in imported_models(models))]


def model_facts(name: str, models: Path) -> ModelFacts:
    """Return what is known of one model: the one in the box, an imported or a trained one.

    A trained one is named by its folder.

    Raises:
        NotFoundError: It was not imported.
    """
    if name == SHIPPED_NAME:
        return _shipped_facts()
    with translated_errors():
        folder = _streaming_folder(name, models)
        return _facts(_opened(name, models)) if folder is None else _streaming_facts(folder)


def released_folder(name: str, models: Path) -> Path | None:
    """Return the folder of an imported model, None for the model in the box.

    Raises:
        NotFoundError: It was not imported.
    """
    if name == SHIPPED_NAME:
        return None
    with translated_errors():
        return _opened(name, models).folder


def verify_installed(name: str, models: Path, show: Show) -> int:
    """Return how many bytes of a model were read and found as they were written.

    Raises:
        NotFoundError: It was not imported.
        NotReadyError: A file is missing or damaged.
    """
    if name == SHIPPED_NAME:
        return verify_model().num_bytes
    if (folder := _streaming_folder(name, models)) is not None:
        return verify_model(folder).num_bytes
    from model.imported import verify_model as verify_imported

    with translated_errors():
        return verify_imported(_opened(name, models), _reporter(show))


def _opened(name: str, models: Path) -> "ImportedModel":
    from model.folders import MANIFEST
    from model.trained import open_trained

    for folder in (models / name, Path(name)):
        if (folder / MANIFEST).is_file():
            return open_trained(folder)
    raise NotFoundError(
        f"{name!r} is not in {models}: `jukebox-bridge models import DIR --name {name}` "
        f"converts the published files; names are {', '.join(MODEL_NAMES)}, or the folder of a "
        "trained model"
    )


def _reporter(show: Show) -> "Callable[[Step], None]":
    """Return what turns bytes into progress, with an ETA from the speed so far."""
    started_s = time.monotonic()

    def report(step: "Step") -> None:
        left = (step.total_bytes - step.done_bytes) / max(step.done_bytes, 1)
        show(
            Progress(
                phase=step.phase,
                step=step.done_bytes // MEBIBYTE,
                total_steps=max(step.total_bytes // MEBIBYTE, 1),
                eta_seconds=max(left, 0.0) * (time.monotonic() - started_s),
            )
        )

    return report


def _facts(model: "ImportedModel") -> ModelFacts:
    from model.config import PriorConfig
    from model.trained import config_of

    parts: dict[str, Any] = model.manifest["parts"]
    priors = [config_of(model, part) for part in sorted(parts)]
    known = [one.labels for one in priors if isinstance(one, PriorConfig) and one.labels]
    labels = known[-1] if known else None
    row = model.manifest["labels"]
    read: dict[str, Any] = {} if row is None else row["read"]
    return ModelFacts(
        name=model.name,
        folder=model.folder,
        licence=model.manifest["licence"],
        output_licence=model.manifest["output_licence"],
        artists=labels.artists if labels else 0,
        genres=labels.genres if labels else 0,
        labels={version: _as_words(kinds) for version, kinds in read.items()},
        parts=tuple(_part_facts(model, part) for part in sorted(parts, key=_place)),
    )


def _place(part: str) -> tuple[bool, str]:
    """Return what orders parts: the codec first, then levels from the finest on."""
    return part.startswith("level_"), part


def _as_words(kinds: dict[str, Any]) -> str:
    """Return what was read of one version's lists."""
    parts: list[str] = []
    for kind, row in kinds.items():
        odd = [f"{row['repeated']} repeated"] if row["repeated"] else []
        odd += [f"skipped {line}" for line in row["skipped"]]
        notes = f" ({'; '.join(odd)})" if odd else ""
        parts.append(f"{row['names']} {kind}s from {row['file']}{notes}")
    return ", ".join(parts)


def _part_facts(model: "ImportedModel", part: str) -> PartFacts:
    from model.config import PriorConfig
    from model.released import cache_numbers
    from model.trained import codec_config, config_of

    row, config = model.part(part), config_of(model, part)
    is_prior = isinstance(config, PriorConfig)
    numbers, maps = row["numbers"], row["map_numbers"]
    context = None
    if is_prior:
        frames = config.transformer.frames - config.transformer.prefix_frames
        context = frames / codec_config(model).frame_rate(int(part[-1]))
    return PartFacts(
        part=part,
        parameters=numbers,
        disk_bytes=sum(file["bytes"] for file in row["files"].values()),
        context_seconds=context,
        memory_bytes={
            "float32": 4 * numbers,
            "half": 4 * (numbers - maps) + 2 * maps,
        },
        cache_bytes=4 * cache_numbers(config) if is_prior else 0,
    )


def _shipped_facts() -> ModelFacts:
    from model.store import SHIPPED

    with translated_errors():
        return _streaming_facts(SHIPPED)


def _streams(folder: Path) -> bool:
    """Return whether a folder holds weights like those in the box."""
    from model.folders import MANIFEST, read_table

    return (folder / MANIFEST).is_file() and "kind" not in read_table(folder)


def _streaming_folder(name: str, models: Path) -> Path | None:
    """Return the folder of an adapted model, by its name or path; None if there is none."""
    return next((folder for folder in (models / name, Path(name)) if _streams(folder)), None)


def _streaming_facts(folder: Path) -> ModelFacts:
    from model.store import config_of, read_manifest

    manifest = read_manifest(folder)
    config = config_of(manifest)
    priors = {"upsampler0": 0, "upsampler1": 1, "top": 2}
    contexts = {
        name: config.priors[level].transformer.frames / config.codec.frame_rate(level)
        for name, level in priors.items()
    }
    return ModelFacts(
        name=manifest["name"],
        folder=folder,
        licence=manifest["licence"],
        output_licence=manifest["output_licence"],
        artists=len(manifest["artists"]),
        genres=len(manifest["genres"]),
        labels={"own": "in the manifest"},
        parts=tuple(
            PartFacts(part=name, disk_bytes=file["bytes"], context_seconds=contexts.get(name))
            for name, file in manifest["files"].items()
        ),
    )
