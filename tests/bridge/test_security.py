"""Tokens, files and binds: what opens the door, and what keeps the server from starting."""

import os
import stat
from pathlib import Path

import pytest

from bridge.errors import AccessError, BridgeError, InvalidRequestError, NotReadyError
from bridge.security import Keyring, Security, is_local, read_keyring, read_secret

TOKEN = "t" * 32
OTHER = "u" * 32


def secret(folder, text, mode=0o600):
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_keyring_knows_its_tokens_and_no_others():
    keys = Keyring({"ada": TOKEN, "bob": OTHER})
    assert keys.caller(f"Bearer {TOKEN}") == "ada"
    assert keys.caller(f"Bearer {OTHER}") == "bob"
    for wrong in (None, "", TOKEN, f"Basic {TOKEN}", "Bearer ", f"Bearer {TOKEN[:-1]}", "Bearer é"):
        with pytest.raises(AccessError) as caught:
            keys.caller(wrong)
        assert TOKEN not in str(caught.value)


def test_every_digest_is_compared_whichever_fits(monkeypatch):
    import hmac

    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or a == b)
    keys = Keyring({"ada": TOKEN, "bob": OTHER, "cy": "c" * 40})
    assert keys.caller(f"Bearer {TOKEN}") == "ada"
    assert len(compared) == 3


def test_a_token_file_holds_names_tokens_and_remarks(tmp_path):
    path = secret(tmp_path, f"# the studio\nada {TOKEN}  # desk\n\nbob\t{OTHER}\n")
    keys = read_keyring(path)
    assert len(keys) == 2
    assert keys.caller(f"Bearer {OTHER}") == "bob"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 tokens"),
        ("ada\n", ":1: 1 words"),
        (f"ada {TOKEN} more\n", ":1: 3 words"),
        (f"\nada {TOKEN[:31]}\n", ":2: the token has 31 characters, at least 32"),
        (f"ada {TOKEN}\nada {OTHER}\n", ":2: the name or the token is given twice"),
        (f"ada {TOKEN}\nbob {TOKEN}\n", ":2: the name or the token is given twice"),
        (f"local {TOKEN}\n", "not 'local'"),
        (f"{'x' * 65} {TOKEN}\n", "65 characters"),
    ],
)
def test_a_bad_token_file_is_refused_without_its_tokens(text, words, tmp_path):
    with pytest.raises(InvalidRequestError) as caught:
        read_keyring(secret(tmp_path, text))
    assert words in str(caught.value)
    assert TOKEN[:31] not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o660])
def test_a_secret_that_others_could_read_is_refused(mode, tmp_path):
    with pytest.raises(NotReadyError, match=f"mode {mode:04o}, at most 0600"):
        read_secret(secret(tmp_path, "x", mode))


def test_a_secret_that_is_missing_or_no_file_is_refused(tmp_path):
    with pytest.raises(NotReadyError, match="cannot be read"):
        read_secret(tmp_path / "none")
    with pytest.raises(NotReadyError, match=r"cannot be read|no ordinary file"):
        read_secret(tmp_path)
    assert stat.S_IMODE(secret(tmp_path, "x", 0o400).stat().st_mode) == 0o400
    assert read_secret(tmp_path / "tokens") == b"x"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "unix:a.sock"])
def test_this_machine_needs_neither_tls_nor_tokens(host):
    assert is_local(host)
    Security().check_bind(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "studio.example", ""])
def test_a_remote_bind_needs_both(host):
    tls = {"certificate": Path("c.pem"), "private_key": Path("k.pem")}
    tokens = {"token_file": Path("tokens")}
    for given, missing in (({}, "TLS"), (tls, "token file"), (tokens, "TLS")):
        with pytest.raises(InvalidRequestError, match=missing):
            Security(**given).check_bind(host)
    Security(**tls, **tokens).check_bind(host)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"certificate": Path("c")}, "its private key"),
        ({"private_key": Path("k")}, "its private key"),
        ({"client_ca": Path("a")}, "without TLS"),
        ({"max_calls": 0}, "max_calls is 0"),
        ({"max_upload_bytes": -1}, "max_upload_bytes is -1"),
    ],
)
def test_half_a_lock_is_refused(fields, words):
    with pytest.raises(BridgeError, match=words):
        Security(**fields)
