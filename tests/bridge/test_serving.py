"""How commands get into a server that runs: the token of a file, TLS, the system's authorities."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trustme

import bridge
from bridge.__main__ import EXIT_FAILED, EXIT_REFUSED, main
from bridge.audio_file import AudioClip, Provenance, read_audio, write_audio
from bridge.errors import InvalidRequestError, NotReadyError
from bridge.security import Security, read_token

NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")
TOKEN = "a" * 40


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Return the files of an authority and of what it signed."""
    folder = tmp_path_factory.mktemp("authority")
    made = trustme.CA()
    signed = made.issue_cert("127.0.0.1")
    made.cert_pem.write_to_path(str(folder / "ca.pem"))
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in signed.cert_chain_pems))
    (folder / "key.pem").write_bytes(signed.private_key_pem.bytes())
    (folder / "key.pem").chmod(0o600)
    return folder


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"desk {TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def asked(tmp_path):
    """Return the arguments of a continuation by 500 samples."""
    silence = AudioClip(samples=np.zeros((1, 5_000), np.float32), sample_rate=44_100)
    prime = write_audio(tmp_path / "prime.wav", silence, 0, NOBODY)
    out = tmp_path / "out.wav"
    return ["continue", "--prime", str(prime), "--samples", "500", "--out", str(out), "--server"]


def locked(authority, token_file, **more):
    return Security(
        token_file=token_file,
        certificate=authority / "cert.pem",
        private_key=authority / "key.pem",
        **more,
    )


def test_a_command_gets_in_with_token_and_certificate(serve, authority, token_file, asked, capsys):
    served = serve(security=locked(authority, token_file, client_ca=authority / "ca.pem"))
    asked += [served.address, "--tls-ca", str(authority / "ca.pem")]
    own = ["--tls-cert", str(authority / "cert.pem"), "--tls-key", str(authority / "key.pem")]
    assert main([*asked, "--token-file", str(token_file), *own]) == 0
    assert read_audio(Path(asked[6])).samples.shape == (1, 500)
    capsys.readouterr()
    assert main([*asked, *own]) == EXIT_FAILED
    assert "this server wants the header" in capsys.readouterr().err
    assert main([*asked, "--token-file", str(token_file)]) == EXIT_FAILED
    assert "did not answer" in capsys.readouterr().err


def test_with_tls_the_authorities_that_the_system_trusts_count(serve, authority, token_file, asked):
    served = serve(security=locked(authority, token_file))
    command = [sys.executable, "-m", "bridge", *asked, served.address, "--tls"]
    command += ["--token-file", str(token_file)]
    environment = {**os.environ, "PYTHONPATH": str(Path(bridge.__file__).parents[1])}
    strange = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert strange.returncode == EXIT_FAILED
    assert "did not answer" in strange.stderr
    # Where gRPC looks for them on this machine.
    environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(authority / "ca.pem")
    subprocess.run(command, env=environment, capture_output=True, check=True, timeout=120)
    assert read_audio(Path(asked[6])).samples.shape == (1, 500)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--token-file", "{token}"], "--token-file is for a server that runs"),
        (["--tls"], "--tls is for a server that runs"),
        (["--server", "192.0.2.1:1", "--token-file", "{token}"], "in the clear"),
        (["--server", "127.0.0.1:1", "--tls", "--tls-key", "{token}"], "given together"),
        (
            ["--server", "127.0.0.1:1", "--tls-key", "{token}", "--tls-cert", "{token}"],
            "over TLS alone",
        ),
        (["--server", "127.0.0.1:1", "--token-file", "{token}.gone"], "cannot be read"),
    ],
)
def test_what_would_not_be_used_or_would_be_seen_is_refused(
    given, words, asked, token_file, capsys
):
    arguments = [one.format(token=token_file) for one in given]
    assert main([*asked[:-1], *arguments]) in (EXIT_REFUSED, EXIT_FAILED)
    assert words in capsys.readouterr().err


def test_a_token_stands_alone_in_its_file_or_after_a_name(tmp_path):
    path = tmp_path / "token"
    for text in (TOKEN, f"desk {TOKEN}\n", f"# mine\n\ndesk {TOKEN} # since May\n"):
        path.write_text(text)
        path.chmod(0o600)
        assert read_token(path) == TOKEN
    for text, lines in (("", 0), (f"a {TOKEN}\nb {TOKEN}\n", 2), (f"a b {TOKEN}", 1)):
        path.write_text(text)
        with pytest.raises(InvalidRequestError, match=f"holds {lines} lines"):
            read_token(path)
    path.chmod(0o644)
    with pytest.raises(NotReadyError, match="0644"):
        read_token(path)
