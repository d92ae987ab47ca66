"""The plugin while a real server process is killed under it, and started again at its port."""

import signal
import socket
import sys
import time

import numpy as np
import pytest

from bridge.audio_file import read_audio
from bridge.client import Client
from tests.evidence.crash import server, tiny_model
from tests.plugin_host.conftest import PATIENCE_SECONDS, RATE

pytestmark = [pytest.mark.host, pytest.mark.slow]

DRY = 0.25
BPM = 240
BAR = 48_000
BARS = 8
LEAD = 48_000
LINE = 96_000
"""The first bar line that is a lead after the press at 24,000."""
SOUNDS = 12_000
"""Of the answer, before the kill."""
DEAD = 6 * BAR - SOUNDS
"""So long the music plays on without a server: what was sent sounds, and ends before that."""
ENOUGH = 0.3
"""Of an answer, its lead with it: more than sounds before the kill, and far less than 6 bars."""
LONGEST_SECONDS = 300
"""An answer that is not there by then hangs; at low priority beside others it takes minutes."""
FADE = RATE // 100


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_progress(host, share):
    """Return once so much of the answer has come."""
    end_s = time.monotonic() + LONGEST_SECONDS
    # Nothing is ever 2: the host looks for so many milliseconds.
    while float(host.ask("until Progress: 2 20").split()[1]) < share:
        assert time.monotonic() < end_s, host.texts()["status"]


def wait_until_ready(host):
    answer = host.ask(f"until Status: 5 {1000 * LONGEST_SECONDS}")
    assert answer == "met", f"{answer}; {host.texts()['status']}"


def newest_audio(address, folder):
    with Client(address) as client:
        return read_audio(client.export(next(client.takes()).take_id, folder / "take.wav")).samples


def test_a_server_that_is_killed_means_a_fade_and_the_next_one_takes_over_at_a_bar(clap, tmp_path):
    model, spool, port = tiny_model(tmp_path / "model"), tmp_path / "spool", str(free_port())
    # However slow the machine is: what is tested is not whether it keeps up.
    options = ("--plugin-port", port, "--live-share", "0")
    with server(spool, model, options) as (process, _):
        host = clap(f"127.0.0.1:{port}")
        host.ask(f"open {RATE} 8192")
        host.wait("Status", 1)
        host.play(np.full((2, LINE + (BARS + 1) * BAR), DRY, np.float32))
        host.tell("set Handover Fade: 0", "set Wait: 0", f"set Bars: {BARS}", f"play {BPM} 4 4 0")
        host.tell("run 24000 512", "set Continue: 1", "run 26000 512")
        wait_for_progress(host, ENOUGH)
        # Held, so that the answer is never whole; what was sent is there when its bar begins.
        process.send_signal(signal.SIGSTOP)
        host.tell("pace 2", f"run {LINE + SOUNDS - 50_000} 512", "pace 0")
        assert host.value("Status") == 4, "the answer is under way"
        process.kill()
        process.wait(PATIENCE_SECONDS)
        host.wait("Status", 0)
        host.tell(f"run {DEAD} 512")
        host.value("Status")
    with server(spool, model, options) as (_, address):
        wait_until_ready(host)
        host.tell(f"run {2 * BAR + BAR // 2} 512")
        heard, take = host.output()[:, LINE:], newest_audio(address, tmp_path)[:, LEAD:]
    same = (heard[:, : BARS * BAR] == take).all(axis=0)
    left = int(np.argmin(same))
    assert SOUNDS < left < SOUNDS + DEAD - FADE, "what was sent sounds to its end"
    dry = (heard[:, left : SOUNDS + DEAD] == DRY).all(axis=0)
    fade = int(np.argmax(dry))
    assert 0 < fade < FADE, "dry within 10 ms"
    assert dry[fade:].all()
    around = slice(left - 8, left + FADE)
    steps, own = (np.abs(np.diff(one[:, around])).max() for one in (heard, take))
    assert steps < own + 0.01, "without a click"
    again = SOUNDS + DEAD + int(np.argmax(same[SOUNDS + DEAD :]))
    assert again % BAR < FADE, "at a bar line"
    assert same[again + 100 : BARS * BAR - FADE].all(), "to its end"
    sys.stdout.write(
        f"\nkilled: dry after {1000 * fade / RATE:.1f} ms, steps of at most {steps:.4f}, its own "
        f"{own:.4f}, whole again {1000 * (again % BAR) / RATE:.1f} ms after a bar line\n"
    )
