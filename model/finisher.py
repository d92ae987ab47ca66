"""Top-level codes straight to audio: the distilled stand-in for both upsamplers.

A small causal network reads codes and notes at the frame rate and says, for
each band, how loud tones and noise are. Tones are the harmonics of sounding
notes, their phase a function of the absolute sample; notes that nobody gave
are heard out of the codes. Same input, same samples, whatever the cut: every
frame depends on a fixed number of neighbours.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from model.conditioning.embeddings import normalised
from model.config import FinisherConfig
from model.tones import harmonic_frames, noise_frames

Latents = Float[Tensor, "batch frames latents"]
Gates = Float[Tensor, "batch frames pitches"]
Signal = Float[Tensor, "batch width frames"]

KERNEL = 7
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


class Finisher(nn.Module):
    """The filter network around the tone and noise sources."""

    codebook: Tensor
    window: Tensor

    def __init__(self, config: FinisherConfig, codebook_size: int = 2048) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("codebook", torch.zeros(codebook_size, config.latent_width))
        window = torch.hann_window(config.transform_samples).sqrt()
        self.register_buffer("window", window, persistent=False)
        bands = config.transform_samples // 2 + 1
        self.ear = Ear(config)
        self.enter = nn.Linear(config.latent_width + 128 + bands, config.width)
        self.units = nn.Sequential(
            *(
                Unit(config.width, lookahead=FILTER_LOOKAHEAD if index == 0 else 0)
                for index in range(config.depth)
            )
        )
        self.norm = nn.LayerNorm(config.width)
        self.leave = nn.Linear(config.width, 2 * bands)
        nn.init.normal_(self.leave.weight, std=0.01)
        nn.init.constant_(self.leave.bias, -2.0)

    def set_codebook(self, codebook: Float[Tensor, "codebook latents"]) -> None:
        """Take the codec's codebook, centred and scaled to unit variance."""
        self.codebook.copy_(normalised(codebook))

    def hear(self, codes: Int[Tensor, "batch frames"]) -> Gates:
        """Return a logit for each frame and pitch, from codes alone."""
        return self.ear(self.codebook[codes])

    def forward(
        self, codes: Int[Tensor, "batch frames"], gates: Gates, first_frame: int
    ) -> Float[Tensor, "batch frames transform"]:
        """Return one windowed frame of audio for each code frame, to be overlap-added.

        Frame t, of `transform_samples`, is centred on the middle of code frame
        t; `first_frame` places the stretch on the anchor's grid, for phases.
        """
        size, hop = self.config.transform_samples, self.config.hop_samples
        tones = harmonic_frames(gates, first_frame, size=size, hop=hop)
        tone_spectrum = torch.fft.rfft(tones * self.window)
        noise = noise_frames(codes.shape[1], first_frame, size=size, hop=hop).to(tones)
        noise_spectrum = torch.fft.rfft(noise * self.window)
        loudness = (tone_spectrum.abs() + 1e-4).log()
        x = self.enter(torch.cat([self.codebook[codes], gates, loudness], dim=-1))
        x = self.norm(self.units(x.transpose(1, 2)).transpose(1, 2))
        tone_gain, noise_gain = self.leave(x).float().clamp(-12, 6).exp().chunk(2, dim=-1)
        spectrum = tone_spectrum * tone_gain + noise_spectrum * noise_gain
        return torch.fft.irfft(spectrum, size) * self.window

    def overlap_add(
        self, frames: Float[Tensor, "batch frames transform"]
    ) -> Float[Tensor, "batch samples"]:
        """Return `hop` samples for each frame; the ends miss their outer neighbours."""
        size, hop = self.config.transform_samples, self.config.hop_samples
        count = frames.shape[1]
        length = (count - 1) * hop + size
        audio = F.fold(frames.transpose(1, 2), (1, length), (1, size), stride=(1, hop)).flatten(1)
        margin = (size - hop) // 2
        return audio[:, margin : margin + count * hop] * (2 * hop / size)


def gates_heard(heard: Gates) -> Gates:
    """Return amplitudes for pitches that the ear is sure enough of; their loudness is a guess."""
    likely = heard.sigmoid()
    return torch.where(likely > HEARD_FROM, HEARD_LOUDNESS * likely, 0.0)
