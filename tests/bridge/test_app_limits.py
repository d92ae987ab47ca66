"""Every setting of the configuration reaches the part that it is for."""

from pathlib import Path

import pytest

from bridge.admission import EngineLimits
from bridge.app.limits import calls_at_once, engine_limits, live_room, midi_settings, store_limits
from bridge.carrying import Room
from bridge.config import ServerConfig
from bridge.store import StoreLimits


def test_the_defaults_are_those_of_the_parts():
    config = ServerConfig()
    assert engine_limits(config, 1) == EngineLimits()
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
    assert engine_limits(config, 8) == EngineLimits(
        max_jobs=1,
        max_live=2,
        max_queued=3,
        max_client_jobs=4,
        max_held_bytes=5 * 2**20,
        max_events=6,
        checkpoint_seconds=7.0,
        calls_at_once=8,
    )
    assert store_limits(config) == StoreLimits(max_bytes=8 * 2**20, max_takes=9, max_jobs=10)
    midi = midi_settings(config)
    assert (midi.inputs, midi.map_file, midi.quirk) == (("pads",), Path("m.toml"), "ardour7")


def test_live_sessions_have_the_cores_and_the_models_there_are():
    assert live_room(ServerConfig(live_share=0.5), 8, 3) == Room(cores=8, lanes=3, share=0.5)
    assert live_room(ServerConfig(live_share=0.0), 8, 3) is None


@pytest.mark.parametrize(
    ("config", "cores", "streams", "lanes"),
    [
        (ServerConfig(), 1, True, 1),
        (ServerConfig(), 2, True, 2),
        (ServerConfig(), 64, True, 4),
        (ServerConfig(threads=1), 64, True, 1),
        (ServerConfig(threads=6), 2, True, 6),
        (ServerConfig(), 64, False, 1),
        (ServerConfig(workers=3), 2, True, 3),
        (ServerConfig(workers=3, threads=5), 2, False, 3),
        (ServerConfig(engine="ray"), 64, True, 1),
    ],
)
def test_a_model_in_the_server_answers_a_call_a_core_one_elsewhere_a_call_a_replica(
    config, cores, streams, lanes
):
    assert calls_at_once(config, cores, streams=streams) == lanes
