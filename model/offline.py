"""A published model behind the door: whole pieces, level by level, window by window.

Coarse to fine: the top level to its end, then each level below; audio can be
decoded as soon as windows of the finest level are done. One level's weights are
in memory at a time. Positions are model samples from the anchor. Knows no server.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Int16

from model import chunked
from model.chunked import decode_reach_frames
from model.codec import Codec
from model.conditioning.text import clean_lyrics
from model.errors import ConditionError
from model.offline_checks import (
    OfflinePlan,
    aimed,
    as_codes,
    check_plan,
    check_run,
    items_of,
    level_request,
    missing_frames,
)
from model.offline_state import Alignment, OfflineState, Song, restored
from model.offline_steps import CHUNK_FRAMES, StepCount
from model.published.alignment import Aligner, Head
from model.published.level import PublishedLevel
from model.published.played import Played
from model.published.request import SystemSizes
from model.published.system import PublishedSystem
from model.similarity import mel_similarity
from model.singing import SungWord, character_starts, words_of
from model.values import StemAudio

Mono = Float32[np.ndarray, " samples"]
LevelCodes = Int16[np.ndarray, " _"]
LoadLevel = Callable[[int], PublishedLevel]

LYRIC_STEPS_A_SECOND: Final = 12
"""How finely times of characters are told apart."""
LOADING: Final = "loading"
ALIGN: Final = "align"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineStep:
    """One state after one step, what worked, and how many steps are still to come."""

    state: OfflineState
    phase: str
    left: int


class OfflineGenerator:
    """A published system: codec, upsamplers, top prior."""

    def __init__(
        self, sizes: SystemSizes, codec: Codec, load: LoadLevel, head: Head | None = None
    ) -> None:
        """Take the codec, and what loads a level's weights.

        Args:
            sizes: Of the whole system.
            codec: With weights; it stays.
            load: Gives a level; what was given before is let go first.
            head: The attention that tells when lyrics are sung; None: nobody knows.
        """
        self.sizes = sizes
        self._codec = codec.requires_grad_(False).eval()
        self._shelf = _OneLevel(load)
        self._head = head
        self._reach = [decode_reach_frames(sizes.codec, level) for level in range(sizes.top + 1)]
        self._count = StepCount(sizes)
        self._systems = [
            PublishedSystem(sizes, self._shelf.level, step_positions=positions)
            for positions in self._count.positions
        ]

    @property
    def frame_samples(self) -> int:
        """Return samples per top-level code."""
        return self.sizes.codec.hop(self.sizes.top)

    @property
    def block_samples(self) -> int:
        """Return samples per canonical block of `decode`: about what a block's edges reach."""
        widest = max(
            frames * self.sizes.codec.hop(level) for level, frames in enumerate(self._reach)
        )
        frames = max(1, ceil(widest / self.frame_samples))
        return self.frame_samples << (frames - 1).bit_length()

    @property
    def context_samples(self) -> int:
        """Return the longest prime that can matter: one window of the top level."""
        return self.sizes.level(self.sizes.top).context_frames * self.frame_samples

    def open(
        self,
        song: Song,
        end_sample: int,
        played: Played | None = None,
        stems: tuple[StemAudio, ...] = (),
    ) -> OfflineState:
        """Return the state of a timeline that has heard nothing; stems are encoded step by step."""
        nothing = np.zeros(0, np.int16)
        return OfflineState(
            song=song,
            audio=np.zeros(0, np.float32),
            codes=(nothing,) * (self.sizes.top + 1),
            played=played or Played(),
            stems=stems,
            end_sample=end_sample,
            coarsest=self.sizes.top,
        )

    def feed(self, state: OfflineState, audio: Mono) -> OfflineState:
        """Return the state after hearing more of the prime; encoded once it is all there.

        Raises:
            ValueError: The state has codes already.
        """
        if any(len(codes) for codes in state.codes):
            raise ValueError("the timeline has codes already; the prime can grow no more")
        heard = np.concatenate([state.audio, audio.astype(np.float32)])
        frame = self.frame_samples
        return replace(state, audio=heard, settled_sample=len(heard) // frame * frame)

    def adopt(
        self, state: OfflineState, codes: Sequence[LevelCodes | None], finest_level: int
    ) -> OfflineState:
        """Return the opened state with codes by level, finest first; None where there are none.

        Raises:
            ConditionError: No level, more levels than there are, or codes outside the codebook.
        """
        levels = self.sizes.top + 1
        if len(codes) > levels or not any(level is not None for level in codes):
            raise ConditionError(
                f"codes of {len(codes)} levels are given, this model has levels 0 to {levels - 1}"
            )
        nothing = np.zeros(0, np.int16)
        given = [nothing if level is None else level for level in codes]
        given += [nothing] * (levels - len(given))
        limit = self.sizes.codec.codebook_size - 1
        for number, level in enumerate(given):
            if level.size and not 0 <= int(level.min()) <= int(level.max()) <= limit:
                raise ConditionError(
                    f"level {number} holds codes from {int(level.min())} to {int(level.max())}, "
                    f"allowed are 0 to {limit}"
                )
        coarsest = max(number for number, level in enumerate(given) if level.size)
        return replace(state, codes=tuple(given), coarsest=coarsest, adopted_finest=finest_level)

    def begin(self, state: OfflineState, plan: OfflinePlan, end_sample: int) -> OfflineState:
        """Return the state that `step` will bring to an end, once nothing can be refused any more.

        Raises:
            ModelError: See `offline_checks.check_run`.
        """
        ready = aimed(replace(state, finest=plan.finest_level), self.sizes, end_sample)
        if self._head is None:
            ready = replace(ready, aligns=False)
        check_run(ready, plan, self.sizes)
        return self._measured(replace(ready, left=self._count.left(ready, plan)))

    def step(self, state: OfflineState, plan: OfflinePlan) -> OfflineStep:
        """Return the state one step further.

        Raises:
            ModelError: A window that cannot be laid, which `begin` has refused before.
        """
        if state.audio.size:
            return self._encoded(state, plan)
        if state.stems:
            return self._heard_stem(state)
        level = self._next_level(state)
        if level is None:
            return OfflineStep(state=self._measured(state), phase=ALIGN, left=0)
        if not self._shelf.holds(level):
            self._shelf.level(level)
            return self._stepped(state, LOADING)
        if missing_frames(state, level, self.sizes) <= 0:
            return self._aligned(state, plan)
        return self._drawn(state, plan, level)

    def steps_per_second(self, plan: OfflinePlan) -> float:
        """Return how many steps one second of audio takes, about.

        Raises:
            ModelError: A plan that no piece could be drawn by.
        """
        check_plan(plan, self.sizes)
        return self._count.per_second(plan)

    @torch.no_grad()
    def decode(self, state: OfflineState, block: int) -> Mono:
        """Return one canonical block of samples, decoded from the finest level there is.

        Raises:
            ValueError: The block ends after `decodable_sample`.
        """
        size, level = self.block_samples, state.finest
        if (block + 1) * size > state.decodable_sample:
            raise ValueError(
                f"block {block} ends at sample {(block + 1) * size}, decodable are those before "
                f"{state.decodable_sample}"
            )
        hop, reach = self.sizes.codec.hop(level), self._reach[level]
        first, end = block * size // hop, (block + 1) * size // hop
        codes = state.codes[level][: state.goal_sample // hop]
        low, high = max(0, first - reach), min(len(codes), end + reach)
        made = np.zeros(size, np.float32)
        if first < high:
            (heard,) = as_codes([codes[low:high]])
            pieces = chunked.decode(self._codec.level(level), [heard])
            audio = torch.cat(list(pieces), dim=-1)[0, (first - low) * hop :][:size]
            made[: len(audio)] = audio.numpy()
        return made

    @torch.no_grad()
    def fidelity(self, audio: Mono) -> float:
        """Return how like its reproduction by the top level's codec a sound is, 0 to 1."""
        whole = len(audio) // self.frame_samples * self.frame_samples
        if not whole:
            return 0.0
        level = self._codec.level(self.sizes.top)
        true = torch.as_tensor(audio[:whole])
        codes = list(chunked.encode(level, [true[None]]))
        made = torch.cat(list(chunked.decode(level, codes)), dim=-1)[0]
        return mel_similarity(made, true)

    def rewind(self, state: OfflineState, sample: int) -> OfflineState:
        """Return the state as it was when its codes ended at the last top frame before a sample.

        Raises:
            ValueError: The sample is not one that the state has settled.
        """
        frames = sample // self.sizes.codec.hop(state.coarsest)
        if not frames > 0 or sample > state.settled_sample:
            raise ValueError(
                f"sample {sample} is not within the settled ones, before {state.settled_sample}"
            )
        end = frames * self.sizes.codec.hop(state.coarsest)
        codes = tuple(
            made[: end // self.sizes.codec.hop(level)] for level, made in enumerate(state.codes)
        )
        return replace(state, codes=codes, starts=None, run=None, alignment=None)

    def restore(self, data: bytes) -> OfflineState:
        """Return the state that `OfflineState.to_bytes` gave.

        Raises:
            CheckpointError: The bytes are no state.
        """
        return restored(data)

    def words(self, state: OfflineState) -> tuple[SungWord, ...]:
        """Return when each word is sung, in top-level frames; none if that was not asked for."""
        if state.starts is None:
            return ()
        text = clean_lyrics(state.song.lyrics, self.sizes.rules[self.sizes.top])
        return words_of(text, state.starts, state.goal_sample // self.frame_samples)

    @torch.no_grad()
    def warm_up(self) -> None:
        """Decode a little at every level."""
        for level in range(self.sizes.top + 1):
            codes = torch.zeros(1, 4, dtype=torch.long)
            list(chunked.decode(self._codec.level(level), [codes]))

    def _next_level(self, state: OfflineState) -> int | None:
        """Return the level to work on; the top until it is drawn and read again."""
        for level in range(state.coarsest, state.finest - 1, -1):
            if missing_frames(state, level, self.sizes) > 0:
                return level
            if level == self.sizes.top and state.aligns:
                return level
        return None

    @torch.no_grad()
    def _encoded(self, state: OfflineState, plan: OfflinePlan) -> OfflineStep:
        """Encode the prime at one more level; the last incomplete top frame is dropped."""
        frames = len(state.audio) // self.frame_samples
        todo = [
            level
            for level in range(self.sizes.top, state.finest - 1, -1)
            if not len(state.codes[level]) and frames
        ]
        phase = LOADING
        if todo:
            level, phase = todo[0], self._phase(todo[0])
            audio = torch.as_tensor(state.audio[: frames * self.frame_samples])[None]
            pieces = list(chunked.encode(self._codec.level(level), [audio]))
            state = state.with_codes(level, torch.cat(pieces, dim=-1)[0].numpy())
        if len(todo) < 2:
            state = replace(state, audio=np.zeros(0, np.float32))
            state = replace(state, left=self._count.left(state, plan) + 1)
        return self._stepped(self._measured(state), phase)

    @torch.no_grad()
    def _heard_stem(self, state: OfflineState) -> OfflineStep:
        """Encode one stem; what lies before the timeline, and an incomplete last frame, is left."""
        stem, hop = state.stems[0], self.frame_samples
        audio = stem.samples[max(0, -stem.start_sample) :]
        first, before = divmod(max(0, stem.start_sample), hop)
        audio = np.pad(audio, (before, 0))[: (before + len(audio)) // hop * hop]
        played = state.played
        if len(audio):
            level = self._codec.level(self.sizes.top)
            pieces = list(chunked.encode(level, [torch.as_tensor(audio)[None]]))
            played = played.with_stem(stem.kind, first, torch.cat(pieces, dim=-1)[0].numpy())
        state = replace(state, played=played, stems=state.stems[1:])
        return self._stepped(state, self._phase(self.sizes.top))

    def _drawn(self, state: OfflineState, plan: OfflinePlan, level: int) -> OfflineStep:
        system = self._systems[level]
        run = state.run
        if run is None:
            request = level_request(state, plan, level, self.sizes)
            run = system.begin(request, as_codes(state.codes))
        run, _ = system.step(run)
        state = replace(state, run=None if run.finished else run)
        if run.codes[level].shape[1] > len(state.codes[level]):
            state = self._measured(state.with_codes(level, run.codes[level][0].numpy()))
        return self._stepped(state, self._phase(level))

    def _aligned(self, state: OfflineState, plan: OfflinePlan) -> OfflineStep:
        reading = state.alignment or self._reading(state, plan)
        left = next(reading.steps, None)
        if left is not None:
            return self._stepped(replace(state, alignment=reading), ALIGN)
        (attention,) = reading.aligner.maps()
        rate = self.sizes.codec.frame_rate(self.sizes.top)
        starts = character_starts(attention, max(1, round(rate / LYRIC_STEPS_A_SECOND)))
        state = replace(state, alignment=None, aligns=False, starts=starts)
        return self._stepped(self._measured(state), ALIGN)

    def _reading(self, state: OfflineState, plan: OfflinePlan) -> Alignment:
        assert self._head is not None
        top = self.sizes.top
        level = self._shelf.level(top)
        (codes,) = as_codes([state.codes[top]])
        aligner = Aligner(
            level,
            items_of(state.song, self.sizes, state.played)[top],
            codes,
            self._head,
            hop_frames=max(1, int(plan.settings[top].hop_fraction * level.sizes.context_frames)),
            chunk_frames=CHUNK_FRAMES,
        )
        return Alignment(aligner=aligner, steps=aligner.steps())

    def _stepped(self, state: OfflineState, phase: str) -> OfflineStep:
        left = max(1, state.left - 1)
        if self._next_level(state) is None and not state.audio.size and not state.stems:
            left = 0
        return OfflineStep(state=replace(state, left=left), phase=phase, left=left)

    def _measured(self, state: OfflineState) -> OfflineState:
        """Return the state with how far codes are final and audio can be decoded."""
        if state.audio.size:
            return state
        hop, size = self.sizes.codec.hop(state.finest), self.block_samples
        made = len(state.codes[state.finest]) * hop
        whole = made >= state.goal_sample and not state.aligns
        clear = max(0, made - self._reach[state.finest] * hop)
        end = -(-max(state.end_sample, made) // size) * size
        return replace(state, settled_sample=made, decodable_sample=end if whole else clear)

    def _phase(self, level: int) -> str:
        return "top" if level == self.sizes.top else f"level{level}"


class _OneLevel:
    """The level whose weights are in memory; the one before is let go first."""

    def __init__(self, load: LoadLevel) -> None:
        self._load = load
        self._held: tuple[int, PublishedLevel] | None = None

    def holds(self, level: int) -> bool:
        return self._held is not None and self._held[0] == level

    def level(self, level: int) -> PublishedLevel:
        if self._held is None or self._held[0] != level:
            self._held = None
            self._held = (level, self._load(level))
        return self._held[1]
