"""Plays along live through JACK: listens, and answers on the bar line, bar after bar.

jukebox-bridge serve &
python examples/live_loop.py 120 --listen-bars 4 --bars 4

Without --listen-bars the music goes on without end: each answer hands over to the next, made from
all that sounds. Ctrl-C stops at the next bar.
"""

import argparse
import contextlib
import queue
import threading
from typing import Any, Protocol

import numpy as np

from bridge import messages
from bridge.client import DEFAULT_ADDRESS, Client
from bridge.errors import BridgeError
from bridge.live_client import LiveClient
from bridge.live_player import LivePlayer
from bridge.ports import Audio
from bridge.request import AudioBlock
from protos import bridge_pb2


class Sound(Protocol):
    """Where sound comes from and goes to; `JackSound` is one."""

    sample_rate: int

    def run(self, player: LivePlayer, sent: "queue.SimpleQueue[Audio | None]") -> None:
        """Play until the music is over; what sounded is put into `sent`."""
        ...


class JackSound:
    """A JACK client with two inputs and two outputs."""

    def __init__(self, name: str = "jukebox") -> None:
        """Open the client; the server must run."""
        import jack

        self._client: Any = jack.Client(name, no_start_server=True)
        self.ended = threading.Event()
        self.sample_rate = int(self._client.samplerate)
        for number in (1, 2):
            self._client.inports.register(f"in_{number}")
            self._client.outports.register(f"out_{number}")

    def run(self, player: LivePlayer, sent: "queue.SimpleQueue[Audio | None]") -> None:
        """Play until Ctrl-C, or until `ended` is set."""

        def process(_: int) -> None:
            dry = np.stack([port.get_array() for port in self._client.inports])
            out = player.play(dry)
            for port, samples in zip(self._client.outports, out, strict=True):
                port.get_array()[:] = samples
            sent.put(out)

        self._client.set_process_callback(process)
        with self._client, contextlib.suppress(KeyboardInterrupt):
            self.ended.wait()


def main(arguments: list[str] | None = None, sound: Sound | None = None) -> LivePlayer:
    """Play as the arguments say; return the player, which has counted what was missing."""
    options = _parser().parse_args(arguments)
    sound = sound or JackSound()
    player = LivePlayer(2, through=options.through)
    sent: queue.SimpleQueue[Audio | None] = queue.SimpleQueue()
    header = bridge_pb2.LiveHeader(
        format=bridge_pb2.AudioFormat(sample_rate=sound.sample_rate, num_channels=2),
        credit_samples=2**40,
    )
    with Client(options.server) as client, client.live(header) as live:
        live.loop(_loop(options, sound.sample_rate))
        listening = threading.Thread(target=_listen, args=(live, player))
        sending = threading.Thread(target=_send, args=(live, sent))
        listening.start()
        sending.start()
        sound.run(player, sent)
        live.stop(at_bar=True)
        sent.put(None)
        sending.join()
        live.close()
        listening.join()
    handed, missing = len(player.hand_overs), player.gap_samples
    print(f"{handed} answers took over, {missing} samples were missing")
    return player


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Answer live, on the bar line.")
    parser.add_argument("tempo_bpm", type=float, help="quarter notes a minute")
    parser.add_argument("--bars", type=int, default=1, help="of an answer (%(default)s)")
    parser.add_argument("--listen-bars", type=int, default=0, help="between answers (%(default)s)")
    parser.add_argument("--lead-ms", type=float, default=800.0, help="to compute (%(default)s)")
    parser.add_argument("--through", type=float, default=1.0, help="of the input beside an answer")
    parser.add_argument("--server", default=DEFAULT_ADDRESS)
    return parser


def _loop(options: argparse.Namespace, sample_rate: int) -> bridge_pb2.LiveLoop:
    tempo = bridge_pb2.TempoChange(
        tempo_bpm=options.tempo_bpm, meter_numerator=4, meter_denominator=4
    )
    return bridge_pb2.LiveLoop(
        tempo_map=[tempo],
        bars=options.bars,
        listen_bars=options.listen_bars,
        lead_samples=round(options.lead_ms * sample_rate / 1000),
        fade_samples=round(0.02 * sample_rate),
        reserve_samples=round(0.25 * sample_rate),
        keep_up=True,
    )


def _send(live: LiveClient, sent: "queue.SimpleQueue[Audio | None]") -> None:
    while (block := sent.get()) is not None:
        live.play(block)


def _listen(live: LiveClient, player: LivePlayer) -> None:
    """Hand the answers to the player until the session is over."""
    with contextlib.suppress(BridgeError):
        while True:
            event = live.next_event()
            match event.WhichOneof("event"):
                case "turn":
                    turn = event.turn
                    player.plan(
                        turn.request_id, turn.start_sample, turn.end_sample, turn.fade_samples
                    )
                case "render" if event.render.WhichOneof("event") == "audio":
                    block = messages.event_of(event.render, 2)
                    assert isinstance(block, AudioBlock)
                    player.add(event.request_id, block.start_sample, block.samples)
                case "failed":
                    print(event.failed.message)
                case _:
                    pass


if __name__ == "__main__":
    main()
