"""Codes of a level from the codes above it: a conditioner, then a prior (paper section 4.3)."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from model.codec import DecoderBlock
from model.config import BlockConfig, PriorConfig
from model.errors import ConfigError
from model.prior import Prior


class Conditioner(nn.Module):
    """Upper codes to one vector for each lower frame, by a dilated WaveNet-like stack."""

    def __init__(self, block: BlockConfig, vocabulary: int, width: int, *, streams: bool) -> None:
        super().__init__()
        self.codes = nn.Embedding(vocabulary, width)
        self.body = DecoderBlock(block, width, width, streams=streams)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, upper: Int[Tensor, "batch upper_frames"]
    ) -> Float[Tensor, "batch frames width"]:
        """Return conditions for `hop` lower frames an upper code."""
        made = self.body(self.codes(upper).transpose(1, 2))
        return self.norm(made.transpose(1, 2))


class Upsampler(nn.Module):
    """One lower level."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        if config.upper is None:
            raise ConfigError("an upsampler needs `upper`, the conditioner's block; it is None")
        self.config = config
        self.conditioner = Conditioner(
            config.upper,
            config.upper_vocabulary,
            config.transformer.width,
            streams=config.transformer.relative,
        )
        self.prior = Prior(config)

    def forward(
        self,
        codes: Int[Tensor, "batch frames"],
        upper: Int[Tensor, "batch upper_frames"],
        start: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch frames vocabulary"]:
        """Return logits for whole rows, teacher-forced."""
        return self.prior(codes, start, self.conditioner(upper))
