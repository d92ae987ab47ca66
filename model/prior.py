"""Next-code logits at one level, a whole context or one frame at a time.

Weights live in the module, a session's past in `StackState`: one set of
weights serves any number of sessions. Knows codes and conditions, nothing of
audio, temperature or files.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from model.conditioning.embeddings import (
    FrameConditions,
    LabelEmbedding,
    PlayedConditions,
    TimingEmbedding,
)
from model.config import LyricConfig, PriorConfig
from model.draft import Draft
from model.errors import ConditionError, ConfigError
from model.streaming import StackState
from model.transformer import Linear, Running, Transformer

Codes = Int[Tensor, "batch frames"]
Activations = Float[Tensor, "batch frames width"]
Encoded = Float[Tensor, "batch characters width"]
Start = Float[Tensor, "batch width"]
Logits = Float[Tensor, "batch frames vocabulary"]


class Prior(nn.Module):
    """Causal factored attention over codes; position t predicts code t from those before it."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        shape = config.transformer
        self.config = config
        self.codes = nn.Embedding(config.vocabulary, shape.width)
        nn.init.normal_(self.codes.weight, std=0.02)
        table = shape.row_frames() if shape.relative else shape.frames
        self.positions = nn.Parameter(torch.randn(table, shape.width) * 0.01)
        self.transformer = Transformer(shape)
        self.head = nn.Linear(shape.width, config.vocabulary, bias=False)
        if not config.merged:
            self.head.weight = self.codes.weight
        self.labels = None if config.labels is None else LabelEmbedding(config.labels, shape.width)
        self.unlabelled = None if config.labels else nn.Parameter(torch.zeros(1, shape.width))
        self.timing = (
            TimingEmbedding(config.labels, shape.width) if config.timing and config.labels else None
        )
        self.conditions = (
            FrameConditions(
                config.labels,
                shape.width,
                latents=config.latent_width,
                stem_kinds=config.stem_kinds,
            )
            if config.frame_conditions and config.labels
            else None
        )
        self.lyrics = None if config.lyrics is None else LyricEncoder(config.lyrics, shape.width)
        self.played = None if not config.played else PlayedConditions(config.played, shape.width)
        self.draft = None if config.draft is None else Draft(config.draft, shape.width)

    def start_vector(
        self, artist: Int[Tensor, " batch"], genres: Int[Tensor, "batch slots"]
    ) -> Start:
        """Return what stands where the code before the first would stand."""
        if self.labels is not None:
            return self.labels(artist, genres)
        assert self.unlabelled is not None
        return self.unlabelled.expand(len(artist), -1)

    def inputs(
        self, previous: Codes, start: Start, conditions: Activations, first: int
    ) -> Activations:
        """Return the stack's input for frames `first` on; a previous code of -1 is the start."""
        embedded = self.codes(previous.clamp(min=0))
        embedded = torch.where((previous < 0).unsqueeze(-1), start.unsqueeze(1), embedded)
        return embedded + self._positions(first, previous.shape[1]) + conditions

    def _positions(self, first: int, frames: int) -> Float[Tensor, "frames width"]:
        table = self.positions
        if not self.config.transformer.relative:
            if first + frames > len(table):
                raise ConditionError(
                    f"the stretch ends at frame {first + frames}, "
                    f"the context has {len(table)} frames"
                )
            return table[first : first + frames]
        index = (first + torch.arange(frames, device=table.device)) % len(table)
        return table[index]

    def logits(self, hidden: Activations, conditions: Activations) -> Logits:
        """Return next-code logits from the stack's output."""
        if not self.config.merged:
            hidden = hidden + conditions
        return self.head(hidden)

    def forward(
        self,
        codes: Codes,
        start: Start,
        conditions: Activations,
        encoded: Encoded | None = None,
    ) -> Logits:
        """Return logits for every frame of whole rows, teacher-forced."""
        previous = F.pad(codes[:, :-1], (1, 0), value=-1)
        x = self.inputs(previous, start, conditions, 0)
        return self.logits(self.transformer(x, encoded), conditions)

    def advance(
        self,
        previous: Codes,
        start: Start,
        conditions: Activations,
        state: tuple[int, StackState],
    ) -> tuple[Logits, tuple[int, StackState]]:
        """Return logits for the next frames of one row, and the state after them.

        `state` is how many frames were seen, and the stack's memory.
        """
        frames = previous.shape[1]
        logits, under_way = self.look(previous, start, conditions, state)
        under_way.keep(frames)
        return logits, (state[0] + frames, under_way.state())

    def look(
        self,
        previous: Codes,
        start: Start,
        conditions: Activations,
        state: tuple[int, StackState],
    ) -> tuple[Logits, Running]:
        """Return the same logits, and the stack, which may keep the first of these frames."""
        seen, memory = state
        x = self.inputs(previous, start, conditions, seen)
        under_way = Running(self.transformer, memory, previous.shape[1])
        return self.logits(under_way.look(x), conditions), under_way

    def draft_reach(self) -> int:
        """Return how many codes the draft looks back at.

        Raises:
            ConfigError: The prior has no draft.
        """
        if self.draft is None:
            raise ConfigError("this prior has no draft to ask")
        return self.draft.reach

    def draft_logits(
        self, recent: Int[Tensor, "batch frames reach"], conditions: Activations
    ) -> Logits:
        """Return what the draft expects of frames, from the codes before each; -1 is none.

        Raises:
            ConfigError: The prior has no draft.
        """
        if self.draft is None:
            raise ConfigError("this prior has no draft to ask")
        vectors = self.codes(recent.clamp(min=0)) * (recent >= 0).unsqueeze(-1)
        return self.head(self.draft(vectors, conditions))


class LyricEncoder(nn.Module):
    """A causal stack over characters whose output `encoder` layers attend to (5b_lyrics)."""

    def __init__(self, config: LyricConfig, width: int) -> None:
        super().__init__()
        shape = config.transformer
        self.start = nn.Parameter(torch.randn(1, shape.width) * 0.01)
        self.characters = nn.Embedding(config.vocabulary, shape.width)
        self.positions = nn.Parameter(torch.randn(shape.frames, shape.width) * 0.01)
        self.transformer = Transformer(shape)
        self.project = Linear(shape.width, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.vocabulary, bias=False)

    def forward(self, characters: Codes) -> Activations:
        """Return one vector a character."""
        return self.norm(self.project(self.hidden(characters)))

    def hidden(self, characters: Codes) -> Float[Tensor, "batch characters hidden"]:
        """Return the stack's output, each character from those before it."""
        embedded = self.characters(characters[:, :-1])
        start = self.start.expand(len(characters), 1, -1)
        x = torch.cat([start, embedded], dim=1) + self.positions
        return self.transformer(x)
