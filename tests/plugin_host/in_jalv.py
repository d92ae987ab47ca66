"""A jalv with the LV2 plugin in a JACK server: what goes in and comes out, to the sample."""

import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from types import ModuleType

import numpy as np

from tests.jackd import RATE

URI = "urn:jukebox-bridge:plugin"
BEATS = 4
TEMPO_BPM = 120
TICKS = 1920


class Deck:
    """Plays samples by the transport's position into the plugin, and keeps what comes out."""

    def __init__(self, jack: ModuleType, samples) -> None:
        self._jack, self._samples = jack, samples
        self.heard = np.zeros_like(samples)
        self.end_sample = 0
        self._played: dict[int, int] = {}
        self._player = jack.Client("player", no_start_server=True)
        self._recorder = jack.Client("recorder", no_start_server=True)
        self._outs = [self._player.outports.register(f"out_{side}") for side in (1, 2)]
        self._ins = [self._recorder.inports.register(f"in_{side}") for side in (1, 2)]
        self._player.set_process_callback(self._play)
        self._player.set_timebase_callback(self._count)
        self._recorder.set_process_callback(self._record)

    @property
    def is_there(self) -> bool:
        """Whether the plugin's ports are."""
        return len(self._player.get_ports("plugin:lv2_audio")) == 4

    @contextmanager
    def rolling(self) -> Generator[None]:
        """Connect the plugin and run the transport from 0, as fast as it goes; once."""
        with closing(self._player), closing(self._recorder), self._player, self._recorder:
            for side in (1, 2):
                self._player.connect(self._outs[side - 1], f"plugin:lv2_audio_in_{side}")
                self._recorder.connect(f"plugin:lv2_audio_out_{side}", self._ins[side - 1])
            self._player.set_freewheel(True)
            self._player.transport_start()
            try:
                yield
            finally:
                self._player.transport_stop()
                self._player.set_freewheel(False)

    @property
    def position(self) -> int:
        """Return the transport's sample."""
        return self._player.transport_frame

    def _play(self, frames: int) -> None:
        state, position = self._player.transport_query_struct()
        place = position.frame
        inside = state == self._jack.ROLLING and place + frames <= self._samples.shape[1]
        if inside:
            self._played[self._player.last_frame_time] = place
        for out, channel in zip(self._outs, self._samples, strict=True):
            out.get_array()[:] = channel[place : place + frames] if inside else 0

    def _record(self, frames: int) -> None:
        place = self._played.get(self._recorder.last_frame_time)
        if place is not None:
            for port, channel in zip(self._ins, self.heard, strict=True):
                channel[place : place + frames] = port.get_array()
            self.end_sample = place + frames

    def _count(self, _state, _frames, position, _new) -> None:
        beats = position.frame * TEMPO_BPM / 60 / RATE
        position.valid = self._jack._lib.JackPositionBBT
        position.beats_per_minute = TEMPO_BPM
        position.beats_per_bar = position.beat_type = BEATS
        position.ticks_per_beat = TICKS
        position.bar, position.beat = int(beats // BEATS) + 1, int(beats % BEATS) + 1
        position.tick = int(beats % 1 * TICKS)
        position.bar_start_tick = (position.bar - 1) * BEATS * TICKS


@contextmanager
def jalv() -> Generator[subprocess.Popen[str]]:
    """Yield a jalv that reads commands; JACK and the LV2 path come from the environment."""
    command = ["jalv", "-x", "-n", "plugin", URI]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
