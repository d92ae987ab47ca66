"""Programs of other projects drive a continuation: liblo's tools, Pure Data, an OSCQuery client."""

import json
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.audio_file import read_audio
from tests.bridge.node import node_with

pytestmark = pytest.mark.host
EXPECTED = round(8 * 60 * 44_100 / 97.3)
PATCH = """#N canvas 0 0 600 400 10;
#X obj 10 10 loadbang;
#X msg 10 30 connect 127.0.0.1 {port};
#X obj 10 50 netsend -u -b;
#X obj 10 200 oscparse;
#X obj 10 220 print answer;
#X obj 200 10 t b b;
#X msg 200 30 list pd-1 prime.wav 97.3 4/4 2;
#X obj 200 50 oscformat -f ssfsf jukebox continue;
#X obj 200 70 list prepend send;
#X obj 200 90 list trim;
#X connect 0 0 5 0;
#X connect 5 1 1 0;
#X connect 1 0 2 0;
#X connect 2 1 3 0;
#X connect 3 0 4 0;
#X connect 5 0 6 0;
#X connect 6 0 7 0;
#X connect 7 0 8 0;
#X connect 8 0 9 0;
#X connect 9 0 2 0;
"""


def program(name, package):
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: it comes with {package}")
    return found


@contextmanager
def running(*command):
    """Yield a program's lines of output; it ends with the block."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    # A program that stays silent is ended, so that reading its lines ends too.
    patience = threading.Timer(90, process.kill)
    patience.start()
    try:
        yield process.stdout
    finally:
        patience.cancel()
        process.kill()
        process.stdout.close()
        process.wait(30)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_with(lines, word):
    """Return the first line that holds a word."""
    for line in lines:
        if word in line:
            return line
    raise AssertionError(f"no line holds {word!r}")


def test_oscsend_asks_and_oscdump_hears(osc, ask, prime, eventually):
    oscsend, oscdump = (program(name, "liblo-tools") for name in ("oscsend", "oscdump"))
    opened, port = osc(), free_port()
    target = ("localhost", str(opened.ports.udp))
    with running(oscdump, "-L", str(port)) as heard:
        asker = ask(opened)
        values = ("take-1", prime.name, "97.3", "4/4", "2", "reply_port", str(port))
        command = [oscsend, *target, "/jukebox/continue", "ssfsfsi", *values]
        eventually(lambda: taken(port))
        subprocess.run(command, check=True, timeout=30)
        line = first_with(heard, "/jukebox/done")
    assert "take-1" in line
    assert str(EXPECTED) in line
    _, done = asker.ask("/jukebox/query", "s", "take-1")
    assert done[4] == EXPECTED
    assert read_audio(Path(done[2])).samples.shape[1] == EXPECTED


def taken(port):
    """Return whether somebody listens on a UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def test_pure_data_asks_and_hears(osc, prime, tmp_path):
    pd = program("pd", "puredata-core")
    opened = osc()
    patch = tmp_path / "continue.pd"
    patch.write_text(PATCH.format(port=opened.ports.udp))
    flags = ("-nogui", "-noaudio", "-nomidi", "-nrt", "-stderr", "-noprefs")
    with running(pd, *flags, "-open", str(patch)) as heard:
        accepted = first_with(heard, "accepted")
        done = first_with(heard, "done")
    assert "pd-1" in accepted
    assert "jukebox done" in done
    assert "pd-1" in done


def test_an_oscquery_client_finds_the_server_and_asks_by_what_it_read(osc, prime):
    node = node_with("oscquery", "osc")
    opened = osc(query_port=0, announce=True)
    if not opened.server.announced:
        pytest.skip("this machine's loopback carries no multicast")
    ended = node("osc_section.js", prime.name, opened.ports.query)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert (told["address"], told["of"]) == ("/jukebox/done", "/jukebox/continue")
    assert told["tempo_bpm"] == 120
    path, _, num_samples = told["values"][:3]
    assert read_audio(Path(path)).samples.shape[1] == num_samples == 2 * 44_100
