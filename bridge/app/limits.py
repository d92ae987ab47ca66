"""The configuration, as each part of the server wants its own share of it."""

from typing import Final

from bridge.admission import EngineLimits
from bridge.carrying import Room
from bridge.config import ServerConfig
from bridge.midi.service import MidiSettings
from bridge.store import StoreLimits

MAX_THREADS: Final = 4
"""More would mostly wait for each other: what is not computing is Python, one thread at a time."""


def calls_at_once(config: ServerConfig, cores: int, *, streams: bool = True) -> int:
    """Return how many calls the model answers beside each other on so many cores.

    Args:
        config: Of the server.
        cores: Of this machine.
        streams: Whether the models do; of the others one call takes all cores.
    """
    if config.workers or config.engine == "ray":
        return max(1, config.workers)
    return (config.threads or min(cores, MAX_THREADS)) if streams else 1


def engine_limits(config: ServerConfig, lanes: int) -> EngineLimits:
    """Return what the engine takes on at once, with so many calls of the model."""
    return EngineLimits(
        max_jobs=config.max_jobs,
        max_live=config.max_live,
        max_queued=config.max_queued,
        max_client_jobs=config.max_client_jobs,
        max_held_bytes=config.max_held_bytes,
        max_events=config.max_events,
        checkpoint_seconds=config.checkpoint_seconds,
        cache_bytes=config.cache_bytes,
        calls_at_once=lanes,
    )


def live_room(config: ServerConfig, cores: int, lanes: int) -> Room | None:
    """Return what there is for live sessions: cores, and calls at once; None: all it takes."""
    if not config.live_share:
        return None
    return Room(cores=cores, lanes=lanes, share=config.live_share)


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
