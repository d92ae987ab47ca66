"""Top-level codes straight to audio: the distilled stand-in for both upsamplers.

A small causal network reads codes and notes at the frame rate and says, for
each band, how loud three sources are. Tones are the harmonics of sounding
notes, by register, their phase a function of the absolute sample; notes that
nobody gave are heard out of the codes. Noise is noise. The third is the
codec's own decoding, in broad bands. What it sounds like it recalls from the
recorded section: each frame looks up spectra of the steps that were heard.
Same input, same samples, whatever the cut: every frame depends on a fixed
number of neighbours, and on the same memory.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from model.conditioning.embeddings import normalised
from model.conditioning.roll import CUES, PITCHES, PLAYED
from model.config import FinisherConfig
from model.listening import FEATURES
from model.tones import (
    BAND_EDGES_HZ,
    BANDS,
    REGISTERS,
    SAMPLE_RATE,
    band_filters,
    harmonic_frames,
    noise_frames,
)

Latents = Float[Tensor, "batch frames latents"]
Gates = Float[Tensor, "batch frames pitches"]
Signal = Float[Tensor, "batch width frames"]
Memory = Float[Tensor, "batch steps features"]

KERNEL = 7
RECALLS = 2
NOTE_LOOKAHEAD = 1
FILTER_LOOKAHEAD = 2
HEARD_FROM = 0.4
HEARD_LOUDNESS = 0.75


class Unit(nn.Module):
    """A depthwise convolution and two maps, added to the input."""

    def __init__(self, width: int, *, lookahead: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, KERNEL, groups=width)
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(3 * width, width)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.padding = (KERNEL - 1 - lookahead, lookahead)

    def forward(self, x: Signal) -> Signal:
        """Return the refined signal."""
        mixed = self.depthwise(F.pad(x, self.padding)).transpose(1, 2)
        return x + self.leave(F.gelu(self.enter(self.norm(mixed)))).transpose(1, 2)


class Recall(nn.Module):
    """Attention from frames to the steps of a recorded section, added to the input.

    An empty memory, and steps that are not `given`, leave one learnt answer.
    """

    def __init__(self, config: FinisherConfig) -> None:
        super().__init__()
        self.heads, inner = config.recall_heads, config.recall_width
        self.norm = nn.LayerNorm(config.width)
        self.query = nn.Linear(config.width, inner)
        self.read = nn.Sequential(
            nn.Linear(FEATURES, 2 * inner), nn.GELU(), nn.Linear(2 * inner, 2 * inner)
        )
        self.nothing = nn.Parameter(torch.zeros(2 * inner))
        self.leave = nn.Linear(inner, config.width)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self,
        x: Float[Tensor, "batch frames width"],
        memory: Memory,
        given: Bool[Tensor, "batch steps"],
    ) -> Float[Tensor, "batch frames width"]:
        """Return the frames, each with what it recalls."""
        pairs = torch.cat(
            [self.nothing.to(memory).expand(len(memory), 1, -1), self.read(memory)], dim=1
        )
        keys, values = (self._split(part) for part in pairs.chunk(2, dim=-1))
        sees = F.pad(given, (1, 0), value=True)[:, None, None]
        queries = self._split(self.query(self.norm(x)))
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=sees)
        return x + self.leave(mixed.transpose(1, 2).flatten(2))

    def _split(
        self, x: Float[Tensor, "batch any inner"]
    ) -> Float[Tensor, "batch heads any head_width"]:
        return x.reshape(len(x), x.shape[1], self.heads, -1).transpose(1, 2)


class Ear(nn.Module):
    """Codes to sounding pitches, for when no notes are given."""

    def __init__(self, config: FinisherConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(config.latent_width, config.note_width)
        self.units = nn.Sequential(
            *(
                Unit(config.note_width, lookahead=NOTE_LOOKAHEAD if index == 0 else 0)
                for index in range(config.note_depth)
            )
        )
        self.leave = nn.Linear(config.note_width, 128)
        nn.init.constant_(self.leave.bias, -4.0)

    def forward(self, latents: Latents) -> Gates:
        """Return a logit for each frame and pitch."""
        hidden = self.units(self.enter(latents).transpose(1, 2))
        return self.leave(hidden.transpose(1, 2))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """What the finisher makes a stretch of audio from."""

    codes: Int[Tensor, "batch frames"]
    played: Float[Tensor, "batch frames played"]
    """Features of `roll.played_of` or `played_by_ear`."""
    drawn: Bool[Tensor, "batch frames"]
    """Frames that a sampler made, which deserve less trust than heard ones."""
    decoded: Float[Tensor, "batch samples"] | None
    """The codec's decoding of the same frames; None where it is used nowhere."""
    trusted: Bool[Tensor, "batch frames"]
    """Where the decoding is used."""
    memory: Memory
    """`listening.step_spectra` of the recorded section."""
    remembered: Bool[Tensor, "batch steps"]
    """Which of its steps there are."""
    balance: Float[Tensor, "batch bins"] | None = None
    """What multiplies the amplitude of each bin in drawn frames."""


class Finisher(nn.Module):
    """The filter network around the tone and noise sources."""

    codebook: Tensor
    window: Tensor
    filters: Tensor

    def __init__(self, config: FinisherConfig, codebook_size: int = 2048) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("codebook", torch.zeros(codebook_size, config.latent_width))
        window = torch.hann_window(config.transform_samples).sqrt()
        self.register_buffer("window", window, persistent=False)
        bands = config.transform_samples // 2 + 1
        self.ear = Ear(config)
        self.register_buffer("filters", band_filters(), persistent=False)
        inputs = config.latent_width + PLAYED + 1 + REGISTERS * bands
        self.enter = nn.Linear(inputs, config.width)
        self.units = nn.Sequential(
            *(
                Unit(config.width, lookahead=FILTER_LOOKAHEAD if index == 0 else 0)
                for index in range(config.depth)
            )
        )
        self.recalls = nn.ModuleList([Recall(config) for _ in range(RECALLS)])
        self.norm = nn.LayerNorm(config.width)
        self.leave = nn.Linear(config.width, (REGISTERS + 1) * bands + BANDS)
        nn.init.normal_(self.leave.weight, std=0.01)
        nn.init.constant_(self.leave.bias, -2.0)

    def set_codebook(self, codebook: Float[Tensor, "codebook latents"]) -> None:
        """Take the codec's codebook, centred and scaled to unit variance."""
        self.codebook.copy_(normalised(codebook))

    @property
    def dtype(self) -> torch.dtype:
        """Return what ear, units and recalls compute in; sources and gains stay as they are."""
        return self.enter.weight.dtype

    def compute_in(self, dtype: torch.dtype) -> None:
        """Let ear, units and recalls compute in another precision."""
        for part in (self.ear, self.enter, self.units, self.recalls, self.norm, self.leave):
            part.to(dtype)

    def hear(self, codes: Int[Tensor, "batch frames"]) -> Gates:
        """Return a logit for each frame and pitch, from codes alone."""
        return self.ear(self.codebook[codes].to(self.dtype)).float()

    def forward(self, given: Material, first_frame: int) -> Float[Tensor, "batch samples"]:
        """Return `hop` samples for each code frame; the ends miss their outer neighbours.

        `first_frame` places the stretch on the anchor's grid, for phases.
        """
        size, hop = self.config.transform_samples, self.config.hop_samples
        tones = _spectrum(
            harmonic_frames(given.played[..., :PITCHES], first_frame, size=size, hop=hop)
            * self.window
        )
        noise = noise_frames(given.codes.shape[1], first_frame, size=size, hop=hop).to(self.window)
        loudness = (tones.abs() + 1e-4).log().movedim(1, 2).flatten(2)
        drawn = given.drawn.unsqueeze(-1).to(given.played)
        x = torch.cat([self.codebook[given.codes], given.played, drawn, loudness], dim=-1)
        x = self.norm(self._refined(self.enter(x.to(self.dtype)), given))
        gains = self._balanced(self.leave(x).float().clamp(-12, 6).exp(), given)
        bands = size // 2 + 1
        shape = *gains.shape[:2], REGISTERS + 1, bands
        by_source = gains[..., :-BANDS].reshape(shape).transpose(1, 2)
        spectrum = (tones * by_source[:, :REGISTERS]).sum(1)
        spectrum = spectrum + _spectrum(noise * self.window) * by_source[:, REGISTERS]
        made = self._overlap_add(_audio(spectrum, size) * self.window)
        if given.decoded is None:
            return made
        trust = given.trusted.unsqueeze(-1)
        return made + self._shaped(given.decoded, gains[..., -BANDS:] * trust)

    def _balanced(
        self, gains: Float[Tensor, "batch frames gains"], given: Material
    ) -> Float[Tensor, "batch frames gains"]:
        if given.balance is None:
            return gains
        edges = [round(e * self.config.transform_samples / SAMPLE_RATE) for e in BAND_EDGES_HZ]
        broad = [part.mean(1) for part in given.balance.tensor_split(edges, dim=1)]
        sources = given.balance.repeat(1, REGISTERS + 1)
        factors = torch.cat([sources, torch.stack(broad, dim=1)], dim=1).unsqueeze(1)
        return torch.where(given.drawn.unsqueeze(-1), gains * factors, gains)

    def _refined(
        self, x: Float[Tensor, "batch frames width"], given: Material
    ) -> Float[Tensor, "batch frames width"]:
        """Return what the units make of the frames; a recall before the first and in the middle."""
        turns = {index * (len(self.units) // RECALLS): index for index in range(RECALLS)}
        for index, unit in enumerate(self.units):
            if index in turns:
                memory = given.memory.to(x.dtype)
                x = self.recalls[turns[index]](x, memory, given.remembered)
            x = unit(x.transpose(1, 2)).transpose(1, 2)
        return x

    def _shaped(
        self, decoded: Float[Tensor, "batch samples"], gains: Float[Tensor, "batch frames bands"]
    ) -> Float[Tensor, "batch samples"]:
        """Return the decoding with each band's gain, linear between frame centres."""
        reach = self.filters.shape[-1] // 2
        bands = F.conv1d(F.pad(decoded, (reach, reach)).unsqueeze(1), self.filters)
        slopes = F.interpolate(
            gains.transpose(1, 2),
            scale_factor=self.config.hop_samples,
            mode="linear",
            align_corners=False,
        )
        return (bands * slopes).sum(1)

    def _overlap_add(
        self, frames: Float[Tensor, "batch frames transform"]
    ) -> Float[Tensor, "batch samples"]:
        size, hop = self.config.transform_samples, self.config.hop_samples
        count = frames.shape[1]
        length = (count - 1) * hop + size
        audio = F.fold(frames.transpose(1, 2), (1, length), (1, size), stride=(1, hop)).flatten(1)
        margin = (size - hop) // 2
        return audio[:, margin : margin + count * hop] * (2 * hop / size)


def _spectrum(frames: Float[Tensor, "*axes samples"]) -> Complex[Tensor, "*axes bins"]:
    return torch.fft.rfft(frames)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - torch types no FFT


def _audio(spectrum: Complex[Tensor, "*axes bins"], size: int) -> Float[Tensor, "*axes samples"]:
    return torch.fft.irfft(spectrum, size)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - torch types no FFT


def played_by_ear(heard: Gates) -> Float[Tensor, "batch frames played"]:
    """Return the pitches that the ear is sure enough of, their loudness a guess; hits unknown."""
    likely = heard.sigmoid()
    return F.pad(torch.where(likely > HEARD_FROM, HEARD_LOUDNESS * likely, 0.0), (0, CUES))
