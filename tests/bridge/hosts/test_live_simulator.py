"""The simulator of Live answers a real client of AbletonOSC as it answers our adapter."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.bridge.hosts.live_simulator import LiveTrack, ableton

ASK = """
import sys
from live.query import Query
client = Query(("127.0.0.1", int(sys.argv[1])), int(sys.argv[2]))
facts = ("tempo", "signature_numerator", "signature_denominator", "num_tracks")
print(*(client.query(f"/live/song/get/{fact}")[0] for fact in facts))
"""


@pytest.mark.skipif(
    find_spec("live") is None,
    reason="pylive is missing: its folder `live` alone, since it brings a package `tests`",
)
def test_pylive_reads_the_song_from_the_simulator(tmp_path):
    with ableton() as (instance, _, ports):
        instance.own_song.tracks = (LiveTrack("guitar", instance.own_song),)
        # A process of its own: it binds ports, leaves a thread behind and writes a log.
        command = [sys.executable, "-W", "ignore", "-c", ASK, str(ports.osc)]
        told = subprocess.run(
            [*command, str(ports.osc_answers)],
            env=os.environ | {"TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert told.stdout.split() == ["120.0", "4", "4", "1"]
