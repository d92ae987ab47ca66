"""Zeroconf on the loopback interface: found by a browser, taken back, and never in the way."""

import asyncio
import gc

import pytest
from zeroconf.asyncio import AsyncZeroconf

from bridge.osc.announce import QUERY_TYPE, UDP_TYPE, Announcer

PORTS = {UDP_TYPE: 4_567, QUERY_TYPE: 4_568}


def test_what_is_announced_is_found_with_its_port_and_taken_back():
    async def main():
        announcer = Announcer()
        if not await announcer.start("Jukebox Test", "127.0.0.1", PORTS):
            pytest.skip("this machine's loopback carries no multicast")
        browser = AsyncZeroconf(interfaces=["127.0.0.1"])
        try:
            for kind, port in PORTS.items():
                info = await browser.async_get_service_info(kind, f"Jukebox Test.{kind}", 10_000)
                assert info is not None, kind
                assert info.port == port
                assert info.parsed_addresses() == ["127.0.0.1"]
            await announcer.stop()
            browser.zeroconf.cache.__init__()
            kind = UDP_TYPE
            gone = await browser.async_get_service_info(kind, f"Jukebox Test.{kind}", 300)
            assert gone is None
        finally:
            await browser.async_close()
            await announcer.stop()

    asyncio.run(main())


# zeroconf leaves a socket of its own open where it cannot begin.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_without_a_network_the_server_runs_on_and_says_so(caplog):
    async def main():
        announcer = Announcer()
        # An address of no interface of this machine (RFC 5737).
        assert not await announcer.start("Jukebox Test", "192.0.2.1", PORTS)
        await announcer.stop()

    asyncio.run(main())
    gc.collect()
    assert "not announced" in caplog.text
