"""A Live in memory: AbletonOSC's addresses, and our Remote Script on a strict song."""

import socket
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import soundfile as sf
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from bridge.hosts.live import LiveHost, LivePorts

TEMPO = 120.0
PACKAGE = "jukebox_remote_script"


@dataclass(slots=True, eq=False)
class LiveClip:
    name: str
    start_time: float
    file_path: str
    canonical_parent: "LiveTrack"
    warping: bool = True
    is_audio_clip: bool = True
    is_arrangement_clip: bool = True
    start_marker: float = 0.0
    end_marker: float = 0.0


@dataclass(slots=True, eq=False)
class LiveTrack:
    name: str
    song: "LiveSong"
    arrangement_clips: tuple[LiveClip, ...] = ()

    def create_audio_clip(self, path: str, beats: float) -> LiveClip:
        self.song.must_be_in_a_step()
        facts = sf.info(path)
        clip = LiveClip("", beats, path, self, end_marker=facts.frames / facts.samplerate)
        self.arrangement_clips += (clip,)
        return clip

    def delete_clip(self, clip: LiveClip) -> None:
        self.song.must_be_in_a_step()
        assert clip in self.arrangement_clips
        self.arrangement_clips = tuple(one for one in self.arrangement_clips if one is not clip)


@dataclass(slots=True)
class LiveView:
    detail_clip: LiveClip | None = None


@dataclass(slots=True)
class LiveSong:
    """The few members that our script may use; any other is an AttributeError."""

    tracks: tuple[LiveTrack, ...] = ()
    view: LiveView = field(default_factory=LiveView)
    open_steps: int = 0
    steps: list[tuple[tuple[LiveTrack, tuple[LiveClip, ...]], ...]] = field(default_factory=list)

    def must_be_in_a_step(self) -> None:
        assert self.open_steps == 1

    def begin_undo_step(self) -> None:
        assert self.open_steps == 0
        self.open_steps = 1
        self.steps.append(tuple((one, one.arrangement_clips) for one in self.tracks))

    def end_undo_step(self) -> None:
        assert self.open_steps == 1
        self.open_steps = 0

    def create_audio_track(self, place: int) -> None:
        assert place == -1
        self.tracks += (LiveTrack("Audio", self),)

    def undo(self) -> None:
        before = self.steps.pop()
        self.tracks = tuple(track for track, _ in before)
        for track, clips in before:
            track.arrangement_clips = clips


@dataclass
class Instance:
    """What Live gives a control surface."""

    own_song: LiveSong
    shown: list[str] = field(default_factory=list)

    def song(self) -> LiveSong:
        return self.own_song

    def show_message(self, text: str) -> None:
        self.shown.append(text)


class AbletonOsc:
    """AbletonOSC's part: answers at the address that asked, on the port after its own."""

    def __init__(self, song: LiveSong) -> None:
        self._song = song
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.answers = free_port()

    def answer(self) -> None:
        message = OscMessage(self.socket.recv(65_536))
        facts = {
            "/live/song/get/tempo": TEMPO,
            "/live/song/get/signature_numerator": 4,
            "/live/song/get/signature_denominator": 4,
            "/live/song/get/num_tracks": len(self._song.tracks),
        }
        builder = OscMessageBuilder(address=message.address)
        builder.add_arg(facts[message.address])
        self.socket.sendto(builder.build().dgram, ("127.0.0.1", self.answers))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def remote_script():
    """Return our Remote Script's package, loaded by its folder as Live does."""
    if PACKAGE not in sys.modules:
        path = Path(str(files("plugin_host").joinpath("ableton/remote_script/__init__.py")))
        spec = spec_from_file_location(PACKAGE, path, submodule_search_locations=[str(path.parent)])
        module = module_from_spec(spec)
        sys.modules[PACKAGE] = module
        spec.loader.exec_module(module)
    return sys.modules[PACKAGE]


@dataclass
class Live:
    host: LiveHost
    instance: Instance
    osc: AbletonOsc


@contextmanager
def ableton() -> Generator[tuple[Instance, AbletonOsc, LivePorts]]:
    """Yield a Live that runs in a thread, and where it is reached."""
    instance = Instance(LiveSong())
    osc = AbletonOsc(instance.own_song)
    script = remote_script().JukeboxBridge(instance, 0)
    over = threading.Event()
    osc.socket.settimeout(0.02)

    def run() -> None:
        while not over.is_set():
            script.update_display()
            try:
                osc.answer()
            except TimeoutError:
                continue

    thread = threading.Thread(target=run, name="live")
    thread.start()
    ports = LivePorts(
        osc=osc.socket.getsockname()[1], osc_answers=osc.answers, script=script.port, timeout_s=5.0
    )
    try:
        yield instance, osc, ports
    finally:
        over.set()
        thread.join()
        script.disconnect()
        osc.socket.close()


@contextmanager
def live() -> Generator[Live]:
    """Yield a host whose Live runs in a thread."""
    with ableton() as (instance, osc, ports), LiveHost(ports) as host:
        yield Live(host, instance, osc)
