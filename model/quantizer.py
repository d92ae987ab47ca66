"""The bottleneck: latents to codes and back, and how codebooks are learnt.

A codebook is a buffer moved by running means of the latents that chose each
row; rows that fall out of use restart from latents of the batch (paper
section 3, appendix A). Knows nothing of audio.
"""

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
        """Return the nearest row of each latent, by squared distance in float32."""
        flat = latents.float().movedim(1, -1)
        rows = self.codebook.t()
        distance = flat.square().sum(-1, keepdim=True) - 2 * (flat @ rows) + rows.square().sum(0)
        return distance.argmin(-1)

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
def update_codebook(
    quantizer: Quantizer,
    latents: Float[Tensor, "batch width frames"],
    codes: Int[Tensor, "batch frames"],
    generator: torch.Generator,
    decay: float = 0.99,
    threshold: float = 1.0,
) -> int:
    """Move rows towards the latents that chose them; return how many rows restarted.

    A row restarts when fewer than `threshold` latents a batch choose it, as a
    running mean; small batches need a threshold below the published 1.0. A
    restart overwrites the row alone: its running sum and count keep decaying.
    """
    flat = latents.float().movedim(1, -1).flatten(0, 1)
    chosen = codes.flatten()
    size = quantizer.codebook.shape[0]
    counts = torch.bincount(chosen, minlength=size).to(flat)
    sums = torch.zeros_like(quantizer.sums).index_add_(0, chosen, flat)
    quantizer.counts.mul_(decay).add_(counts, alpha=1 - decay)
    quantizer.sums.mul_(decay).add_(sums, alpha=1 - decay)
    alive = quantizer.counts >= threshold
    means = quantizer.sums / quantizer.counts.clamp(min=1e-8).unsqueeze(1)
    fresh = _enough(flat, size, generator)
    quantizer.codebook.copy_(torch.where(alive.unsqueeze(1), means, fresh))
    return int((~alive).sum())


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
