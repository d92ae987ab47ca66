"""The bottleneck: latents to codes and back, and how codebooks are learnt.

A codebook is a buffer moved by running means of the latents that chose each
row; rows that fall out of use restart from latents of the batch (paper
section 3, appendix A). Knows nothing of audio.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Quantizer(nn.Module):
    """One level's codebook."""

    codebook: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, codebook_size: int, latent_width: int) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.zeros(codebook_size, latent_width))
        self.register_buffer("sums", torch.zeros(codebook_size, latent_width), persistent=False)
        self.register_buffer("counts", torch.zeros(codebook_size), persistent=False)

    def encode(self, latents: Float[Tensor, "batch width frames"]) -> Int[Tensor, "batch frames"]:
        """Return the nearest row of each latent, by squared distance in float32.

        A latent's own square is left out: it is the same for every row.
        """
        flat = latents.float().movedim(1, -1)
        squares = self.codebook.square().sum(-1)
        distance = torch.addmm(squares, flat.flatten(0, 1), self.codebook.t(), alpha=-2)
        return distance.argmin(-1).view(flat.shape[:2])

    def decode(self, codes: Int[Tensor, "batch frames"]) -> Float[Tensor, "batch width frames"]:
        """Return the codebook rows of the codes."""
        return self.codebook[codes].movedim(-1, 1)

    def straight_through(
        self, latents: Float[Tensor, "batch width frames"]
    ) -> tuple[Float[Tensor, "batch width frames"], Float[Tensor, ""], Int[Tensor, "batch frames"]]:
        """Return quantised latents that pass gradients on, the commitment loss, and the codes."""
        codes = self.encode(latents)
        chosen = self.decode(codes).to(latents.dtype)
        commitment = (latents - chosen.detach()).square().mean()
        return latents + (chosen - latents).detach(), commitment, codes


@torch.no_grad()
def start_codebook(
    quantizer: Quantizer, latents: Float[Tensor, "batch width frames"], generator: torch.Generator
) -> None:
    """Fill the codebook with randomly chosen latents; too few are tiled with a little noise."""
    flat = latents.float().movedim(1, -1).flatten(0, 1)
    rows = _enough(flat, quantizer.codebook.shape[0], generator)
    quantizer.codebook.copy_(rows)
    quantizer.sums.copy_(rows)
    quantizer.counts.fill_(1.0)


@torch.no_grad()
def restore_codebook(quantizer: Quantizer, latents_per_row: float) -> None:
    """Set the running means of a codebook that was loaded without them.

    Every row counts as chosen by `latents_per_row` latents a batch: the
    published training takes a clip's codes times the processes, over the rows.
    """
    quantizer.sums.copy_(quantizer.codebook * latents_per_row)
    quantizer.counts.fill_(latents_per_row)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """How one batch used a codebook; processes add counts and sums and share one `fresh`."""

    counts: Float[Tensor, " rows"]
    sums: Float[Tensor, "rows width"]
    fresh: Float[Tensor, "rows width"]
    """Randomly chosen latents, for rows that restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodebookFigures:
    """How well a codebook is used, as the published training reports it."""

    entropy: float
    """Of the codes of the batch, in nats."""
    used: int
    """Rows chosen at least `threshold` times in the batch."""
    alive: int
    """Rows whose running count reaches the threshold; the others restarted."""
    moved: float
    """Root mean square of what the codebook moved by."""


@torch.no_grad()
def tally(
    quantizer: Quantizer,
    latents: Float[Tensor, "batch width frames"],
    codes: Int[Tensor, "batch frames"],
    generator: torch.Generator,
) -> Tally:
    """Return how a batch used the codebook that its codes were taken with."""
    flat = latents.float().movedim(1, -1).flatten(0, 1)
    chosen = codes.flatten()
    size = quantizer.codebook.shape[0]
    return Tally(
        counts=torch.bincount(chosen, minlength=size).to(flat),
        sums=torch.zeros_like(quantizer.sums).index_add_(0, chosen, flat),
        fresh=_enough(flat, size, generator),
    )


@torch.no_grad()
def move_codebook(
    quantizer: Quantizer, used: Tally, decay: float = 0.99, threshold: float = 1.0
) -> CodebookFigures:
    """Move rows towards the latents that chose them.

    A row restarts when fewer than `threshold` latents a batch choose it, as a
    running mean; small batches need a threshold below the published 1.0. A
    restart overwrites the row alone: its running sum and count keep decaying.
    """
    quantizer.counts.mul_(decay).add_(used.counts, alpha=1 - decay)
    quantizer.sums.mul_(decay).add_(used.sums, alpha=1 - decay)
    alive = quantizer.counts >= threshold
    means = quantizer.sums / quantizer.counts.clamp(min=1e-8).unsqueeze(1)
    moved = torch.where(alive.unsqueeze(1), means, used.fresh)
    change = (moved - quantizer.codebook).square().mean().sqrt()
    quantizer.codebook.copy_(moved)
    share = used.counts / used.counts.sum()
    return CodebookFigures(
        entropy=-float((share * (share + 1e-8).log()).sum()),
        used=int((used.counts >= threshold).sum()),
        alive=int(alive.sum()),
        moved=float(change),
    )


def update_codebook(
    quantizer: Quantizer,
    latents: Float[Tensor, "batch width frames"],
    codes: Int[Tensor, "batch frames"],
    generator: torch.Generator,
    decay: float = 0.99,
    threshold: float = 1.0,
) -> int:
    """Move a codebook by one batch (`move_codebook`); return how many rows restarted."""
    used = tally(quantizer, latents, codes, generator)
    figures = move_codebook(quantizer, used, decay, threshold)
    return quantizer.codebook.shape[0] - figures.alive


def _enough(
    flat: Float[Tensor, "latents width"], size: int, generator: torch.Generator
) -> Float[Tensor, "size width"]:
    if flat.shape[0] < size:
        repeats = -(-size // flat.shape[0])
        flat = flat.repeat(repeats, 1)
        noise = torch.randn(flat.shape, generator=generator, dtype=flat.dtype).to(flat.device)
        flat = flat + noise * (0.01 / flat.shape[1] ** 0.5)
    order = torch.randperm(flat.shape[0], generator=generator)[:size]
    return flat[order.to(flat.device)]
