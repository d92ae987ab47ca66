"""A real Ardour for tests: a session with one recording, opened under a virtual screen."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import soundfile as sf
from pythonosc.osc_message_builder import OscMessageBuilder

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

    def osc(self, address: str, *arguments: str) -> None:
        """Send Ardour a message, as a control surface does."""
        builder = OscMessageBuilder(address=address)
        for argument in arguments:
            builder.add_arg(argument)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(builder.build().dgram, ("127.0.0.1", OSC_PORT))


@contextmanager
def ardour(folder: Path) -> Generator[Ardour]:
    """Yield an Ardour with our companion and an empty stereo track A."""
    home, session, mailbox = folder / "home", folder / NAME, folder / "mailbox"
    settings = home / ".config/ardour7"
    settings.mkdir(parents=True)
    (settings / ".a7").touch()
    (settings / "config").write_text(CONFIG)
    install_ardour(settings, mailbox)
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    make_session(folder, session, environment)
    prepare(session)
    with screen() as display:
        environment["DISPLAY"] = display
        command = ["ardour", "--no-splash", str(session / f"{NAME}.ardour")]
        with (folder / "ardour.log").open("wb") as log, running(command, environment, log):
            box = Mailbox(mailbox, "ardour")
            host = CompanionHost("ardour", box)
            box.ask([("clips", "A")], 40.0)
            yield Ardour(host, box, session, environment)


def make_session(folder: Path, session: Path, environment: dict[str, str]) -> None:
    """Write a session with an empty stereo track A."""
    script = folder / "make.lua"
    script.write_text(MAKE_SESSION.format(folder=session, name=NAME, rate=RATE))
    subprocess.run(
        ["ardour7-lua", str(script)], env=environment, check=False, timeout=60, capture_output=True
    )
    assert (session / f"{NAME}.ardour").exists()


def prepare(session: Path) -> None:
    """Give a closed session a range to export, connect its track, and switch Ardour's OSC on."""
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
    for side in (1, 2):  # ardour7-lua leaves its tracks unconnected
        for own, other in (("A/audio_out", "Master/audio_in"), ("Master/audio_in", "A/audio_out")):
            port = root.find(f".//Port[@name='{own} {side}']")
            Xml.SubElement(port, "Connection", {"other": f"{other} {side}"})
    root.set("id-counter", str(int(number) + 1))
    tree.write(path, encoding="UTF-8", xml_declaration=True)


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
