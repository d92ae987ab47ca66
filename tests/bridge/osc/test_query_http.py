"""OSCQuery by a real HTTP client and a real WebSocket."""

import asyncio

import aiohttp
import pytest
from aiohttp import WSMsgType

from bridge.osc import query_http
from tests.bridge.osc.peers import packet, told


@pytest.fixture
def opened(osc):
    return osc(query_port=0)


def browse(opened, visit):
    """Return what a visit with a client session returns."""

    async def main():
        base = f"http://127.0.0.1:{opened.ports.query}"
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(base, timeout=timeout) as client:
            return await visit(client)

    return asyncio.run(main())


async def heard(web_socket):
    """Return the next OSC message."""
    message = await web_socket.receive(timeout=30)
    assert message.type is WSMsgType.BINARY, message
    return told(message.data)


def test_paths_and_attributes_are_answered_as_the_proposal_says(opened):
    async def visit(client):
        async def get(target):
            async with client.get(target) as answer:
                is_json = answer.content_type == "application/json"
                return answer.status, await answer.json() if is_json else await answer.text()

        host = await get("/?HOST_INFO")
        assert host[0] == 200
        assert host[1]["OSC_PORT"] == opened.ports.udp
        assert host[1]["WS_PORT"] == opened.ports.query
        assert host[1]["EXTENSIONS"]["LISTEN"] is True
        root = await get("/")
        assert root[1]["CONTENTS"]["jukebox"]["CONTENTS"]["continue"]["TYPE"] == "ss"
        assert await get("/jukebox/session/tempo_bpm?VALUE") == (200, {"VALUE": [120.0]})
        assert await get("/jukebox/default/bars?RANGE") == (
            200,
            {"RANGE": [{"MIN": 0.001, "MAX": 10_000}]},
        )
        assert await get("/jukebox/server/state?VALUE") == (200, {"VALUE": ["SERVING"]})
        assert (await get("/jukebox/continue?VALUE"))[0] == 204
        assert (await get("/jukebox?TYPE"))[0] == 204
        assert (await get("/jukebox?COLOUR"))[0] == 400
        assert (await get("/jukebox/ping?TYPE&VALUE"))[0] == 400
        assert (await get("/jukebox/nothing"))[0] == 404
        assert (await get("/jukebox/"))[0] == 200

    browse(opened, visit)


def test_a_web_socket_listens_sets_and_asks(opened, ask):
    asker = ask(opened)

    async def visit(client):
        async with client.ws_connect("/") as web_socket:
            path = "/jukebox/default/tempo_bpm"
            await web_socket.send_json({"COMMAND": "LISTEN", "DATA": path})
            assert await heard(web_socket) == (path, [120.0])
            changed = await asyncio.to_thread(
                asker.ask, "/jukebox/default/set/tempo_bpm", "f", 90.0
            )
            assert changed == (path, [90.0])
            assert await heard(web_socket) == (path, [90.0])
            await web_socket.send_bytes(packet(path, "i", 91))
            await web_socket.send_bytes(packet("/jukebox/ping", "s", "x"))
            assert await heard(web_socket) == ("/jukebox/pong", ["x", "jukebox.bridge.v1"])
            async with client.get(f"{path}?VALUE") as answer:
                assert await answer.json() == {"VALUE": [91.0]}
            await web_socket.send_json({"COMMAND": "IGNORE", "DATA": path})
            await web_socket.send_bytes(packet("/jukebox/session/set/bars", "i", 8))
            assert await heard(web_socket) == ("/jukebox/session/bars", [8.0])

    browse(opened, visit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "null",
        "[" * 5_000,
        '{"COMMAND": "LISTEN"}',
        '{"COMMAND": "LISTEN", "DATA": 5}',
        '{"COMMAND": "LISTEN", "DATA": "/jukebox/nothing"}',
        '{"COMMAND": "LISTEN", "DATA": "/jukebox/continue"}',
        '{"COMMAND": "SHOUT", "DATA": "/jukebox"}',
    ],
)
def test_what_is_no_command_is_answered_and_the_socket_lives(opened, text):
    async def visit(client):
        async with client.ws_connect("/") as web_socket:
            await web_socket.send_str(text)
            address, failure = await heard(web_socket)
            assert address == "/jukebox/fail"
            assert failure[2] in ("INVALID_ARGUMENT", "NOT_FOUND")
            await web_socket.send_bytes(b"garbage")
            assert (await heard(web_socket))[1][2] == "INVALID_ARGUMENT"
            await web_socket.send_bytes(packet("/jukebox/ping"))
            assert (await heard(web_socket))[0] == "/jukebox/pong"

    browse(opened, visit)


def test_a_session_ends_with_its_web_socket(opened, eventually):
    async def visit(client):
        async with client.ws_connect("/") as web_socket:
            await web_socket.send_bytes(packet("/jukebox/session/set/bars", "i", 8))
            assert await heard(web_socket) == ("/jukebox/session/bars", [8.0])
            return len(opened.server.desk.clients)

    assert browse(opened, visit) == 1
    eventually(lambda: len(opened.server.desk.clients) == 0)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1.evil.example"},
    ],
)
def test_a_stranger_s_page_is_refused(opened, headers):
    async def visit(client):
        async with client.get("/", headers=headers) as answer:
            assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await client.ws_connect("/", headers=headers)

    browse(opened, visit)


def test_a_page_of_this_machine_is_served(opened):
    async def visit(client):
        headers = {"Origin": "http://localhost:8080", "Host": "localhost"}
        async with client.get("/", headers=headers) as answer:
            return answer.status

    assert browse(opened, visit) == 200


def test_web_sockets_are_bounded(opened, monkeypatch):
    monkeypatch.setattr(query_http, "MAX_SOCKETS", 1)

    async def visit(client):
        async with client.ws_connect("/") as web_socket:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await client.ws_connect("/")
            await web_socket.send_bytes(packet("/jukebox/ping"))
            assert (await heard(web_socket))[0] == "/jukebox/pong"

    browse(opened, visit)
