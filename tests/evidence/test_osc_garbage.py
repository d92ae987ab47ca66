"""Spoilt datagrams by the hundred thousand: each answered or dropped by rule, nothing kept."""

import asyncio
import os
import random
import socket
import sys
import time

import numpy as np
import psutil
import pytest
from fakes import CountingGenerator

from bridge.admission import EngineLimits
from bridge.audio_file import AudioClip, Provenance, write_audio
from bridge.engine import Engine
from bridge.errors import InvalidRequestError
from bridge.osc.answers import FAIL, FORMS
from bridge.osc.clients import MAX_CLIENTS, MAX_LISTENING
from bridge.osc.packet import decode
from bridge.osc.schedule import MAX_WAITING
from bridge.osc.server import OscServer, OscSettings
from bridge.osc.table import ROWS
from bridge.store import TakeStore
from tests.bridge.osc.garbage import bundle, mutated
from tests.bridge.osc.peers import packet, told

COUNT = int(os.environ.get("JUKEBOX_OSC_GARBAGE", "100000"))
SEED = 6
GROWTH_BYTES = 64 * 1024 * 1024
NORMAL = ("/jukebox/continue", "ssssss", "normal", "prime.wav", "seed", "41", "num_samples", "500")
NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")


class Line:
    """A UDP client on the server's own loop."""

    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(("127.0.0.1", port))
        self.loop = asyncio.get_running_loop()
        self.lost = 0

    async def until(self, is_last, seconds=30):
        """Return the answers up to one."""
        answers = []
        while not answers or not is_last(*answers[-1]):
            data = await asyncio.wait_for(self.loop.sock_recv(self.socket, 65_536), seconds)
            answers.append(told(data))
        return answers

    async def after(self, data, name):
        """Return what a packet was answered with before the ping that follows it was.

        Bundles that fall due together may answer more than a socket holds, so a
        ping may be lost; then it is sent again.
        """
        pong = ("/jukebox/pong", [name])
        self.socket.send(data)
        for _ in range(30):
            self.socket.send(packet("/jukebox/ping", "s", name))
            try:
                return (await self.until(lambda *answer: (answer[0], answer[1][:1]) == pong, 1))[
                    :-1
                ]
            except TimeoutError:
                self.lost += 1
        raise AssertionError(f"the server is silent after {data!r}")

    async def continuation(self, name):
        """Return the hash of a normal continuation."""
        self.socket.send(packet(*NORMAL[:2], name, *NORMAL[3:]))
        answers = await self.until(lambda address, values: values[1:2] == [name] and ends(address))
        assert answers[-1][0] == "/jukebox/done", answers[-1]
        return answers[-1][1][3]


def ends(address):
    return address in ("/jukebox/done", FAIL)


def corpus():
    """Return legal packets: every verb with few arguments, properties, bundles of all ages."""
    messages = [packet(row.address) for row in ROWS]
    messages += [packet(row.address, "s", "x") for row in ROWS]
    messages += [packet(row.address, "sss", "x", "prime.wav", "y") for row in ROWS[:20]]
    messages += [packet(*NORMAL)] * 20
    messages += [packet("/jukebox/session/set/{tempo_bpm,bars}", "f", 60.0)] * 5
    messages += [packet("/jukebox//get/*"), packet("/jukebox/*/[s-t]*/{seed,bars}")]
    now = int((time.time() + 2_208_988_800) * 2**32)
    ages = (1, now - 2**33, now + 2**30, now + 2**33, 2**64 - 1)
    return messages + [bundle(messages[0], messages[200 % len(messages)], timetag=t) for t in ages]


@pytest.mark.evidence
def test_spoilt_datagrams_are_answered_or_dropped_and_leave_nothing_behind(tmp_path):
    grown_bytes, lost = asyncio.run(flood(tmp_path))
    sys.stdout.write(
        f"\nOSC, {COUNT} mutated datagrams of seed {SEED}: no crash, each answered or dropped by "
        f"rule, memory grew by {grown_bytes / 2**20:.1f} MiB, {lost} pings were sent again\n"
    )


async def flood(folder):
    clip = AudioClip(samples=np.zeros((1, 5_000), np.float32), sample_rate=44_100)
    write_audio(folder / "prime.wav", clip, 0, NOBODY)
    engine = Engine(
        CountingGenerator(), store=TakeStore(folder), clock=time.monotonic, limits=EngineLimits()
    )
    await engine.warm_up()
    server = OscServer(lambda: engine, (folder.resolve(),))
    line = Line((await server.start(OscSettings())).udp)
    usual = await line.continuation("before")
    draws, legal = random.Random(SEED), corpus()
    process = psutil.Process()
    warm_bytes = 0
    for number in range(COUNT):
        data = mutated(draws.choice(legal), draws)
        lost = line.lost
        answers = await line.after(data, f"ping {number}")
        if line.lost == lost:
            check(data, answers)
        if number == COUNT // 10:
            warm_bytes = process.memory_info().rss
    grown_bytes = process.memory_info().rss - warm_bytes
    assert grown_bytes < GROWTH_BYTES
    assert len(server.desk.clients) <= MAX_CLIENTS
    assert server.desk.clients.num_listening <= MAX_LISTENING
    assert len(server.schedule) <= MAX_WAITING
    # Some of the garbage was legal and set something.
    await line.after(packet("/jukebox/{session,default}/set/*", "s", ""), "set back")
    assert await line.continuation("after") == usual
    assert line.lost <= COUNT // 1_000
    line.socket.close()
    await server.stop(0.0)
    await engine.close()
    return grown_bytes, line.lost


def check(data, answers):
    """Assert the rule: what is no OSC fails at once; the rest is said at addresses of ours."""
    known = {row.address for row in ROWS} | set(FORMS)
    assert all(address in known for address, _ in answers), answers
    try:
        decode(data)
    except InvalidRequestError:
        nameless = [values for address, values in answers if (address, values[0]) == (FAIL, "")]
        assert [values[1:3] for values in nameless] == [["", "INVALID_ARGUMENT"]], (data, answers)
