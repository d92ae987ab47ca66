"""What the server tells of itself over HTTP: gathered when it is asked for."""

import asyncio
import importlib.metadata
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import psutil

from bridge.config import APPLICATION
from bridge.engine import Engine
from bridge.entries import TakeQuery
from bridge.midi.service import MidiStatus
from bridge.status import ServerStatus

MAX_ROWS: Final = 25
"""Jobs and takes on the page, newest first."""


async def gathered(
    state: str, started_s: float, wires: Mapping[str, str], engine: Engine[Any] | None
) -> ServerStatus:
    """Return what a server tells of itself; without an engine there is less to tell."""
    told: dict[str, Any] = {}
    if engine is not None:
        told = {
            "model": engine.info,
            "stats": engine.stats(),
            "jobs": await engine.jobs(MAX_ROWS),
            "store": await asyncio.to_thread(engine.store.stats),
            "takes": await asyncio.to_thread(engine.store.entries, TakeQuery(limit=MAX_ROWS)),
        }
    return ServerStatus(
        state=state,
        version=package_version(),
        started_s=started_s,
        memory_bytes=await asyncio.to_thread(resident_bytes),
        wires=wires,
        **told,
    )


def package_version() -> str:
    """Return the version of the package that runs; a checkout on the path has none."""
    try:
        return importlib.metadata.version(APPLICATION)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def midi_words(status: MidiStatus) -> str:
    """Return in words what comes in over MIDI."""
    tempo = "no clock" if status.tempo_bpm is None else f"{status.tempo_bpm:.2f} bpm"
    beat = "" if status.beat is None else f", beat {status.beat:.1f}"
    moving = "rolling" if status.rolling else "standing"
    parts = [f"{', '.join(status.ports)}: {tempo}{beat}, {moving}"]
    parts += [f"preset {status.preset}"] if status.preset else []
    parts.append(f"{status.running} running, {status.num_notes} notes")
    parts += [f"last take {status.last_take}"] if status.last_take else []
    parts += [f"last error: {status.last_error}"] if status.last_error else []
    return "; ".join(parts)


def resident_bytes() -> int:
    """Return the memory of this process and its children."""
    own = psutil.Process()
    total = own.memory_info().rss
    for child in own.children(recursive=True):
        # It may have ended since it was listed.
        with suppress(psutil.NoSuchProcess):
            total += child.memory_info().rss
    return total
