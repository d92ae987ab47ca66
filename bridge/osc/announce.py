"""Zeroconf: `_osc._udp` and `_oscjson._tcp`, so that clients find the server by themselves.

A convenience: without a network that carries multicast the server runs as well
and says so in its log. Knows neither addresses nor sockets of ours.
"""

import logging
import socket
from typing import Any, Final, cast

from zeroconf import Error
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

log = logging.getLogger(__name__)

UDP_TYPE: Final = "_osc._udp.local."
QUERY_TYPE: Final = "_oscjson._tcp.local."


class Announcer:
    """What is announced, until it is closed."""

    def __init__(self) -> None:
        self._zeroconf: AsyncZeroconf | None = None

    async def start(self, name: str, host: str, ports: dict[str, int]) -> bool:
        """Announce the ports on the host's own interface; return whether that worked.

        Args:
            name: What people see in a list of servers.
            host: The address that is listened on.
            ports: By service type, `UDP_TYPE` or `QUERY_TYPE`.
        """
        address = "127.0.0.1" if host == "localhost" else host
        try:
            self._zeroconf = AsyncZeroconf(interfaces=[address])
            for kind, port in ports.items():
                # Its type is not all known.
                registering = cast(Any, self._zeroconf).async_register_service
                await (await registering(_info(name, kind, address, port)))
        except (OSError, Error) as error:
            log.warning("the server is not announced on the network: %s", error)
            await self.stop()
            return False
        return True

    async def stop(self) -> None:
        """Take the announcements back."""
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()


def _info(name: str, kind: str, address: str, port: int) -> AsyncServiceInfo:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return AsyncServiceInfo(
        kind,
        f"{name}.{kind}",
        addresses=[socket.inet_pton(family, address)],
        port=port,
        properties={"txtvers": "1"},
        server=f"{name.replace(' ', '-').lower()}-{port}.local.",
    )
