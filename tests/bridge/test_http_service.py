"""Status, metrics and health over HTTP: of a real server, on loopback, for its own name alone."""

import asyncio
import http.client
import threading

import pytest
from fakes import CountingGenerator

from bridge.errors import BusyError, UnsupportedError
from bridge.http_service import HEADERS, HttpServer
from bridge.status import ServerStatus


def get(served, path, host="localhost", method="GET"):
    """Return status, headers and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", served.app.http_port, timeout=30)
    try:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read().decode()
    finally:
        connection.close()


def test_a_server_tells_what_it_has_done(serve, connect, silence):
    served = serve(http_port=0)
    with connect(served) as client:
        take = client.render(silence(num_samples=1_000)).done.take_id
    status, headers, text = get(served, "/status")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert take in text
    assert "counting, fingerprint counting-1" in text
    assert f"127.0.0.1:{served.app.port}" in text
    status, headers, text = get(served, "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'jukebox_jobs_ended_total{outcome="done"} 1.0\n' in text
    assert "jukebox_takes 1.0\n" in text
    assert HEADERS.items() <= headers.items()
    assert get(served, "/healthz")[::2] == (200, "serving\n")
    assert get(served, "/")[1]["Location"] == "/status"


def test_while_the_model_loads_it_is_not_healthy_and_still_tells(listen):
    held = threading.Event()

    def load():
        held.wait(30)
        return CountingGenerator()

    served = listen(load, http_port=0)
    assert get(served, "/healthz")[::2] == (503, "loading\n")
    assert "jukebox_ready 0.0\n" in get(served, "/metrics")[2]
    assert "<h1>Jukebox Bridge: loading</h1>" in get(served, "/status")[2]
    held.set()
    served.serve()
    assert get(served, "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/status", {"host": "evil.example"}, 403),
        ("/metrics", {"host": "evil.example:7173"}, 403),
        ("/status", {"host": "127.0.0.1.evil.example"}, 403),
        ("/status", {"host": ""}, 403),
        ("/status", {"host": "localhost:1"}, 200),
        ("/status", {"host": "[::1]:7173"}, 200),
        ("/status", {"host": "[::1]"}, 200),
        ("/nothing", {}, 404),
        ("/%00%ff", {}, 404),
        ("/status", {"method": "POST"}, 405),
    ],
)
def test_other_names_places_and_methods_are_refused(path, more, status, serve):
    answered, headers, text = get(serve(http_port=0), path, **more)
    assert answered == status
    assert HEADERS.items() <= headers.items()
    assert "Traceback" not in text


def test_a_failure_is_no_traceback_to_the_caller(caplog):
    async def fail():
        raise RuntimeError("secret")

    async def scenario():
        server = HttpServer(fail, lambda: "serving")
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        await server.stop()
        return answer

    answer = asyncio.run(scenario())
    assert answer.startswith(b"HTTP/1.1 500")
    assert answer.endswith(b"internal error\n")
    assert "secret" in caplog.text


def test_other_machines_are_not_served_and_a_port_in_use_is_told():
    async def tell():
        return ServerStatus(state="serving", version="", started_s=0, memory_bytes=0)

    async def scenario():
        with pytest.raises(UnsupportedError, match=r"loopback alone, not on '0\.0\.0\.0'"):
            await HttpServer(tell, str).start("0.0.0.0", 0)
        first, second = HttpServer(tell, str), HttpServer(tell, str)
        port = await first.start("127.0.0.1", 0)
        with pytest.raises(BusyError, match=str(port)):
            await second.start("127.0.0.1", port)
        await second.stop()
        await first.stop()

    asyncio.run(scenario())
