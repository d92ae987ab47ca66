"""Every setting of the configuration reaches the part that it is for."""

from pathlib import Path

from bridge.admission import EngineLimits
from bridge.app.limits import engine_limits, live_room, midi_settings, store_limits
from bridge.carrying import Room
from bridge.config import ServerConfig
from bridge.store import StoreLimits


def test_the_defaults_are_those_of_the_parts():
    config = ServerConfig()
    assert engine_limits(config) == EngineLimits()
    assert store_limits(config) == StoreLimits()


def test_every_limit_is_handed_on():
    config = ServerConfig(
        max_jobs=1,
        max_live=2,
        max_queued=3,
        max_client_jobs=4,
        max_held_bytes=5 * 2**20,
        max_events=6,
        checkpoint_seconds=7.0,
        store_bytes=8 * 2**20,
        store_takes=9,
        store_jobs=10,
        midi_inputs=("pads",),
        midi_map=Path("m.toml"),
        midi_quirk="ardour7",
    )
    assert engine_limits(config) == EngineLimits(
        max_jobs=1,
        max_live=2,
        max_queued=3,
        max_client_jobs=4,
        max_held_bytes=5 * 2**20,
        max_events=6,
        checkpoint_seconds=7.0,
    )
    assert store_limits(config) == StoreLimits(max_bytes=8 * 2**20, max_takes=9, max_jobs=10)
    midi = midi_settings(config)
    assert (midi.inputs, midi.map_file, midi.quirk) == (("pads",), Path("m.toml"), "ardour7")


def test_live_sessions_have_the_cores_and_the_models_there_are():
    config = ServerConfig(live_share=0.5, workers=3)
    assert live_room(config, 8) == Room(cores=8, lanes=3, share=0.5)
    assert live_room(ServerConfig(live_share=0.5), 8) == Room(cores=8, lanes=1, share=0.5)
    assert live_room(ServerConfig(live_share=0.0), 8) is None
