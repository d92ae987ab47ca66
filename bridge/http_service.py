"""HTTP for people and for Prometheus: `/status`, `/metrics`, `/healthz`; on loopback alone.

It only tells and changes nothing. A request whose Host is not this machine is
refused, so that no web page can read it under a name of its own. Knows no
engine: it is given what to tell.
"""

import ipaddress
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

from bridge.edge import INTERNAL_TEXT
from bridge.errors import UnsupportedError
from bridge.security import is_local
from bridge.sockets import check_port_free
from bridge.status import SERVING, ServerStatus, exposition, metrics_of, page

log = logging.getLogger(__name__)

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}

Ask: TypeAlias = Callable[[], Awaitable[ServerStatus]]
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """The listening socket, and the three pages."""

    def __init__(
        self, ask: Ask, state: Callable[[], str], *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Prepare to listen.

        Args:
            ask: Returns what the server tells of itself.
            state: Returns the state alone, at no cost.
            wall_clock: Unix seconds.
        """
        self._ask = ask
        self._state = state
        self._wall_clock = wall_clock
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is another one if 0 was given.

        Raises:
            UnsupportedError: A host that other machines can reach.
            BusyError: Another process holds the port.
            NotReadyError: The machine refuses the address or the port.
        """
        if not is_local(host):
            raise UnsupportedError(
                f"HTTP has neither TLS nor tokens and listens on loopback alone, not on {host!r}"
            )
        check_port_free(socket.SOCK_STREAM, host, port)
        app = web.Application(middlewares=[_guarded])
        app.router.add_get("/", _to_status)
        app.router.add_get("/status", self._status)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._health)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Answer nothing more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        del request
        text = page(await self._ask(), self._wall_clock())
        return web.Response(text=text, content_type="text/html")

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        body = exposition(metrics_of(await self._ask())).encode()
        return web.Response(body=body, headers={"Content-Type": METRICS_TYPE})

    async def _health(self, request: web.Request) -> web.Response:
        del request
        state = self._state()
        return web.Response(text=f"{state}\n", status=200 if state == SERVING else 503)


async def _to_status(request: web.Request) -> web.Response:
    del request
    return web.Response(status=302, headers={"Location": "/status"})


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer callers on this machine alone, and nobody with a traceback."""
    if not _is_own_name(request.host):
        response: web.StreamResponse = web.Response(
            status=403, text="this server answers to localhost alone\n"
        )
    else:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=f"{error.reason}\n")
        except Exception:  # the edge of this wire: to the log, and INTERNAL to the caller
            log.exception("unexpected failure at %s", request.path[:80])
            response = web.Response(status=500, text=f"{INTERNAL_TEXT}\n")
    response.headers.update(HEADERS)
    return response


def _is_own_name(host: str) -> bool:
    """Return whether a Host header names loopback, whatever the port."""
    name = host[: host.rfind(":")] if not host.endswith("]") and ":" in host else host
    name = name.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
