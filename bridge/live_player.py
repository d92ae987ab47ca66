"""What a player of a live session hears: the input, and answers from their exact samples on.

Answers arrive ahead of the music and take over by a crossfade that ends at their
bar line. One that is late joins as soon as enough of it is there, while the one
before goes on with its reserve. What could not be played is counted. Knows neither
wires nor sound cards; one thread plays, another may add.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bridge.ports import Audio
from bridge.splice import correlation, crossfaded_part

MIN_FADE_SAMPLES = 64
"""A late answer without a fade of its own joins over as many samples: no click."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """An answer that took over.

    Attributes:
        request_id: Its name.
        start_sample: Where it should sound alone.
        heard_sample: Where it does.
        ready_s: When enough of it had come to begin, by the player's clock.
    """

    request_id: str
    start_sample: int
    heard_sample: int
    ready_s: float

    @property
    def late_samples(self) -> int:
        """Return by how much it missed its bar line."""
        return self.heard_sample - self.start_sample


@dataclass(slots=True, kw_only=True)
class _Voice:
    request_id: str
    start_sample: int
    end_sample: int
    fade_samples: int
    next_sample: int
    parts: deque[tuple[int, Audio]] = field(default_factory=deque[tuple[int, Audio]])
    ready_s: float | None = None

    @property
    def begin_sample(self) -> int:
        return self.start_sample - self.fade_samples

    def read(self, first: int, last: int, num_channels: int) -> tuple[Audio, int]:
        """Return the samples of a stretch, silent where there are none, and how many there are."""
        out = np.zeros((num_channels, last - first), np.float32)
        found = 0
        while self.parts and self.parts[0][0] + self.parts[0][1].shape[1] <= first:
            self.parts.popleft()
        for start, samples in self.parts:
            begin, end = max(first, start), min(last, start + samples.shape[1])
            if begin < end:
                out[:, begin - first : end - first] = samples[:, begin - start : end - start]
                found += end - begin
        return out, found


@dataclass(slots=True, kw_only=True)
class _Fade:
    voice: _Voice | None
    first_sample: int
    end_sample: int
    alike: float | None = None


class LivePlayer:
    """A timeline that is played once, block by block.

    Attributes:
        gap_samples: How many samples of an answer were missing when they were due.
        hand_overs: The answers that took over.
        missed: The answers that were not there before the next one was due.
    """

    def __init__(
        self,
        num_channels: int,
        start_sample: int = 0,
        *,
        through: float = 0.0,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Begin with the input alone.

        Args:
            num_channels: Of all audio.
            start_sample: Of the first block.
            through: Gain of the input while an answer sounds.
            clock: Seconds; when answers were ready is told by it.
        """
        self._num_channels = num_channels
        self._through = np.float32(through)
        self._clock = clock
        self._lock = threading.Lock()
        self._voice: _Voice | None = None
        self._waiting: deque[_Voice] = deque()
        self._fade: _Fade | None = None
        self.next_sample = start_sample
        self.gap_samples = 0
        self.hand_overs: list[HandOver] = []
        self.missed: list[str] = []

    def plan(self, request_id: str, start_sample: int, end_sample: int, fade_samples: int) -> None:
        """Announce an answer, or another end of one that was announced."""
        with self._lock:
            for voice in self._voices():
                if voice.request_id == request_id:
                    voice.end_sample = end_sample
                    return
            voice = _Voice(
                request_id=request_id,
                start_sample=start_sample,
                end_sample=end_sample,
                fade_samples=fade_samples,
                next_sample=start_sample - fade_samples,
            )
            self._waiting.append(voice)

    def add(self, request_id: str, start_sample: int, samples: Audio) -> None:
        """Take a block of an answer; one that nobody waits for any more is dropped."""
        with self._lock:
            for voice in self._voices():
                if voice.request_id == request_id:
                    voice.parts.append((start_sample, samples))
                    voice.next_sample = start_sample + samples.shape[1]
                    if voice.ready_s is None and voice.next_sample > voice.start_sample:
                        voice.ready_s = self._clock()

    def play(self, dry: Audio) -> Audio:
        """Return what sounds now, as long as the input; time goes on by as much."""
        out = np.empty_like(dry)
        start, end = self.next_sample, self.next_sample + dry.shape[1]
        with self._lock:
            at = start
            while at < end:
                last = self._turn_at(at, end)
                out[:, at - start : last - start] = self._mixed(
                    dry[:, at - start : last - start], at, last
                )
                at = last
            self.next_sample = end
        return out

    def _voices(self) -> list[_Voice]:
        """Return the voices that sound, that fade in and that wait."""
        coming = None if self._fade is None else self._fade.voice
        return [one for one in (self._voice, coming, *self._waiting) if one is not None]

    def _turn_at(self, at: int, end: int) -> int:
        """Let what is due at a sample begin; return how far nothing else does."""
        if self._fade is not None and at >= self._fade.end_sample:
            self._voice, self._fade = self._fade.voice, None
        if self._fade is None:
            self._fade = self._begun(at, end - at)
        if self._fade is not None:
            return min(end, self._fade.end_sample)
        due = [voice.begin_sample for voice in self._waiting]
        if self._voice is not None:
            due.append(self._voice.end_sample - self._voice.fade_samples)
        return min([end, *(sample for sample in due if sample > at)])

    def _begun(self, at: int, block_samples: int) -> _Fade | None:
        """Return the crossfade that begins at a sample, if one does."""
        while len(self._waiting) > 1 and at >= self._waiting[1].begin_sample:
            self.missed.append(self._waiting.popleft().request_id)
        if self._waiting and at >= self._waiting[0].begin_sample:
            voice = self._waiting[0]
            fade = voice.fade_samples or MIN_FADE_SAMPLES
            until = voice.start_sample if at == voice.begin_sample else at + fade
            if voice.next_sample < max(until, at + block_samples):
                return None
            self._waiting.popleft()
            heard = HandOver(
                request_id=voice.request_id,
                start_sample=voice.start_sample,
                heard_sample=until,
                ready_s=voice.ready_s or 0.0,
            )
            self.hand_overs.append(heard)
            return self._fade_to(voice, at, until)
        voice = self._voice
        if voice is None or at < voice.end_sample - voice.fade_samples:
            return None
        if self._waiting and self._waiting[0].start_sample <= voice.end_sample:
            return None
        return self._fade_to(None, at, max(voice.end_sample, at + MIN_FADE_SAMPLES))

    def _fade_to(self, voice: _Voice | None, at: int, until: int) -> _Fade | None:
        if until > at:
            return _Fade(voice=voice, first_sample=at, end_sample=until)
        self._voice = voice
        return None

    def _mixed(self, dry: Audio, first: int, last: int) -> Audio:
        old, fade = self._sound(self._voice, dry, first, last), self._fade
        if fade is None:
            return old
        new = self._sound(fade.voice, dry, first, last)
        if fade.alike is None:
            fade.alike = correlation(old, new)
        part = first - fade.first_sample, fade.end_sample - fade.first_sample
        return crossfaded_part(old, new, part, fade.alike)

    def _sound(self, voice: _Voice | None, dry: Audio, first: int, last: int) -> Audio:
        if voice is None:
            return dry
        samples, found = voice.read(first, last, self._num_channels)
        self.gap_samples += last - first - found
        return samples + self._through * dry
