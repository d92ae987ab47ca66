"""The other end of gRPC: a typed client for scripts and for our own commands.

Sync, so that a script needs no event loop. What comes back is checked on the
way. Knows no engine.
"""

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge import messages
from bridge.config import DEFAULT_HOST, DEFAULT_PORT
from bridge.connection import Access, errors_of, open_channel
from bridge.continuation import (
    Continuation,
    Upsampling,
    audio_of,
    header_of,
    message_of_upsampling,
)
from bridge.errors import BridgeError, StoppingError
from bridge.gathering import BlockArrival, Gathering, Result
from bridge.live_client import LiveClient
from bridge.request import Progress, Queued, RenderEvent
from bridge.request_messages import Verb
from protos import bridge_pb2, bridge_pb2_grpc

__all__ = [
    "Access",
    "BlockArrival",
    "Client",
    "Continuation",
    "LiveClient",
    "Result",
    "Upsampling",
    "Verb",
]

DEFAULT_ADDRESS: Final = f"{DEFAULT_HOST}:{DEFAULT_PORT}"
SERVICE: Final = bridge_pb2.DESCRIPTOR.services_by_name["Bridge"].full_name

QUEUED: Final = "queued"
"""Phase of a step that waits: no step done, as many to go as jobs are before it."""

ProgressCallback = Callable[[Progress], None]


class Client:
    """A connection to one server; `with Client() as client: client.render(...)`."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        access: Access | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a connection; the first call makes it.

        Args:
            address: `host:port`, or `unix:PATH`.
            access: Token and TLS; neither if not given.
            clock: Seconds, monotone.

        Raises:
            InvalidRequestError: A token would go over the network in the clear.
            NotReadyError: A file of keys cannot be used.
        """
        access = access or Access()
        self._address = address
        self._clock = clock
        self._metadata = access.metadata()
        self._channel = open_channel(address, access)
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
        upload = _Upload(continuation, self._clock)
        return self._gathered(
            self._uploading(continuation, upload),
            continuation.prime.shape[0],
            lambda: upload.sent_at,
            on_progress,
        )

    def events(self, continuation: Continuation) -> Generator[RenderEvent]:
        """Yield the server's events as they come; closing the generator stops the computation.

        Raises:
            BridgeError: What the server refused, or `StoppingError` when it is gone.
        """
        return self._uploading(continuation, _Upload(continuation, self._clock))

    def upsample(
        self,
        request: Upsampling | bridge_pb2.UpsampleRequest,
        on_progress: ProgressCallback | None = None,
    ) -> Result:
        """Return codes of a coarse level as audio.

        Raises:
            BridgeError: What the server refused.
        """
        if isinstance(request, Upsampling):
            request = message_of_upsampling(request)
        num_channels = request.format.num_channels
        sent_at = self._clock()
        events = self._events("Upsample", request, num_channels)
        return self._gathered(events, num_channels, lambda: sent_at, on_progress)

    def vary(self, request: bridge_pb2.VaryRequest) -> Generator[Result]:
        """Yield the variations of a take, each when it is done.

        Raises:
            BridgeError: What the server refused.
        """
        num_channels = self.take(request.take_id).format.num_channels
        sent_at = self._clock()
        gathering = Gathering(num_channels)
        with closing(self._events("Vary", request, num_channels)) as events:
            for event in events:
                if not isinstance(event, Progress | Queued):
                    gathering.add(event, self._clock() - sent_at)
                    if gathering.is_done:
                        yield gathering.result()
                        gathering = Gathering(num_channels)

    def live(self, header: bridge_pb2.LiveHeader) -> LiveClient:
        """Return a live session, to be used as a context; `LiveClient` says how.

        Raises:
            BridgeError: What the server refused.
        """
        return LiveClient(self._stub.Live, header, self._address, self._metadata)

    def watch(
        self, job_id: str, num_channels: int, from_sample: int | None = None
    ) -> Generator[RenderEvent]:
        """Yield a job's events from its beginning, its audio from a sample on.

        Raises:
            BridgeError: What the job failed with, or that nobody knows it.
        """
        request = bridge_pb2.WatchRequest(job_id=job_id, from_sample=from_sample)
        return self._events("Watch", request, num_channels)

    def cancel(self, job_id: str) -> bridge_pb2.Job:
        """Return the job as it ended; its computing has stopped."""
        return self._ask("Cancel", bridge_pb2.CancelRequest(job_id=job_id)).job

    def jobs(self, *states: bridge_pb2.JobState) -> tuple[bridge_pb2.Job, ...]:
        """Return the jobs in these states, the newest first; without states all."""
        return tuple(self._ask("ListJobs", bridge_pb2.ListJobsRequest(states=states)).jobs)

    def takes(
        self, mark: bridge_pb2.Mark = bridge_pb2.MARK_UNSPECIFIED, parent_id: str = ""
    ) -> Iterator[bridge_pb2.Take]:
        """Yield the takes with a mark and a parent, the newest first; without these all."""
        request = bridge_pb2.ListTakesRequest(mark=mark, parent_id=parent_id)
        while True:
            page = self._ask("ListTakes", request)
            yield from page.takes
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    def take(self, take_id: str) -> bridge_pb2.Take:
        """Return what is kept of a take."""
        return self._ask("GetTake", bridge_pb2.GetTakeRequest(take_id=take_id))

    def tag(
        self,
        take_id: str,
        mark: bridge_pb2.Mark = bridge_pb2.MARK_UNSPECIFIED,
        name: str | None = None,
    ) -> bridge_pb2.Take:
        """Return a take with a new mark, a new name or both."""
        request = bridge_pb2.TagTakeRequest(take_id=take_id, mark=mark, name=name)
        return self._ask("TagTake", request)

    def export(self, take_id: str, path: Path) -> Path:
        """Return the path, at which the take's Broadcast Wave file now lies.

        Raises:
            BridgeError: What the server refused, or a file that is not the promised one.
        """
        unfinished = path.with_name(f".{path.name}.part")
        request = bridge_pb2.ExportTakeRequest(take_id=take_id)
        try:
            self._receive(request, unfinished)
            return unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def export_codes(self, take_id: str, path: Path) -> Path:
        """Return the path, at which the take's codes now lie as safetensors.

        Raises:
            BridgeError: What the server refused, or a file that is not the promised one.
        """
        unfinished = path.with_name(f".{path.name}.part")
        request = bridge_pb2.ExportTakeRequest(take_id=take_id, codes=True)
        try:
            self._receive(request, unfinished)
            return unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def export_on_server(self, take_id: str) -> bridge_pb2.ExportHeader:
        """Return where in the server's spool the take's file now lies."""
        request = bridge_pb2.ExportTakeRequest(take_id=take_id, write_file=True)
        with errors_of(self._address):
            (event,) = self._stub.ExportTake(request, metadata=self._metadata)
        return event.header

    def models(self) -> tuple[bridge_pb2.Model, ...]:
        """Return what the server tells of its models.

        Raises:
            BridgeError: The server is loading or gone.
        """
        return tuple(self._ask("ListModels", bridge_pb2.ListModelsRequest()).models)

    def load_model(self, name: str = "") -> bridge_pb2.Model:
        """Return a model, once it serves."""
        return self._ask("LoadModel", bridge_pb2.LoadModelRequest(name=name))

    def unload_model(self, name: str = "") -> bridge_pb2.Model:
        """Return a model, once its memory is free."""
        return self._ask("UnloadModel", bridge_pb2.UnloadModelRequest(name=name))

    def styles(self, model: str = "") -> bridge_pb2.ListStylesResponse:
        """Return the labels that a model knows."""
        return self._ask("ListStyles", bridge_pb2.ListStylesRequest(model=model))

    def stats(self) -> bridge_pb2.Stats:
        """Return the server's counts."""
        return self._ask("GetStats", bridge_pb2.GetStatsRequest())

    def is_serving(self) -> bool:
        """Return whether the server says that it is ready; False while it loads or is gone."""
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            answer = self._health.Check(request, metadata=self._metadata)
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
            metadata=self._metadata,
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

    def _gathered(
        self,
        events: Generator[RenderEvent],
        num_channels: int,
        sent_at: Callable[[], float],
        on_progress: ProgressCallback | None,
    ) -> Result:
        gathering = Gathering(num_channels)
        with closing(events):
            for event in events:
                if not isinstance(event, Progress | Queued):
                    gathering.add(event, self._clock() - sent_at())
                elif on_progress is not None:
                    on_progress(_step_of(event))
        return gathering.result()

    def _uploading(self, continuation: Continuation, upload: "_Upload") -> Generator[RenderEvent]:
        return self._events(continuation.verb, upload.messages(), continuation.prime.shape[0])

    def _events(self, verb: str, request: Any, num_channels: int) -> Generator[RenderEvent]:  # noqa: ANN401
        with errors_of(self._address):
            call = getattr(self._stub, verb)(request, metadata=self._metadata)
            try:
                for message in call:
                    yield messages.event_of(message, num_channels)
            finally:
                call.cancel()

    def _ask(self, verb: str, request: Any) -> Any:  # noqa: ANN401 - grpc types its calls so
        with errors_of(self._address):
            return getattr(self._stub, verb)(request, metadata=self._metadata)

    def _receive(self, request: bridge_pb2.ExportTakeRequest, path: Path) -> None:
        digest, promised = hashlib.sha256(), ""
        with errors_of(self._address), path.open("wb") as file:
            for event in self._stub.ExportTake(request, metadata=self._metadata):
                if event.WhichOneof("event") == "header":
                    promised = event.header.file_sha256
                else:
                    digest.update(event.data)
                    file.write(event.data)
        if digest.hexdigest() != promised:
            raise BridgeError(f"the file has SHA-256 {digest.hexdigest()}, {promised} was promised")


def _step_of(event: Progress | Queued) -> Progress:
    if isinstance(event, Progress):
        return event
    return Progress(phase=QUEUED, step=0, total_steps=event.position, eta_seconds=event.eta_seconds)


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
