"""A real Ardour for tests: a session with one recording, opened under a virtual screen."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import soundfile as sf
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from bridge.errors import InvalidRequestError
from bridge.hosts.companion import CompanionHost
from bridge.hosts.contract import Selection
from bridge.hosts.install import install_ardour
from bridge.hosts.mailbox import Mailbox

RATE = 48_000
SUPERCLOCK = 282_240_000
SECONDS = 10
NAME = "session"
PROGRAMS = ("ardour", "ardour7-lua", "ardour7-export", "Xvfb")
OSC_PORT = 3819
LIBRARIES = Path("/usr/lib/ardour7")
WIRES = (("A", "Master"),)
"""Which outputs are connected to which inputs."""
CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<Ardour><Config>
<Option name="try-autostart-engine" value="1"/><Option name="hide-dummy-backend" value="0"/>
</Config><Extra><AudioMIDISetup><EngineStates>
<State backend="None (Dummy)" driver="Normal Speed" device="Silence" input-device=""
 output-device="" sample-rate="48000" buffer-size="1024" n-periods="0" input-latency="0"
 output-latency="0" lm-input="" lm-output="" active="1" use-buffered-io="0"
 midi-option="1 in, 1 out, Silence" lru="1700000000"/>
</EngineStates></AudioMIDISetup></Extra></Ardour>
"""
MAKE_SESSION = """
AudioEngine:set_backend("None (Dummy)", "", "")
local session = create_session("{folder}", "{name}", {rate})
session:new_audio_track(2, 2, nil, 1, "A", ARDOUR.PresentationInfo.max_order,
  ARDOUR.TrackMode.Normal, true)
{extra}
session:save_state("")
close_session()
quit()
"""


def missing() -> str:
    """Return which programs are not there."""
    return ", ".join(name for name in PROGRAMS if shutil.which(name) is None)


def poll(is_so: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    """Return once it is so."""
    pause = threading.Event()
    for _ in range(round(seconds / 0.05)):
        if is_so():
            return
        pause.wait(0.05)
    raise AssertionError(f"{what}: not within {seconds:g} s")


@dataclass
class Ardour:
    """An Ardour that runs, its companion, and its session's folder."""

    host: CompanionHost
    mailbox: Mailbox
    session: Path
    environment: dict[str, str]

    def osc(self, address: str, *arguments: str | int | float) -> None:
        """Send Ardour a message, as a control surface does."""
        builder = OscMessageBuilder(address=address)
        for argument in arguments:
            builder.add_arg(argument)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(builder.build().dgram, ("127.0.0.1", OSC_PORT))

    def position(self) -> int:
        """Return the playhead's sample, which Ardour tells whoever asks."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(20.0)
            question = OscMessageBuilder(address="/transport_frame").build().dgram
            asker.sendto(question, ("127.0.0.1", OSC_PORT))
            return int(OscMessage(asker.recv(1024)).params[0])

    def select_all(self, track: str) -> bool:
        """Select all that is there; return whether it is something of this track."""
        self.osc("/access_action", "Editor/select-all-objects")
        try:
            return self.host.selection().track == track
        except InvalidRequestError:
            return False

    def save(self) -> str:
        """Return the session's file once it is written."""
        file = self.session / f"{NAME}.ardour"
        before = file.stat().st_mtime_ns
        self.osc("/save_state")
        poll(lambda: file.stat().st_mtime_ns != before, "the saved session")
        return file.read_text("utf-8")


@contextmanager
def ardour(
    folder: Path,
    *,
    plugins: Sequence[Path] = (),
    extra: str = "",
    wires: Sequence[tuple[str, str]] = WIRES,
) -> Generator[Ardour]:
    """Yield an Ardour with our companion and an empty stereo track A.

    Args:
        folder: Is the whole world that this Ardour knows.
        plugins: LV2 and VST3 bundles that it finds.
        extra: Lua that adds to the new `session`.
        wires: Names of tracks and busses, whose output goes into whose input.
    """
    home, session, mailbox = folder / "home", folder / NAME, folder / "mailbox"
    settings = home / ".config/ardour7"
    settings.mkdir(parents=True)
    (settings / ".a7").touch()
    (settings / "config").write_text(CONFIG)
    install_ardour(settings, mailbox)
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    for bundle in plugins:
        add_plugin(home, bundle, environment)
    make_session(folder, session, environment, extra)
    prepare(session, wires)
    with alone(), screen() as display:
        environment["DISPLAY"] = display
        command = ["ardour", "--no-splash", str(session / f"{NAME}.ardour")]
        with (folder / "ardour.log").open("wb") as log, running(command, environment, log):
            box = Mailbox(mailbox, "ardour")
            host = CompanionHost("ardour", box)
            box.ask([("clips", "A")], 40.0)
            yield Ardour(host, box, session, environment)


@contextmanager
def alone() -> Generator[None]:
    """Wait until no other test has an Ardour: all hear OSC on the same port."""
    with (Path(tempfile.gettempdir()) / "jukebox-bridge-ardour.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def add_plugin(home: Path, bundle: Path, environment: dict[str, str]) -> None:
    """Put a bundle where Ardour looks; a VST3 is scanned, since Ardour knows no other."""
    place = home / bundle.suffix / bundle.name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(bundle)
    if bundle.suffix == ".vst3":
        command = [str(LIBRARIES / "ardour-vst3-scanner"), "-f", str(place)]
        with_libraries = environment | {"LD_LIBRARY_PATH": str(LIBRARIES)}
        subprocess.run(command, env=with_libraries, check=True, timeout=60, capture_output=True)


def make_session(folder: Path, session: Path, environment: dict[str, str], extra: str) -> None:
    """Write a session with an empty stereo track A."""
    script = folder / "make.lua"
    made = MAKE_SESSION.format(folder=session, name=NAME, rate=RATE, extra=extra)
    script.write_text(made)
    subprocess.run(
        ["ardour7-lua", str(script)], env=environment, check=False, timeout=60, capture_output=True
    )
    assert (session / f"{NAME}.ardour").exists()


def prepare(session: Path, wires: Sequence[tuple[str, str]]) -> None:
    """Give a closed session a range to export, connect its tracks, and switch Ardour's OSC on."""
    path = session / f"{NAME}.ardour"
    tree = Xml.parse(path)
    root = tree.getroot()
    number = root.get("id-counter")
    span = {"id": number, "name": "session", "start": "a0", "end": f"a{SECONDS * SUPERCLOCK}"}
    span |= {"flags": "IsSessionRange", "locked": "0"}
    Xml.SubElement(root.find("Locations"), "Location", span)
    osc = root.find("ControlProtocols/Protocol[@name='Open Sound Control (OSC)']")
    osc.set("active", "1")
    osc.set("address-only", "0")
    connect(root, wires)
    root.set("id-counter", str(int(number) + 1))
    tree.write(path, encoding="UTF-8", xml_declaration=True)


def connect(root: Xml.Element, wires: Sequence[tuple[str, str]]) -> None:
    """Leave these connections between strips and no other."""
    strips = {name for wire in wires for name in wire}
    ports = {port.get("name"): port for port in root.iter("Port") if port.get("name")}
    for name, port in ports.items():
        for old in port.findall("Connection"):
            if {name.split("/")[0], old.get("other").split("/")[0]} <= strips:
                port.remove(old)
    for source, target in wires:
        for side in (1, 2):
            out, into = f"{source}/audio_out {side}", f"{target}/audio_in {side}"
            Xml.SubElement(ports[out], "Connection", {"other": into})
            Xml.SubElement(ports[into], "Connection", {"other": out})


@contextmanager
def screen() -> Generator[str]:
    """Yield the name of a virtual screen."""
    reading, writing = os.pipe()
    command = [
        "Xvfb",
        "-displayfd",
        str(writing),
        "-screen",
        "0",
        "1280x800x24",
        "-nolisten",
        "tcp",
    ]
    process = subprocess.Popen(
        command, pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def running(command: list[str], environment: dict[str, str], log) -> Generator[None]:
    """Run a program in a group of its own; what is left of it ends with the block."""
    process = subprocess.Popen(
        command, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def export(session: Path, out: Path, environment: dict[str, str]) -> np.ndarray:
    """Return the mix that Ardour exports of the saved session; judged by the file."""
    command = ["ardour7-export", "-b", "32", "-o", str(out), str(session), NAME]
    subprocess.run(command, env=environment, check=False, timeout=60, capture_output=True)
    mix, rate = sf.read(out, dtype="float32", always_2d=True)
    assert rate == RATE
    return mix.T


def stretch_of(track: str, start_sample: int, end_sample: int) -> Selection:
    """Return a stretch of a track."""
    return Selection(
        track=track, start_sample=start_sample, end_sample=end_sample, sample_rate=RATE
    )
