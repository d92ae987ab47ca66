"""`takes` with `--server`: the takes of a server that runs, listed, judged and fetched."""

import json

import pytest

from bridge.__main__ import EXIT_FAILED, EXIT_REFUSED, main
from bridge.audio_file import read_audio, sha256_of
from bridge.ports import Plan


@pytest.fixture
def remote(serve, connect, silence, capsys):
    """Return what was made on a server, and a function that runs `takes` against it."""
    served = serve()
    done = connect(served).render(silence(draw_seed=False, plan=Plan(seed=2**64 - 1))).done

    def run(action, *arguments):
        code = main(["takes", action, *arguments, "--server", served.address])
        return code, capsys.readouterr()

    return done, run


def test_takes_of_a_server_are_listed_shown_and_judged(remote):
    done, run = remote
    code, told = run("list")
    assert code == 0
    assert told.out.split()[0] == done.take_id
    assert f"seed {2**64 - 1}" in told.out
    shown = json.loads(run("show", done.take_id, "--json")[1].out)
    assert (shown["sha256"], shown["mark"]) == (done.sha256, "MARK_NONE")
    assert run("tag", done.take_id, "--verdict", "keep", "--name", "the good one")[0] == 0
    assert run("list", "--verdict", "reject")[1].out == ""
    (kept,) = run("list", "--verdict", "keep")[1].out.splitlines()
    assert kept.endswith("kept the good one")
    assert json.loads(run("list", "--limit", "0", "--json")[1].out) == []


def test_a_take_of_a_server_is_fetched_and_overwrites_nothing(remote, tmp_path):
    done, run = remote
    out = tmp_path / "mine.wav"
    assert run("export", done.take_id, "--out", str(out))[0] == 0
    assert sha256_of(read_audio(out).samples) == done.sha256
    code, told = run("export", done.take_id, "--out", str(out))
    assert (code, "stays as it is" in told.err) == (EXIT_FAILED, True)
    assert run("export", done.take_id, "--codes", "--out", str(tmp_path / "a.safetensors"))[0] == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("export", "x"), "name it with --out"),
        (("show", "x", "--spool", "elsewhere"), "--spool is the server's own business"),
        (("export", "x", "--model", "m", "--out", "o"), "--model is the server's own business"),
        (("show", "no-such-take"), "no-such-take"),
    ],
)
def test_what_cannot_be_is_refused(remote, given, words):
    code, told = remote[1](*given)
    assert code == EXIT_REFUSED
    assert words in told.err


def test_a_token_without_a_server_is_refused(capsys, tmp_path):
    assert main(["takes", "list", "--tls", "--spool", str(tmp_path)]) == EXIT_REFUSED
    assert "name it with --server" in capsys.readouterr().err
