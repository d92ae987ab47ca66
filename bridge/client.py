"""The other end of gRPC: a typed client for scripts and for our own commands.

Sync, so that a script needs no event loop. Checks what comes back: blocks
without a gap, the promised length, the promised SHA-256. Knows no engine.
"""

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge import messages
from bridge.config import DEFAULT_HOST, DEFAULT_PORT
from bridge.continuation import Continuation, audio_of, header_of
from bridge.errors import BridgeError, ErrorCode, StoppingError
from bridge.ports import Audio
from bridge.request import Accepted, AudioBlock, Done, Progress, RenderEvent
from protos import bridge_pb2, bridge_pb2_grpc

__all__ = ["BlockArrival", "Client", "Continuation", "Result"]

DEFAULT_ADDRESS = f"{DEFAULT_HOST}:{DEFAULT_PORT}"
SERVICE = bridge_pb2.DESCRIPTOR.services_by_name["Bridge"].full_name
CHANNEL_OPTIONS = (("grpc.enable_http_proxy", 0),)
"""A proxy of the environment has no business between a client and its own machine."""

ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockArrival:
    """When a block came, in seconds after the last request byte was handed over."""

    start_sample: int
    num_samples: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished continuation: audio (channels, samples) from `accepted.splice_sample` on."""

    audio: Audio
    accepted: Accepted
    done: Done
    blocks: tuple[BlockArrival, ...]


class Client:
    """A connection to one server; `with Client() as client: client.render(...)`."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._clock = clock
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._stub: Any = bridge_pb2_grpc.BridgeStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls that run are cancelled."""
        self._channel.close()

    def render(
        self, continuation: Continuation, on_progress: ProgressCallback | None = None
    ) -> Result:
        """Return the whole result; the callback hears each step on the way.

        An exception of the callback (or Ctrl-C) ends the call and with it the computation.

        Raises:
            BridgeError: What the server refused, or `StoppingError` when it is gone.
        """
        gathered = _Gathered(continuation)
        upload = _Upload(continuation, self._clock)
        with closing(self._call(continuation, upload)) as events:
            for event in events:
                if isinstance(event, Progress):
                    if on_progress is not None:
                        on_progress(event)
                else:
                    gathered.add(event, self._clock() - upload.sent_at)
        return gathered.result()

    def events(self, continuation: Continuation) -> Generator[RenderEvent]:
        """Yield the server's events as they come; closing the generator stops the computation.

        Raises:
            BridgeError: What the server refused, or `StoppingError` when it is gone.
        """
        return self._call(continuation, _Upload(continuation, self._clock))

    def models(self) -> tuple[bridge_pb2.Model, ...]:
        """Return what the server tells of its models.

        Raises:
            BridgeError: The server is loading or gone.
        """
        with _errors_of(self._address):
            return tuple(self._stub.ListModels(bridge_pb2.ListModelsRequest()).models)

    def is_serving(self) -> bool:
        """Return whether the server says that it is ready; False while it loads or is gone."""
        try:
            answer = self._health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def wait_until_serving(self, timeout_seconds: float) -> None:
        """Return once the server says that it is ready.

        Raises:
            StoppingError: It was not ready in time.
        """
        watch = self._health.Watch(
            health_pb2.HealthCheckRequest(service=SERVICE),
            timeout=timeout_seconds,
            wait_for_ready=True,
        )
        try:
            for answer in watch:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
        except grpc.RpcError as error:
            raise StoppingError(
                f"the server at {self._address} was not ready within {timeout_seconds:g} s"
            ) from error
        finally:
            watch.cancel()

    def _call(self, continuation: Continuation, upload: "_Upload") -> Generator[RenderEvent]:
        num_channels = continuation.prime.shape[0]
        with _errors_of(self._address):
            call = self._stub.Continue(upload.messages())
            try:
                for message in call:
                    yield messages.event_of(message, num_channels)
            finally:
                call.cancel()


class _Upload:
    """The request as a stream of messages, and when its last one was handed over."""

    def __init__(self, continuation: Continuation, clock: Callable[[], float]) -> None:
        self._continuation = continuation
        self._clock = clock
        self._header = header_of(continuation)
        self.sent_at = clock()

    def messages(self) -> Iterator[bridge_pb2.ContinueRequest]:
        yield bridge_pb2.ContinueRequest(header=self._header)
        for block in audio_of(self._continuation):
            self.sent_at = self._clock()
            yield bridge_pb2.ContinueRequest(audio=block)


class _Gathered:
    """The parts of a result as they come; refuses what does not fit together."""

    def __init__(self, continuation: Continuation) -> None:
        self._num_channels = continuation.prime.shape[0]
        self._accepted: Accepted | None = None
        self._done: Done | None = None
        self._audio: list[Audio] = []
        self._arrivals: list[BlockArrival] = []

    def add(self, event: Accepted | AudioBlock | Done, seconds: float) -> None:
        match event:
            case Accepted():
                self._accepted = event
            case AudioBlock():
                self._add_block(event, seconds)
            case Done():
                self._done = event

    def result(self) -> Result:
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


_CLASS_OF_CODE: dict[str, type[BridgeError]] = {
    error.code.name: error for error in BridgeError.__subclasses__()
}


@contextmanager
def _errors_of(address: str) -> Generator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise _error_of(error, address) from error


def _error_of(error: Any, address: str) -> BridgeError:  # noqa: ANN401 - grpc types its calls so
    code, details = error.code(), error.details() or "no reason given"
    if code.name == ErrorCode.UNAVAILABLE:
        return StoppingError(
            f"the server at {address} did not answer or went away ({details}): "
            "is `jukebox-bridge serve` running there?"
        )
    if code.name in _CLASS_OF_CODE:
        return _CLASS_OF_CODE[code.name](details)
    return BridgeError(f"the server at {address} failed: {details} ({code.name})")
