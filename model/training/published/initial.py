"""Weights to begin with, as the published models were begun (Jukebox, appendix B)."""

from typing import Any, cast

import torch
from torch import nn

from model.codec import Codec
from model.config import CodecConfig, PriorConfig
from model.prior import LyricEncoder, Prior
from model.training.published.model_sizes import PriorModel
from model.transformer import Layer, Linear, Transformer
from model.upsampler import Upsampler

_random = cast(Any, torch.random)
MAP_STD = 0.02
"""Of linear maps and of code and character tables."""
TABLE_STD = 0.01
"""Of position, label and timing tables and of start vectors."""


def new_codec(config: CodecConfig, seed: int) -> Codec:
    """Return a codec of random weights; convolutions begin as torch begins them."""
    with _random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType] - torch types it in part
        return Codec(config)


@torch.no_grad()
def new_prior(config: PriorConfig, model: PriorModel, seed: int) -> Prior | Upsampler:
    """Return a prior of random weights, an upsampler where the configuration is one's."""
    with _random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType] - torch types it in part
        module = Prior(config) if config.upper is None else Upsampler(config)
        prior = module.prior if isinstance(module, Upsampler) else module
        scale = model.init_scale
        _normal(scale * MAP_STD, prior.codes.weight)
        _normal(scale * TABLE_STD, prior.positions)
        if prior.unlabelled is not None:
            _normal(scale * TABLE_STD, prior.unlabelled)
        for part in (prior.labels, prior.timing):
            _normal(scale * TABLE_STD, *(part.parameters() if part is not None else ()))
        _stack(prior.transformer, scale, zero_out=model.zero_out)
        if prior.lyrics is not None:
            _reader(prior.lyrics, model)
        if isinstance(module, Upsampler):
            _normal(scale * MAP_STD, module.conditioner.codes.weight)
    return module


def _stack(stack: Transformer, scale: float, *, zero_out: bool) -> None:
    for part in stack.modules():
        if isinstance(part, Linear):
            _linear(part, scale)
    for layer in stack.stack():
        if zero_out or layer.attention.kind == "encoder":
            _silence(layer)


def _silence(layer: Layer) -> None:
    """Let a layer begin as nothing; layers that attend to lyrics always do."""
    for part in (layer.attention.leave, layer.mlp.leave):
        nn.init.zeros_(part.w)


def _reader(lyrics: LyricEncoder, model: PriorModel) -> None:
    own = model.lyric_init_scale
    _normal(own * MAP_STD, lyrics.characters.weight)
    _normal(own * TABLE_STD, lyrics.positions, lyrics.start)
    _stack(lyrics.transformer, own, zero_out=model.zero_out)
    _linear(lyrics.project, own)
    _normal(model.init_scale * MAP_STD, lyrics.head.weight)


def _linear(part: Linear, scale: float) -> None:
    _normal(scale * MAP_STD, part.w)
    nn.init.zeros_(part.b)


def _normal(std: float, *weights: torch.Tensor) -> None:
    for weight in weights:
        nn.init.normal_(weight, std=std)
