"""Codes to audio in canonical blocks: the same samples whoever asks, in whatever order."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn.functional import pad

from model.bands import balance
from model.bundle import TOP, Bundle
from model.chunked import decoder_layers, in_window, reach_of
from model.conditioning.roll import DRUM_PROGRAM, ROLL_FRAME_SAMPLES, played_of
from model.finisher import Material, Pairs, played_by_ear
from model.grains import SOURCE, START, sounded
from model.grid import (
    DECODER_AFTER_FRAMES,
    DECODER_BEFORE_FRAMES,
    LEAD_FRAMES,
    Grid,
)
from model.inputs import Inputs
from model.listening import STEP_SAMPLES
from model.memo import Memo, digest
from model.state import Codes, Spectra, TimelineState
from model.values import Known

ALONE_SAMPLES = 4 * 44_100
RECALLED_STEPS = 172
"""The last 8 s of the prime, as far back as the finisher learnt to recall."""
READ_BYTES = 16 * 2**20
"""For what the finisher reads in spectra: of some tens of timelines."""
Mono = Float32[np.ndarray, " samples"]
Played = Float[Tensor, "1 frames played"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Likeness:
    """What the finished shall sound like: spectra to recall, and gains by bin for drawn frames."""

    recalled: Spectra
    balance: Float[Tensor, "1 bins"] | None = None


class Finishing:
    """Blocks of `block_frames` top-level frames."""

    def __init__(self, bundle: Bundle, grid: Grid, inputs: Inputs) -> None:
        self._bundle = bundle
        self._grid = grid
        self._inputs = inputs
        self._decoder = decoder_layers(bundle.codec.level(TOP))
        self._decoder_reach = reach_of(self._decoder)
        self.read: Memo[tuple[Pairs, ...]] = Memo(READ_BYTES, _nbytes)

    @property
    def block_samples(self) -> int:
        """Return samples per block."""
        return self._grid.block_frames * self._grid.frame_samples

    @torch.no_grad()
    def block(self, state: TimelineState, block: int) -> Mono:
        """Return one block, by the finisher, or by level 0's decoder where a teacher made it.

        Raises:
            ValueError: The block ends after `decodable_sample`.
        """
        end = (block + 1) * self.block_samples
        if block < 0 or end > state.decodable_sample:
            raise ValueError(
                f"block {block} ends at sample {end}, decodable are {state.decodable_sample}"
            )
        first = block * self._grid.block_frames
        if state.lower and end > state.primed_sample:
            return self._published(state.lower[0].codes, first)
        span = (first, first + self._grid.block_frames)
        heard, other = sounded(
            state.reprised, state.audio, state.audio_start, (end - self.block_samples, end)
        )
        return heard + other * self._finished(state, span) if other.any() else heard

    def _finished(self, state: TimelineState, span: tuple[int, int]) -> Mono:
        """Return the frames of a span as the finisher makes them."""
        first = span[0]
        # What a block recalls lies before it: the same while the prime still grows and after.
        heard = first * self._grid.frame_samples // STEP_SAMPLES
        recalled = state.spectra[:heard][-RECALLED_STEPS:]
        drawn_from = state.drawn_from - LEAD_FRAMES
        known = _led_in(state.known, LEAD_FRAMES * self._grid.frame_samples)
        like = Likeness(recalled=recalled, balance=self._balance(state, span[1]))
        return self.render(state.codes, known, span, drawn_from, like)

    def _balance(self, state: TimelineState, end: int) -> Float[Tensor, "1 bins"] | None:
        """Return what is drawn before a frame is multiplied by; None before the student drew.

        Under the fade to what sounds again nothing was weighed.
        """
        hop, rows = self._grid.frame_samples, state.reprised
        left = (rows[:, SOURCE] < 0) & (rows[:, START] < end * hop)
        if len(rows) and rows[0, START] < state.drawn_from * hop and not left.any():
            return None
        return balance(state.weighed, self._bundle.finisher.config.transform_samples // 2 + 1)

    @torch.no_grad()
    def render(
        self,
        codes: Codes,
        known: Known,
        span: tuple[int, int],
        drawn_from: int,
        like: Likeness,
    ) -> Mono:
        """Return the audio of the top-level frames of a span by the finisher.

        Frames from `drawn_from` on are treated as made by a sampler.
        """
        first = span[0]
        end = span[1] + self._grid.finisher_after_frames
        start = max(0, first - self._grid.filter_before_frames)
        played, told = self._told(known, start, min(end, len(codes)) - start)
        if not told.all():
            # The ear listens further back than the filters.
            start = max(0, first - self._grid.finisher_before_frames)
            played, told = self._told(known, start, min(end, len(codes)) - start)
        seen = torch.as_tensor(codes[start:end].astype(np.int64))[None]
        if not told.all():
            by_ear = played_by_ear(self._bundle.finisher.hear(seen))
            played = torch.where(told.unsqueeze(-1), played, by_ear)
        drawn = torch.arange(start, start + seen.shape[1])[None] >= drawn_from
        # Drawn codes decode to noise around the tune: where notes are told, tones do without it.
        # Where drums play alone there is no tune, and the noise is what is wanted.
        alone = _drums_alone(known, first * self._grid.frame_samples)
        trusted = ~(drawn & told) | torch.full_like(told, alone)
        decoded = None
        if trusted.any():
            decoded = self._decoded(codes, span, (start, start + seen.shape[1]))
        material = Material(
            codes=seen,
            played=played,
            drawn=drawn,
            decoded=decoded,
            trusted=trusted,
            memory=self._read(like.recalled),
            remembered=None,
            balance=like.balance,
            wanted=(first - start, span[1] - start),
        )
        return self._bundle.finisher(material, start)[0].numpy()

    def _read(self, recalled: Spectra) -> tuple[Pairs, ...]:
        """Return what the finisher reads in spectra: blocks after the prime all recall the same."""
        memory = torch.as_tensor(recalled.astype(np.float32))[None]
        return self.read.of(digest(recalled), lambda: self._bundle.finisher.read(memory))

    def _decoded(
        self, codes: Codes, span: tuple[int, int], seen: tuple[int, int]
    ) -> Float[Tensor, "1 samples"]:
        """Return the codec's decoding of a span of frames, and of one more on each side.

        It lies within what is seen; what is seen beyond is 0.
        """
        level, hop = self._bundle.codec.level(TOP), self._grid.frame_samples
        behind, ahead = self._decoder_reach
        first, last = span[0] - 1 - ceil(behind), span[1] + 1 + ceil(ahead)
        given = torch.as_tensor(codes[max(0, first) : last].astype(np.int64))[None]
        latents = level.quantizer.decode(given)[:, :, None].to(level.dtype)
        begins, ends = first < 0, last > len(codes)
        made = in_window(self._decoder, latents, begins=begins, ends=ends)[:, 0, 0].float()
        start = 0 if begins else int((first + behind) * hop)
        before = max(0, start - seen[0] * hop)
        made = made[:, max(0, seen[0] * hop - start) :][:, : (seen[1] - seen[0]) * hop - before]
        return pad(made, (before, (seen[1] - seen[0]) * hop - before - made.shape[1]))

    def _told(
        self, known: Known, start: int, frames: int
    ) -> tuple[Played, Bool[Tensor, "1 frames"]]:
        """Return the notes of frames as far as they are known, and where they are."""
        group = ROLL_FRAME_SAMPLES // self._grid.frame_samples
        skip = start % group
        groups = -(-(skip + frames) // group)
        roll, noted = self._inputs.roll(known, (start - skip) * self._grid.frame_samples, groups)
        span = slice(skip, skip + frames)
        played = torch.as_tensor(np.repeat(played_of(roll), group, axis=0)[span])
        return played[None], torch.as_tensor(np.repeat(noted, group)[span])[None]

    def _published(self, codes: Codes, first: int) -> Mono:
        level = self._bundle.codec.level(0)
        ratio = self._grid.frame_samples // level.hop
        begin = first * ratio
        start = max(0, begin - DECODER_BEFORE_FRAMES)
        end = begin + self._grid.block_frames * ratio
        seen = torch.as_tensor(codes[start : end + DECODER_AFTER_FRAMES].astype(np.int64))[None]
        made = level.decode(seen)[0]
        return made[(begin - start) * level.hop : (end - start) * level.hop].float().numpy()


def _nbytes(pairs: tuple[Pairs, ...]) -> int:
    return sum(part.nbytes for part in pairs)


def _drums_alone(known: Known, sample: int) -> bool:
    """Return whether drums were played before a sample, lately, and nothing else."""
    lately = (known.notes[:, 0] < sample) & (known.notes[:, 1] > sample - ALONE_SAMPLES)
    drums = known.notes[:, 4] == DRUM_PROGRAM
    return bool((lately & drums).any()) and not bool((lately & ~drums).any())


def _led_in(known: Known, lead_samples: int) -> Known:
    """Return what is known with the first composed notes held a little before, under the crossfade.

    For the finisher alone: the sampler's memory was made without them.
    """
    if known.composed_span is None or known.notes_span is not None:
        return known
    first, last = known.composed_span
    lead = max(0, first - lead_samples)
    notes = known.notes.copy()
    notes[(notes[:, 0] == first) & (notes[:, 4] != DRUM_PROGRAM), 0] = lead
    return replace(known, notes=notes, composed_span=(lead, last))
