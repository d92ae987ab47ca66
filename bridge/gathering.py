"""A result put together from its events; refuses what does not fit together.

Blocks without a gap, the promised length, the promised SHA-256. Knows no
connection.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from bridge import messages
from bridge.errors import BridgeError
from bridge.ports import Audio
from bridge.request import Accepted, AudioBlock, Done


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockArrival:
    """When a block came, in seconds after the last request byte was handed over."""

    start_sample: int
    num_samples: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished result: audio (channels, samples) from `accepted.splice_sample` on."""

    audio: Audio
    accepted: Accepted
    done: Done
    blocks: tuple[BlockArrival, ...]


class Gathering:
    """The parts of a result as they come."""

    def __init__(self, num_channels: int) -> None:
        self._num_channels = num_channels
        self._accepted: Accepted | None = None
        self._done: Done | None = None
        self._audio: list[Audio] = []
        self._arrivals: list[BlockArrival] = []

    @property
    def is_done(self) -> bool:
        """Return whether the last event has come."""
        return self._done is not None

    def add(self, event: Accepted | AudioBlock | Done, seconds: float) -> None:
        """Take the next event.

        Raises:
            BridgeError: It is not the one that was due.
        """
        match event:
            case Accepted():
                self._accepted = event
            case AudioBlock():
                self._add_block(event, seconds)
            case Done():
                self._done = event

    def result(self) -> Result:
        """Return the whole, once the last event has come.

        Raises:
            BridgeError: Something is missing, or is not what was promised.
        """
        if self._accepted is None or self._done is None:
            raise BridgeError("the server ended the call before it was done")
        nothing = np.zeros((self._num_channels, 0), np.float32)
        audio = np.concatenate([nothing, *self._audio], axis=1)
        if audio.shape[1] != self._accepted.expected_samples:
            raise BridgeError(
                f"{audio.shape[1]} samples came, {self._accepted.expected_samples} were promised"
            )
        found = hashlib.sha256(messages.bytes_of(audio)).hexdigest()
        if found != self._done.sha256:
            raise BridgeError(f"the audio has SHA-256 {found}, {self._done.sha256} was promised")
        return Result(
            audio=audio,
            accepted=self._accepted,
            done=self._done,
            blocks=tuple(self._arrivals),
        )

    def _add_block(self, block: AudioBlock, seconds: float) -> None:
        if self._accepted is None:
            raise BridgeError("audio came before the server had accepted the request")
        expected = self._accepted.splice_sample + sum(part.shape[1] for part in self._audio)
        if block.start_sample != expected:
            raise BridgeError(f"a block starts at sample {block.start_sample}, due was {expected}")
        self._audio.append(block.samples)
        self._arrivals.append(
            BlockArrival(
                start_sample=block.start_sample,
                num_samples=block.samples.shape[1],
                seconds=seconds,
            )
        )
