"""The golden vectors: recorded numbers of the published model with synthetic weights.

They live beside the repository, or where JUKEBOX_GOLDEN says; without them the
tests that read them are skipped. `spec.md` there is what this file follows. Any
set in that format is read: cases are found by their kind, files by their name.
"""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoint import Published, load_published, published_state, shapes

DEFAULT = Path(__file__).parents[1] / "../shared/golden"
GOLDEN = Path(os.environ.get("JUKEBOX_GOLDEN", DEFAULT))
NO_GOLDEN = f"no golden vectors in {GOLDEN}: set JUKEBOX_GOLDEN"

needs_golden = pytest.mark.skipif(not (GOLDEN / "cases.json").is_file(), reason=NO_GOLDEN)


@dataclass(frozen=True, slots=True)
class Case:
    """One entry of `cases.json`: `case["n_ctx"]` is a fact of it, `case.arrays()` its arrays."""

    name: str
    facts: Mapping[str, Any]

    def __getitem__(self, fact: str) -> Any:
        return self.facts[fact]

    def arrays(self) -> dict[str, Tensor]:
        return arrays(self.name)


@dataclass(frozen=True, slots=True)
class Document:
    """One of the JSON files beside `cases.json`."""

    name: str
    content: Any


def cases_of(*kinds: str) -> pytest.MarkDecorator:
    """Return the mark that runs a test, which takes `case`, on every case of these kinds."""
    found = [
        pytest.param(Case(name, facts), id=name)
        for name, facts in cases().items()
        if facts["kind"] in kinds
    ]
    return pytest.mark.parametrize("case", found or [_nothing(f"no case of kind {kinds}")])


def files_of(kind: str) -> pytest.MarkDecorator:
    """Return the mark that runs a test, which takes `document`, on `kind.json`, `kind_*.json`."""
    found = [
        pytest.param(Document(path.stem, json.loads(path.read_text("utf-8"))), id=path.stem)
        for path in documents()
        if path.stem == kind or path.stem.startswith(f"{kind}_")
    ]
    return pytest.mark.parametrize("document", found or [_nothing(f"no file {kind}.json")])


def documents() -> list[Path]:
    """Return the JSON files beside `cases.json`."""
    return sorted(path for path in GOLDEN.glob("*.json") if path.name != "cases.json")


def _nothing(missing: str) -> Any:
    reason = f"{missing} in {GOLDEN}" if cases() else NO_GOLDEN
    return pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))


@cache
def cases() -> dict[str, dict[str, Any]]:
    """Return every case by name; none where there is no folder."""
    path = GOLDEN / "cases.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


@cache
def manifest(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / "manifests" / f"{name}.json").read_text("utf-8"))


def arrays(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def weight(tag: str, key: str, shape: tuple[int, ...]) -> Tensor:
    """Return the synthetic tensor of a published key (spec, section 2)."""
    seed = zlib.crc32((tag + key).encode())
    generator = np.random.Generator(np.random.PCG64(seed))
    normal = generator.standard_normal(shape, dtype=np.float32)
    leaf = key.rpartition(".")[2]
    if len(shape) == 1 and leaf == "weight":
        return torch.from_numpy(np.float32(1) + np.float32(0.1) * normal)
    if leaf == "k":
        scale = 1.0
    elif len(shape) == 1:
        scale = 0.1
    elif len(shape) == 3:
        scale = (shape[1] * shape[2]) ** -0.5
    else:
        scale = shape[0] ** -0.5 if leaf == "w" else 0.5
    return torch.from_numpy(np.float32(scale) * normal)


def synthetic(
    wanted: Mapping[str, tuple[int, ...]],
    case: Case | Mapping[str, Any],
    twins: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """Return the synthetic state dict of a case, its checksum verified.

    `case` holds `tag` and `weights_crc32`; `twins` names the key whose tensor a key shares.
    """
    twins = twins or {}
    state = {key: weight(case["tag"], twins.get(key, key), shape) for key, shape in wanted.items()}
    checksum = 0
    for key in sorted(state):
        checksum = zlib.crc32(state[key].numpy().tobytes(), checksum)
    assert checksum == case["weights_crc32"], "keys, shapes or the generator differ"
    return state


def fill(module: Published, case: Case | Mapping[str, Any]) -> None:
    """Load the synthetic weights of a case; tied tensors come from the embedding's key."""
    own = published_state(module)
    first: dict[int, str] = {}
    twins = {key: first.setdefault(tensor.data_ptr(), key) for key, tensor in own.items()}
    load_published(module, synthetic(shapes(own), case, twins))


def assert_matches(made: Tensor, expected: Tensor, what: str = "") -> None:
    """Integers and masks exactly, scalars to 1e-5, arrays within rounding (spec, section 7)."""
    assert made.shape == expected.shape, what
    if not expected.is_floating_point():
        assert torch.equal(made.to(expected.dtype), expected), what
        return
    worst = (made - expected).abs().max().item()
    size = expected.square().mean().sqrt().item()
    assert worst <= max(1e-6 if expected.ndim == 0 else 2e-6, 1e-5 * size), (what, worst, size)


def assert_gradients(module: Published, case: Case) -> None:
    """Each parameter's gradient against `grad.norm` and `grad.dot_weight` (spec, section 7)."""
    recorded = case.arrays()
    own = published_state(module)
    every = {parameter.data_ptr(): parameter for parameter in module.parameters()}
    for index, key in enumerate(case["grad_keys"]):
        parameter = every[own[key].data_ptr()]
        assert parameter.grad is not None, key
        gradient, value = parameter.grad.double(), parameter.detach().double()
        norm = recorded["grad.norm"][index].item()
        dot = recorded["grad.dot_weight"][index].item()
        assert abs(gradient.norm().item() - norm) <= 1e-5 * norm, key
        allowed = 1e-5 * norm * value.norm().item()
        assert abs((gradient * value).sum().item() - dot) <= allowed, key
