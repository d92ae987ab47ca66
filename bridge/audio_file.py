"""Audio files: read with every claim checked, written whole or not at all.

Results are Broadcast Wave files. Knows neither models nor takes.
"""

import errno
import hashlib
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

import numpy as np
import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]

from bridge.broadcast_wave import TIME_REFERENCE_AT, Provenance, Sheet, header
from bridge.errors import (
    BridgeError,
    InvalidRequestError,
    NotFoundError,
    NotReadyError,
    StorageError,
)
from bridge.markers import MAX_BYTES as MAX_MARKER_BYTES
from bridge.markers import Marker, marker_chunks, markers_of
from bridge.ports import Audio
from bridge.request import MAX_PRIME_SECONDS, check_format

MAX_CHUNKS: Final = 1000

_BLOCK_FRAMES: Final = 1 << 18
_NO_HARD_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
# What a file begins with: the chunk of its samples and the byte order of chunk sizes.
_CONTAINERS: Final = {b"RIFF": (b"data", "<"), b"FORM": (b"SSND", ">"), b"fLaC": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioClip:
    """Audio, its rate in Hz, and named places that a DAW shows."""

    samples: Audio
    sample_rate: int
    markers: tuple[Marker, ...] = ()


def sha256_of(audio: Audio) -> str:
    """Return the SHA-256 of the samples as interleaved little-endian float32, in hex."""
    return hashlib.sha256(_interleaved(audio)).hexdigest()


def read_audio(path: Path, max_seconds: float = MAX_PRIME_SECONDS) -> AudioClip:
    """Return the audio of a WAV, AIFF or FLAC file.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: Not one of these formats, truncated, empty, too
            long, NaN inside, or a rate or channel count that is not served.
    """
    if not path.exists():
        raise NotFoundError(f"there is no file {path}")
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidRequestError(f"{path} is no regular file")
    try:
        with path.open("rb", buffering=0) as file:
            _check_claim(path, file)
            file.seek(0)
            return _decode(path, file, max_seconds)
    except PermissionError as error:
        raise InvalidRequestError(f"{path} may not be read: {error.strerror}") from error


def read_time_reference(path: Path) -> int | None:
    """Return the session sample that a WAV file says it begins at, None if it does not say.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: More chunks than any such file has.
    """
    try:
        with path.open("rb") as file:
            container = file.read(12)
            if container[:4] != b"RIFF":
                return None
            for name, at, num_bytes in _chunks(file, "<"):
                if name == b"bext" and num_bytes >= TIME_REFERENCE_AT + 8:
                    held = _read_at(file, at + TIME_REFERENCE_AT, 8)
                    return int.from_bytes(held, "little") if len(held) == 8 else None
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    return None


def read_markers(path: Path) -> tuple[Marker, ...]:
    """Return the markers of a WAV file, in their order in time.

    Raises:
        NotFoundError: There is no such file.
    """
    try:
        with path.open("rb") as file:
            if file.read(12)[:4] != b"RIFF":
                return ()
            return markers_of(
                [
                    (name, _read_at(file, at, num_bytes))
                    for name, at, num_bytes in _chunks(file, "<")
                    if name in (b"cue ", b"LIST") and num_bytes <= MAX_MARKER_BYTES
                ]
            )
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error


def write_audio(
    path: Path,
    clip: AudioClip,
    start_sample: int,
    provenance: Provenance,
    *,
    overwrite: bool = False,
    written_at: datetime | None = None,
) -> Path:
    """Return where the clip now lies: the path given, or if that is taken `name-2.wav` and so on.

    The file appears under its name complete and synced; a failure leaves none.

    Args:
        path: The file wanted; its folder must exist.
        clip: The audio, mono or stereo.
        start_sample: Session sample of the first sample, the `bext` time reference.
        provenance: What made it.
        overwrite: Whether a file of this name is replaced.
        written_at: The date inside; now by default.

    Raises:
        InvalidRequestError: More than 4 GiB, or a start before sample 0.
        NotFoundError: The folder does not exist.
        NotReadyError: The folder cannot be written to.
        StorageError: The disk is full.
    """
    num_channels, num_samples = clip.samples.shape
    sheet = Sheet(
        num_channels=num_channels,
        num_samples=num_samples,
        sample_rate=clip.sample_rate,
        start_sample=start_sample,
        provenance=provenance,
        written_at=written_at or datetime.now().astimezone(),
    )
    head = header(sheet, marker_chunks(clip.markers))
    return write_whole(path, (head, _interleaved(clip.samples)), overwrite=overwrite)


def write_whole(
    path: Path, parts: Iterable[bytes | memoryview], *, overwrite: bool = False
) -> Path:
    """Return where the parts now lie in one file: `path`, or `name-2` and so on if that is taken.

    The file is written under a temporary name, synced, then renamed; a failure leaves none.

    Raises:
        NotFoundError: The folder does not exist.
        NotReadyError: The folder cannot be written to.
        StorageError: The disk is full.
    """
    unfinished = path.with_name(f".{uuid4().hex}.part")
    try:
        _write_synced(unfinished, parts)
        final = _publish(unfinished, path, overwrite=overwrite)
        _sync_folder(path.parent)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no folder {path.parent}") from error
    except OSError as error:
        kind = StorageError if error.errno in (errno.ENOSPC, errno.EDQUOT) else NotReadyError
        why = "the disk is full" if kind is StorageError else error.strerror
        raise kind(f"{path} cannot be written: {why}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return final


def _interleaved(audio: Audio) -> memoryview:
    return np.ascontiguousarray(audio.T, dtype="<f4").data.cast("B")


def _check_claim(path: Path, file: BinaryIO) -> None:
    """Refuse a file whose header promises more audio than the file holds."""
    start = file.read(12)
    if start[:4] not in _CONTAINERS:
        raise InvalidRequestError(f"{path} is neither WAV, AIFF nor FLAC")
    layout = _CONTAINERS[start[:4]]
    if layout is None:
        return
    wanted, byte_order = layout
    held_bytes = os.fstat(file.fileno()).st_size
    for name, at, num_bytes in _chunks(file, byte_order):
        if name == wanted and at + num_bytes > held_bytes:
            raise InvalidRequestError(
                f"{path} is truncated: its header claims {num_bytes} bytes of audio, "
                f"{max(0, held_bytes - at)} bytes follow it"
            )


def _chunks(file: BinaryIO, byte_order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, place and claimed bytes of each chunk after the 12 bytes of the container."""
    at = 12
    for number in count(1):
        head = _read_at(file, at, 8)
        if len(head) < 8:
            return
        if number > MAX_CHUNKS:
            raise InvalidRequestError(f"the file has over {MAX_CHUNKS} chunks, which is the limit")
        name, num_bytes = struct.unpack(f"{byte_order}4sI", head)
        yield name, at + 8, num_bytes
        at += 8 + num_bytes + num_bytes % 2


def _read_at(file: BinaryIO, at: int, num_bytes: int) -> bytes:
    file.seek(at)
    return file.read(num_bytes)


def _decode(path: Path, file: BinaryIO, max_seconds: float) -> AudioClip:
    try:
        with sf.SoundFile(file.fileno(), closefd=False) as sound:
            check_format(sound.samplerate, sound.channels)
            claimed = sound.frames
            seconds = claimed / sound.samplerate
            if seconds > max_seconds:
                raise InvalidRequestError(f"it lasts {seconds:.1f} s, the limit is {max_seconds} s")
            samples = _read_frames(sound)
    except BridgeError as error:
        raise InvalidRequestError(f"{path}: {error}") from error
    except (sf.SoundFileError, ValueError) as error:
        raise InvalidRequestError(f"{path} is damaged or truncated: {error}") from error
    _check_samples(path, samples, claimed)
    return AudioClip(samples=samples, sample_rate=sound.samplerate)


def _read_frames(sound: sf.SoundFile) -> Audio:
    """Return what is there; memory grows with the audio, not with the header's claim."""
    blocks = [np.zeros((0, sound.channels), dtype=np.float32)]
    while len(block := sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        blocks.append(np.asarray(block, dtype=np.float32).reshape(-1, sound.channels))
    return np.ascontiguousarray(np.concatenate(blocks).T)


def _check_samples(path: Path, samples: Audio, claimed: int) -> None:
    held = samples.shape[1]
    if held != claimed:
        raise InvalidRequestError(
            f"{path} is truncated: its header claims {claimed} samples, {held} samples are there"
        )
    if held == 0:
        raise InvalidRequestError(f"{path} holds 0 samples, at least 1 is needed")
    bad = int(np.count_nonzero(~np.isfinite(samples)))
    if bad:
        raise InvalidRequestError(
            f"{path} holds {bad} samples that are NaN or infinite, 0 are allowed"
        )


def _write_synced(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    with path.open("xb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _publish(unfinished: Path, path: Path, *, overwrite: bool) -> Path:
    if overwrite:
        return unfinished.replace(path)
    for number in count(1):
        free = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            _link(unfinished, free)
        except FileExistsError:
            continue
        return free
    raise AssertionError("whole numbers do not end")


def _link(unfinished: Path, free: Path) -> None:
    try:
        free.hardlink_to(unfinished)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # This file system has no hard links: take the name first, then fill it.
        free.touch(exist_ok=False)
        try:
            unfinished.replace(free)
        except OSError:
            free.unlink()
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
