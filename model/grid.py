"""The shipped model's fixed numbers on the anchor's grid, derived from its configuration."""

from dataclasses import dataclass

from model.bundle import TOP, Bundle
from model.finisher import FILTER_LOOKAHEAD, KERNEL, NOTE_LOOKAHEAD

ENCODER_REACH_FRAMES = 36
"""Top-level frames before its own that an encoder sees, at any level."""
LEAD_FRAMES = 24
"""Top-level frames before the first drawn one that are finished like drawn ones already, so that
the change of sound lies under the crossfade. Fewer than a chunk: none is decoded before."""
DECODER_BEFORE_FRAMES = 64
DECODER_AFTER_FRAMES = 4
"""Level-0 frames before and after its own that level 0's decoder sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Frames and samples that every part of a streaming model agrees on."""

    frame_samples: int
    chunk_frames: int
    block_frames: int
    context_chunks: int
    encoder_after_samples: tuple[int, int, int]
    """By level: how far past a frame's end its encoder looks."""
    finisher_before_frames: int
    """How far back the finisher sees, its ear included."""
    filter_before_frames: int
    """How far back it sees where notes are told and the ear is not asked."""
    finisher_after_frames: int

    @property
    def chunk_samples(self) -> int:
        """Return samples per chunk."""
        return self.frame_samples * self.chunk_frames

    @property
    def lookahead_samples(self) -> int:
        """Return how far ahead of an output sample input matters, codec and finisher together."""
        frames = self.finisher_after_frames + 1
        # The worst sample lies where the next window begins, half a hop into its frame.
        return frames * self.frame_samples - self.frame_samples // 2 + self.encoder_after_samples[2]


def grid_of(bundle: Bundle) -> Grid:
    """Return the grid of a bundle."""
    codec, student, finisher = bundle.config.codec, bundle.config.student, bundle.config.finisher
    assert student is not None
    assert finisher is not None
    windows_after = 2
    causal = KERNEL - 1
    return Grid(
        frame_samples=codec.hop(TOP),
        chunk_frames=student.chunk_frames(),
        block_frames=64,
        context_chunks=student.transformer.rows,
        encoder_after_samples=(
            _encoder_after(bundle, 0),
            _encoder_after(bundle, 1),
            _encoder_after(bundle, 2),
        ),
        finisher_before_frames=2 + causal * (finisher.depth + finisher.note_depth),
        filter_before_frames=2 + causal * finisher.depth,
        finisher_after_frames=windows_after + FILTER_LOOKAHEAD + NOTE_LOOKAHEAD,
    )


def _encoder_after(bundle: Bundle, level: int) -> int:
    """Return the reach of the one centred unit in each stack, in samples."""
    reach, hop = 0, 1
    for block in bundle.config.codec.levels[level]:
        for _ in range(block.repeats):
            hop *= block.stride
            reach += hop
    return reach
