"""Audio to codes and back: the three-level VQ-VAE (paper section 3).

Levels share nothing. Published models pad both sides of every convolution; a
streaming codec pads the past, save for one centred unit a stack, so that its
look-ahead is a number. Knows nothing of time beyond frames.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import BlockConfig, CodecConfig
from model.quantizer import Quantizer

Signal = Float[Tensor, "batch inputs frames"]
SameFrames = Float[Tensor, "batch outputs frames"]
Slower = Float[Tensor, "batch outputs slower_frames"]
Faster = Float[Tensor, "batch outputs faster_frames"]
Latents = Float[Tensor, "batch latents frames"]
MonoBatch = Float[Tensor, "batch samples"]
Codes = Int[Tensor, "batch frames"]


class Conv(nn.Module):
    """A convolution of kernel 3 that keeps the length.

    A streaming one sees nothing ahead, unless it is centred. Published ones pad
    within the convolution: sums are rounded as they were in training.
    """

    def __init__(
        self, inputs: int, outputs: int, *, streams: bool, dilation: int = 1, centred: bool = False
    ) -> None:
        super().__init__()
        inside = 0 if streams else dilation
        self.conv = nn.Conv1d(inputs, outputs, 3, dilation=dilation, padding=inside)
        around = (dilation, dilation) if centred else (2 * dilation, 0)
        self.padding = around if streams else (0, 0)

    def forward(self, signal: Signal) -> SameFrames:
        """Return the filtered signal."""
        return self.conv(_padded(signal, self.padding))


class ResidualUnit(nn.Module):
    """x + scale * pointwise(relu(dilated(relu(x))))."""

    def __init__(
        self, width: int, hidden: int, *, dilation: int, streams: bool, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.dilated = Conv(
            width, hidden, streams=streams, dilation=dilation, centred=dilation == 1
        )
        self.pointwise = nn.Conv1d(hidden, width, 1)
        self.scale = scale

    def forward(self, signal: Signal) -> Signal:
        """Return the refined signal."""
        return signal + self.scale * self.pointwise(F.relu(self.dilated(F.relu(signal))))


def residual_stack(block: BlockConfig, *, streams: bool, reverse: bool) -> nn.Sequential:
    """Return `depth` units of growing (decoder: shrinking) dilation."""
    dilations = list(block.dilations())
    if reverse:
        dilations.reverse()
    return nn.Sequential(
        *(
            ResidualUnit(
                block.width,
                int(block.multiplier * block.width),
                dilation=dilation,
                streams=streams,
                scale=block.residual_scale(),
            )
            for dilation in dilations
        )
    )


class Down(nn.Module):
    """A strided convolution of kernel 2 * stride; streaming, it ends with its own frame."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, streams: bool) -> None:
        super().__init__()
        inside = 0 if streams else stride // 2
        self.conv = nn.Conv1d(inputs, outputs, 2 * stride, stride, inside)
        self.padding = (stride, 0) if streams else (0, 0)

    def forward(self, signal: Signal) -> Slower:
        """Return one output for each `stride` inputs."""
        return self.conv(_padded(signal, self.padding))


class Up(nn.Module):
    """A transposed convolution of kernel 2 * stride; streaming, it reaches into the past alone."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, streams: bool) -> None:
        super().__init__()
        inside = 0 if streams else stride // 2
        self.conv = nn.ConvTranspose1d(inputs, outputs, 2 * stride, stride, inside)
        self.stride = stride

    def forward(self, signal: Signal) -> Faster:
        """Return `stride` outputs for each input."""
        length = signal.shape[-1] * self.stride
        return self.conv(signal)[..., :length]


def _padded(signal: Signal, padding: tuple[int, int]) -> Float[Tensor, "batch inputs _"]:
    return F.pad(signal, padding) if any(padding) else signal


class EncoderBlock(nn.Module):
    """Strided convolutions, each followed by a residual stack, then a map to latent width."""

    def __init__(self, block: BlockConfig, inputs: int, latent: int, *, streams: bool) -> None:
        super().__init__()
        self.downs = nn.ModuleList(
            Down(inputs if turn == 0 else block.width, block.width, block.stride, streams=streams)
            for turn in range(block.repeats)
        )
        self.stacks = nn.ModuleList(
            residual_stack(block, streams=streams, reverse=False) for _ in range(block.repeats)
        )
        self.out = Conv(block.width, latent, streams=streams)

    def forward(self, signal: Signal) -> Slower:
        """Return latents, `hop` times slower."""
        for down, stack in zip(self.downs, self.stacks, strict=True):
            signal = stack(down(signal))
        return self.out(signal)


class DecoderBlock(nn.Module):
    """The encoder block's mirror; also the body of an upsampler's conditioner."""

    def __init__(self, block: BlockConfig, inputs: int, outputs: int, *, streams: bool) -> None:
        super().__init__()
        self.enter = Conv(inputs, block.width, streams=streams, centred=True)
        self.stacks = nn.ModuleList(
            residual_stack(block, streams=streams, reverse=not block.decoder_widens)
            for _ in range(block.repeats)
        )
        last = block.repeats - 1
        self.ups = nn.ModuleList(
            Up(
                block.width,
                outputs if turn == last else block.width,
                block.stride,
                streams=streams,
            )
            for turn in range(block.repeats)
        )

    def forward(self, signal: Signal) -> Faster:
        """Return the signal `hop` times faster."""
        signal = self.enter(signal)
        for stack, up in zip(self.stacks, self.ups, strict=True):
            signal = up(stack(signal))
        return signal


class Level(nn.Module):
    """One level: encoder, codebook, decoder."""

    def __init__(self, config: CodecConfig, level: int) -> None:
        super().__init__()
        blocks, latent = config.levels[level], config.latent_width
        self.hop = config.hop(level)
        self.encoder = nn.ModuleList(
            EncoderBlock(block, 1 if index == 0 else latent, latent, streams=config.streams)
            for index, block in enumerate(blocks)
        )
        self.decoder = nn.ModuleList(
            DecoderBlock(block, latent, latent, streams=config.streams)
            for block in reversed(blocks)
        )
        self.out = Conv(latent, 1, streams=config.streams)
        self.quantizer = Quantizer(config.codebook_size, latent)

    def latents(self, audio: MonoBatch) -> Latents:
        """Return latents before quantisation; samples beyond whole frames are dropped."""
        whole = audio.shape[-1] // self.hop * self.hop
        signal = audio[:, None, :whole].to(self.dtype)
        for block in self.encoder:
            signal = block(signal)
        return signal

    def render(self, latents: Latents) -> MonoBatch:
        """Return audio from quantised latents, `hop` samples a frame."""
        signal = latents.to(self.dtype)
        for block in self.decoder:
            signal = block(signal)
        return self.out(signal)[:, 0]

    @property
    def dtype(self) -> torch.dtype:
        """Return what the convolutions compute in; the codebook stays in single precision."""
        return self.out.conv.weight.dtype

    def compute_in(self, dtype: torch.dtype) -> None:
        """Let the convolutions compute in another precision."""
        for part in (self.encoder, self.decoder, self.out):
            part.to(dtype)

    def encode(self, audio: MonoBatch) -> Codes:
        """Return the codes of whole frames."""
        return self.quantizer.encode(self.latents(audio))

    def decode(self, codes: Codes) -> MonoBatch:
        """Return audio, `hop` samples a code."""
        return self.render(self.quantizer.decode(codes))


class Codec(nn.Module):
    """All levels."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList(Level(config, level) for level in range(len(config.levels)))

    def level(self, index: int) -> Level:
        """Return one level; 0 is the finest."""
        level = self.levels[index]
        assert isinstance(level, Level)
        return level
