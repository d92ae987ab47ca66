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
Signal = Float[Tensor, "batch _ width"]
"""Frames, of which a unit may skip some."""
Memory = Float[Tensor, "batch steps features"]
Pairs = Float[Tensor, "batch steps_and_nothing pair"]

KERNEL = 7
RECALLS = 2
WINDOWS_REACH = 2
"""Frames on each side whose windows reach into a frame's own samples."""
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

    def forward(self, x: Signal, skipped: int = 0) -> Signal:
        """Return the refined frames; of the first ones `skipped`, which are only looked at."""
        behind, ahead = self.padding
        padded = F.pad(x, (0, 0, behind - skipped, ahead))
        # Frames lie before channels, as the maps want them, so the convolution has a second axis.
        seen = padded.transpose(1, 2).unsqueeze(2)
        weight, bias = self.depthwise.weight.unsqueeze(2), self.depthwise.bias
        mixed = F.conv2d(seen, weight, bias, groups=len(weight)).squeeze(2).transpose(1, 2)
        return x[:, skipped:] + self.leave(F.gelu(self.enter(self.norm(mixed))))


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
        pairs: Pairs,
        given: Bool[Tensor, "batch steps"] | None,
    ) -> Float[Tensor, "batch frames width"]:
        """Return the frames, each with what it recalls; all steps are given if none is named."""
        keys, values = (self._split(part) for part in pairs.chunk(2, dim=-1))
        sees = None if given is None else F.pad(given, (1, 0), value=True)[:, None, None]
        queries = self._split(self.query(self.norm(x)))
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=sees)
        return x + self.leave(mixed.transpose(1, 2).flatten(2))

    def pairs(self, memory: Memory) -> Pairs:
        """Return keys and values side by side: of the learnt answer, then of each step."""
        nothing = self.nothing.to(memory).expand(len(memory), 1, -1)
        return torch.cat([nothing, self.read(memory)], dim=1)

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
        return self.leave(self.units(self.enter(latents)))


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
    memory: Memory | tuple[Pairs, ...]
    """`listening.step_spectra` of the recorded section, or what `Finisher.read` made of it."""
    remembered: Bool[Tensor, "batch steps"] | None
    """Which of its steps there are; None: all."""
    balance: Float[Tensor, "batch bins"] | None = None
    """What multiplies the amplitude of each bin in drawn frames."""
    wanted: tuple[int, int] | None = None
    """The frames whose samples are wanted, first and end; None: all."""


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

    def read(self, memory: Memory) -> tuple[Pairs, ...]:
        """Return what a memory gives to recall; the same for every stretch that recalls it."""
        memory = memory.to(self.dtype)
        return tuple(recall.pairs(memory) for recall in self._recalls())

    def forward(self, given: Material, first_frame: int) -> Float[Tensor, "batch samples"]:
        """Return `hop` samples for each frame wanted; the ends miss their outer neighbours.

        `first_frame` places the stretch on the anchor's grid, for phases.
        """
        hop, frames = self.config.hop_samples, given.codes.shape[1]
        first, end = given.wanted or (0, frames)
        kept = max(0, first - WINDOWS_REACH), min(frames, end + WINDOWS_REACH)
        tones = self._tones(given, first_frame)
        gains = self._gains(tones, given, kept)
        made = self._sounded(tones[:, :, slice(*kept)], gains, first_frame + kept[0])
        if given.decoded is not None:
            trust = given.trusted[:, slice(*kept)].unsqueeze(-1)
            decoded = given.decoded[:, kept[0] * hop : kept[1] * hop]
            made = made + self._shaped(decoded, gains[..., -BANDS:] * trust)
        return made[:, (first - kept[0]) * hop : (end - kept[0]) * hop]

    def _tones(
        self, given: Material, first_frame: int
    ) -> Complex[Tensor, "batch registers frames bins"]:
        size, hop = self.config.transform_samples, self.config.hop_samples
        frames = harmonic_frames(given.played[..., :PITCHES], first_frame, size=size, hop=hop)
        return _spectrum(frames * self.window)

    def _gains(
        self,
        tones: Complex[Tensor, "batch registers frames bins"],
        given: Material,
        kept: tuple[int, int],
    ) -> Float[Tensor, "batch kept gains"]:
        """Return every source's amplitudes in the frames that are kept."""
        magnitude = (tones.real.square() + tones.imag.square()).sqrt()
        loudness = (magnitude + 1e-4).log().movedim(1, 2).flatten(2)
        drawn = given.drawn.unsqueeze(-1).to(given.played)
        x = torch.cat([self.codebook[given.codes], given.played, drawn, loudness], dim=-1)
        x = self.norm(self._refined(self.enter(x.to(self.dtype)), given, kept))
        gains = self.leave(x).float().clamp(-12, 6).exp()
        return self._balanced(gains, given.drawn[:, slice(*kept)], given.balance)

    def _sounded(
        self,
        tones: Complex[Tensor, "batch registers kept bins"],
        gains: Float[Tensor, "batch kept gains"],
        first_frame: int,
    ) -> Float[Tensor, "batch samples"]:
        """Return tones and noise, each with its gains."""
        size, hop = self.config.transform_samples, self.config.hop_samples
        shape = *gains.shape[:2], REGISTERS + 1, size // 2 + 1
        by_source = gains[..., :-BANDS].reshape(shape).transpose(1, 2)
        noise = noise_frames(gains.shape[1], first_frame, size=size, hop=hop).to(self.window)
        spectrum = (tones * by_source[:, :REGISTERS]).sum(1)
        spectrum = spectrum + _spectrum(noise * self.window) * by_source[:, REGISTERS]
        return self._overlap_add(_audio(spectrum, size) * self.window)

    def _balanced(
        self,
        gains: Float[Tensor, "batch kept gains"],
        drawn: Bool[Tensor, "batch kept"],
        balance: Float[Tensor, "batch bins"] | None,
    ) -> Float[Tensor, "batch kept gains"]:
        if balance is None:
            return gains
        edges = [round(e * self.config.transform_samples / SAMPLE_RATE) for e in BAND_EDGES_HZ]
        broad = [part.mean(1) for part in balance.tensor_split(edges, dim=1)]
        sources = balance.repeat(1, REGISTERS + 1)
        factors = torch.cat([sources, torch.stack(broad, dim=1)], dim=1).unsqueeze(1)
        return torch.where(drawn.unsqueeze(-1), gains * factors, gains)

    def _refined(
        self, x: Float[Tensor, "batch frames width"], given: Material, kept: tuple[int, int]
    ) -> Float[Tensor, "batch kept width"]:
        """Return what the units make of the frames; a recall before the first and in the middle.

        Frames before the kept ones are refined only as far as later units look at them.
        """
        memory = self.read(given.memory) if isinstance(given.memory, Tensor) else given.memory
        turns = {index * (len(self.units) // RECALLS): index for index in range(RECALLS)}
        spare = min(kept[0], sum(unit.padding[0] for unit in self._units()))
        x = x[:, kept[0] - spare :]
        for index, unit in enumerate(self._units()):
            if index in turns:
                turn = turns[index]
                x = self._recalls()[turn](x, memory[turn], given.remembered)
            skipped = min(spare, unit.padding[0])
            spare -= skipped
            # Only the first unit looks ahead: what lies there is needed no more.
            x = unit(x, skipped)[:, : spare + kept[1] - kept[0]]
        return x

    def _units(self) -> list[Unit]:
        return [unit for unit in self.units if isinstance(unit, Unit)]

    def _recalls(self) -> list[Recall]:
        return [recall for recall in self.recalls if isinstance(recall, Recall)]

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
        count, parts = frames.shape[1], size // hop
        pieces = frames.reshape(len(frames), count, parts, hop)
        audio = frames.new_zeros(len(frames), count + parts - 1, hop)
        for part in range(parts):
            audio[:, part : part + count] += pieces[:, :, part]
        margin = (size - hop) // 2
        return audio.flatten(1)[:, margin : margin + count * hop] * (2 * hop / size)


def _spectrum(frames: Float[Tensor, "*axes samples"]) -> Complex[Tensor, "*axes bins"]:
    return torch.fft.rfft(frames)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - torch types no FFT


def _audio(spectrum: Complex[Tensor, "*axes bins"], size: int) -> Float[Tensor, "*axes samples"]:
    return torch.fft.irfft(spectrum, size)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - torch types no FFT


def played_by_ear(heard: Gates) -> Float[Tensor, "batch frames played"]:
    """Return the pitches that the ear is sure enough of, their loudness a guess; hits unknown."""
    likely = heard.sigmoid()
    return F.pad(torch.where(likely > HEARD_FROM, HEARD_LOUDNESS * likely, 0.0), (0, CUES))
