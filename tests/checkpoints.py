"""Files in the published layouts with synthetic weights: what users would have downloaded."""

from dataclasses import replace
from pathlib import Path

import torch

from model.checkpoint import empty_module, published_state, published_ties
from model.config import CodecConfig, PriorConfig


def synthetic_state(
    config: CodecConfig | PriorConfig, seed: int = 0, *, half: bool = True
) -> dict[str, torch.Tensor]:
    """Return a state dict under published keys, `.w` in half precision, tied keys one tensor."""
    module = empty_module(config)
    ties = published_ties(module)
    draw = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for key, tensor in published_state(module).items():
        if key in ties:
            state[key] = state[ties[key]]
            continue
        fan_in = tensor.shape[0] if key.endswith(".w") else tensor[0].numel()
        made = torch.randn(tensor.shape, generator=draw) / max(fan_in, 1) ** 0.5
        state[key] = made.half() if half and key.endswith(".w") else made
    return state


def write_published(
    path: Path, state: dict[str, torch.Tensor], *, legacy: bool = True, prefix: str = ""
) -> Path:
    """Write a file as the published ones are: a dict with the state dict under 'model'."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {
        "model": {prefix + key: value for key, value in state.items()},
        "step": 12,
        "opt": None,
    }
    torch.save(whole, path, _use_new_zipfile_serialization=not legacy)
    return path


def shallow(config: PriorConfig, *, layers: int, units: int) -> PriorConfig:
    """Return a model of its own width, context and tables, of fewer layers and units."""
    return replace(
        config,
        transformer=replace(config.transformer, depth=layers),
        upper=config.upper and replace(config.upper, depth=units),
    )
