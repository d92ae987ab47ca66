"""A folder of weights: safetensors by part, and a manifest that says what they are.

`manifest.json` names the model, its configuration where that has another name, the
vocabulary, the licences, the recipe, and each file's SHA-256; the fingerprint is made
from it and from what computes. Weights are stored in half precision, the teacher's
matrices in eight bits a number with a scale a row, and are loaded in single precision.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] - types a bare PathLike
    save_file,  # pyright: ignore[reportUnknownVariableType] - types a bare PathLike
)
from torch import Tensor

from model.bundle import Bundle, Card, empty_bundle, modules, share_codebook
from model.config import ModelConfig
from model.errors import CheckpointError
from model.folders import MANIFEST, READABLE, read_table
from model.serving import served_in
from model.shipped import SMALL, TINY

SHIPPED = Path(__file__).parent / "weights"
FORMAT = 3
EIGHT_BIT = frozenset({"top", "upsampler0", "upsampler1"})
"""Parts whose matrices are stored in eight bits, so that all together stay below 32 MB."""
SCALE = ".scale"
LEVELS = 127
REQUIRED = {"name", "format", "files", "artists", "genres", "licence", "output_licence"}
KERNELS = "eager-12"
"""Changes whenever the arithmetic does: part of the fingerprint."""
CONFIGS = {config.name: config for config in (SMALL, TINY)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where weights come from, as the manifest tells it."""

    artists: tuple[str, ...]
    genres: tuple[str, ...]
    licence: str
    output_licence: str
    recipe: dict[str, Any]
    figures: dict[str, Any]


def load_bundle(folder: Path) -> Bundle:
    """Return the model of a folder, its files verified.

    Raises:
        CheckpointError: A file is missing, damaged, or not of this configuration.
    """
    manifest = read_manifest(folder)
    config = config_of(manifest)
    card = Card(
        name=manifest["name"],
        fingerprint=_fingerprint(manifest, config),
        artists=tuple(manifest["artists"]),
        genres=tuple(manifest["genres"]),
        licence=manifest["licence"],
        output_licence=manifest["output_licence"],
    )
    bundle = empty_bundle(config, card)
    for name, module in modules(bundle).items():
        tensors = _verified(folder, name, manifest["files"])
        _fill(module, tensors, f"{name}.safetensors")
    share_codebook(bundle)
    return bundle


def save_bundle(bundle: Bundle, folder: Path, provenance: Provenance) -> None:
    """Write a folder that `load_bundle` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, Any]] = {}
    for name, module in modules(bundle).items():
        path = folder / f"{name}.safetensors"
        state = module.state_dict()
        tensors = {key: state[key] for key in state if key in _stored(state)}
        save_file(_packed(tensors, eight_bit=name in EIGHT_BIT), path)
        path.chmod(READABLE)
        data = path.read_bytes()
        files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest = {
        "name": bundle.card.name,
        "format": FORMAT,
        "artists": provenance.artists,
        "genres": provenance.genres,
        "licence": provenance.licence,
        "output_licence": provenance.output_licence,
        "files": files,
        "recipe": provenance.recipe,
        "figures": provenance.figures,
    }
    if bundle.card.name != bundle.config.name:
        manifest["config"] = bundle.config.name
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a folder's manifest.

    Raises:
        CheckpointError: There is none, or it is not one.
    """
    path, table = folder / MANIFEST, read_table(folder)
    if table.get("kind") == "released":
        raise CheckpointError(
            f"{path} is that of a released model, which hears too far ahead to play live: it "
            "samples offline, in published windows"
        )
    missing = REQUIRED - set(table)
    if missing:
        raise CheckpointError(f"{path} lacks {sorted(missing)}")
    if table["format"] != FORMAT:
        raise CheckpointError(f"{path} has format {table['format']}, this one reads {FORMAT}")
    if not _has_hashes(table["files"]):
        raise CheckpointError(f"{path} does not give the SHA-256 of every file")
    return table


def config_of(manifest: dict[str, Any]) -> ModelConfig:
    """Return the sizes of the model that a manifest describes.

    Raises:
        CheckpointError: No configuration has this name.
    """
    name = manifest.get("config", manifest["name"])
    if name not in CONFIGS:
        raise CheckpointError(f"no configuration is called {name!r}, known are {sorted(CONFIGS)}")
    return CONFIGS[name]


def _has_hashes(files: object) -> bool:
    if not isinstance(files, dict):
        return False
    rows = cast(dict[str, Any], files).values()
    return all(isinstance(row, dict) and "sha256" in row for row in rows)


def _verified(folder: Path, name: str, files: dict[str, Any]) -> dict[str, Tensor]:
    path = folder / f"{name}.safetensors"
    if name not in files or not path.exists():
        raise CheckpointError(f"{path} is missing")
    made = hashlib.sha256(path.read_bytes()).hexdigest()
    if made != files[name]["sha256"]:
        raise CheckpointError(
            f"{path} is damaged: SHA-256 {made}, the manifest says {files[name]['sha256']}"
        )
    try:
        return _unpacked(load_file(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _packed(tensors: dict[str, Tensor], *, eight_bit: bool) -> dict[str, Tensor]:
    """Return the tensors as they are stored."""
    packed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if not value.is_floating_point():
            packed[key] = value.contiguous()
        elif eight_bit and value.dim() >= 2:
            inside = tuple(range(1, value.dim()))
            scale = (value.abs().amax(inside, keepdim=True) / LEVELS).clamp(min=1e-6).half()
            packed[key] = (value / scale).round().clamp(-LEVELS, LEVELS).to(torch.int8)
            packed[key + SCALE] = scale
        else:
            packed[key] = value.half().contiguous()
    return packed


def _unpacked(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return stored tensors with those of eight bits scaled back."""
    tensors = {key: value for key, value in packed.items() if not key.endswith(SCALE)}
    for key, scale in packed.items():
        if key.endswith(SCALE) and key.removesuffix(SCALE) in tensors:
            whole = key.removesuffix(SCALE)
            tensors[whole] = tensors[whole].float() * scale.float()
    return tensors


def _fill(module: torch.nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Copy every tensor into place; a missing, surplus or misshapen key is named."""
    wanted = module.state_dict()
    stored = _stored(wanted)
    for key in sorted(stored ^ set(tensors)):
        kind = "lacks" if key in stored else "has the surplus"
        raise CheckpointError(f"{name} {kind} {key}")
    for key, value in tensors.items():
        if value.shape != wanted[key].shape:
            raise CheckpointError(
                f"{name}: {key} has shape {tuple(value.shape)}, expected {tuple(wanted[key].shape)}"
            )
        wanted[key].copy_(value)


def _stored(state: dict[str, Tensor]) -> set[str]:
    """Return the keys that files hold: a tied head once, shared codebooks not at all."""
    tied = {key for key in state if key.endswith("head.weight") and _is_tied(state, key)}
    shared = {"codebook"} & set(state)
    return set(state) - tied - shared


def _is_tied(state: dict[str, Tensor], key: str) -> bool:
    twin = key.removesuffix("head.weight") + "codes.weight"
    return twin in state and state[twin].data_ptr() == state[key].data_ptr()


def _fingerprint(manifest: dict[str, Any], config: ModelConfig) -> str:
    """Return the hash within which the same request gives the same bytes."""
    facts = {
        "config": repr(config),
        "labels": [manifest["artists"], manifest["genres"]],
        "files": {name: row["sha256"] for name, row in manifest["files"].items()},
        "name": manifest["name"],
        "kernels": KERNELS,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "precision": served_in(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
