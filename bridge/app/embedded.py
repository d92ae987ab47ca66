"""A server that runs in a thread of its caller's process, for scripts and tests."""

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager

from bridge.app.door import Load
from bridge.app.server import running
from bridge.config import ServerConfig, private_config


@contextmanager
def embedded_server(config: ServerConfig | None = None, load: Load | None = None) -> Generator[str]:
    """Yield the address of a server that runs in a thread of this process and is ready.

    Without a configuration it takes a free port and serves gRPC alone. It leaves
    the unfinished jobs of others to a server that stays.

    Raises:
        BridgeError: It cannot be started.
    """
    config = config or private_config()
    ready: Future[str] = Future()
    ended = threading.Event()
    thread = threading.Thread(
        target=_run_embedded, args=(config, load, ready, ended), name="embedded server"
    )
    thread.start()
    try:
        yield ready.result()
    finally:
        ended.set()
        thread.join()


def _run_embedded(
    config: ServerConfig, load: Load | None, ready: Future[str], ended: threading.Event
) -> None:
    async def live() -> None:
        async with running(config, load, resumes=False) as app:
            await app.serve()
            ready.set_result(app.address)
            await asyncio.to_thread(ended.wait)

    try:
        asyncio.run(live())
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)
