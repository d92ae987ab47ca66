"""The codec over audio of any length, piece by piece, in bounded memory.

Every layer keeps the few frames of its past that its kernel still reaches, as a
value, and answers for a frame as soon as it has heard what lies ahead of it.
So nothing is computed twice, pieces may be cut anywhere, and the result is that
of the whole signal up to rounding. Frames lie in memory before channels, which
is how the processor's convolutions are fastest.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import ceil
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from model.codec import Conv, DecoderBlock, Down, EncoderBlock, Level, ResidualUnit, Up
from model.config import CodecConfig

QUANTIZED_FRAMES = 128

# Pieces of one signal differ in length, so only what stays the same is named.
Piece = Float[Tensor, "_ _ 1 _"]
"""Batch, channels, one, frames."""
MonoBatch = Float[Tensor, "_ _"]
"""Batch, samples."""
Latents = Float[Tensor, "_ _ _"]
"""Batch, latents, frames."""
Codes = Int[Tensor, "_ _"]
"""Batch, frames."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One step of a codec on frames whose surroundings are given.

    Attributes:
        behind: Frames of the past that an output needs.
        ahead: Frames of the future that it needs.
        stride: Input frames that make one output.
        run: Returns outputs for the inputs between `behind` and `ahead`.
        faster: Outputs that one input makes.
    """

    behind: int
    ahead: int
    stride: int
    run: Callable[[Piece], Piece]
    faster: int = 1


def encode_latents(level: Level, audio: Iterable[MonoBatch]) -> Iterator[Latents]:
    """Yield latents before quantisation for pieces of audio; together those of the whole.

    Samples beyond whole frames are dropped, as they are of the whole.
    """
    layers = encoder_layers(level)
    signal = (piece[:, None, None].to(level.dtype) for piece in _in_frames(audio, level.hop))
    for made in _in_pieces(layers, signal):
        yield made[:, :, 0].float()


def encode(level: Level, audio: Iterable[MonoBatch]) -> Iterator[Codes]:
    """Yield codes for pieces of audio; together those of the whole."""
    for latents in encode_latents(level, audio):
        # Few at a time, so that distances to all codes stay in the processor's cache.
        few = torch.tensor_split(latents, -(-latents.shape[-1] // QUANTIZED_FRAMES), dim=-1)
        yield torch.cat([level.quantizer.encode(part) for part in few], dim=-1)


def decode(level: Level, codes: Iterable[Codes]) -> Iterator[MonoBatch]:
    """Yield audio for pieces of codes; together that of the whole."""
    layers = [one for block in level.decoder for one in _decoder(_as(block, DecoderBlock))]
    signal = (level.quantizer.decode(piece)[:, :, None].to(level.dtype) for piece in codes)
    for made in _in_pieces([*layers, _conv(level.out)], signal):
        yield made[:, 0, 0].float()


def encoder_layers(level: Level) -> list[Layer]:
    """Return the steps from samples to latents."""
    return [one for block in level.encoder for one in _encoder(_as(block, EncoderBlock))]


def decoder_layers(level: Level) -> list[Layer]:
    """Return the steps from latents to samples.

    The last two are linear with nothing between, and so become one, which spares most of the
    work; but for rounding the result is the same from a stream's third sample on.
    """
    blocks = [_as(block, DecoderBlock) for block in level.decoder]
    layers = [one for block in blocks for one in _decoder(block)]
    return [*layers[:-1], _up_and_out(_as(blocks[-1].ups[-1], Up), level.out)]


def reach_of(layers: Sequence[Layer]) -> tuple[Fraction, Fraction]:
    """Return how far before and after its own place an output hears, in the chain's inputs."""
    behind, ahead, inputs = Fraction(0), Fraction(0), Fraction(1)
    for layer in layers:
        behind, ahead = behind + layer.behind * inputs, ahead + layer.ahead * inputs
        inputs *= Fraction(layer.stride, layer.faster)
    return behind, ahead


def in_window(layers: Sequence[Layer], window: Piece, *, begins: bool, ends: bool) -> Piece:
    """Return what a chain of layers makes of a window of a signal, as far as it can be known.

    Where the signal `begins` or `ends` with the window there is silence beyond; else outputs that
    depend on what lies beyond are left out, layer by layer.
    """
    piece = window.contiguous(memory_format=torch.channels_last)
    for layer in layers:
        before = [_silence(piece, layer.behind)] if begins else []
        after = [_silence(piece, layer.ahead)] if ends else []
        heard = _joined([*before, piece, *after]) if before or after else piece
        ready = (heard.shape[-1] - layer.behind - layer.ahead) // layer.stride
        piece = layer.run(heard[..., : layer.behind + ready * layer.stride + layer.ahead])
    return piece


def decode_reach_frames(codec: CodecConfig, level: int) -> int:
    """Return how many codes on each side a decoded sample of a level can hear."""
    reach, faster = 0.0, 1.0
    for block in reversed(codec.levels[level]):
        reach += 1 / faster
        for _ in range(block.repeats):
            reach += (sum(block.dilations()) + 1) / faster
            faster *= block.stride
    return ceil(reach + 1 / faster) + 1


def _in_frames(audio: Iterable[MonoBatch], hop: int) -> Iterator[MonoBatch]:
    """Yield audio cut at whole frames; what is left at the end is dropped."""
    held: MonoBatch | None = None
    for piece in audio:
        held = piece if held is None else torch.cat([held, piece], dim=-1)
        whole = held.shape[-1] // hop * hop
        if whole:
            yield held[:, :whole]
            held = held[:, whole:]


def _in_pieces(layers: Sequence[Layer], given: Iterable[Piece]) -> Iterator[Piece]:
    """Yield what a chain of layers makes of a signal in pieces."""
    kept: list[Piece | None] = [None] * len(layers)
    for piece in given:
        made = _through(layers, piece.contiguous(memory_format=torch.channels_last), kept)
        if made is not None:
            yield made
    end = _through(layers, None, kept, last=True)
    if end is not None:
        yield end


def _through(
    layers: Sequence[Layer], piece: Piece | None, kept: list[Piece | None], *, last: bool = False
) -> Piece | None:
    """Return what comes out for a piece, None if nothing yet; `kept` is brought up to date."""
    for index, layer in enumerate(layers):
        heard = _heard(layer, piece, kept[index], last=last)
        if heard is None:
            return None
        ready = max(heard.shape[-1] - layer.behind - layer.ahead, 0) // layer.stride
        used = ready * layer.stride
        piece = layer.run(heard[..., : layer.behind + used + layer.ahead]) if ready else None
        # A copy, lest a few frames keep a whole piece in memory.
        kept[index] = heard[..., used:].clone()
    return piece


def _heard(layer: Layer, piece: Piece | None, past: Piece | None, *, last: bool) -> Piece | None:
    """Return what a layer has not used up, with silence before the start and after the end."""
    some = piece if piece is not None else past
    if some is None:
        return None
    parts = [_silence(some, layer.behind) if past is None else past]
    if piece is not None:
        parts.append(piece)
    if last:
        parts.append(_silence(some, layer.ahead))
    return _joined(parts)


def _joined(parts: Sequence[Piece]) -> Piece:
    """Return stretches of a signal as one, frames before channels.

    As they lie, for of a single frame PyTorch cannot tell which comes first, and would turn all.
    """
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], dim=2).permute(0, 3, 1, 2)


def _silence(like: Piece, frames: int) -> Piece:
    made = like.new_zeros(like.shape[0], like.shape[1], 1, frames)
    return made.contiguous(memory_format=torch.channels_last)


def _encoder(block: EncoderBlock) -> Iterator[Layer]:
    for down, stack in zip(block.downs, block.stacks, strict=True):
        yield _down(_as(down, Down))
        yield from (_unit(_as(unit, ResidualUnit)) for unit in _as(stack, nn.Sequential))
    yield _conv(block.out)


def _decoder(block: DecoderBlock) -> Iterator[Layer]:
    yield _conv(block.enter)
    for stack, up in zip(block.stacks, block.ups, strict=True):
        yield from (_unit(_as(unit, ResidualUnit)) for unit in _as(stack, nn.Sequential))
        yield _up(_as(up, Up))


def _conv(layer: Conv) -> Layer:
    return Layer(*_reach(layer), 1, _convolution(layer.conv))


def _down(layer: Down) -> Layer:
    return Layer(*_reach(layer), layer.conv.stride[0], _convolution(layer.conv))


def _unit(layer: ResidualUnit) -> Layer:
    dilated, pointwise = _convolution(layer.dilated.conv), _convolution(layer.pointwise)
    run = partial(_refined, unit=layer, dilated=dilated, pointwise=pointwise)
    return Layer(*_reach(layer.dilated), 1, run)


def _convolution(conv: nn.Conv1d) -> Callable[[Piece], Piece]:
    weight = _frames_first(conv.weight.detach().unsqueeze(2))
    bias = None if conv.bias is None else conv.bias.detach()
    return partial(_convolved, conv=conv, weight=weight, bias=bias)


def _frames_first(weight: Tensor) -> Tensor:
    """Return weights as they lie in memory beside pieces, lest each call turn them round."""
    return weight.contiguous(memory_format=torch.channels_last)


def _up(layer: Up) -> Layer:
    ahead = 1 if _inside(layer.conv) else 0
    weight = _frames_first(_by_phase(layer.conv))
    run = partial(_widened, conv=layer.conv, weight=weight)
    return Layer(1, ahead, 1, run, layer.stride)


def _up_and_out(up: Up, out: Conv) -> Layer:
    """Return the last transposed convolution and the map to one channel after it as one step.

    A sample at phase r of a frame hears `out`'s last taps: phases r - 2, r - 1 and r, of which
    those below 0 belong to the frame before.
    """
    assert up.conv.bias is not None
    assert out.conv.bias is not None
    weights = _by_phase(up.conv).float().squeeze(2)
    by_phase = weights.reshape(up.stride, up.conv.out_channels, *weights.shape[1:])
    taps = out.conv.weight[0].float()
    made = by_phase.new_zeros(up.stride, up.conv.in_channels, 3)
    for phase in range(up.stride):
        for tap in range(taps.shape[1]):
            at = phase - 2 + tap
            heard = slice(0, 2) if at < 0 else slice(1, 3)
            reached = by_phase[at % up.stride]
            made[phase, :, heard] += (taps[:, tap, None, None] * reached).sum(0)
    bias = out.conv.bias + taps.sum(1) @ up.conv.bias.float()
    weight = _frames_first(made.unsqueeze(2).to(up.conv.weight.dtype))
    run = partial(_sampled, weight=weight, bias=bias.repeat(up.stride).to(weight.dtype))
    return Layer(2, 0, 1, run, up.stride)


def _sampled(heard: Piece, weight: Tensor, bias: Tensor) -> Piece:
    """Return `stride` samples for each input, in one channel."""
    return F.conv2d(heard, weight, bias).permute(0, 2, 3, 1).flatten(2).unsqueeze(1)


def _by_phase(conv: nn.ConvTranspose1d) -> Tensor:
    """Return a transposed convolution as an ordinary one that makes `stride` outputs at once.

    Output frame r of an input hears the input before, itself, and where padding lies within also
    the one after: each through the tap of the transposed kernel that reaches so far.
    """
    stride, inside = conv.stride[0], _inside(conv)
    inputs, outputs, kernel = conv.weight.shape
    made = conv.weight.new_zeros(stride, outputs, inputs, 3 if inside else 2)
    for phase in range(stride):
        for place in range(made.shape[-1]):
            tap = phase + inside - (place - 1) * stride
            if 0 <= tap < kernel:
                made[phase, :, :, place] = conv.weight[:, :, tap].t()
    return made.flatten(0, 1).unsqueeze(2)


def _reach(layer: Conv | Down) -> tuple[int, int]:
    """Return how many frames a kernel sees before and after its own."""
    behind, ahead = layer.padding
    return behind + _inside(layer.conv), ahead + _inside(layer.conv)


def _inside(conv: nn.Conv1d | nn.ConvTranspose1d) -> int:
    """Return the padding within a convolution, which is the same on both sides."""
    assert isinstance(conv.padding, tuple)
    return conv.padding[0]


def _convolved(heard: Piece, conv: nn.Conv1d, weight: Tensor, bias: Tensor | None) -> Piece:
    made = F.conv2d(heard, weight, bias, stride=(1, conv.stride[0]), dilation=(1, conv.dilation[0]))
    # Of one channel nobody can tell which lies first, so what is made of it is turned round here.
    return made.contiguous(memory_format=torch.channels_last)


def _refined(
    heard: Piece,
    unit: ResidualUnit,
    dilated: Callable[[Piece], Piece],
    pointwise: Callable[[Piece], Piece],
) -> Piece:
    behind, ahead = _reach(unit.dilated)
    hidden = F.relu_(dilated(F.relu(heard)))
    own = heard[..., behind : heard.shape[-1] - ahead]
    return torch.add(own, pointwise(hidden), alpha=unit.scale)


def _widened(heard: Piece, conv: nn.ConvTranspose1d, weight: Tensor) -> Piece:
    """Return `stride` outputs for each input that is heard with its neighbours."""
    assert conv.bias is not None
    stride = conv.stride[0]
    made = F.conv2d(heard, weight, conv.bias.repeat(stride))
    # Frames lie before channels, so the outputs of one input are already in order.
    frames_first = made.permute(0, 2, 3, 1)
    ordered = frames_first.reshape(made.shape[0], 1, -1, conv.out_channels)
    return ordered.permute(0, 3, 1, 2)


Kind = TypeVar("Kind", bound=nn.Module)


def _as(module: nn.Module, kind: type[Kind]) -> Kind:
    """Return a child of a container as what it was built as."""
    assert isinstance(module, kind)
    return module
