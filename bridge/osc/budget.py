"""How much a server sends to addresses that may be forged: a bucket of bytes for each host.

The sender's address of a datagram is anybody's claim, so whoever forges it
makes the server talk to a third party. What goes to one host is therefore
bounded. Hosts of this machine's loopback cannot be forged from outside and are
not bounded. Knows no socket.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

BURST_BYTES: Final = 65_536
BYTES_PER_SECOND: Final = 32_768
MAX_HOSTS: Final = 1_024
"""Hosts remembered; the one heard least recently is forgotten."""
FIRST_PORT: Final = 1_024
"""Ports below belong to services that would answer an answer."""


class SendBudget:
    """Decides whether an answer may leave."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start with full buckets.

        Args:
            clock: Seconds, monotone.
        """
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.dropped = 0

    def allows(self, host: str, port: int, num_bytes: int) -> bool:
        """Return whether the bytes may go to a host, and count them; a refusal is counted too."""
        if port < FIRST_PORT or not (is_loopback(host) or self._spend(host, num_bytes)):
            self.dropped += 1
            return False
        return True

    def _spend(self, host: str, num_bytes: int) -> bool:
        now = self._clock()
        left, since = self._left.pop(host, (float(BURST_BYTES), now))
        left = min(float(BURST_BYTES), left + (now - since) * BYTES_PER_SECOND)
        allowed = left >= num_bytes
        self._left[host] = (left - num_bytes if allowed else left), now
        if len(self._left) > MAX_HOSTS:
            self._left.popitem(last=False)
        return allowed


def is_loopback(host: str) -> bool:
    """Return whether a numeric address is one of this machine's loopback."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
