"""What is written down of a job: its state at intervals, its take and file at the end.

Knows neither who listens nor how the work is shared.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np

from bridge.audio_file import AudioClip, Provenance, write_audio
from bridge.cache import Caches
from bridge.database import storage_errors
from bridge.jobs import Checkpoint
from bridge.lyric_file import markers_of
from bridge.pace import Pace
from bridge.ports import Audio, Generator, PlanChange, S
from bridge.request import Accepted, Done
from bridge.store import TakeStore
from bridge.takes import Take
from bridge.workers import Worker

T = TypeVar("T")

LOW_FIDELITY: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools(Generic[S]):
    """What every job works with."""

    generator: Generator[S]
    model: Worker
    sound: Worker
    store: TakeStore
    clock: Callable[[], float]
    pace: Pace
    checkpoint_seconds: float
    caches: Caches[S]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached(Generic[S]):
    """How far a job has come: blocks of the prime fed, changes of its plan, and the state."""

    state: S
    fed_blocks: int
    changes: tuple[PlanChange, ...]


class Saver(Generic[S]):
    """Writes a job's state down beside the work that goes on, one at a time."""

    def __init__(self, job: str, tools: Tools[S]) -> None:
        self._job = job
        self._tools = tools
        self._saved_s = tools.clock()
        self._saving: asyncio.Task[None] | None = None

    async def in_time(self, reached: Reached[S]) -> None:
        """Begin to write a state down if the last time is long ago.

        Raises:
            StorageError: The last time failed: the disk is full or refuses.
        """
        now = self._tools.clock()
        if now - self._saved_s < self._tools.checkpoint_seconds:
            return
        if self._saving is not None:
            await self._saving
        self._saved_s = now
        checkpoint = await self._checkpoint(reached)
        self._saving = asyncio.create_task(self._write(checkpoint))

    async def now(self, reached: Reached[S]) -> None:
        """Return once a state is on disk.

        Raises:
            StorageError: The disk is full or refuses.
        """
        await self._write(await self._checkpoint(reached))

    async def rest(self) -> None:
        """Return once nothing is being written; how that ended counts no more."""
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)

    async def _checkpoint(self, reached: Reached[S]) -> Checkpoint:
        data = await self._tools.model.run(self._job, reached.state.to_bytes)
        return Checkpoint(fed_blocks=reached.fed_blocks, state=data, changes=reached.changes)

    async def _write(self, checkpoint: Checkpoint) -> None:
        save = self._tools.store.jobs.save_checkpoint
        await asyncio.to_thread(save, self._job, checkpoint)


async def whole(work: Callable[[], T]) -> T:
    """Return what a thread gives; who is cancelled meanwhile goes on: it is too late for that.

    Else the thread would write a take while its job is written down as cancelled.
    """
    task = asyncio.create_task(asyncio.to_thread(work))
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


def write_take(path: Path, take: Take, audio: Sequence[Audio]) -> Path:
    """Return where the audio of a take was written as a Broadcast Wave file.

    Raises:
        StorageError: The disk is full or refuses.
    """
    provenance = Provenance(
        model=take.model,
        fingerprint=take.fingerprint,
        seed=take.seed,
        request_id=take.request.request_id,
        licence=take.licence,
        take_id=take.id,
    )
    samples = np.concatenate(audio, axis=1)
    markers = markers_of(take.words, take.start_sample, take.num_samples)
    clip = AudioClip(samples=samples, sample_rate=take.request.sample_rate, markers=markers)
    with storage_errors(f"write {path}"):
        return write_audio(path, clip, take.start_sample, provenance)


def told(accepted: Accepted, done: Done) -> dict[str, Any]:
    """Return what is kept to tell a job again, as JSON can hold it."""
    end = asdict(replace(done, lead_in=np.zeros((0, 0), np.float32)))
    del end["lead_in"]
    end["path"] = None if done.path is None else str(done.path)
    return {"accepted": asdict(accepted), "done": end}


def advice_on(fidelity: float) -> str:
    """Return what to tell a caller whose prime the model knows so well; empty if all is well."""
    if fidelity >= LOW_FIDELITY:
        return ""
    return (
        f"this sound is outside what the model knows: its codec keeps {fidelity:.2f} of 1, "
        f"below {LOW_FIDELITY:g} what is made anew may not sound like the recording"
    )
