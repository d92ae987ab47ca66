"""The distilled sampler of top-level codes: a chunk at a time, in a few passes.

A row of the factored stack is a chunk. Finished chunks are remembered; the
chunk under way is seen whole, its undecided frames masked, and each pass
decides the frames that a fixed order names. Codes enter and leave through the
codec's own codebook, so that near sounds have near scores.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from model.conditioning.embeddings import FrameConditions, normalised
from model.config import StudentConfig
from model.streaming import StackState
from model.transformer import Running, Transformer

Codes = Int[Tensor, "batch frames"]
Activations = Float[Tensor, "batch groups width"]
Logits = Float[Tensor, "batch frames codebook"]
Scored = Float[Tensor, "batch scored codebook"]


class Student(nn.Module):
    """Scores of all frames of a chunk, given the past, the conditions and what is decided."""

    codebook: Tensor

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        width = config.transformer.width
        self.config = config
        self.register_buffer("codebook", torch.zeros(config.codebook_size, config.latent_width))
        self.hidden_frame = nn.Parameter(torch.randn(config.latent_width) * 0.02)
        self.enter = nn.Linear(config.group_frames * (config.latent_width + 1), width)
        self.positions = nn.Parameter(torch.randn(config.transformer.row_frames(), width) * 0.02)
        self.conditions = FrameConditions(
            config.labels, width, latents=config.latent_width, stem_kinds=config.stem_kinds
        )
        self.transformer = Transformer(config.transformer)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, config.group_frames * config.latent_width)
        nn.init.normal_(self.leave.weight, std=0.005)
        self.bias = nn.Parameter(torch.zeros(config.codebook_size))
        self.sharpness = nn.Parameter(torch.ones(()))

    def set_codebook(self, codebook: Float[Tensor, "codebook latents"]) -> None:
        """Take the codec's codebook, centred and scaled to unit variance."""
        self.codebook.copy_(normalised(codebook))

    def embed(
        self, codes: Codes, shown: Bool[Tensor, "batch frames"], conditions: Activations
    ) -> Activations:
        """Return the stack's input; frames that are not shown are masked."""
        latents = torch.where(shown.unsqueeze(-1), self.codebook[codes], self.hidden_frame)
        flags = shown.unsqueeze(-1).to(latents.dtype)
        batch, groups = len(codes), codes.shape[1] // self.config.group_frames
        grouped = torch.cat([latents, flags], dim=-1).reshape(batch, groups, -1)
        # Whole rows: each has its own place in the table.
        placed = self.enter(grouped).unflatten(1, (-1, len(self.positions))) + self.positions
        return placed.flatten(1, 2) + conditions

    def logits(self, hidden: Activations, wanted: Bool[Tensor, " frames"] | None = None) -> Scored:
        """Return scores by closeness to codebook rows, of all frames or of those wanted."""
        latents = self.leave(self.norm(hidden))
        latents = latents.unflatten(-1, (self.config.group_frames, -1)).flatten(1, 2)
        latents = latents if wanted is None else latents[:, wanted]
        return self.sharpness * (latents @ self.codebook.t()) + self.bias

    def forward(
        self, codes: Codes, shown: Bool[Tensor, "batch frames"], conditions: Activations
    ) -> Logits:
        """Return scores for all frames of whole chunks, each seeing the true chunks before it."""
        clean = self.embed(codes, torch.ones_like(shown), conditions)
        masked = self.embed(codes, shown, conditions)
        return self.logits(self.transformer.against(clean, masked))

    def upon(self, memory: StackState) -> Running:
        """Return the stack at work on the chunk after those remembered."""
        return Running(self.transformer, memory, self.config.transformer.row_frames())

    def look(
        self,
        codes: Codes,
        shown: Bool[Tensor, "batch frames"],
        conditions: Activations,
        past: Running,
        wanted: Bool[Tensor, " frames"] | None = None,
    ) -> Scored:
        """Return scores of one chunk's frames, of all or of those wanted; nothing is remembered."""
        return self.logits(past.look(self.embed(codes, shown, conditions)), wanted)

    def remember(self, codes: Codes, conditions: Activations, past: Running) -> StackState:
        """Return the memory after a finished chunk."""
        shown = torch.ones_like(codes, dtype=torch.bool)
        past.remember(self.embed(codes, shown, conditions))
        return past.state()
