"""A timeline's ears: spectra of every step heard, and the notes in them.

Spectra are what the finisher recalls, notes what the composer goes on with.
Both are computed in groups of a fixed size on the anchor's grid, so that they
are the same however the audio arrives, and whenever somebody asks for notes.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float16, Float32

from model.bundle import Bundle
from model.grid import Grid
from model.listener import SILENCE
from model.listening import BEFORE_SAMPLES, FEATURES, STEP_SAMPLES, step_spectra
from model.memo import Memo, digest
from model.state import TimelineState
from model.traced import Traced
from model.values import Mono

GROUP_STEPS = 16
"""Steps that the listener takes at once; a step alone would cost four times as much."""
KEPT_BYTES = 8 * 2**20
Rows = Float32[np.ndarray, "steps features"]
Group = Float16[np.ndarray, "group rows states"]


class Attending:
    """Keeps `spectra` and `heard` of timelines up with their codes."""

    def __init__(self, bundle: Bundle, grid: Grid) -> None:
        self._listener = bundle.listener
        self._step_spectra = Traced(step_spectra)
        self._chunk_samples = grid.chunk_samples
        self._chunk_steps = grid.chunk_samples // STEP_SAMPLES
        self.spectra: Memo[Rows] = Memo(KEPT_BYTES, lambda rows: rows.nbytes)
        """Spectra of chunks by their sound."""
        self.notes: Memo[Group] = Memo(KEPT_BYTES, lambda rows: rows.nbytes)
        """Notes of groups by their spectra."""

    @torch.no_grad()
    def listened(self, state: TimelineState) -> TimelineState:
        """Return the state with spectra of all settled whole steps of what was heard."""
        ready = state.settled_sample // STEP_SAMPLES
        spectra = [state.spectra]
        done = len(state.spectra)
        while done < ready:
            chunk = done // self._chunk_steps
            rows = self.of_chunk(state.audio, state.audio_start, chunk)[: ready - done]
            spectra.append(rows.astype(np.float16))
            done += len(rows)
        return replace(state, spectra=np.concatenate(spectra))

    @torch.no_grad()
    def noted(self, state: TimelineState) -> TimelineState:
        """Return the state with the notes of whole groups of its spectra, unless they were told.

        Once the timeline generates, the last group is heard as far as it goes.
        """
        done, ready = len(state.heard), len(state.spectra)
        if self._told(state) or done + (1 if state.generating else GROUP_STEPS) > ready:
            return state
        heard = [state.heard]
        while done + GROUP_STEPS <= ready or (state.generating and done < ready):
            rows = self._notes(state.spectra, done)[: ready - done]
            heard.append(rows)
            done += len(rows)
        return replace(state, heard=np.concatenate(heard))

    @torch.no_grad()
    def heard_alone(self, audio: Mono) -> Float16[np.ndarray, "group rows states"]:
        """Return the notes of the first steps of a sound, after silence; then comes silence."""
        window = np.zeros(BEFORE_SAMPLES + GROUP_STEPS * STEP_SAMPLES, np.float32)
        begin = audio[: GROUP_STEPS * STEP_SAMPLES]
        window[BEFORE_SAMPLES : BEFORE_SAMPLES + len(begin)] = begin
        spectra = step_spectra(torch.as_tensor(window)[None])[0].numpy().astype(np.float16)
        return self._notes(spectra, 0)

    def of_sound(self, audio: Mono, audio_start: int, steps: range) -> Rows:
        """Return the spectra of steps of the anchor's grid in a sound that begins at a sample."""
        chunks = range(steps.start // self._chunk_steps, -(-steps.stop // self._chunk_steps))
        if not chunks:
            return np.zeros((0, FEATURES), np.float32)
        rows = np.concatenate([self.of_chunk(audio, audio_start, chunk) for chunk in chunks])
        return rows[steps.start - chunks.start * self._chunk_steps :][: len(steps)]

    @torch.no_grad()
    def of_chunk(self, audio: Mono, audio_start: int, chunk: int) -> Rows:
        """Return a chunk's spectra; before the sound there was silence, and after its end."""
        start = chunk * self._chunk_samples - BEFORE_SAMPLES - audio_start
        window = np.zeros(BEFORE_SAMPLES + self._chunk_samples, np.float32)
        heard = audio[max(0, start) : max(0, start + len(window))]
        window[max(0, -start) : max(0, -start) + len(heard)] = heard
        return self.spectra.of(
            digest(window), lambda: self._step_spectra(torch.as_tensor(window)[None])[0].numpy()
        )

    def _notes(
        self, spectra: Float16[np.ndarray, "steps features"], first: int
    ) -> Float16[np.ndarray, "group rows states"]:
        before = self._listener.before_steps
        window = np.full((before + GROUP_STEPS, FEATURES), SILENCE, np.float32)
        known = spectra[max(0, first - before) : first + GROUP_STEPS]
        offset = max(0, before - first)
        window[offset : offset + len(known)] = known
        return self.notes.of(digest(window), lambda: self._heard_in(window))

    def _heard_in(self, window: Rows) -> Group:
        logits = self._listener(torch.as_tensor(window)[None], GROUP_STEPS)[0]
        return logits.sigmoid().numpy().astype(np.float16)

    def _told(self, state: TimelineState) -> bool:
        """Return whether notes are known to the end of what was heard: then nobody need guess."""
        ends = [last for _, last in state.known.spans()]
        heard = min(state.settled_sample, state.drawn_from * state.frame_samples)
        return bool(ends) and max(ends) >= heard > 0
