"""The configuration, as each part of the server wants its own share of it."""

from bridge.admission import EngineLimits
from bridge.carrying import Room
from bridge.config import ServerConfig
from bridge.midi.service import MidiSettings
from bridge.store import StoreLimits


def engine_limits(config: ServerConfig) -> EngineLimits:
    """Return what the engine takes on at once."""
    return EngineLimits(
        max_jobs=config.max_jobs,
        max_live=config.max_live,
        max_queued=config.max_queued,
        max_client_jobs=config.max_client_jobs,
        max_held_bytes=config.max_held_bytes,
        max_events=config.max_events,
        checkpoint_seconds=config.checkpoint_seconds,
        cache_bytes=config.cache_bytes,
        calls_at_once=max(1, config.workers),
    )


def live_room(config: ServerConfig, cores: int) -> Room | None:
    """Return what there is for live sessions on a machine of so many cores; None: all it takes."""
    if not config.live_share:
        return None
    return Room(cores=cores, lanes=max(1, config.workers), share=config.live_share)


def store_limits(config: ServerConfig) -> StoreLimits:
    """Return how much the store keeps."""
    return StoreLimits(
        max_bytes=config.store_bytes, max_takes=config.store_takes, max_jobs=config.store_jobs
    )


def midi_settings(config: ServerConfig) -> MidiSettings:
    """Return what is listened to over MIDI, and what pads do."""
    return MidiSettings(
        inputs=config.midi_inputs, map_file=config.midi_map, quirk=config.midi_quirk
    )
