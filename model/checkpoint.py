"""Published state dicts: what each of our parameters is called there, and filling modules.

The one place that knows Jukebox's own names. They follow from a configuration
alone, through the tables below. Tensors come one at a time from a `Source`, so
that no second copy of a model is ever held. Knows nothing of files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from model.codec import Codec
from model.config import BlockConfig, CodecConfig, PriorConfig, TransformerConfig
from model.errors import CheckpointError, ConfigError
from model.prior import Prior
from model.quantizer import Quantizer
from model.upsampler import Upsampler

Published = Codec | Prior | Upsampler
Pairs = Iterator[tuple[str, str]]
Table = tuple[tuple[str, str], ...]
Place = tuple[Tensor, list[tuple[nn.Module, str]]]
"""A tensor of a module, and the attributes that hold it."""

MAP = ".w"
"""How the keys of a transformer's linear maps end: the only tensors published in half."""
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
PLAYED: Table = tuple(
    (key, key)
    for key in (
        "played.codebook",
        "played.roll.unknown",
        "played.roll.notes.weight",
        "played.roll.notes.bias",
        "played.stems.latents.weight",
        "played.stems.latents.bias",
        "played.stems.kind.weight",
        "played.stems.target.weight",
    )
)
"""Never published: these keys are our own."""
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


@runtime_checkable
class Source(Protocol):
    """Tensors under published keys, read when they are asked for."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each key's tensor."""
        ...

    def dtype(self, key: str) -> torch.dtype:
        """Return what a tensor's numbers are stored as."""
        ...

    def same(self, key: str, twin: str) -> bool:
        """Return whether both keys are known to be one tensor, without reading them."""
        ...

    def read(self, key: str) -> Tensor:
        """Return one tensor as it is stored."""
        ...


@dataclass(frozen=True, slots=True)
class InMemory:
    """A state dict as a source."""

    state: Mapping[str, Tensor]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each key's tensor."""
        return shapes(self.state)

    def dtype(self, key: str) -> torch.dtype:
        """Return a tensor's type."""
        return self.state[key].dtype

    def same(self, key: str, twin: str) -> bool:
        """Return whether both keys hold one tensor."""
        return self.state[key] is self.state[twin]

    def read(self, key: str) -> Tensor:
        """Return the tensor itself."""
        return self.state[key]


def empty_module(config: CodecConfig | PriorConfig) -> Published:
    """Return a module of these sizes without storage, on the meta device."""
    with torch.device("meta"):
        if isinstance(config, CodecConfig):
            return Codec(config)
        return Prior(config) if config.upper is None else Upsampler(config)


def published_state(module: Published) -> dict[str, Tensor]:
    """Return the module's own tensors, not copies, under their published keys."""
    names = published_names(module.config)
    return {names[key]: tensor for key, tensor in module.state_dict().items()}


def published_ties(module: Published) -> dict[str, str]:
    """Return of each published key that repeats a tensor, the first key of that tensor."""
    names = published_names(module.config)
    return {names[twin]: names[first] for first, *twins in _tied(module) for twin in twins}


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


def check_source(module: Published, source: Source) -> None:
    """Pass if a module can be filled from a source, judged by names, shapes and types alone.

    Raises:
        CheckpointError: Keys or shapes differ, or a tensor holds no floating-point numbers.
    """
    own = shapes(published_state(module))
    check_keys(own, source.shapes())
    for key in own:
        if not source.dtype(key).is_floating_point:
            raise CheckpointError(
                f"{key} holds {source.dtype(key)}, expected floating-point numbers"
            )


def read_published(
    module: Published, source: Source, maps: torch.dtype | None = torch.float32
) -> Iterator[tuple[str, Tensor]]:
    """Yield our keys with their checked tensors, one of each tied pair, read one at a time.

    The transformers' maps come in the type `maps`, or as they are stored where it is None;
    everything else in single precision, as the published code holds it.

    Raises:
        CheckpointError: See `check_source`; or two keys of one tensor hold different numbers, or a
            tensor holds a number that is not finite, also after the conversion.
    """
    check_source(module, source)
    names = published_names(module.config)
    for keys in _tied(module):
        first, *twins = (names[key] for key in keys)
        tensor = source.read(first)
        for twin in twins:
            if not source.same(first, twin) and not torch.equal(tensor, source.read(twin)):
                raise CheckpointError(
                    f"{first} and {twin} differ, expected one tensor under both keys"
                )
        yield keys[0], _converted(first, tensor, maps)


@torch.no_grad()
def load_published(
    module: Published, source: Source | Mapping[str, Tensor], maps: torch.dtype = torch.float32
) -> None:
    """Fill a module from published weights, one tensor after the other.

    A module on the meta device is given storage tensor by tensor, so that what it holds in the
    end and one tensor are all the memory taken. `maps` is the type of the transformers' maps of
    such a module. Nothing is filled unless all keys, shapes and types fit.

    Raises:
        CheckpointError: See `read_published`; after a number that is not finite, or a tied pair
            that differs, the module is partly filled.
    """
    tensors = source if not isinstance(source, Mapping) else InMemory(source)
    assign(module, read_published(module, tensors, maps))


@torch.no_grad()
def assign(module: nn.Module, tensors: Iterator[tuple[str, Tensor]]) -> None:
    """Put tensors into a module by its own keys: copied in place, or for lack of one, as such.

    What is under several keys, as a tied head is, stays one tensor. A codebook's running means,
    which no file holds, start at nothing.
    """
    places = _places(module)
    for key, tensor in tensors:
        _put(tensor, places[key])
    for part in module.modules():
        if isinstance(part, Quantizer) and part.sums.is_meta:
            part.sums, part.counts = (
                torch.zeros_like(mean, device="cpu") for mean in (part.sums, part.counts)
            )


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each key's tensor."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _converted(key: str, tensor: Tensor, maps: torch.dtype | None) -> Tensor:
    wanted = torch.float32
    if key.endswith(MAP):
        wanted = tensor.dtype if maps is None else maps
    made = tensor.to(wanted)
    # A sum is finite only if every term is.
    if made.sum(dtype=torch.float64).isfinite():
        return made
    bad = int((~made.isfinite()).sum())
    why = f"{wanted} cannot hold them" if tensor.isfinite().all() else "the file is damaged"
    raise CheckpointError(f"{key} has {bad} numbers that are not finite: {why}")


def _tied(module: nn.Module) -> list[list[str]]:
    """Return the keys of each tensor of a module, those of one tensor together."""
    keys: dict[int, list[str]] = {}
    for key, (tensor, _) in _places(module).items():
        keys.setdefault(id(tensor), []).append(key)
    return list(keys.values())


def _places(module: nn.Module) -> dict[str, Place]:
    """Return the place of each key of the state dict."""
    every = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for key, tensor in every.items():
        path, _, name = key.rpartition(".")
        owners.setdefault(id(tensor), []).append((module.get_submodule(path), name))
    return {key: (every[key], owners[id(every[key])]) for key in module.state_dict()}


def _put(tensor: Tensor, place: Place) -> None:
    """Copy a tensor to its place, or make it the place's own for lack of storage there."""
    old, owners = place
    if not old.is_meta:
        old.copy_(tensor)
        return
    is_weight = isinstance(old, nn.Parameter)
    made = nn.Parameter(tensor, requires_grad=old.requires_grad) if is_weight else tensor
    for owner, name in owners:
        setattr(owner, name, made)


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
    if config.played:
        yield from _rows(PLAYED, ours)


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
