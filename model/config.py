"""What sizes a model has, as frozen values; no framework here.

`model.shipped` holds those of the model in the box, `model.released` those of the
published checkpoints.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from model.errors import ConfigError

REGISTER_STARTS = (50, 65)
"""Pitches where the middle and the high register begin: a bass must not buzz like the tune."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockConfig:
    """One encoder or decoder block: `repeats` strided convolutions, residual stacks between."""

    stride: int
    repeats: int
    width: int
    depth: int
    dilation_growth: int = 3
    multiplier: float = 1.0
    """Width inside a residual unit, relative to the stack's width."""
    dilation_cycle: int | None = None
    """After so many units dilations start again; None lets them grow."""
    scaled_residuals: bool = False
    """Residuals times 1/sqrt(depth), as the published level-1 conditioner has them."""
    decoder_widens: bool = False
    """A decoder's dilations grow, as in published conditioners, where the codec's shrink."""

    def hop(self) -> int:
        """Return how many inputs make one output."""
        return self.stride**self.repeats

    def dilations(self) -> tuple[int, ...]:
        """Return the dilation of each residual unit, in frames."""
        cycle = self.dilation_cycle or self.depth
        return tuple(self.dilation_growth ** (unit % cycle) for unit in range(self.depth))

    def residual_scale(self) -> float:
        """Return the factor on what a residual unit adds."""
        return self.depth**-0.5 if self.scaled_residuals else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecConfig:
    """The three-level VQ-VAE (paper section 3); level 0 is the finest."""

    sample_rate: int = 44_100
    levels: tuple[tuple[BlockConfig, ...], ...]
    """For each level, its encoder's blocks from audio to latents."""
    latent_width: int = 64
    codebook_size: int = 2048
    streams: bool = False
    """Causal padding, one centred unit a stack; published models pad both sides."""

    def __post_init__(self) -> None:
        """Refuse levels whose hops do not divide each other."""
        hops = [self.hop(level) for level in range(len(self.levels))]
        for fine, coarse in pairwise(hops):
            if coarse % fine:
                raise ConfigError(f"hops are {hops} samples, each must divide the next")

    def hop(self, level: int) -> int:
        """Return samples per code frame of a level."""
        return prod(block.hop() for block in self.levels[level])

    def frame_rate(self, level: int) -> float:
        """Return codes per second of a level."""
        return self.sample_rate / self.hop(level)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """The factored-attention stack (paper section 4.1)."""

    width: int
    depth: int
    heads: int
    frames: int
    """Attention's context, in positions."""
    rows: int
    """The context folded into this many rows (`blocks` in the published configuration)."""
    pattern: tuple[str, ...] = ("row", "column", "previous")
    attention_multiplier: float = 0.25
    mlp_multiplier: float = 1.0
    relative: bool = False
    """Positions relative to the anchor's grid, so that the stack streams without end."""
    causal_rows: bool = True
    """False for a student, which sees the whole of the row it refines."""
    prefix_frames: int = 0
    """Lyric positions that `prefix` layers attend to."""

    def __post_init__(self) -> None:
        """Refuse rows that do not divide the context."""
        if self.frames % self.rows:
            raise ConfigError(f"{self.rows} rows do not divide a context of {self.frames} frames")

    def row_frames(self) -> int:
        """Return positions per row."""
        return self.frames // self.rows

    def layer_kinds(self) -> tuple[str, ...]:
        """Return the attention of each layer."""
        return tuple(self.pattern[layer % len(self.pattern)] for layer in range(self.depth))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """Vocabulary sizes and the timing's range (paper section 4.2)."""

    artists: int
    genres: int
    timing_bins: int = 64
    seconds: tuple[float, float] = (1.0, 600.0)
    """The shortest and the longest total length that timing can tell apart."""
    sample_rate: int = 44_100


@dataclass(frozen=True, slots=True, kw_only=True)
class LyricConfig:
    """A separate lyric encoder (5b_lyrics); None of it in a merged sequence (1b_lyrics)."""

    vocabulary: int
    transformer: TransformerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedConfig:
    """Notes, stems and the part wanted, told to a prior of published kind frame by frame."""

    codebook_size: int
    latent_width: int
    roll_frames: int
    """Codes that share one frame of note features."""
    stem_kinds: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftConfig:
    """The network that guesses a prior's next codes."""

    reach: int = 16
    """Codes that it looks back at."""
    narrow: int = 32
    hidden: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorConfig:
    """One autoregressive level: the top prior, or an upsampler where `upper` is set."""

    vocabulary: int
    """Codes, plus lyric characters where both share one sequence."""
    transformer: TransformerConfig
    labels: LabelConfig | None = None
    timing: bool = False
    merged: bool = False
    """Own output head, conditions added once (5B); else tied head, conditions added twice."""
    frame_conditions: bool = False
    """Labels, timing, notes and stems for every roll frame, which the published priors lack."""
    stem_kinds: int = 5
    latent_width: int = 64
    upper: BlockConfig | None = None
    """The conditioner over codes of the level above."""
    upper_vocabulary: int = 2048
    lyrics: LyricConfig | None = None
    played: PlayedConfig | None = None
    """Beside published labels and timing, in the published windows; no published prior has it."""
    draft: DraftConfig | None = None
    """What `exact` asks first; a prior that has none is drawn from frame by frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentConfig:
    """The block-parallel sampler of top-level codes: a row is a chunk, refined in passes."""

    transformer: TransformerConfig
    group_frames: int = 4
    """Top-level frames that share one position."""
    codebook_size: int = 2048
    latent_width: int = 64
    labels: LabelConfig
    stem_kinds: int = 5
    order: tuple[int, ...] = (0, 2, 1, 3)
    """In which order the frames of every group are decided, whatever the number of passes."""
    passes: int = 3

    def chunk_frames(self) -> int:
        """Return top-level frames per chunk."""
        return self.group_frames * self.transformer.row_frames()

    def decided(self, turn: int, passes: int) -> tuple[int, ...]:
        """Return which frames of every group pass `turn` of `passes` decides; later passes more."""
        bounds = [len(self.order) * step // passes for step in range(passes + 1)]
        return self.order[bounds[turn] : bounds[turn + 1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinisherConfig:
    """Top-level codes to audio in one pass: filters over tones and noise."""

    latent_width: int = 64
    width: int = 240
    depth: int = 5
    transform_samples: int = 512
    hop_samples: int = 128
    note_width: int = 160
    note_depth: int = 4
    recall_width: int = 128
    recall_heads: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """Spectra of a recording to its notes."""

    width: int = 48
    depth: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposerConfig:
    """The note-level model that goes on where no notes are given."""

    transformer: TransformerConfig
    step_frames: int = 16
    """Top-level frames per step, 46 ms at 44.1 kHz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A whole cascade."""

    name: str
    codec: CodecConfig
    priors: tuple[PriorConfig, ...]
    """By level: upsamplers, then the top prior."""
    student: StudentConfig | None = None
    finisher: FinisherConfig | None = None
    composer: ComposerConfig | None = None
    listener: ListenerConfig | None = None
