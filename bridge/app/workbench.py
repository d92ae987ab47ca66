"""An engine on a folder, without any wire: for commands that work on takes themselves."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bridge.admission import EngineLimits
from bridge.app.door import Load, TranslatedGenerator
from bridge.app.server import open_store
from bridge.engine import Engine


@asynccontextmanager
async def engine_alone(spool: Path, load: Load) -> AsyncGenerator[Engine[Any]]:
    """Yield an engine on a spool, beside a server that may use the same one.

    Raises:
        NotReadyError: The spool cannot be used, or the model not loaded.
    """
    store = open_store(spool)
    generator = TranslatedGenerator(await asyncio.to_thread(load))
    # What is made again must be made, not found again.
    limits = EngineLimits(cache_bytes=0)
    engine = Engine(generator, store=store, clock=time.monotonic, limits=limits)
    try:
        yield engine
    finally:
        await engine.close()
        store.close()
