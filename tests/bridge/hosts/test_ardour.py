"""A real Ardour, driven as a musician would: the continuation stands on the exact sample.

What every host can do, Ardour shows in tests/bridge/hosts/test_contract.py.
"""

import time
from dataclasses import dataclass

import numpy as np
import pytest

from bridge.app import embedded_server
from bridge.audio_file import read_audio
from bridge.client import Client
from bridge.config import private_config
from bridge.hosts.actions import ActionSocket
from bridge.hosts.conductor import Conductor, Wish
from bridge.hosts.desk import Desk
from tests.bridge.hosts import ardour as real
from tests.bridge.hosts.contract import recording_of, write_wav
from tests.fakes import CountingGenerator

pytestmark = [
    pytest.mark.host,
    pytest.mark.slow,
    pytest.mark.skipif(bool(real.missing()), reason=f"missing: {real.missing()}"),
]

START, LENGTH, BAR = 24_000, 96_000, 96_000


@dataclass
class Studio:
    ardour: real.Ardour
    desk: Desk
    actions: ActionSocket
    conductor: Conductor

    def choose(self, slot: int, verb: str) -> str:
        """Run an action of Ardour's by its slot; return how the desk did what it heard."""
        self.ardour.mailbox.beat(time.time(), self.actions.port)
        self.ardour.osc("/access_action", f"LuaAction/script-{slot}")
        heard = self.actions.next(20.0)
        assert heard == verb
        return self.desk.do(heard)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ardour")
    config = private_config(folder / "spool")
    with (
        embedded_server(config, CountingGenerator) as address,
        Client(address) as client,
        ActionSocket() as actions,
        real.ardour(folder) as ardour,
    ):
        results = folder / "results"
        results.mkdir()
        host, wish = ardour.host, Wish(bars=1)
        conductor = Conductor(host, client.render, results, wish, clock=time.monotonic)
        with host.transaction("Record") as edit:
            path = write_wav(folder / "X.wav", recording_of(LENGTH))
            edit.create_clip(edit.import_file(path), "A", START, "X")
        yield Studio(ardour, Desk(conductor, host, actions), actions, conductor)


def test_a_selection_is_continued_on_the_exact_sample_and_undone(studio, tmp_path):
    host, recording = studio.ardour.host, recording_of(LENGTH)
    real.poll(lambda: studio.ardour.select_all("A"), "the selection")

    assert studio.choose(1, "continue").startswith("jukebox-")
    placed = studio.conductor.last
    assert placed is not None
    (clip,) = host.clips("A continued")
    assert (clip.name, clip.start_sample, clip.num_samples) == (placed.name, START + LENGTH, BAR)

    studio.ardour.osc("/save_state")
    saved = studio.ardour.session / f"{real.NAME}.ardour"
    real.poll(lambda: placed.name in saved.read_text("utf-8"), "the saved session")
    mix = real.export(studio.ardour.session, tmp_path / "mix.wav", studio.ardour.environment)
    made = read_audio(placed.path).samples
    assert made.any()
    end = START + LENGTH
    np.testing.assert_allclose(mix[:, START + 100 : end - 100], recording[:, 100:-100], atol=1e-6)
    np.testing.assert_allclose(mix[:, end : end + BAR], made, rtol=0, atol=1e-6)
    assert not mix[:, :START].any()
    assert not mix[:, end + BAR :].any()

    host.undo()
    assert host.clips("A continued") == (), "one step"
    studio.ardour.osc("/redo")
    real.poll(lambda: host.clips("A continued") == (clip,), "the step done again")

    assert studio.choose(2, "retry").startswith("jukebox-")
    (again,) = host.clips("A continued")
    assert again.name != clip.name
    assert again.start_sample == clip.start_sample
    host.undo()
    assert host.clips("A continued") == (clip,), "one step takes the new away, brings the old"
    assert studio.choose(3, "accept").startswith("kept")
    assert studio.choose(4, "cancel") == "nothing runs that could be cancelled"
