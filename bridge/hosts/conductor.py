"""What the musician asks for, done through any host: continue, retry, accept, cancel.

One way for all hosts: render the selection, have it continued, put the result on
the exact sample after it in one undo step. Knows the contract, and no host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from bridge.audio_file import AudioClip, Provenance, read_audio, write_audio
from bridge.client import Continuation, ProgressCallback, Result
from bridge.errors import BridgeError, InvalidRequestError, JobCancelledError, NotReadyError
from bridge.hosts.contract import Host, Selection, View
from bridge.ports import Plan, Quality
from bridge.request import MAX_PRIME_SECONDS, Progress

SHOW_SECONDS: Final = 0.25
"""A host is told of progress at most this often."""

Render = Callable[[Continuation, ProgressCallback], Result]


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How continuations should be, until the musician says otherwise.

    Attributes:
        bars: Length of a continuation.
        tempo_bpm: Where the host cannot tell; quarter notes a minute.
        meter: Where the host cannot tell.
        track: Where continuations go; empty is a track beside the selected one.
        quality: The sampler.
    """

    bars: float = 4.0
    tempo_bpm: float | None = None
    meter: tuple[int, int] = (4, 4)
    track: str = ""
    quality: Quality = Quality.FAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A continuation that stands in the host."""

    name: str
    track: str
    selection: Selection
    start_sample: int
    num_samples: int
    seed: int
    take_id: str
    path: Path


class Conductor:
    """Continues what is selected in a host, and remembers what may still be made again."""

    def __init__(
        self,
        host: Host,
        render: Render,
        folder: Path,
        wish: Wish | None = None,
        *,
        clock: Callable[[], float],
    ) -> None:
        """Prepare; nothing is asked of the host yet.

        Args:
            host: Where the music is.
            render: A server's way to continue, such as `Client.render`.
            folder: Where primes and results are written; it must exist.
            wish: Length, track and the rest.
            clock: Seconds, monotone.
        """
        self._host = host
        self._render = render
        self._folder = folder
        self._wish = wish or Wish()
        self._clock = clock
        self._last: Placed | None = None

    @property
    def last(self) -> Placed | None:
        """Return what `retry` would replace; None once it is accepted."""
        return self._last

    def continue_selection(self, is_cancelled: Callable[[], bool] = _never) -> Placed:
        """Return the continuation of what is selected, once it is in place.

        Args:
            is_cancelled: Asked now and then whether somebody wants it stopped.

        Raises:
            JobCancelledError: The musician aborted it; the host is as it was.
            BridgeError: What host or server refused; the host is as it was.
        """
        return self._place(self._host.selection(), None, is_cancelled)

    def retry(self, is_cancelled: Callable[[], bool] = _never) -> Placed:
        """Return another continuation of the same music, in the place of the last one.

        Args:
            is_cancelled: Asked now and then whether somebody wants it stopped.

        Raises:
            NotReadyError: There is none, or it was accepted.
            BridgeError: As `continue_selection`; the last one stays then.
        """
        if self._last is None:
            raise NotReadyError("there is no continuation to make again: continue something first")
        return self._place(self._last.selection, self._last, is_cancelled)

    def accept(self) -> Placed:
        """Return the last continuation, which stays from now on.

        Raises:
            NotReadyError: There is none, or it was accepted before.
        """
        if self._last is None:
            raise NotReadyError("there is no continuation to accept: continue something first")
        accepted, self._last = self._last, None
        return accepted

    def _place(
        self, selection: Selection, replaces: Placed | None, is_cancelled: Callable[[], bool]
    ) -> Placed:
        name = f"jukebox-{uuid4().hex[:12]}"
        with self._host.progress("Jukebox Bridge") as view:
            view.show(0.0, "rendering the selection")
            prime = self._prime_of(selection, name)
            request = self._request_of(selection, prime)
            result = self._render(request, self._watcher(view, is_cancelled))
        path = self._written(name, result, prime.sample_rate)
        track = self._wish.track or f"{selection.track} continued"
        start = result.accepted.splice_sample
        title = "Continue selection" if replaces is None else "Retry continuation"
        stands = replaces is not None and self._stands(replaces)
        with self._host.transaction(title) as edit:
            if replaces is not None and stands:
                edit.delete_clip(replaces.name)
            edit.create_clip(edit.import_file(path), track, start, name)
        self._last = Placed(
            name=name,
            track=track,
            selection=selection,
            start_sample=start,
            num_samples=result.done.num_samples,
            seed=result.accepted.seed,
            take_id=result.done.take_id,
            path=path,
        )
        return self._last

    def _stands(self, placed: Placed) -> bool:
        """Return whether a clip is still there; the musician may have undone it."""
        return any(clip.name == placed.name for clip in self._host.clips(placed.track))

    def _prime_of(self, selection: Selection, name: str) -> AudioClip:
        """Return the selection's audio, or its end if it is longer than a prime may be."""
        longest = int(MAX_PRIME_SECONDS * selection.sample_rate)
        start = max(selection.start_sample, selection.end_sample - longest)
        stretch = Selection(
            track=selection.track,
            start_sample=start,
            end_sample=selection.end_sample,
            sample_rate=selection.sample_rate,
        )
        path = self._host.render_range(stretch, self._folder / f"{name}-prime.wav")
        try:
            clip = read_audio(path)
        finally:
            path.unlink(missing_ok=True)
        wanted = stretch.end_sample - stretch.start_sample
        if (clip.samples.shape[1], clip.sample_rate) != (wanted, selection.sample_rate):
            raise BridgeError(
                f"{self._host.name} rendered {clip.samples.shape[1]} samples at "
                f"{clip.sample_rate} Hz, asked were {wanted} at {selection.sample_rate} Hz"
            )
        return clip

    def _request_of(self, selection: Selection, prime: AudioClip) -> Continuation:
        tempo = selection.tempo_bpm or self._wish.tempo_bpm
        if tempo is None:
            raise InvalidRequestError(
                f"{self._host.name} tells no tempo: say it in bpm, such as --tempo 120"
            )
        return Continuation(
            prime=prime.samples,
            sample_rate=prime.sample_rate,
            bars=self._wish.bars,
            tempo_bpm=tempo,
            meter=selection.meter or self._wish.meter,
            plan=Plan(seed=0, quality=self._wish.quality),
            prime_start_sample=selection.end_sample - prime.samples.shape[1],
        )

    def _watcher(self, view: View, is_cancelled: Callable[[], bool]) -> ProgressCallback:
        """Return a callback that shows each step and ends the call when the musician aborts."""
        due = self._clock()

        def show(progress: Progress) -> None:
            nonlocal due
            now = self._clock()
            if now >= due:
                due = now + SHOW_SECONDS
                fraction = progress.step / max(1, progress.total_steps)
                left = f"{progress.phase}, {progress.eta_seconds:.0f} s left"
                view.show(min(1.0, fraction), left)
                if view.is_aborted() or is_cancelled():
                    raise JobCancelledError("the musician stopped it")

        return show

    def _written(self, name: str, result: Result, sample_rate: int) -> Path:
        accepted, done = result.accepted, result.done
        provenance = Provenance(
            model=accepted.model,
            fingerprint=accepted.fingerprint,
            seed=accepted.seed,
            request_id=accepted.request_id,
            licence=done.licence,
            take_id=done.take_id,
        )
        clip = AudioClip(samples=result.audio, sample_rate=sample_rate)
        path = self._folder / f"{name}.wav"
        return write_audio(path, clip, accepted.splice_sample, provenance)
