"""A real Ardour, the plugin on bus B through which track A goes: the answer, to the sample."""

import base64
import re

import numpy as np
import pytest

from tests.bridge.hosts import ardour as real
from tests.bridge.hosts.contract import write_wav
from tests.plugin_host.conftest import BAR, RATE, noise

pytestmark = [
    pytest.mark.host,
    pytest.mark.slow,
    pytest.mark.skipif(bool(real.missing()), reason=f"missing: {real.missing()}"),
]
KINDS = {"LV2": "urn:jukebox-bridge:plugin", "VST3": "Jukebox Bridge"}
PARAMETERS = {
    "continue": 2,
    "accept": 3,
    "undo": 6,
    "bars": 7,
    "fade": 13,
    "wait": 17,
}
"""By their place in Ardour's list, the first is 1."""
CONTROLLERS = {"LV2": 0, "VST3": 130}
"""MIDI controllers, which are parameters too and come before."""
# Without a MIDI input on its strip, Ardour 7.3 tells an LV2 plugin no position.
ADD_BUS = """
local busses = session:new_audio_route(2, 2, nil, 1, "B", ARDOUR.PresentationInfo.Flag.AudioBus,
  ARDOUR.PresentationInfo.max_order)
busses:front():input():add_port("", nil, ARDOUR.DataType("midi"))
local plugin = ARDOUR.LuaAPI.new_plugin(session, "{name}", ARDOUR.PluginType.{kind}, "")
busses:front():add_processor_by_index(plugin, 0, nil, true)
"""
WIRES = (("A", "B"), ("B", "Master"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_lies_in_the_bounce_at_its_bar_until_it_is_undone(
    built, bench, tmp_path, monkeypatch, kind
):
    server, samples = bench(), noise(real.SECONDS * RATE)
    monkeypatch.setenv("JUKEBOX_BRIDGE_PLUGIN_SERVER", server.address)
    bundles = [built / f"bin/jukebox_bridge.{suffix}" for suffix in ("lv2", "vst3")]
    extra = ADD_BUS.format(name=KINDS[kind], kind=kind)
    with real.ardour(tmp_path, plugins=bundles, extra=extra, wires=WIRES) as ardour:

        def turn(name, value):
            number = CONTROLLERS[kind] + PARAMETERS[name]
            ardour.osc("/strip/plugin/parameter", 2, 1, number, float(value))

        with ardour.host.transaction("Record") as edit:
            path = write_wav(tmp_path / "X.wav", samples)
            edit.create_clip(edit.import_file(path), "A", 0, "X")
        for name, value in {"bars": 1, "fade": 0, "wait": 0}.items():
            turn(name, value)
        ardour.osc("/transport_play")
        real.poll(lambda: ardour.position() > 0, "the transport")
        turn("continue", 1)
        (entry,) = server.wait_for_takes(1)
        turn("accept", 1)
        server.wait_for_verdict("keep")
        ardour.osc("/transport_stop")
        assert entry.take.id in accepted(ardour.save(), ardour.session)
        take = server.newest_audio()[:, RATE:]

        # What is exported is another process, in which nothing answers.
        alone = ardour.environment | {"JUKEBOX_BRIDGE_PLUGIN_SERVER": "127.0.0.1:1"}
        mix = real.export(ardour.session, tmp_path / "mix.wav", alone)
        changed = np.flatnonzero((np.abs(mix - samples) > 1e-6).any(axis=0))
        begin = int(changed[0])
        assert begin % BAR == 0
        assert begin > 0
        np.testing.assert_allclose(mix[:, begin : begin + BAR], take, rtol=0, atol=1e-6)
        assert int(changed[-1]) < begin + BAR

        turn("undo", 1)
        real.poll(lambda: not accepted(ardour.save(), ardour.session), "the session without it")
        mix = real.export(ardour.session, tmp_path / "undone.wav", alone)
        np.testing.assert_allclose(mix, samples, rtol=0, atol=1e-6)


def accepted(saved, session):
    """Return the accepted takes that a saved session holds."""
    chunk = re.search(r"<chunk>([^<]+)</chunk>", saved)
    if chunk is not None:
        data = base64.b64decode(chunk[1] + "=" * (-len(chunk[1]) % 4))
        return data.split(b"\0takes\0", 1)[1].split(b"\0", 1)[0].decode()
    place = re.search(r'state-dir="([^"]+)"', saved)[1]
    (state,) = session.glob(f"plugins/*/{place}/state.ttl")
    # A text of several lines stands in three quotation marks.
    found = re.search(r'plugin#takes>\s+(?:"""([^"]*)"""|"([^"]*)")', state.read_text("utf-8"))
    return found[1] or found[2]
