"""A client in another language, made from the .proto alone, drives a continuation."""

import json
from functools import partial
from pathlib import Path

import pytest
import trustme

from bridge.security import Security
from tests.bridge.node import node_with

PROTO = Path(__file__).parents[2] / "protos/bridge.proto"

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def node():
    """Return a function that runs the script against an address."""
    return partial(node_with("@grpc/grpc-js", "@grpc/proto-loader"), "continue_section.js")


def test_javascript_continues_a_section(serve, node):
    served = serve()
    ended = node(served.address, PROTO)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["num_samples"], told["seed"]) == (88_200, 7)
    assert told["bytes"] == 88_200 * 4
    assert told["take_id"] in served.engine.store.ids()


def test_javascript_gets_in_with_a_token_over_tls_and_not_without(serve, node, tmp_path):
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / name for name in ("ca", "certificate", "private_key", "token_file")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    files["certificate"].write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    files["private_key"].write_bytes(made.private_key_pem.bytes())
    files["token_file"].write_text(f"desk {'t' * 40}\n")
    for name in ("private_key", "token_file"):
        files[name].chmod(0o600)
    authority_file = str(files.pop("ca"))
    served = serve(security=Security(**files))
    ended = node(served.address, PROTO, JUKEBOX_CA=authority_file, JUKEBOX_TOKEN="t" * 40)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["num_samples"] == 88_200
    refused = node(served.address, PROTO, JUKEBOX_CA=authority_file)
    assert refused.returncode == 1
    assert "\n16: this server wants the header" in f"\n{refused.stderr}"
