"""Who gets in, over real TLS with certificates made here, and what one caller may take."""

import json
import os
import stat
import threading

import grpc
import pytest
import trustme
from fakes import CountingGenerator
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge.client import Access, Client
from bridge.errors import (
    AccessError,
    BridgeError,
    BusyError,
    InvalidRequestError,
    NotReadyError,
    StoppingError,
)
from bridge.security import Security
from protos import bridge_pb2, bridge_pb2_grpc

TOKENS = {"ada": "a" * 40, "bob": "b" * 40}
NO_MODELS = bridge_pb2.ListModelsRequest()
posix = pytest.mark.skipif(os.name != "posix", reason="unix sockets and modes are those of POSIX")


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()))
    path.chmod(0o600)
    return path


class Authority:
    """A certificate authority of this test, and the files that it signs."""

    def __init__(self, folder):
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def signed(self, name):
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        made = self._ca.issue_cert("127.0.0.1", "localhost")
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        key.chmod(0o600)
        return {"certificate": cert, "private_key": key}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def test_with_tokens_nothing_answers_without_one(serve, token_file):
    served = serve(security=Security(token_file=token_file))
    with grpc.insecure_channel(served.address) as channel:
        bridge = bridge_pb2_grpc.BridgeStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        for ask in (
            lambda **more: bridge.ListModels(NO_MODELS, **more),
            lambda **more: list(bridge.Continue(iter([]), **more)),
            lambda **more: health.Check(health_pb2.HealthCheckRequest(), **more),
        ):
            for metadata in ([], [("authorization", f"Bearer {'x' * 40}")]):
                with pytest.raises(grpc.RpcError) as caught:
                    ask(metadata=metadata)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        answer = bridge.ListModels(
            NO_MODELS, metadata=[("authorization", f"Bearer {TOKENS['bob']}")]
        )
        assert [model.name for model in answer.models] == ["counting"]


def test_the_client_brings_its_token(serve, token_file, silence):
    served = serve(security=Security(token_file=token_file))
    with Client(served.address, Access(token=TOKENS["ada"])) as client:
        client.wait_until_serving(30)
        assert client.is_serving()
        assert client.render(silence()).audio.shape == (1, 20_001)
    with Client(served.address, Access(token="x" * 40)) as client, pytest.raises(AccessError):
        client.models()


def test_tls_is_spoken_and_the_server_is_known_by_its_authority(
    serve, authority, token_file, silence
):
    locks = Security(**authority.signed("server"), token_file=token_file)
    served = serve(security=locks)
    with Client(served.address, Access(token=TOKENS["ada"], ca_file=authority.file)) as client:
        assert client.render(silence(2)).audio.shape == (2, 20_001)
    for wrong in ({}, {"ca_file": Authority(token_file.parent).file}):
        access = Access(token=TOKENS["ada"], **wrong)
        with Client(served.address, access) as client, pytest.raises(StoppingError):
            client.models()


def test_a_client_s_certificate_is_asked_for_where_an_authority_is_given(
    serve, authority, tmp_path
):
    served = serve(security=Security(**authority.signed("server"), client_ca=authority.file))
    own = authority.signed("client")
    with Client(served.address, Access(ca_file=authority.file, **own)) as client:
        assert client.models()
    stranger = Authority(tmp_path).signed("stranger")
    for wrong in ({}, stranger):
        access = Access(ca_file=authority.file, **wrong)
        with Client(served.address, access) as client, pytest.raises(StoppingError):
            client.models()


def test_a_remote_bind_serves_once_it_is_locked(serve, authority, token_file):
    locks = Security(**authority.signed("server"), token_file=token_file)
    served = serve(security=locks, host="0.0.0.0")
    address = f"127.0.0.1:{served.app.port}"
    with Client(address, Access(token=TOKENS["ada"], ca_file=authority.file)) as client:
        assert client.models()
    with Client(address, Access(ca_file=authority.file)) as client, pytest.raises(AccessError):
        client.models()


def test_the_client_sends_no_token_in_the_clear():
    with pytest.raises(InvalidRequestError, match="in the clear"):
        Client("192.0.2.1:7171", Access(token="a" * 40))
    Client("127.0.0.1:1", Access(token="a" * 40)).close()


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda locks: locks["private_key"].chmod(0o644), "mode 0644"),
        (lambda locks: locks["private_key"].unlink(), "cannot be read"),
        (lambda locks: locks["certificate"].unlink(), "cannot be read"),
        (lambda locks: locks["token_file"].chmod(0o640), "mode 0640"),
        (lambda locks: locks["certificate"].write_text("none"), "cannot be listened on|TLS"),
    ],
)
@posix
def test_a_lock_that_cannot_be_used_keeps_the_server_from_starting(
    break_it, words, listen, tmp_path, token_file
):
    locks = {**Authority(tmp_path).signed("server"), "token_file": token_file}
    break_it(locks)
    with pytest.raises(BridgeError, match=words):
        listen(security=Security(**locks))


@posix
def test_a_unix_socket_is_its_owner_s_alone_and_goes_with_the_server(listen, tmp_path, silence):
    path = tmp_path / "bridge.sock"
    served = listen(host=f"unix:{path}")
    served.serve()
    assert served.address == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Client(served.address) as client:
        assert client.render(silence()).audio.shape == (1, 20_001)
    with pytest.raises(BusyError, match="listens on the socket"):
        listen(host=f"unix:{path}")
    served.stop()
    assert not path.exists()


@posix
def test_the_socket_of_a_dead_server_is_taken_over_and_nothing_else(listen, tmp_path):
    import socket

    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    served = listen(host=f"unix:{path}")
    served.serve()
    with Client(served.address) as client:
        assert client.models()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(NotReadyError, match="is no socket"):
        listen(host=f"unix:{tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(NotReadyError, match="folder"):
        listen(host=f"unix:{tmp_path / 'none' / 'a.sock'}")
    with pytest.raises(NotReadyError, match="the limit is 107 bytes"):
        listen(host=f"unix:{tmp_path / ('x' * 120)}")


def test_a_caller_at_its_limit_is_refused_and_others_are_served(serve, token_file, silence):
    held = threading.Event()
    generator = CountingGenerator(on_step=lambda step: held.wait())
    served = serve(generator, security=Security(token_file=token_file, max_calls=1))
    ada = Client(served.address, Access(token=TOKENS["ada"]))
    with ada, Client(served.address, Access(token=TOKENS["bob"])) as bob:
        events = ada.events(silence())
        next(events)
        with pytest.raises(BusyError, match="ada has 1 calls open, the limit is 1") as caught:
            ada.models()
        assert caught.value.retry_after_s == 1.0
        assert bob.models()
        held.set()
        list(events)
        assert ada.models()


def test_a_caller_may_have_so_much_audio_under_way(serve, token_file, silence):
    served = serve(security=Security(token_file=token_file, max_upload_bytes=19_999))
    with Client(served.address, Access(token=TOKENS["ada"])) as client:
        with pytest.raises(BusyError, match="20000 bytes of audio of ada"):
            client.render(silence(prime_samples=5_000))
        assert client.render(silence(prime_samples=4_999)).audio.shape == (1, 20_001)


def test_every_call_leaves_a_line_that_tells_no_secret(serve, token_file, silence, tmp_path):
    audit = tmp_path / "audit.jsonl"
    served = serve(security=Security(token_file=token_file, audit_file=audit))
    with Client(served.address, Access(token=TOKENS["ada"])) as client:
        client.render(silence(request_id="take-1"))
        with pytest.raises(BridgeError):
            client.render(silence(request_id="take-2", model="none"))
    with Client(served.address, Access(token="x" * 40)) as client, pytest.raises(AccessError):
        client.models()
    served.stop()
    text = audit.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    facts = [
        tuple(line[key] for key in ("caller", "verb", "request_id", "outcome")) for line in lines
    ]
    assert facts == [
        ("ada", "Continue", "take-1", "OK"),
        ("ada", "Continue", "take-2", "NOT_FOUND"),
        ("", "ListModels", "", "UNAUTHENTICATED"),
    ]
    assert all(line["peer"].startswith("ipv4:127.0.0.1:") for line in lines)
    assert not any(secret in text for secret in (*TOKENS.values(), "x" * 40))
