"""The one door: codes to sound and back, step by step, for any number of timelines.

Weights hold no session; a `TimelineState` is a value that each call consumes.
Positions are model samples from the anchor. Knows no server.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from model.attending import Attending
from model.balancing import Balancing
from model.beating import found_pulse
from model.bundle import TOP, Bundle
from model.composing import Composing
from model.fast import FastSampler
from model.finishing import Finishing, Likeness
from model.grid import ENCODER_REACH_FRAMES, Grid, grid_of
from model.guiding import Guiding
from model.hearing import Hearing
from model.inputs import Inputs
from model.listening import FEATURES
from model.memo import MemoStats, together
from model.reprise import Reprising, needs_notes
from model.rewinding import rewound
from model.serving import made_ready
from model.similarity import mel_similarity
from model.state import TimelineState, restored
from model.store import SHIPPED, load_bundle
from model.teacher import FRAMES_PER_STEP, TeacherSampler
from model.values import Known, SamplingPlan, nothing_known
from model.weighing import Choice

Mono = Float32[np.ndarray, " samples"]
NOTES = "notes"
PHASES = ("level0", "level1", "top")
CAUGHT_UP_CHUNKS = 3
"""What the student reads for each chunk heard, where notes are told after a while."""
STEPS_A_CHUNK = 2
"""Notes first, then codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One state after one step, and which stage of the cascade worked."""

    state: TimelineState
    phase: str


class StreamingGenerator:
    """A streaming model: the student and the finisher, or the teacher's cascade."""

    def __init__(self, bundle: Bundle) -> None:
        """Take the parts of a model whose configuration streams."""
        self.bundle = bundle
        self.grid: Grid = grid_of(bundle)
        self._hearing = (self._hear(0), self._hear(1), self._hear(TOP))
        self._inputs = Inputs(bundle, self.grid, self._hearing[TOP])
        self._attending = Attending(bundle, self.grid)
        self._composing = Composing(bundle, self.grid, self._attending.heard_alone)
        self._fast = FastSampler(bundle, self.grid, self._inputs)
        self._teacher = TeacherSampler(bundle, self.grid, self._inputs, self._hearing)
        self._finishing = Finishing(bundle, self.grid, self._inputs)
        self._balancing = Balancing(self.grid, self._finishing)
        self._guiding = Guiding(self._attending.of_sound)
        self._reprising = Reprising(self.grid, found_pulse, self._guiding)

    @property
    def block_samples(self) -> int:
        """Return samples per canonical block of `decode`."""
        return self._finishing.block_samples

    @property
    def context_samples(self) -> int:
        """Return the longest prime that can matter."""
        return self.grid.context_chunks * self.grid.chunk_samples

    def open(self, known: Known, anchor_sample: int) -> TimelineState:
        """Return the state of a timeline that has heard nothing.

        Raises:
            ConditionError: A target, note or stem that this model cannot read.
            LabelError: An artist or genre outside the vocabulary.
        """
        self._inputs.check(known)
        return TimelineState(
            known=known,
            anchor_sample=anchor_sample,
            audio=np.zeros(0, np.float32),
            codes=np.zeros(0, np.int16),
            frame_samples=self.grid.frame_samples,
            lookahead_frames=self.grid.finisher_after_frames,
        )

    def feed(self, state: TimelineState, audio: Mono) -> TimelineState:
        """Return the state after hearing more of the prime, encoded and prefilled.

        Raises:
            ValueError: The state has begun to generate; what is made is not fed back.
        """
        if state.generating:
            raise ValueError("the timeline generates already; the prime can grow no more")
        joined = np.concatenate([state.audio, audio.astype(np.float32)])
        state = replace(state, audio=joined)
        hearing, frames = self._hearing[TOP], self.grid.chunk_frames
        while hearing.frames_ready(self._chunks(state), state.heard_sample) == frames:
            codes = hearing.encode(state.audio, state.audio_start, self._chunks(state))
            state = replace(state, codes=np.concatenate([state.codes, codes]))
            state = self._attending.listened(state)
            state = self._primed(self._forgetting(self._made_ready(state)))
        return state

    def step(self, states: Sequence[TimelineState], plan: SamplingPlan) -> list[Step]:
        """Return the states one step further: a chunk of notes or codes, or some teacher frames.

        Raises:
            ConditionError: More passes than the student has.
            ValueError: A timeline that one sampler began and the other shall go on with.
        """
        return [self._step(state, plan) for state in states]

    def steps_per_second(self, plan: SamplingPlan) -> float:
        """Return how many steps one second of audio takes.

        Raises:
            ConditionError: More passes than the student has.
        """
        rates = [self.bundle.config.codec.frame_rate(level) for level in range(TOP + 1)]
        if plan.teacher:
            steps = zip(rates, FRAMES_PER_STEP, strict=True)
            return sum(rate / frames for rate, frames in steps)
        self._fast.passes(plan)
        return rates[TOP] / self.grid.chunk_frames

    def decode(self, state: TimelineState, block: int) -> Mono:
        """Return one canonical block of samples, decoded from codes.

        Raises:
            ValueError: The block ends after `decodable_sample`.
        """
        return self._finishing.block(state, block)

    @torch.no_grad()
    def fidelity(self, audio: Mono) -> float:
        """Return how like its reproduction a sound is, 0 (not at all) to 1 (same spectrum)."""
        hearing, chunk = self._hearing[TOP], self.grid.chunk_samples
        padded = np.concatenate([audio, np.zeros(chunk, np.float32)])
        chunks = -(-len(audio) // chunk)
        codes = np.concatenate([hearing.encode(padded, 0, index) for index in range(chunks)])
        frames = len(audio) // self.grid.frame_samples
        if frames == 0:
            return 0.0
        nothing = Likeness(recalled=np.zeros((0, FEATURES), np.float16))
        made = self._finishing.render(codes, nothing_known(), (0, frames), frames, nothing)
        return mel_similarity(torch.as_tensor(made), torch.as_tensor(audio[: len(made)]))

    def memos(self) -> dict[str, MemoStats]:
        """Return what is kept of networks' answers, by kind, and how often that helped."""
        return {
            "codes": together(hearing.codes.stats() for hearing in self._hearing),
            "spectra": self._attending.spectra.stats(),
            "notes": self._attending.notes.stats(),
            "conditions": self._fast.conditions.stats(),
            "recall": self._finishing.read.stats(),
            "reprise": self._reprising.recalled.stats(),
            "stems": self._guiding.recorded.stats(),
        }

    def restore(self, data: bytes) -> TimelineState:
        """Return the state that `TimelineState.to_bytes` gave.

        Raises:
            CheckpointError: The bytes are no state.
        """
        return restored(data)

    def rewind(self, state: TimelineState, sample: int) -> TimelineState:
        """Return the state as it was when its codes ended at the last frame before a sample.

        Nothing is encoded; the first steps build the memory again. The plan that
        made the rest makes it again where the sample ends a chunk.

        Raises:
            ConditionError: A teacher made the timeline.
            ValueError: The sample is before the first frame's end, or not settled.
        """
        return rewound(state, sample, self._composing.step_samples)

    def warm_up(self) -> None:
        """Run every path once: encode, prefill, both samplers, both decoders."""
        random = np.random.default_rng(0)
        prime = (0.1 * random.standard_normal(3 * self.grid.chunk_samples)).astype(np.float32)
        for teacher, steps in ((False, 2 * STEPS_A_CHUNK), (True, 40)):
            state = self.feed(self.open(nothing_known(), 0), prime)
            for _ in range(steps):
                state = self._step(state, SamplingPlan(seed=0, teacher=teacher)).state
            if state.decodable_sample >= self.block_samples:
                self.decode(state, state.decodable_sample // self.block_samples - 1)
        self.fidelity(prime)

    def _step(self, state: TimelineState, plan: SamplingPlan) -> Step:
        if not state.generating:
            state = self._begin(state, plan)
        elif plan.teacher != state.by_teacher:
            raise ValueError(f"teacher is {plan.teacher}, the timeline began with the other")
        state = self._reprising.begun(state, plan)
        choices = self._reprising.choices(state, plan)
        if choices is not None:
            return Step(state=self._reprised(state, choices, plan), phase=PHASES[TOP])
        state = self._reprising.heard_again(self._attending.noted(state))
        if self._forgot(state):
            return Step(state=self._recalled(state), phase=PHASES[TOP])
        if not plan.teacher and self._balancing.missing(state):
            return Step(state=self._balancing.weighed(state), phase=PHASES[TOP])
        if self._composing.wanted(state):
            return Step(state=self._composing.compose(state, plan), phase=NOTES)
        if not plan.teacher:
            state = self._reprising.left(state)
            return Step(state=self._fast.step(state, plan), phase=PHASES[TOP])
        state, level = self._teacher.step(state, plan)
        return Step(state=state, phase=PHASES[level])

    def _reprised(
        self, state: TimelineState, choices: Sequence[Choice], plan: SamplingPlan
    ) -> TimelineState:
        """Return the state one chunk of the recording further.

        Notes are composed for it where a suffix is told, which nothing else leads to. Elsewhere
        they only cost time: 22 recordings and excerpts came out no better with them.
        """
        if needs_notes(state.known):
            state = self._attending.noted(state)
        if state.known.suffix is not None:
            state = self._reprising.heard_again(state)
            if self._composing.wanted(state):
                state = self._composing.compose(state, plan)
        return self._reprising.step(state, choices, plan)

    def _forgot(self, state: TimelineState) -> bool:
        """Return whether whole chunks of codes are there that the student does not remember.

        A last chunk that the prime fills is no such one: it is remembered as it
        is settled, with what was composed after it.
        """
        missing = self._chunks(state) - state.remembered_chunks
        filled = (
            state.drawn_from == len(state.codes) == self._chunks(state) * self.grid.chunk_frames
        )
        return not state.by_teacher and missing > filled

    def _made_ready(self, state: TimelineState) -> TimelineState:
        """Return the state that student and finisher can go on with, if they will be asked.

        Where the recording may go on by itself they are not; if they are at last, they
        learn of it then.
        """
        known = state.known
        by_itself = known.notes_span is None and known.may_recur()
        if not by_itself or needs_notes(known):
            state = self._attending.noted(state)
        if by_itself:
            return state
        for _ in range(CAUGHT_UP_CHUNKS):
            if state.remembered_chunks < self._chunks(state):
                state = self._recalled(state)
        return self._balancing.weighed(state) if self._balancing.missing(state) else state

    def _chunks(self, state: TimelineState) -> int:
        return len(state.codes) // self.grid.chunk_frames

    def _recalled(self, state: TimelineState) -> TimelineState:
        frames = self.grid.chunk_frames
        first = state.remembered_chunks * frames
        return self._fast.remember(state, state.codes[first : first + frames])

    def _begin(self, state: TimelineState, plan: SamplingPlan) -> TimelineState:
        """Settle the whole frames of the last chunk; the incomplete frame is dropped."""
        last = self._hearing[TOP].encode(state.audio, state.audio_start, self._chunks(state))
        codes = np.concatenate([state.codes, last])
        state = replace(
            state,
            codes=codes,
            generating=True,
            by_teacher=plan.teacher,
            drawn_from=len(codes),
        )
        return self._attending.listened(state)

    def _forgetting(self, state: TimelineState) -> TimelineState:
        """Drop audio that neither encoders nor a teacher's prefill will look at again.

        What is kept depends on the chunks done, not on how the audio came.
        """
        first = (self._chunks(state) - self.grid.context_chunks) * self.grid.chunk_samples
        first -= ENCODER_REACH_FRAMES * self.grid.frame_samples
        if first <= state.audio_start:
            return state
        kept = state.audio[first - state.audio_start :].copy()
        return replace(state, audio=kept, audio_start=first)

    def _primed(self, state: TimelineState) -> TimelineState:
        """Let all but the last chunk be decoded already, by the finisher whatever follows.

        The last one is left to whoever goes on, so that no change of decoder
        lies near the splice.
        """
        frames = (self._chunks(state) - 1) * self.grid.chunk_frames
        frames -= self.grid.finisher_after_frames
        return replace(state, primed_sample=max(0, frames) * self.grid.frame_samples)

    def _hear(self, index: int) -> Hearing:
        level = self.bundle.codec.level(index)
        before = ENCODER_REACH_FRAMES * self.grid.frame_samples // level.hop
        after = self.grid.encoder_after_samples[index]
        return Hearing(level, self.grid.chunk_samples, (before, after))


def load_generator(folder: Path | None = None) -> StreamingGenerator:
    """Return the model in a folder of weights, or the one in the box, on one thread.

    Raises:
        CheckpointError: A file is missing, damaged, or not of this configuration.
    """
    torch.set_num_threads(1)
    return StreamingGenerator(made_ready(load_bundle(folder or SHIPPED)))
