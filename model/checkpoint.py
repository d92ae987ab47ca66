"""Published state dicts: what each of our parameters is called there, and copying them in.

The one place that knows Jukebox's own names. They follow from a configuration
alone, through the tables below. Knows nothing of files.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from model.codec import Codec
from model.config import BlockConfig, CodecConfig, PriorConfig, TransformerConfig
from model.errors import CheckpointError, ConfigError
from model.prior import Prior
from model.upsampler import Upsampler

Published = Codec | Prior | Upsampler
Pairs = Iterator[tuple[str, str]]
Table = tuple[tuple[str, str], ...]

NAMED = 10
"""How many keys of a kind an error names."""

PRIOR: Table = (
    ("codes.weight", "prior.x_emb.weight"),
    ("positions", "prior.pos_emb.pos_emb"),
    ("head.weight", "prior.x_out.weight"),
)
UNLABELLED: Table = (("unlabelled", "prior.start_token"),)
LABELS: Table = (
    ("labels.artist.weight", "y_emb.artist_emb.emb.weight"),
    ("labels.genre.weight", "y_emb.bow_genre_emb.emb.weight"),
)
TIMING: Table = (
    ("timing.total.weight", "y_emb.total_length_emb.emb.weight"),
    ("timing.absolute.weight", "y_emb.absolute_pos_emb.emb.weight"),
    ("timing.relative.weight", "y_emb.relative_pos_emb.emb.weight"),
)
LYRICS: Table = (
    ("lyrics.start", "prime_prior.start_token"),
    ("lyrics.characters.weight", "prime_prior.x_emb.weight"),
    ("lyrics.positions", "prime_prior.pos_emb.pos_emb"),
    ("lyrics.project.w", "prime_state_proj.w"),
    ("lyrics.project.b", "prime_state_proj.b"),
    ("lyrics.norm.weight", "prime_state_ln.weight"),
    ("lyrics.norm.bias", "prime_state_ln.bias"),
    ("lyrics.head.weight", "prime_x_out.weight"),
)
CONDITIONER: Table = (
    ("codes.weight", "x_emb.weight"),
    ("norm.weight", "ln.weight"),
    ("norm.bias", "ln.bias"),
)
LAYER: Table = (
    ("before_attention.weight", "ln_0.weight"),
    ("before_attention.bias", "ln_0.bias"),
    ("attention.enter.w", "attn.c_attn.w"),
    ("attention.enter.b", "attn.c_attn.b"),
    ("attention.leave.w", "attn.c_proj.w"),
    ("attention.leave.b", "attn.c_proj.b"),
    ("before_mlp.weight", "ln_1.weight"),
    ("before_mlp.bias", "ln_1.bias"),
    ("mlp.enter.w", "mlp.c_fc.w"),
    ("mlp.enter.b", "mlp.c_fc.b"),
    ("mlp.leave.w", "mlp.c_proj.w"),
    ("mlp.leave.b", "mlp.c_proj.b"),
)
ENCODER_LAYER: Table = (
    ("attention.encoder_pair.w", "attn.c_enc_kv.w"),
    ("attention.encoder_pair.b", "attn.c_enc_kv.b"),
)
CONVOLUTION: Table = (("weight", "weight"), ("bias", "bias"))
UNIT: Table = (
    ("dilated.conv.weight", "model.1.weight"),
    ("dilated.conv.bias", "model.1.bias"),
    ("pointwise.weight", "model.3.weight"),
    ("pointwise.bias", "model.3.bias"),
)


def published_names(config: CodecConfig | PriorConfig) -> dict[str, str]:
    """Return the published key of each key of our state dict; no two are the same.

    Raises:
        ConfigError: A model of this kind was never published.
    """
    if isinstance(config, CodecConfig):
        return dict(_codec(config))
    return dict(_prior(config, "") if config.upper is None else _upsampler(config, config.upper))


def published_state(module: Published) -> dict[str, Tensor]:
    """Return the module's own tensors, not copies, under their published keys."""
    names = published_names(module.config)
    return {names[key]: tensor for key, tensor in module.state_dict().items()}


def check_keys(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> None:
    """Pass if both hold the same keys with the same shapes.

    Raises:
        CheckpointError: Names missing, surplus and misshapen keys, at most `NAMED` of each and the
            number of all, with both shapes.
    """
    missing = [f"{key} of shape {wanted[key]}" for key in sorted(wanted.keys() - given.keys())]
    surplus = [f"{key} of shape {given[key]}" for key in sorted(given.keys() - wanted.keys())]
    misshapen = [
        f"{key} has shape {given[key]}, expected {wanted[key]}"
        for key in sorted(wanted.keys() & given.keys())
        if given[key] != wanted[key]
    ]
    faults = [
        f"{len(keys)} {kind}: " + ", ".join(keys[:NAMED])
        for kind, keys in (("missing", missing), ("surplus", surplus), ("misshapen", misshapen))
        if keys
    ]
    if faults:
        raise CheckpointError("the keys do not fit; " + "; ".join(faults))


def load_published(module: Published, state: Mapping[str, Tensor]) -> None:
    """Copy a published state dict into a module, one tensor after the other, in our types.

    Nothing is copied unless everything fits.

    Raises:
        CheckpointError: Keys or shapes differ, a tensor holds no floating-point numbers, two keys
            of one tensor hold different numbers, or the module is on the meta device.
    """
    own = published_state(module)
    check_keys(shapes(own), shapes(state))
    first: dict[int, str] = {}
    for key, tensor in own.items():
        if tensor.is_meta:
            raise CheckpointError(f"{key} cannot be filled: the module is on the meta device")
        if not state[key].is_floating_point():
            raise CheckpointError(
                f"{key} holds {state[key].dtype}, expected floating-point numbers"
            )
        _check_tied(first.setdefault(tensor.data_ptr(), key), key, state)
    with torch.no_grad():
        for key, tensor in own.items():
            tensor.copy_(state[key])


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each key's tensor."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _check_tied(key: str, twin: str, state: Mapping[str, Tensor]) -> None:
    if key != twin and not torch.equal(state[key], state[twin]):
        raise CheckpointError(f"{key} and {twin} differ, expected one tensor under both keys")


def _codec(config: CodecConfig) -> Pairs:
    if config.streams:
        raise ConfigError("a codec that streams has no published form")
    for level, blocks in enumerate(config.levels):
        ours = f"levels.{level}"
        for index, block in enumerate(blocks):
            theirs = f"level_blocks.{index}.model"
            # Decoder blocks of ours are stored in order of use, coarse to fine.
            use = len(blocks) - 1 - index
            yield from _encoder(f"{ours}.encoder.{index}", f"encoders.{level}.{theirs}", block)
            yield from _decoder(
                f"{ours}.decoder.{use}", f"decoders.{level}.{theirs}", block, units="model"
            )
        yield from _rows(CONVOLUTION, f"{ours}.out.conv.", f"decoders.{level}.out.")
        yield f"{ours}.quantizer.codebook", f"bottleneck.level_blocks.{level}.k"


def _upsampler(config: PriorConfig, upper: BlockConfig) -> Pairs:
    yield from _prior(config, "prior.")
    yield from _rows(CONDITIONER, "conditioner.", "conditioner_blocks.0.")
    yield from _decoder(
        "conditioner.body", "conditioner_blocks.0.cond.model", upper, units="blocks"
    )


def _prior(config: PriorConfig, ours: str) -> Pairs:
    if config.transformer.relative or config.frame_conditions:
        raise ConfigError("a prior with relative positions or frame conditions was never published")
    yield from _rows(PRIOR, ours)
    yield from _rows(LABELS if config.labels else UNLABELLED, ours)
    if config.timing and config.labels:
        yield from _rows(TIMING, ours)
    yield from _layers(config.transformer, f"{ours}transformer", "prior.transformer")
    if config.lyrics:
        yield from _rows(LYRICS, ours)
        yield from _layers(
            config.lyrics.transformer, f"{ours}lyrics.transformer", "prime_prior.transformer"
        )


def _layers(config: TransformerConfig, ours: str, theirs: str) -> Pairs:
    for index, kind in enumerate(config.layer_kinds()):
        table = LAYER + ENCODER_LAYER if kind == "encoder" else LAYER
        yield from _rows(table, f"{ours}.layers.{index}.", f"{theirs}._attn_mods.{index}.")


def _encoder(ours: str, theirs: str, block: BlockConfig) -> Pairs:
    for turn in range(block.repeats):
        yield from _rows(CONVOLUTION, f"{ours}.downs.{turn}.conv.", f"{theirs}.{turn}.0.")
        yield from _units(f"{ours}.stacks.{turn}", f"{theirs}.{turn}.1.model", block.depth)
    yield from _rows(CONVOLUTION, f"{ours}.out.conv.", f"{theirs}.{block.repeats}.")


def _decoder(ours: str, theirs: str, block: BlockConfig, *, units: str) -> Pairs:
    yield from _rows(CONVOLUTION, f"{ours}.enter.conv.", f"{theirs}.0.")
    for turn in range(block.repeats):
        place = f"{theirs}.{turn + 1}"
        yield from _units(f"{ours}.stacks.{turn}", f"{place}.0.{units}", block.depth)
        yield from _rows(CONVOLUTION, f"{ours}.ups.{turn}.conv.", f"{place}.1.")


def _units(ours: str, theirs: str, depth: int) -> Pairs:
    for unit in range(depth):
        yield from _rows(UNIT, f"{ours}.{unit}.", f"{theirs}.{unit}.")


def _rows(table: Table, ours: str, theirs: str = "") -> Pairs:
    for own, published in table:
        yield ours + own, theirs + published
