"""The plugin's socket: frames in, frames out, whatever comes."""

import asyncio
import socket
import struct
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from bridge.config import private_config
from bridge.errors import BusyError, NotReadyError, UnsupportedError
from bridge.plugin_service import MAX_FRAME_BYTES, MAX_WAITING_MESSAGES, PROTOCOL, PluginServer
from bridge.security import Security
from protos import bridge_pb2
from tests.bridge.conftest import PATIENCE_SECONDS, Served
from tests.fakes import CountingGenerator

RATE = 44_100


class Plugin:
    """The other end of the socket."""

    def __init__(self, address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(address)
        self._read = self.socket.makefile("rb")

    def close(self):
        self._read.close()
        self.socket.close()

    def send(self, **part):
        self.send_bytes(bridge_pb2.PluginRequest(**part).SerializeToString())

    def send_bytes(self, data):
        self.socket.sendall(struct.pack("<I", len(data)) + data)

    def event(self):
        """Return the next event, None at the connection's end."""
        head = self._read.read(4)
        if not head:
            return None
        return bridge_pb2.PluginEvent.FromString(self._read.read(struct.unpack("<I", head)[0]))

    def until(self, kind):
        """Return the next event of a kind, of a live session's too."""
        while (event := self.event()) is not None:
            name = event.WhichOneof("event")
            inner = event.live.WhichOneof("event") if name == "live" else name
            if kind in (name, inner):
                return getattr(event.live, inner) if name == "live" else getattr(event, name)
        pytest.fail(f"the server hung up before any {kind}")

    def greet(self, **changes):
        self.send(hello=bridge_pb2.PluginHello(**({"protocol": PROTOCOL} | changes)))


@pytest.fixture
def served(tmp_path):
    config = replace(private_config(tmp_path / "spool"), plugin_port=0)
    server = Served(config, CountingGenerator)
    server.serve()
    yield server
    server.stop()


@pytest.fixture
def plugin(served):
    with closing(Plugin(("127.0.0.1", served.app.plugin_port))) as one:
        yield one


def header(**changes):
    form = bridge_pb2.AudioFormat(sample_rate=RATE, num_channels=2)
    fields = {"format": form, "plan": bridge_pb2.Plan(seed=3), "credit_samples": 10**9} | changes
    return bridge_pb2.LiveRequest(header=bridge_pb2.LiveHeader(**fields))


def recorded(start, num_samples):
    samples = np.zeros((num_samples, 2), "<f4").tobytes()
    block = bridge_pb2.AudioBlock(role=bridge_pb2.ROLE_PRIME, start_sample=start, samples=samples)
    return bridge_pb2.LiveRequest(audio=block)


def asked(splice, num_samples=3_000):
    target = bridge_pb2.Target(num_samples=num_samples)
    told = bridge_pb2.LiveContinuation(splice_sample=splice, target=target, request_id="one")
    return bridge_pb2.LiveRequest(continuation=told)


def test_an_answer_comes_back_over_the_socket_and_can_be_kept(plugin, served):
    plugin.greet(plugin="a test")
    assert plugin.until("welcome").model == "counting"
    plugin.send(live=header(start_sample=500))
    assert plugin.until("opened").anchor_sample == 500
    plugin.send(live=asked(10_500))
    plugin.send(live=recorded(500, 10_000))
    blocks = []
    while (event := plugin.event().live).WhichOneof("event") != "render" or (
        event.render.WhichOneof("event") != "done"
    ):
        if event.render.WhichOneof("event") == "audio":
            blocks.append((event.render.audio.start_sample, len(event.render.audio.samples) // 8))
    assert blocks[0][0] == 10_500
    assert sum(size for _, size in blocks) == 3_000
    take_id = event.render.done.take_id
    plugin.send(tag=bridge_pb2.TagTakeRequest(take_id=take_id, mark=bridge_pb2.MARK_KEPT))
    assert plugin.until("tagged").mark == bridge_pb2.MARK_KEPT
    assert served.engine.store.entry(take_id).verdict == "keep"


def test_a_session_that_is_opened_while_the_model_loads_waits_for_it(tmp_path):
    loading = threading.Event()

    def load():
        loading.wait(PATIENCE_SECONDS)
        return CountingGenerator()

    server = Served(replace(private_config(tmp_path / "spool"), plugin_port=0), load)
    try:
        with closing(Plugin(("127.0.0.1", server.app.plugin_port))) as plugin:
            plugin.greet()
            assert plugin.until("welcome").model == ""
            plugin.send(live=header())
            plugin.send(live=asked(5_000))
            plugin.send(live=recorded(0, 5_000))
            loading.set()
            assert plugin.until("opened").anchor_sample == 0
            assert plugin.until("render") is not None
    finally:
        loading.set()
        server.stop()


def test_a_message_that_waits_for_room_waits_no_longer_than_its_connection(tmp_path, eventually):
    loading = threading.Event()

    def load():
        loading.wait(PATIENCE_SECONDS)
        return CountingGenerator()

    async def waiting():
        return sum("Queue.put" in str(task.get_coro()) for task in asyncio.all_tasks())

    server = Served(replace(private_config(tmp_path / "spool"), plugin_port=0), load)
    try:
        with closing(Plugin(("127.0.0.1", server.app.plugin_port))) as plugin:
            plugin.greet()
            plugin.send(live=header())
            for number in range(MAX_WAITING_MESSAGES + 2):
                plugin.send(live=recorded(10 * number, 10))
            eventually(lambda: server.on_loop(waiting()) == 1)
            server.on_loop(server.app.stop())
            assert server.on_loop(waiting()) == 0
    finally:
        loading.set()
        server.stop()


def test_a_failed_session_leaves_the_connection_for_the_next_one(plugin):
    plugin.greet()
    plugin.until("welcome")
    plugin.send(live=header())
    plugin.send(live=recorded(0, 100))
    plugin.send(live=recorded(7, 100))
    failed = plugin.until("failed")
    assert "sample 7" in failed.message
    assert failed.code == "INVALID_ARGUMENT"
    plugin.send(live=recorded(0, 100))  # nobody's, and no harm
    plugin.send(live=header())
    plugin.send(live=recorded(0, 5_000))
    plugin.send(live=asked(5_000))
    assert plugin.until("render").accepted.request_id == "one"


def test_a_take_that_is_not_there_cannot_be_tagged(plugin):
    plugin.greet()
    plugin.send(tag=bridge_pb2.TagTakeRequest(take_id="nobody"))
    failed = plugin.until("failed")
    assert (failed.request_id, failed.code) == ("nobody", "NOT_FOUND")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bridge_pb2.PluginRequest().SerializeToString(), "must be its hello"),
        (b"\xff\xff\xff\xff", "no PluginRequest"),
        (b"\x0a\x02\x08\x63", "protocol 99"),
    ],
)
def test_what_is_no_hello_is_answered_and_ends_the_connection(plugin, data, message):
    plugin.send_bytes(data)
    assert message in plugin.until("failed").message
    assert plugin.event() is None


def test_a_frame_over_the_limit_is_refused_before_it_comes(plugin):
    plugin.greet()
    plugin.until("welcome")
    plugin.socket.sendall(struct.pack("<I", MAX_FRAME_BYTES + 1))
    assert f"the limit is {MAX_FRAME_BYTES} bytes" in plugin.until("failed").message
    assert plugin.event() is None


def test_a_plugin_that_goes_in_the_middle_of_a_frame_costs_nothing(served, plugin):
    plugin.greet()
    plugin.until("welcome")
    plugin.send(live=header())
    plugin.until("opened")
    plugin.socket.sendall(b"\x10\x00\x00\x00abc")
    plugin.close()
    with closing(Plugin(("127.0.0.1", served.app.plugin_port))) as other:
        other.greet()
        assert other.until("welcome").protocol == PROTOCOL


def test_a_server_with_tokens_asks_the_plugin_for_one(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"anna {'a' * 40}\n")
    tokens.chmod(0o600)
    config = private_config(tmp_path / "spool")
    config = replace(config, plugin_port=0, security=Security(token_file=tokens))
    server = Served(config, CountingGenerator)
    try:
        for token, kind in (("", "failed"), ("b" * 40, "failed"), ("a" * 40, "welcome")):
            with closing(Plugin(("127.0.0.1", server.app.plugin_port))) as plugin:
                plugin.greet(token=token)
                told = plugin.until(kind)
                assert kind == "welcome" or told.code == "UNAUTHENTICATED"
    finally:
        server.stop()


def _no_engine():
    raise NotReadyError("still loading")


def test_where_it_may_listen(tmp_path):

    async def live():
        with pytest.raises(UnsupportedError, match=r"not on '0\.0\.0\.0'"):
            await PluginServer(_no_engine).start("0.0.0.0", 0)
        first = PluginServer(_no_engine)
        port = await first.start("127.0.0.1", 0)
        with pytest.raises(BusyError, match=str(port)):
            await PluginServer(_no_engine).start("127.0.0.1", port)
        local = PluginServer(_no_engine)
        path = tmp_path / "plugin.socket"
        assert await local.start(f"unix:{path}", 0) == 0
        assert path.stat().st_mode & 0o077 == 0

        def greeted():
            with closing(Plugin(str(path))) as plugin:
                plugin.greet()
                return plugin.until("welcome").model

        assert await asyncio.to_thread(greeted) == "", "no model is ready yet"
        await local.stop()
        await first.stop()
        assert not path.exists()

    asyncio.run(live())
