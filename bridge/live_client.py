"""A live session from the musician's side: play, ask for an answer, play on.

Sync; what the server tells is read when something is waited for. Knows no
engine.
"""

import queue
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from types import TracebackType
from typing import Any, Self

from bridge import messages
from bridge.connection import errors_of
from bridge.errors import BridgeError, ErrorCode
from bridge.gathering import Gathering, Result
from bridge.grpc_errors import kind_of
from bridge.ports import Audio, Mono, StemKind
from bridge.request import AudioBlock, Progress, Queued, RenderEvent
from protos import bridge_pb2


class LiveClient:
    """One session: `with client.live(header) as live: live.play(audio); live.answer(...)`."""

    def __init__(
        self,
        call: Callable[..., Any],
        header: bridge_pb2.LiveHeader,
        address: str,
        metadata: tuple[tuple[str, str], ...],
    ) -> None:
        """Open the session.

        Args:
            call: The stub's `Live`.
            header: What holds for the whole session.
            address: Of the server, for what is said when it is gone.
            metadata: What goes with the call.

        Raises:
            BridgeError: What the server refused.
        """
        self._num_channels = header.format.num_channels
        self._address = address
        self._outgoing: queue.SimpleQueue[bridge_pb2.LiveRequest | None] = queue.SimpleQueue()
        self._outgoing.put(bridge_pb2.LiveRequest(header=header))
        self._call = call(self._messages(), metadata=metadata)
        self.next_sample = header.start_sample
        """Where the next block of the recording belongs; to be set when the playing goes on
        inside an answer."""
        self.heard = bridge_pb2.LiveHeard()
        """How far the recording has come, when it was last told."""
        self.opened = self._first()

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
        """End the session; an answer under way is stopped."""
        self._outgoing.put(None)
        self._call.cancel()

    def play(self, audio: Audio) -> None:
        """Send what was recorded, float32 (channels, samples), after what was sent before."""
        for block in messages.blocks_of(audio, self.next_sample, bridge_pb2.ROLE_PRIME):
            self._outgoing.put(bridge_pb2.LiveRequest(audio=block))
        self.next_sample += audio.shape[1]

    def wait_until_heard(self, sample: int) -> None:
        """Return once the server has received the recording up to a sample.

        Raises:
            BridgeError: What the session failed with.
        """
        while self.heard.received_sample < sample:
            self._next()

    def answer(
        self, asked: bridge_pb2.LiveContinuation, clock: Callable[[], float] = time.monotonic
    ) -> Result:
        """Return a continuation as a whole; credit is given for all of it.

        Raises:
            BridgeError: What the server refused.
        """
        gathering = Gathering(self._num_channels)
        sent_at = clock()
        with closing(self.events(asked)) as events:
            for event in events:
                if isinstance(event, AudioBlock):
                    self.give_credit(event.samples.shape[1])
                if not isinstance(event, Progress | Queued):
                    gathering.add(event, clock() - sent_at)
        return gathering.result()

    def events(self, asked: bridge_pb2.LiveContinuation) -> Generator[RenderEvent]:
        """Yield a continuation's events until it is done or stopped; credit is the caller's.

        Raises:
            BridgeError: What the server refused.
        """
        self.ask(asked)
        while True:
            event = self._next()
            match event.WhichOneof("event"):
                case "render":
                    yield messages.event_of(event.render, self._num_channels)
                    if event.render.WhichOneof("event") == "done":
                        return
                case "stopped":
                    return
                case "failed":
                    failed = event.failed
                    kind = kind_of(ErrorCode[failed.code], failed.reason)
                    raise kind(failed.message, field=failed.field)
                case _:
                    pass

    def ask(self, asked: bridge_pb2.LiveContinuation) -> None:
        """Ask for a continuation; `next_event` tells of it, and credit is the caller's."""
        self._outgoing.put(bridge_pb2.LiveRequest(continuation=asked))

    def give_credit(self, num_samples: int) -> None:
        """Let the server send so many more samples of answers."""
        credit = bridge_pb2.LiveCredit(num_samples=num_samples)
        self._outgoing.put(bridge_pb2.LiveRequest(credit=credit))

    def stop(self, *, at_bar: bool = False) -> None:
        """End the answer or the loop under way, a loop at the next bar line if that is wanted."""
        self._outgoing.put(bridge_pb2.LiveRequest(stop=bridge_pb2.LiveStop(at_bar=at_bar)))

    def loop(self, asked: bridge_pb2.LiveLoop) -> None:
        """Begin a loop; `next_event` tells of it, and credit is the caller's."""
        self._outgoing.put(bridge_pb2.LiveRequest(loop=asked))

    def follow(self, tempo_map: Iterable[bridge_pb2.TempoChange]) -> None:
        """Let the loop under way follow another tempo map, given whole."""
        tempo = bridge_pb2.LiveTempo(tempo_map=tempo_map)
        self._outgoing.put(bridge_pb2.LiveRequest(tempo=tempo))

    def tell_notes(self, part: bridge_pb2.MidiPart) -> None:
        """Tell the notes of the next stretch, before the recording reaches it."""
        self._outgoing.put(bridge_pb2.LiveRequest(notes=part))

    def play_stem(self, kind: StemKind, start_sample: int, samples: Mono) -> None:
        """Send what follows of a stem, float32."""
        for block in messages.blocks_of(samples[None], start_sample, bridge_pb2.ROLE_STEM, kind):
            self._outgoing.put(bridge_pb2.LiveRequest(audio=block))

    def next_event(self) -> bridge_pb2.LiveEvent:
        """Return what the server tells next; `AudioBlock`s are float32, interleaved.

        Raises:
            BridgeError: What the session failed with.
        """
        return self._next()

    def _messages(self) -> Iterator[bridge_pb2.LiveRequest]:
        while (message := self._outgoing.get()) is not None:
            yield message

    def _first(self) -> bridge_pb2.LiveOpened:
        event = self._next()
        if event.WhichOneof("event") != "opened":
            raise BridgeError("the server did not open the session")
        return event.opened

    def _next(self) -> bridge_pb2.LiveEvent:
        with errors_of(self._address):
            event = next(self._call, None)
        if event is None:
            raise BridgeError("the server ended the session")
        if event.WhichOneof("event") == "heard":
            self.heard = event.heard
        return event
