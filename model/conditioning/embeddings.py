"""Conditions as vectors: one for the whole stretch, or one for each roll frame.

Everything is summed: a dropped condition is a learned "unknown". Published
label embeddings (paper section 4.2) live here too.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from model.conditioning.roll import ROLL_WIDTH
from model.conditioning.timing import Extents, timing_rows
from model.config import LabelConfig, PlayedConfig

UNKNOWN = 0
"""Row 0 of every table stands for "not said"."""


class LabelEmbedding(nn.Module):
    """The start vector: artist plus the sum of genres."""

    def __init__(self, config: LabelConfig, width: int) -> None:
        super().__init__()
        self.artist = nn.Embedding(config.artists, width)
        self.genre = nn.Embedding(config.genres, width)
        for table in (self.artist, self.genre):
            nn.init.normal_(table.weight, std=0.01)

    def forward(
        self, artist: Int[Tensor, " batch"], genres: Int[Tensor, "batch slots"]
    ) -> Float[Tensor, "batch width"]:
        """Return one vector an item; a genre slot of -1 adds nothing."""
        used = (genres >= 0).unsqueeze(-1)
        return self.artist(artist) + (self.genre(genres.clamp(min=0)) * used).sum(1)


class TimingEmbedding(nn.Module):
    """Total length, absolute and relative position: three tables, summed."""

    def __init__(self, config: LabelConfig, width: int) -> None:
        super().__init__()
        self.config = config
        bins = config.timing_bins
        self.total = nn.Embedding(bins, width)
        self.absolute = nn.Embedding(bins, width)
        self.relative = nn.Embedding(bins, width)
        for table in (self.total, self.absolute, self.relative):
            nn.init.normal_(table.weight, std=0.01)

    def forward(
        self,
        total: Float[Tensor, "batch frames"],
        position: Float[Tensor, "batch frames"],
    ) -> Float[Tensor, "batch frames width"]:
        """Return vectors for positions in samples; a total of 0 or less means not said."""
        low, high = (bound * self.config.sample_rate for bound in self.config.seconds)
        known = (total > 0).unsqueeze(-1)
        rows = (
            self.total(self._row((total - low) / (high - low))),
            self.absolute(self._row(position / high)),
            self.relative(self._row(position / total.clamp(min=1))),
        )
        return sum(rows[1:], rows[0]) * known

    def window(self, extents: Extents, frames: int) -> Float[Tensor, "batch frames width"]:
        """Return the vectors of a published window's frames.

        Raises:
            WindowError: The tables do not cover a window (`timing.timing_rows`).
        """
        rows = timing_rows(self.config, extents, frames)
        return self.total(rows.total) + self.absolute(rows.absolute) + self.relative(rows.relative)

    def _row(self, share: Float[Tensor, "batch frames"]) -> Int[Tensor, "batch frames"]:
        bins = self.config.timing_bins
        return (share * bins).floor().long().clamp(0, bins - 1)


class RollEmbedding(nn.Module):
    """Note features to width; frames of which nothing is known get one learned vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.notes = nn.Linear(ROLL_WIDTH, width)
        self.unknown = nn.Parameter(torch.randn(width) * 0.02)

    def forward(
        self,
        roll: Float[Tensor, "batch frames features"],
        known: Bool[Tensor, "batch frames"],
    ) -> Float[Tensor, "batch frames width"]:
        """Return one vector a roll frame."""
        return torch.where(known.unsqueeze(-1), self.notes(roll), self.unknown)


class StemEmbedding(nn.Module):
    """Latents of given stems, plus what kind each is; and what kind the result shall be."""

    def __init__(self, latents: int, width: int, kinds: int) -> None:
        super().__init__()
        self.latents = nn.Linear(latents, width)
        self.kind = nn.Embedding(kinds, width)
        self.target = nn.Embedding(kinds, width)
        for table in (self.kind, self.target):
            nn.init.normal_(table.weight, std=0.02)

    def forward(
        self,
        stems: Float[Tensor, "batch kinds frames latents"],
        given: Bool[Tensor, "batch kinds frames"],
        target: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch frames width"]:
        """Return the sum over given stems, and the target's vector everywhere."""
        kinds = self.kind.weight[None, :, None]
        heard = ((self.latents(stems) + kinds) * given.unsqueeze(-1)).sum(1)
        return heard + self.target(target).unsqueeze(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameInputs:
    """All conditions of a stretch, one entry a roll frame ("group").

    `stems` holds latents of the codec's normalised codebook; positions and
    totals are samples, a total of 0 is not said.
    """

    artist: Int[Tensor, " batch"]
    genre: Int[Tensor, "batch slots"]
    target: Int[Tensor, " batch"]
    total: Float[Tensor, "batch groups"]
    position: Float[Tensor, "batch groups"]
    roll: Float[Tensor, "batch groups features"]
    roll_known: Bool[Tensor, "batch groups"]
    stems: Float[Tensor, "batch kinds groups latents"]
    stems_given: Bool[Tensor, "batch kinds groups"]


class FrameConditions(nn.Module):
    """The sum of labels, timing, notes and stems as one vector a roll frame."""

    def __init__(self, labels: LabelConfig, width: int, *, latents: int, stem_kinds: int) -> None:
        super().__init__()
        self.labels = LabelEmbedding(labels, width)
        self.timing = TimingEmbedding(labels, width)
        self.roll = RollEmbedding(width)
        self.stems = StemEmbedding(latents, width, stem_kinds)

    def forward(self, inputs: FrameInputs) -> Float[Tensor, "batch groups width"]:
        """Return one vector a roll frame."""
        return (
            self.labels(inputs.artist, inputs.genre).unsqueeze(1)
            + self.timing(inputs.total, inputs.position)
            + self.roll(inputs.roll, inputs.roll_known)
            + self.stems(inputs.stems, inputs.stems_given, inputs.target)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedInputs:
    """Notes and stems of a window; a stem code of -1 stands where there is no stem."""

    target: Int[Tensor, " batch"]
    roll: Float[Tensor, "batch groups features"]
    roll_known: Bool[Tensor, "batch groups"]
    stems: Int[Tensor, "batch kinds frames"]

    def to(self, device: torch.device) -> "PlayedInputs":
        """Return the same on a device."""
        return PlayedInputs(
            target=self.target.to(device),
            roll=self.roll.to(device),
            roll_known=self.roll_known.to(device),
            stems=self.stems.to(device),
        )


class PlayedConditions(nn.Module):
    """Notes, stems and the part wanted as one vector a code, for a prior of published kind."""

    codebook: Tensor

    def __init__(self, config: PlayedConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.roll = RollEmbedding(width)
        self.stems = StemEmbedding(config.latent_width, width, config.stem_kinds)
        self.register_buffer("codebook", torch.zeros(config.codebook_size, config.latent_width))

    def set_codebook(self, codebook: Float[Tensor, "codebook latents"]) -> None:
        """Read stems by a codec's own codebook."""
        self.codebook.copy_(normalised(codebook))

    def forward(self, inputs: PlayedInputs) -> Float[Tensor, "batch frames width"]:
        """Return one vector a code."""
        notes = self.roll(inputs.roll, inputs.roll_known)
        notes = notes.repeat_interleave(self.config.roll_frames, 1)[:, : inputs.stems.shape[-1]]
        latents = self.codebook[inputs.stems.clamp(min=0)]
        return notes + self.stems(latents, inputs.stems >= 0, inputs.target)


def normalised(
    codebook: Float[Tensor, "codebook latents"],
) -> Float[Tensor, "codebook latents"]:
    """Return the codebook centred and scaled to unit variance, as students read it."""
    centred = codebook - codebook.mean(0)
    return centred / centred.std().clamp(min=1e-6)
